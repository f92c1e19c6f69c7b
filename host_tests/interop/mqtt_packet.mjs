// mqtt-packet as a codec: one JSON object a line in, one out, until the input ends.
//   {"decode": HEX}      -> {"packet": {...}}, the bytes in it as {"$hex": ...}
//   {"encode": {...}}    -> {"hex": HEX}
// and {"error": WORDS} where it refuses.
import { createInterface } from "node:readline";
import mqtt from "mqtt-packet";

const V5 = { protocolVersion: 5 };

function plain(value) {
  if (Buffer.isBuffer(value)) return { $hex: value.toString("hex") };
  if (value && value.constructor?.name === "BufferList") return { $hex: value.slice().toString("hex") };
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object")
    return Object.fromEntries(Object.keys(value).map((key) => [key, plain(value[key])]));
  return value;
}

function rich(value) {
  if (Array.isArray(value)) return value.map(rich);
  if (!value || typeof value !== "object") return value;
  if ("$hex" in value) return Buffer.from(value.$hex, "hex");
  if ("$pairs" in value) {
    // user properties, which mqtt-packet takes by name
    const all = Object.create(null);
    for (const [name, text] of value.$pairs) (all[name] ??= []).push(text);
    return all;
  }
  return Object.fromEntries(Object.keys(value).map((key) => [key, rich(value[key])]));
}

function decode(hex) {
  const parser = mqtt.parser(V5);
  const found = [];
  let error;
  parser.on("packet", (packet) => found.push(packet));
  parser.on("error", (why) => (error ??= why));
  const left = parser.parse(Buffer.from(hex, "hex"));
  if (error) throw error;
  if (left || found.length !== 1) throw new Error(`${found.length} packets, ${left} bytes left`);
  return { packet: plain(found[0]) };
}

function answer(question) {
  try {
    if (question.decode !== undefined) return decode(question.decode);
    return { hex: mqtt.generate(rich(question.encode), V5).toString("hex") };
  } catch (error) {
    return { error: String(error.message) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(answer(JSON.parse(line))) + "\n");
}
