// The codec of npm mqtt-packet as a process: one JSON request per input line, one JSON response per output line.
//   {"decode": HEX}      -> {"packet": {...}}, with bytes as {"$hex": HEX}
//   {"encode": {...}}    -> {"hex": HEX}
// The response is {"error": MESSAGE} if mqtt-packet rejects the request.
import { createInterface } from "node:readline";
import mqtt from "mqtt-packet";

const V5 = { protocolVersion: 5 };

function toJson(value) {
  if (Buffer.isBuffer(value)) return { $hex: value.toString("hex") };
  if (value && value.constructor?.name === "BufferList") return { $hex: value.slice().toString("hex") };
  if (Array.isArray(value)) return value.map(toJson);
  if (value && typeof value === "object")
    return Object.fromEntries(Object.keys(value).map((key) => [key, toJson(value[key])]));
  return value;
}

function fromJson(value) {
  if (Array.isArray(value)) return value.map(fromJson);
  if (!value || typeof value !== "object") return value;
  if ("$hex" in value) return Buffer.from(value.$hex, "hex");
  if ("$pairs" in value) {
    // user properties: mqtt-packet expects an object with a list of values per name
    const properties = Object.create(null);
    for (const [name, text] of value.$pairs) (properties[name] ??= []).push(text);
    return properties;
  }
  return Object.fromEntries(Object.keys(value).map((key) => [key, fromJson(value[key])]));
}

function decode(hex) {
  const parser = mqtt.parser(V5);
  const packets = [];
  let error;
  parser.on("packet", (packet) => packets.push(packet));
  parser.on("error", (reason) => (error ??= reason));
  const left = parser.parse(Buffer.from(hex, "hex"));
  if (error) throw error;
  if (left || packets.length !== 1) throw new Error(`${packets.length} packets, ${left} bytes left`);
  return { packet: toJson(packets[0]) };
}

function respond(request) {
  try {
    if (request.decode !== undefined) return decode(request.decode);
    return { hex: mqtt.generate(fromJson(request.encode), V5).toString("hex") };
  } catch (error) {
    return { error: String(error.message) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(respond(JSON.parse(line))) + "\n");
}
