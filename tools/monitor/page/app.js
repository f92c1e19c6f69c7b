// What comes over the socket may have been said by anybody: it goes into the page as text only.

const POINTS = 600;
const EVENTS = 200;
const AGAIN = 1000; // ms
const known = new Map(); // by device: its state and its element

const byId = (id) => document.getElementById(id);
const number = (value) => Number(value.toPrecision(6)).toLocaleString();

let socket;

function connect() {
  const url = new URL("live" + location.search, location.href);
  url.protocol = "ws:";
  socket = new WebSocket(url);
  socket.onmessage = (event) => show(JSON.parse(event.data));
  socket.onclose = (event) => {
    banner(event.code === 1006 || event.code === 1001
      ? "The monitor itself has ended, or does not know this page: start it, and use the address that it prints."
      : "The monitor is gone: trying again.");
    setTimeout(connect, AGAIN);
  };
}

function banner(text) {
  byId("banner").textContent = text;
  byId("banner").hidden = !text;
  byId("devices").classList.toggle("stale", Boolean(text));
}

function show(state) {
  if (state.whole) {
    known.forEach((device) => device.element.remove());
    known.clear();
    byId("log").replaceChildren();
  }
  byId("where").textContent = `${state.broker} ${state.prefix}/`;
  banner(state.connected ? "" : `No link to ${state.broker}: trying again.`);
  for (const [name, said] of Object.entries(state.devices)) update(name, said);
  byId("empty").hidden = known.size > 0;
  const online = [...known.values()].filter((device) => device.status === "online").length;
  const lost = state.dropped ? `, ${state.dropped} messages beyond what is shown` : "";
  byId("count").textContent = `${online} of ${known.size} online${lost}`;
  for (const device of known.values()) {
    device.part("last-seen").textContent = ago(state.now - device.lastSeen);
  }
  for (const [at, text] of state.events) log(at, text);
}

function ago(seconds) {
  if (seconds < 2) return "now";
  if (seconds < 120) return `${Math.floor(seconds)} s ago`;
  return `${Math.floor(seconds / 60)} min ago`;
}

function log(at, text) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = new Date(at * 1000).toLocaleTimeString();
  item.classList.toggle("alert", text.startsWith("ALERT"));
  item.append(time, text);
  byId("log").prepend(item);
  while (byId("log").children.length > EVENTS) byId("log").lastChild.remove();
}

function added(name) {
  const element = byId("device").content.cloneNode(true).firstElementChild;
  const part = (kind) => element.querySelector("." + kind);
  part("name").textContent = name;
  element.dataset.device = name;
  const after = [...known.keys()].sort().find((other) => other > name);
  byId("devices").insertBefore(element, after ? known.get(after).element : null);
  const device = { name, element, part, readings: new Map(), switches: new Map() };
  known.set(name, device);
  return device;
}

function update(name, said) {
  const device = known.get(name) ?? added(name);
  device.status = said.status;
  device.lastSeen = said.last_seen;
  device.part("status").textContent = said.status;
  device.part("status").className = `status ${["online", "offline"].find((word) => word === said.status) ?? ""}`;
  device.element.classList.toggle("alarmed", said.alerts.length > 0);
  device.part("alerts").replaceChildren(...said.alerts.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
  for (const [reading, one] of Object.entries(said.readings)) plot(device, reading, one);
  for (const [name_, state] of Object.entries(said.switches)) turn(device, name_, state);
  device.part("health").replaceChildren(...Object.entries(said.health).flatMap(([key, value]) => {
    const term = document.createElement("dt");
    const what = document.createElement("dd");
    term.textContent = key;
    what.textContent = typeof value === "number" ? number(value) : value;
    return [term, what];
  }));
}

function plot(device, name, one) {
  let reading = device.readings.get(name);
  if (!reading) {
    const element = byId("reading").content.cloneNode(true).firstElementChild;
    element.dataset.reading = name;
    element.querySelector(".label").textContent = name.replaceAll("_", " ");
    element.querySelector("svg").setAttribute("aria-label", `history of ${name}`);
    device.part("readings").append(element);
    reading = { element, points: [] };
    device.readings.set(name, reading);
  }
  if (!one.points.length) return;
  reading.points = reading.points.concat(one.points).slice(-POINTS);
  const values = reading.points.map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [first, last] = [reading.points[0][0], reading.points.at(-1)[0]];
  const x = (at) => (last > first ? ((at - first) / (last - first)) * 300 : 300);
  const y = (value) => (high > low ? 56 - ((value - low) / (high - low)) * 52 : 30);
  const line = reading.points.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join("L");
  const part = (kind) => reading.element.querySelector("." + kind);
  part("line").setAttribute("d", `M${line}`);
  part("area").setAttribute("d", `M${x(first)},60L${line}L${x(last)},60Z`);
  part("value").textContent = `${number(values.at(-1))} ${one.unit}`;
  part("low").textContent = number(low);
  part("high").textContent = number(high);
  part("span").textContent = last - first < 120 ? `${Math.round(last - first)} s` : `${Math.round((last - first) / 60)} min`;
}

function turn(device, name, state) {
  let button = device.switches.get(name);
  if (!button) {
    button = document.createElement("button");
    button.className = "switch";
    button.setAttribute("role", "switch");
    button.dataset.switch = name;
    button.textContent = name;
    button.onclick = () => {
      if (socket.readyState !== WebSocket.OPEN) return;
      button.setAttribute("aria-busy", "true");
      const payload = button.getAttribute("aria-checked") === "true" ? "OFF" : "ON";
      socket.send(JSON.stringify({ device: device.name, switch: name, payload }));
      setTimeout(() => button.removeAttribute("aria-busy"), 3000);
    };
    device.switches.set(name, button);
    device.part("switches").append(button);
  }
  const on = String(state === "ON");
  if (button.getAttribute("aria-checked") !== on) button.removeAttribute("aria-busy");
  button.setAttribute("aria-checked", on);
  button.title = `${name}: ${state}`;
}

connect();
