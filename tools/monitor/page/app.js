// Page of `make monitor --web`: receives the state of all devices over a WebSocket, and sends commands.
// Texts from devices are not trusted: they are inserted as text, never as HTML.

const MAX_POINTS = 600; // maximum number of points of a plot
const MAX_EVENTS = 200;
const RECONNECT_MS = 1000;
const BUSY_MS = 3000; // maximum time for which a switch waits for the device's new state
const devices = new Map(); // device name: its state and its element

const byId = (id) => document.getElementById(id);
const formatNumber = (value) => Number(value.toPrecision(6)).toLocaleString();

let socket;

function connect() {
  const url = new URL("live" + location.search, location.href);
  url.protocol = "ws:";
  socket = new WebSocket(url);
  socket.onmessage = (event) => showState(JSON.parse(event.data));
  socket.onclose = (event) => {
    // no close frame (1006) or the peer went away (1001): the monitor is not running, or it refused the token
    showBanner(event.code === 1006 || event.code === 1001
      ? "The monitor is not running, or this address is outdated. Start the monitor and open the address that it prints."
      : "Connection to the monitor lost. Reconnecting.");
    setTimeout(connect, RECONNECT_MS);
  };
}

function showBanner(text) {
  byId("banner").textContent = text;
  byId("banner").hidden = !text;
  byId("devices").classList.toggle("stale", Boolean(text));
}

function showState(state) {
  if (state.full) {
    devices.forEach((device) => device.element.remove());
    devices.clear();
    byId("log").replaceChildren();
  }
  byId("broker").textContent = `${state.broker} ${state.prefix}/`;
  showBanner(state.connected ? "" : `Not connected to ${state.broker}. Reconnecting.`);
  for (const [name, update] of Object.entries(state.devices)) showDevice(name, update);
  byId("empty").hidden = devices.size > 0;
  const online = [...devices.values()].filter((device) => device.status === "online").length;
  const dropped = state.dropped ? `, ${state.dropped} messages not shown` : "";
  byId("count").textContent = `${online} of ${devices.size} online${dropped}`;
  for (const device of devices.values()) {
    device.part("last-seen").textContent = formatAge(state.now - device.lastSeen);
  }
  for (const [at, text] of state.events) addEvent(at, text);
}

function formatAge(seconds) {
  if (seconds < 2) return "now";
  if (seconds < 120) return `${Math.floor(seconds)} s ago`;
  return `${Math.floor(seconds / 60)} min ago`;
}

function addEvent(at, text) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = new Date(at * 1000).toLocaleTimeString();
  item.classList.toggle("alert", text.startsWith("ALERT"));
  item.append(time, text);
  byId("log").prepend(item);
  while (byId("log").children.length > MAX_EVENTS) byId("log").lastChild.remove();
}

function addDevice(name) {
  const element = byId("device").content.cloneNode(true).firstElementChild;
  const part = (kind) => element.querySelector("." + kind);
  part("name").textContent = name;
  element.dataset.device = name;
  const next = [...devices.keys()].sort().find((other) => other > name);
  byId("devices").insertBefore(element, next ? devices.get(next).element : null);
  const device = { name, element, part, readings: new Map(), switches: new Map() };
  devices.set(name, device);
  return device;
}

function showDevice(name, update) {
  const device = devices.get(name) ?? addDevice(name);
  device.status = update.status;
  device.lastSeen = update.last_seen;
  device.part("status").textContent = update.status;
  device.part("status").className = `status ${["online", "offline"].find((word) => word === update.status) ?? ""}`;
  device.element.classList.toggle("alarmed", update.alerts.length > 0);
  device.part("alerts").replaceChildren(...update.alerts.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
  for (const [reading, { unit, points }] of Object.entries(update.readings)) showReading(device, reading, unit, points);
  for (const [switchName, state] of Object.entries(update.switches)) showSwitch(device, switchName, state);
  device.part("health").replaceChildren(...Object.entries(update.health).flatMap(([key, value]) => {
    const term = document.createElement("dt");
    const description = document.createElement("dd");
    term.textContent = key;
    description.textContent = typeof value === "number" ? formatNumber(value) : value;
    return [term, description];
  }));
}

function showReading(device, name, unit, newPoints) {
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
  if (!newPoints.length) return;
  reading.points = reading.points.concat(newPoints).slice(-MAX_POINTS);
  const values = reading.points.map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [first, last] = [reading.points[0][0], reading.points.at(-1)[0]];
  const x = (at) => (last > first ? ((at - first) / (last - first)) * 300 : 300);
  const y = (value) => (high > low ? 56 - ((value - low) / (high - low)) * 52 : 30);
  const line = reading.points.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join("L");
  const part = (kind) => reading.element.querySelector("." + kind);
  part("line").setAttribute("d", `M${line}`);
  part("area").setAttribute("d", `M${x(first)},60L${line}L${x(last)},60Z`);
  part("value").textContent = `${formatNumber(values.at(-1))} ${unit}`;
  part("low").textContent = formatNumber(low);
  part("high").textContent = formatNumber(high);
  part("span").textContent = last - first < 120 ? `${Math.round(last - first)} s` : `${Math.round((last - first) / 60)} min`;
}

function showSwitch(device, name, state) {
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
      setTimeout(() => button.removeAttribute("aria-busy"), BUSY_MS);
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
