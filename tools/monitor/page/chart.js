// A chart of the readings of one quantity. The monitor chooses the axis, so that noise does not fill the height.

const WIDTH = 300; // of the view box
const HEIGHT = 60;
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]; // seconds

const round = (number) => number.toFixed(1);

export const formatNumber = (value) =>
  Number(Math.abs(value) < 1e6 ? value.toPrecision(6) : value.toFixed(0)).toLocaleString("en", { maximumFractionDigits: 9 });

// a duration with its two largest units, such as "3 h 5 min"
export function formatDuration(seconds) {
  const parts = [];
  let left = Math.max(Math.floor(seconds), 0);
  for (const [size, unit] of UNITS) {
    const count = Math.floor(left / size);
    left %= size;
    if (count || parts.length) parts.push([count, unit]);
  }
  return parts.slice(0, 2).filter(([count]) => count).map(([count, unit]) => `${count} ${unit}`).join(" ") || "0 s";
}

export function formatValue(reading, value) {
  if (reading.binary) return value ? "ON" : "OFF";
  if (reading.unit === "s") return formatDuration(value);
  return `${formatNumber(value)} ${reading.unit}`.trim();
}

// returns the points of each part between two gaps
function splitAtGaps(points, gap) {
  const parts = [];
  for (const point of points) {
    const part = parts.at(-1);
    if (!part || point[0] - part.at(-1)[0] > gap) parts.push([point]);
    else part.push(point);
  }
  return parts;
}

// draws the points of the last `reading.span` seconds before `now` into an element of the template "reading"
export function drawChart(element, name, reading, now) {
  const part = (kind) => element.querySelector("." + kind);
  const [low, high] = reading.axis;
  const start = now - reading.span;
  const shown = reading.points.filter(([at]) => at >= start);
  const x = (at) => round(((Math.min(at, now) - start) / reading.span) * WIDTH);
  const y = (value) => round((1 - (Math.min(Math.max(value, low), high) - low) / (high - low)) * HEIGHT);
  let [line, area] = ["", ""];
  for (const points of splitAtGaps(shown, reading.gap)) {
    // a single point is a line of no length, which the round cap of the stroke makes visible
    const path = points.map(([at, value]) => `${x(at)},${y(value)}`).join("L") + (points.length > 1 ? "" : "h0");
    line += `M${path}`;
    area += `M${x(points[0][0])},${HEIGHT}L${path}L${x(points.at(-1)[0])},${HEIGHT}Z`;
  }
  part("line").setAttribute("d", line);
  part("area").setAttribute("d", area);
  const withoutUnit = { ...reading, unit: reading.unit === "s" ? "s" : "" }; // the value has the unit
  part("top").textContent = formatValue(withoutUnit, high);
  part("bottom").textContent = formatValue(withoutUnit, low);
  const span = formatDuration(reading.span);
  part("span").textContent = span;
  const values = shown.map(([, value]) => value);
  let extremes = "no readings";
  if (values.length) {
    const [min, max] = [Math.min(...values), Math.max(...values)].map((value) => formatValue(withoutUnit, value));
    extremes = min === max ? `always ${min}` : `min ${min}, max ${max}`;
  }
  part("extremes").textContent = extremes;
  element.querySelector("svg").setAttribute("aria-label", `${name}, last ${span}: ${extremes} ${reading.unit}`);
}
