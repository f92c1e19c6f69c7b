// Filter and view of the devices. The view is remembered in this browser.

const MANY = 24; // with more devices the compact view is the default
const KEY = "umqtt5-view";
const byId = (id) => document.getElementById(id);

function storedView() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // the browser forbids storage
  }
}

function matches(device, words, show) {
  if (show === "offline" && device.status === "online") return false;
  if (show === "attention" && !device.needsAttention) return false;
  return words.every((word) => device.text.includes(word));
}

// hides the devices that do not match, and selects the view
export function applyFilter(devices) {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const show = byId("show").value;
  let shown = 0;
  for (const device of devices.values()) {
    const isShown = matches(device, words, show);
    if (device.element.hidden === isShown) device.element.hidden = !isShown;
    shown += isShown;
  }
  const text = shown === devices.size ? "" : `${shown} of ${devices.size} devices shown`;
  if (byId("shown").textContent !== text) byId("shown").textContent = text;
  const view = storedView() ?? (devices.size > MANY ? "compact" : "cards");
  if (document.activeElement !== byId("view")) byId("view").value = view;
  byId("devices").classList.toggle("compact", byId("view").value === "compact");
}

export const isCompact = () => byId("devices").classList.contains("compact");

// calls `onChange` when the user has changed the filter or the view
export function startFilter(onChange) {
  byId("tools").addEventListener("submit", (event) => event.preventDefault());
  byId("filter").addEventListener("input", onChange);
  byId("show").addEventListener("change", onChange);
  byId("view").addEventListener("change", () => {
    try {
      localStorage.setItem(KEY, byId("view").value);
    } catch {
      // then the view lasts until the page is left
    }
    onChange();
  });
}
