// The diffraction-like graph: mean power over |g|, with d on top, the planes found and those of phases laid over.

import { ask } from "../api.js";
import { h, fixed, put } from "../dom.js";
import { on, set, state, trying } from "../store.js";
import { fontScale } from "../scalebar.js";
import { shownSpots } from "../spots.js";
import { shareOf } from "./spectrum.js";

const PLAIN_EDGE = { left: 58, right: 12, top: 34, bottom: 36 };
const edges = () => { const k = fontScale(); return Object.fromEntries(Object.entries(PLAIN_EDGE).map(([side, px]) => [side, px * k])); };
const D_TICKS = [12, 8, 6, 5, 4, 3.5, 3, 2.5, 2.2, 2, 1.8, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1, 1];

export function makeProfile() {
  const sheet = h("div", { class: "body", style: { overflow: "hidden" } });
  let profile = null;
  let EDGE = edges();
  let stale = true; // what nobody sees is not asked for
  let asked = 0;
  new ResizeObserver(() => (stale ? load() : refresh())).observe(sheet);

  async function load() {
    const mine = ++asked;
    profile = null;
    stale = sheet.offsetParent === null;
    if (stale) return;
    const found = state.input && (await trying(() => ask("profile", { name: state.input.name, frame: state.frame })));
    if (mine !== asked) return;
    profile = found;
    refresh();
  }

  function refresh() {
    const box = sheet.getBoundingClientRect();
    if (!profile || box.width < 80 || box.height < 60) return void put(sheet);
    const [width, height] = [box.width, box.height];
    EDGE = edges();
    const k0 = fontScale();
    const unit = profile.calibrated ? "1/nm" : "1/px";
    const g = profile.g_per_nm.map((one) => (profile.calibrated ? one : one / 10));
    const first = g.findIndex((one) => one > 0.04 * g.at(-1));
    const values = [...profile.intensity.slice(first), ...profile.background.slice(first)].filter((one) => one > 0);
    const [low, high] = [Math.log10(Math.min(...values)) - 0.05, Math.log10(Math.max(...values)) + 0.08];
    const x = (one) => EDGE.left + (one / g.at(-1)) * (width - EDGE.left - EDGE.right);
    const y = (one) => height - EDGE.bottom - ((Math.log10(Math.max(one, 1e-30)) - low) / (high - low)) * (height - EDGE.top - EDGE.bottom);
    const line = (rows) => rows.slice(first).map((one, k) => `${x(g[first + k]).toFixed(1)},${y(one).toFixed(1)}`).join(" ");
    const ticks = niceTicks(g.at(-1), Math.floor(width / (70 * k0)));
    const floor = height - EDGE.bottom;
    const cursor = h("line", { y1: EDGE.top, y2: floor, stroke: "var(--accent)", class: "hidden" });
    const said = h("text", { x: width - EDGE.right, y: EDGE.top + 13, "text-anchor": "end" }, "");
    put(sheet, h("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Mean power over |g|" },
      h("path", { class: "axis", d: `M${EDGE.left},${EDGE.top} V${floor} H${width - EDGE.right}` }),
      ticks.map((one) => [h("line", { class: "axis", x1: x(one), x2: x(one), y1: floor, y2: floor + 4 }), h("text", { x: x(one), y: floor + 15 * k0, "text-anchor": "middle" }, String(one))]),
      decades(low, high).map((power) => [h("line", { class: "axis", x1: EDGE.left - 4, x2: EDGE.left, y1: y(10 ** power), y2: y(10 ** power) }), h("text", { x: EDGE.left - 6, y: y(10 ** power) + 4, "text-anchor": "end" }, `10${raised(power)}`)]),
      h("text", { x: (EDGE.left + width) / 2, y: height - 5, "text-anchor": "middle" }, `|g| (${unit})`),
      h("text", { x: 12 * k0, y: (EDGE.top + floor) / 2, "text-anchor": "middle", transform: `rotate(-90 ${12 * k0} ${(EDGE.top + floor) / 2})` }, "mean power (counts²)"),
      profile.calibrated && dTicks(x, g.at(-1)), profile.calibrated && h("text", { x: EDGE.left - 6, y: EDGE.top - 7, "text-anchor": "end" }, "d (Å)"),
      marks(x, floor), overlayMarks(x, floor),
      h("polyline", { points: line(profile.background), fill: "none", stroke: "var(--warm)", "stroke-width": 1.2, "stroke-dasharray": "5 3" }),
      h("polyline", { points: line(profile.intensity), fill: "none", stroke: "var(--text)", "stroke-width": 1.2 }),
      cursor, said,
      h("rect", { class: "hit", x: EDGE.left, y: EDGE.top, width: width - EDGE.left - EDGE.right, height: floor - EDGE.top, onpointermove: (event) => {
        if (!profile) return; // the next is on its way
        const at = ((event.clientX - sheet.getBoundingClientRect().left - EDGE.left) / (width - EDGE.left - EDGE.right)) * g.at(-1);
        const k = g.reduce((best, one, i) => (Math.abs(one - at) < Math.abs(g[best] - at) ? i : best), 0);
        cursor.setAttribute("x1", x(g[k])); cursor.setAttribute("x2", x(g[k])); cursor.classList.remove("hidden");
        said.textContent = `${profile.calibrated ? `d ${fixed(10 / g[k], 3)} Å, ` : ""}|g| ${fixed(g[k], 3)} ${unit}: ${profile.intensity[k].toPrecision(3)} counts²`;
      }, onpointerleave: () => { cursor.classList.add("hidden"); said.textContent = ""; } })));
  }

  /** |g| of a spot on the axis: its run may have had another pixel size. */
  function place(spot) {
    const share = shareOf(profile.pixel_size_nm);
    return Math.hypot(spot.gx * share.x, spot.gy * share.y) / (profile.calibrated ? 1 : 10);
  }

  function marks(x, floor) {
    return shownSpots().map((spot) => {
      const picked = state.selected.includes(spot.row);
      return h("line", { x1: x(place(spot)), x2: x(place(spot)), y1: floor - (picked ? 60 : 14), y2: floor, stroke: spot.colour, "stroke-width": picked ? 3 : 1.8,
        style: { cursor: "pointer" }, onclick: () => set({ selected: [spot.row] }) }, h("title", {}, `spot ${spot.row}: ${spot.d_text} Å, ${spot.phase} ${spot.hkl}`));
    });
  }

  function overlayMarks(x, floor) {
    const unit = profile.calibrated ? 1 : shareOf(profile.pixel_size_nm).x / 10;
    return state.overlays.flatMap((overlay) => (overlay.rings || []).filter((one) => one.intensity === null || one.intensity >= overlay.weakest).map((one) =>
      h("line", { x1: x(unit * one.g_per_nm), x2: x(unit * one.g_per_nm), y1: EDGE.top, y2: floor, stroke: overlay.colour, "stroke-dasharray": "2 4" }, h("title", {}, `${overlay.phase} (${one.hkl.join(" ")})`))));
  }

  function dTicks(x, last) {
    let free = 0;
    return D_TICKS.filter((d) => 10 / d < 0.985 * last).map((d) => {
      const at = x(10 / d);
      if (at < free) return null;
      free = at + 30 * fontScale();
      return [h("line", { class: "axis", x1: at, x2: at, y1: EDGE.top, y2: EDGE.top - 4 }), h("text", { x: at, y: EDGE.top - 7, "text-anchor": "middle" }, String(d))];
    });
  }

  const beyond = () => profile && shownSpots().some((spot) => place(spot) > profile.g_per_nm.at(-1) / (profile.calibrated ? 1 : 10));
  on("input frame scale", load);
  on("result", () => (beyond() ? load() : refresh())); // a run may have looked further out
  on("selected threshold hiddenPhases onlyPhase overlays qLimit", refresh);
  return Object.assign(sheet, { svg: () => sheet.querySelector("svg") });
}

export function niceTicks(last, most) {
  const step = last / Math.max(most, 2);
  const power = 10 ** Math.floor(Math.log10(step));
  const nice = [1, 2, 5, 10].map((lead) => lead * power).find((one) => one >= step);
  return Array.from({ length: Math.floor(last / nice) + 1 }, (_, k) => Number((k * nice).toPrecision(6)));
}

function decades(low, high) {
  const powers = [];
  for (let power = Math.ceil(low); power <= high; power++) powers.push(power);
  const every = Math.ceil(powers.length / 5);
  return powers.filter((_, k) => k % every === 0);
}

function raised(power) { return String(power).replace(/[-\d]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]); }
