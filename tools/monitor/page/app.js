// Page of `make monitor WEB=1`: receives the state of all devices over a WebSocket, and sends commands.
// Texts from devices are not trusted: they are inserted as text, never as HTML.

import { drawChart, formatNumber, formatDuration, formatValue } from "./chart.js";
import { applyFilter, isCompact, startFilter } from "./filter.js";

const MAX_POINTS = 600; // maximum number of points of a chart
const MAX_EVENTS = 200;
const RECONNECT_MS = 1000;
const REDRAW_MS = 2000; // charts move to the left also without new readings
const BUSY_MS = 3000; // maximum time for which a switch waits for the device's new state
const devices = new Map(); // device name: its state and its element

const byId = (id) => document.getElementById(id);

let socket;
let now = 0; // clock of the monitor, seconds since the epoch

// charts are drawn only while they are on the screen
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const device = devices.get(target.dataset.device);
    if (!device) continue;
    device.isOnScreen = isIntersecting;
    drawCharts(device);
  }
}, { rootMargin: "200px" });

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

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function showBanner(text) {
  setText(byId("banner"), text);
  byId("banner").hidden = !text;
  byId("devices").classList.toggle("stale", Boolean(text));
}

function showState(state) {
  now = state.now;
  if (state.full) {
    devices.forEach((device) => device.element.remove());
    devices.clear();
    byId("log").replaceChildren();
  }
  setText(byId("broker"), `${state.broker} ${state.prefix}/`);
  showBanner(state.connected ? "" : `Not connected to ${state.broker}. Reconnecting.`);
  for (const [name, update] of Object.entries(state.devices)) showDevice(name, update);
  byId("empty").hidden = devices.size > 0;
  showCount(state.dropped);
  for (const device of devices.values()) setText(device.part("last-seen"), formatAge(now - device.lastSeen));
  for (const [at, text] of state.events) addEvent(at, text);
  applyFilter(devices);
}

function showCount(dropped) {
  const online = [...devices.values()].filter((device) => device.status === "online").length;
  const alerts = [...devices.values()].reduce((sum, device) => sum + device.alerts, 0);
  const parts = [`${online} of ${devices.size} online`];
  if (alerts) parts.push(alerts === 1 ? "1 alert" : `${alerts} alerts`);
  if (dropped) parts.push(`${dropped} messages not shown`);
  setText(byId("count"), parts.join(", "));
}

function formatAge(seconds) {
  if (seconds < 2) return "now";
  if (seconds < 120) return `${Math.floor(seconds)} s ago`;
  return `${formatDuration(Math.floor(seconds / 60) * 60)} ago`;
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

// inserts an element with a key among its siblings, in the order of the keys
function insertInOrder(parent, element, key) {
  element.dataset.key = key;
  const next = [...parent.children].find((other) => other.dataset.key > key);
  parent.insertBefore(element, next ?? null);
}

function addDevice(name) {
  const element = byId("device").content.cloneNode(true).firstElementChild;
  const parts = new Map();
  const part = (kind) => {
    if (!parts.has(kind)) parts.set(kind, element.querySelector("." + kind));
    return parts.get(kind);
  };
  part("name").textContent = name;
  part("name").id = `device-${devices.size}`;
  element.setAttribute("aria-labelledby", part("name").id);
  element.dataset.device = name;
  const query = new URLSearchParams(location.search);
  query.set("device", name);
  part("device-csv").href = `history.csv?${query}`;
  part("device-csv").textContent = `readings of ${name} as CSV`;
  insertInOrder(byId("devices"), element, name);
  const device = { name, element, part, readings: new Map(), switches: new Map(), isOnScreen: false };
  devices.set(name, device);
  observer.observe(element);
  return device;
}

function showList(list, texts) {
  const key = texts.join("\n");
  if (list.dataset.shown === key) return;
  list.dataset.shown = key;
  list.replaceChildren(...texts.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
  list.hidden = !texts.length;
}

function showDevice(name, update) {
  const device = devices.get(name) ?? addDevice(name);
  device.status = update.status;
  device.lastSeen = update.last_seen;
  device.alerts = update.alerts.length;
  device.needsAttention = update.alerts.length + update.problems.length > 0;
  device.text = [name, update.status, ...update.alerts, ...update.problems].join(" ").toLowerCase();
  setText(device.part("status"), update.status);
  device.part("status").className = `status ${["online", "offline"].find((word) => word === update.status) ?? ""}`;
  device.element.classList.toggle("alarmed", update.alerts.length > 0);
  showList(device.part("alerts"), update.alerts);
  showList(device.part("problems"), update.problems);
  showList(device.part("facts"), update.facts);
  if (update.facts.length) setText(device.part("summary"), update.problems.length ? "needs attention" : "good");
  for (const [reading, values] of Object.entries(update.readings)) showReading(device, reading, values);
  for (const [switchName, state] of Object.entries(update.switches)) showSwitch(device, switchName, state);
  showHealth(device, update.health);
  drawCharts(device);
}

function showHealth(device, metrics) {
  const key = JSON.stringify(metrics);
  if (device.health === key) return;
  device.health = key;
  device.part("health").replaceChildren(...Object.entries(metrics).flatMap(([name, value]) => {
    const term = document.createElement("dt");
    const description = document.createElement("dd");
    term.textContent = name;
    description.textContent = typeof value === "number" ? formatNumber(value) : value;
    return [term, description];
  }));
}

function showReading(device, name, update) {
  let reading = device.readings.get(name);
  if (!reading) {
    const element = byId("reading").content.cloneNode(true).firstElementChild;
    element.dataset.reading = name;
    element.querySelector(".label").textContent = name.replaceAll("_", " ");
    element.querySelector("svg").setAttribute("aria-label", `${name}: chart`); // until it is drawn
    insertInOrder(device.part("readings"), element, name);
    reading = { element, name, points: [], mustDraw: false };
    device.readings.set(name, reading);
  }
  if (!update.points.length) return;
  const points = reading.points.concat(update.points).slice(-MAX_POINTS);
  Object.assign(reading, update, { points, mustDraw: true });
  setText(reading.element.querySelector(".value"), formatValue(reading, points.at(-1)[1]));
}

function drawCharts(device, always = false) {
  if (!device.isOnScreen || isCompact()) return;
  for (const reading of device.readings.values()) {
    if (!reading.points.length || !(reading.mustDraw || always)) continue;
    drawChart(reading.element, reading.name, reading, now);
    reading.mustDraw = false;
  }
}

function redraw(always) {
  for (const device of devices.values()) drawCharts(device, always);
}

function showSwitch(device, name, state) {
  let button = device.switches.get(name);
  if (!button) {
    button = document.createElement("button");
    button.className = "switch";
    button.type = "button";
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
    insertInOrder(device.part("switches"), button, name);
  }
  const on = String(state === "ON");
  if (button.getAttribute("aria-checked") !== on) button.removeAttribute("aria-busy");
  button.setAttribute("aria-checked", on);
  button.title = `${name}: ${state}`;
}

byId("csv").href = `history.csv${location.search}`;
startFilter(() => {
  applyFilter(devices);
  redraw(true);
});
setInterval(() => redraw(true), REDRAW_MS);
connect();
