// A series: curves of each phase over the frames, d against frames, events; a click goes to the frame.

import { ask, pixels } from "../api.js";
import { paint } from "../colour.js";
import { h, fixed, put } from "../dom.js";
import { on, state, trying } from "../store.js";
import { fontScale } from "../scalebar.js";
import { niceTicks } from "./profile.js";

const PLAIN_EDGE = { left: 52, right: 12, top: 10, bottom: 34 };
const edges = () => { const k = fontScale(); return Object.fromEntries(Object.entries(PLAIN_EDGE).map(([side, px]) => [side, px * k])); };

export function makeSeries({ goTo }) {
  const sheet = h("div", { class: "body", style: { display: "grid", "grid-template-rows": "auto minmax(0, 1fr)", overflow: "hidden" } });
  const choice = h("select", { "aria-label": "What is shown over the frames", onchange: () => refresh() },
    h("option", { value: "area" }, "area of each phase (%)"), h("option", { value: "power" }, "fringe power (10⁻⁶ mean²)"), h("option", { value: "waterfall" }, "d against frames"), h("option", { value: "events" }, "events"));
  const plot = h("div", { style: { "min-height": 0, overflow: "auto" } });
  put(sheet, h("div", { class: "row", style: { padding: ".15rem .4rem" } }, choice), plot);
  let series = null;
  let fall = null;
  let version = null;
  let name = null; // whose curves are shown
  let asked = 0;
  let EDGE = edges();
  new ResizeObserver(() => refresh()).observe(plot);

  async function load() {
    const run = state.runs.find((one) => one.name === state.input?.name);
    const now = run && state.input.n_frames > 1 ? run.version : null;
    if (now === version && series) return;
    version = now;
    const mine = ++asked;
    const ended = now && !["waiting", "running"].includes(run.status);
    if (!ended || name !== state.input.name) {
      series = fall = null;
      refresh();
    }
    if (!ended) return;
    const query = { name: state.input.name };
    const found = await trying(() => ask("series", query));
    const picture = found && (await trying(() => pixels("waterfall", query)));
    if (mine !== asked) return;
    [name, series, fall] = [query.name, found, picture];
    refresh();
  }

  function refresh() {
    if (!state.input || state.input.n_frames < 2) return void put(plot, h("p", { class: "quiet", style: { padding: ".5rem" } }, "A single frame is no series."));
    if (!series) return void put(plot, h("p", { class: "quiet", style: { padding: ".5rem" } }, "Curves follow when a run of the series has ended."));
    const kinds = { area: () => curves("area_percent", "area_sigma_percent", "area (%)"), power: () => curves("power_ppm", "power_sigma_ppm", "power (10⁻⁶ mean²)"), waterfall, events };
    kinds[choice.value]();
  }

  /** Which of the analysed frames is shown: a run may have left some out, or joined several. */
  function shownPosition() {
    return series.frames.reduce((best, one, k) => (Math.abs(one - state.frame) < Math.abs(series.frames[best] - state.frame) ? k : best), 0);
  }

  function box() {
    const { width, height } = plot.getBoundingClientRect();
    EDGE = edges();
    const [left, right] = [EDGE.left, Math.max(width - EDGE.right, EDGE.left + 10)];
    const first = series.x[0];
    const span = series.x.at(-1) - first || 1;
    return { width, height, left, right, floor: height - EDGE.bottom, x: (one) => left + ((one - first) / span) * (right - left), first, span };
  }

  function frameAt(event, { left, right, first, span }) {
    const at = first + ((event.clientX - plot.getBoundingClientRect().left - left) / (right - left)) * span;
    return series.x.reduce((best, one, k) => (Math.abs(one - at) < Math.abs(series.x[best] - at) ? k : best), 0);
  }

  function shell(place, label, ...inside) {
    const { width, height, left, right, floor, x, first, span } = place;
    const ticks = niceTicks(span, Math.floor((right - left) / (60 * fontScale()))).map((one) => one + first);
    const now = series.x[shownPosition()] ?? first;
    return h("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, onclick: (event) => goTo(series.frames[frameAt(event, place)]), style: { cursor: "pointer" } },
      inside, h("path", { class: "axis", d: `M${left},${EDGE.top} V${floor} H${right}` }),
      ticks.map((one) => [h("line", { class: "axis", x1: x(one), x2: x(one), y1: floor, y2: floor + 4 }), h("text", { x: x(one), y: floor + 15 * fontScale(), "text-anchor": "middle" }, String(Number(one.toPrecision(6))))]),
      h("text", { x: (left + right) / 2, y: height - 4, "text-anchor": "middle" }, series.x_label),
      series.events.map((event) => h("line", { x1: x(series.x[event.position]), x2: x(series.x[event.position]), y1: EDGE.top, y2: floor, stroke: event.colour, "stroke-dasharray": "2 3" }, h("title", {}, `${event.text} ${event.kind}, frame ${event.frame}`))),
      h("line", { class: "playhead", x1: x(now), x2: x(now), y1: EDGE.top, y2: floor, stroke: "var(--accent)", "stroke-width": 2 }));
  }

  function curves(key, sigmaKey, label) {
    const place = box();
    if (place.width < 100 || place.height < 60) return;
    const top = Math.max(1e-9, ...series.evolutions.flatMap((one) => one[key].filter((v) => v !== null))) * 1.08;
    const y = (one) => place.floor - (one / top) * (place.floor - EDGE.top);
    const path = (values) => values.map((v, k) => (v === null ? "" : `${k && values[k - 1] !== null ? "L" : "M"}${place.x(series.x[k]).toFixed(1)},${y(v).toFixed(1)}`)).join("");
    put(plot, shell(place, label,
      niceTicks(top, 4).filter((one) => one <= top).map((one) => h("text", { x: place.left - 5, y: y(one) + 4, "text-anchor": "end" }, String(one))),
      h("text", { x: 11 * fontScale(), y: (EDGE.top + place.floor) / 2, "text-anchor": "middle", transform: `rotate(-90 ${11 * fontScale()} ${(EDGE.top + place.floor) / 2})` }, label),
      series.evolutions.map((one) => [
        one[key].map((v, k) => v !== null && one[sigmaKey][k] !== null && h("line", { x1: place.x(series.x[k]), x2: place.x(series.x[k]), y1: y(Math.max(v - one[sigmaKey][k], 0)), y2: y(v + one[sigmaKey][k]), stroke: one.colour, opacity: 0.5 })),
        h("path", { d: path(one[key]), fill: "none", stroke: one.colour, "stroke-width": 2 }, h("title", {}, one.phase)),
        one[key].map((v, k) => v !== null && h("circle", { cx: place.x(series.x[k]), cy: y(v), r: 2.4, fill: one.colour }))]),
      series.evolutions.map((one, k) => [h("rect", { x: place.left + 8, y: EDGE.top + (2 + 15 * k) * fontScale(), width: 11 * fontScale(), height: 11 * fontScale(), fill: one.colour }), h("text", { x: place.left + 9 + 14 * fontScale(), y: EDGE.top + (12 + 15 * k) * fontScale() }, one.text)])));
  }

  function waterfall() {
    const place = box();
    if (!fall || place.width < 100) return;
    const canvas = paint(fall, { low: fall.low, high: fall.high, gamma: 1, log: false, map: "inferno", invert: false });
    const [g0, g1] = [fall.g_first_per_nm, fall.g_last_per_nm];
    const y = (g) => EDGE.top + ((g - g0) / (g1 - g0)) * (place.floor - EDGE.top);
    let free = 0;
    const ticks = [6, 5, 4, 3.5, 3, 2.5, 2.2, 2, 1.8, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1, 1].filter((d) => 10 / d > g0 && 10 / d < g1).filter((d) => { const at = y(10 / d); if (at < free) return false; free = at + 15 * fontScale(); return true; });
    put(plot, shell(place, "d against frames",
      h("image", { href: canvas.toDataURL(), x: place.left, y: EDGE.top, width: place.right - place.left, height: place.floor - EDGE.top, preserveAspectRatio: "none", style: { "image-rendering": "pixelated" } }),
      ticks.map((d) => h("text", { x: place.left - 5, y: y(10 / d) + 4, "text-anchor": "end" }, String(d))), h("text", { x: 11 * fontScale(), y: (EDGE.top + place.floor) / 2, "text-anchor": "middle", transform: `rotate(-90 ${11 * fontScale()} ${(EDGE.top + place.floor) / 2})` }, "d (Å)")));
  }

  function events() {
    put(plot, h("div", { style: { padding: "0 .4rem" } }, h("p", { class: "quiet" }, series.drift), series.events.length ? h("table", { "aria-label": "Events" }, h("thead", {}, h("tr", {}, ["phase", "what", "frame", "time (s)", "between frames", "how much"].map((one) => h("th", {}, one)))),
      h("tbody", {}, series.events.map((event) => h("tr", { tabindex: "0", onclick: () => goTo(event.frame), onkeydown: (press) => { if (press.key === "Enter") goTo(event.frame); } }, h("td", {}, h("span", { class: "swatch", style: { background: event.colour } }), ` ${event.text}`), h("td", {}, event.kind), h("td", { class: "number" }, event.frame), h("td", { class: "number" }, event.time), h("td", {}, event.between), h("td", {}, event.value))))) : h("p", {}, "No event.")));
  }

  on("runs input result", load);
  on("frame", () => { const line = plot.querySelector(".playhead"); if (line && series) { const at = box().x(series.x[shownPosition()] ?? series.x[0]); line.setAttribute("x1", at); line.setAttribute("x2", at); } });
  return Object.assign(sheet, { svg: () => plot.querySelector("svg") });
}

export { fixed };
