// Live: a folder that fills up. Frames, curves and calls as they come.

import { address, ask, tell } from "../api.js";
import { h, fixed, formula, put } from "../dom.js";
import { niceTicks } from "../panes/profile.js";
import { on, say, state, trying } from "../store.js";

const POLL_MS = 900;
const LATEST = 30;
const [WIDTH, HEIGHT] = [290, 150];
const EDGE = { left: 34, right: 6, top: 8, bottom: 26 };

export function makeLive({ open, settings }) {
  const sheet = h("div", { class: "sheet", id: "live-sheet" });
  const folder = h("input", { type: "text", "aria-label": "Folder to watch", placeholder: "the whole folder", title: "Folder, below the one that this page shows, to which frames are written", onkeydown: (event) => event.stopPropagation() });
  const rules = h("textarea", { rows: "3", "aria-label": "Rules, one a line", placeholder: "Li appears\nLiF below half\nLi covers 20 %", style: { width: "100%", resize: "vertical", background: "var(--panel)", border: "1px solid var(--line)", "border-radius": "5px" }, title: "Each calls out once", onkeydown: (event) => event.stopPropagation() });
  const follow = h("input", { type: "checkbox", checked: true });
  const start = h("button", { class: "main", title: "Analyse frames as they arrive, with the settings of the tab Analyse", onclick: begin }, "Watch");
  const stop = h("button", { title: "End the watch; the results are written then. Once more ends at once", onclick: () => act({ action: "stop" }) }, "Stop");
  const standing = h("div", { "aria-live": "polite", id: "live-standing" });
  const curves = h("div");
  const calls = h("div", { "aria-live": "assertive" });
  const frames = h("ul", { class: "list", "aria-label": "Frames, the last first" });
  let live = null;
  let lines = [];
  let shown = "";
  let timer = null;
  let opening = false;
  let turn = 0;
  put(sheet, h("label", { class: "field" }, "Folder", folder), h("label", { class: "field wide" }, "Call out when", rules),
    h("div", { class: "row" }, start, stop, h("label", { class: "row grow", title: "Open each new frame" }, follow, "Follow")), standing, calls, curves, frames);

  async function begin() {
    lines = [];
    shown = "";
    await act({ action: "start", folder: folder.value.trim(), rules: rules.value.split("\n"), settings: settings() });
  }

  async function act(body) {
    const now = await trying(() => tell("live", body));
    if (now === undefined) return;
    lines = [];
    take(now);
    load();
  }

  async function load() {
    clearTimeout(timer);
    const mine = ++turn;
    const now = await trying(() => ask("live", { after: lines.length }));
    if (mine !== turn) return; // asked again meanwhile; its lines would come twice
    if (now !== undefined) take(now);
    // Calls and new frames come whatever tab is shown.
    const busy = live && ["watching", "stopping"].includes(live.status);
    if (busy || (now === undefined && live && state.live)) timer = setTimeout(load, POLL_MS);
  }

  function take(now) {
    if (live && now && now.started !== live.started) lines = [];
    const before = live?.status;
    const calls = live && now?.started === live.started ? now.calls.slice(live.calls.length) : [];
    live = now;
    if (live) lines = [...lines, ...live.lines].slice(0, live.n_frames);
    refresh();
    if (live && before === "stopping" && live.status === "done") say("The watch is over; its results are written.", "good");
    followNewest().then(() => { if (calls.length && !state.live) say(calls.map((one) => one.words).join(" · "), "warm"); });
  }

  async function followNewest() {
    const newest = lines.at(-1);
    if (!follow.checked || !newest || newest.file === shown || opening || live.status !== "watching") return;
    opening = true;
    shown = newest.file;
    await open(newest.file, { at: newest.frame });
    opening = false;
  }

  const WORDS = { watching: "Watching", stopping: "Writing the results", done: "Over", failed: "Failed", ended: "Ended" };

  function refresh() {
    const busy = live && ["watching", "stopping"].includes(live.status);
    start.disabled = Boolean(busy);
    stop.disabled = !busy;
    stop.textContent = live?.status === "stopping" ? "End now" : "Stop";
    if (!live) return void put(standing, h("p", { class: "quiet" }, "No folder is watched. A file counts when it has stayed the same for a second."));
    put(standing, h("p", {}, h("strong", {}, WORDS[live.status]), ` ${live.name || "the whole folder"}: ${live.n_frames} ${live.n_frames === 1 ? "frame" : "frames"}.`),
      busy && h("progress", { "aria-label": "At work" }), live.message && h("p", { class: live.status === "failed" ? "note bad" : "note" }, live.message),
      live.status === "done" && live.n_frames > 0 && h("a", { href: address("live/results"), download: "live-results.zip" }, "Results (zip)"));
    put(calls, live.calls.map((one) => h("p", { class: "note", role: "alert" }, `${one.words}`)));
    drawCurves();
    put(frames, lines.slice(-LATEST).reverse().map((line) => h("li", {}, h("button", { title: `Open ${line.file}`, onclick: () => open(line.file, { at: line.frame }) },
      h("span", { class: "two grow" }, h("span", { class: "cut" }, line.name), h("small", {}, `${line.phases.map((one) => `${formula(one.phase)}${one.area_percent === null ? "" : ` ${fixed(one.area_percent, 1)} %`}`).join(", ") || "no phase"} · ${line.n_spots} ${line.n_spots === 1 ? "spot" : "spots"}, ${line.n_unknown} unknown`))))));
  }

  function drawCurves() {
    if (!live.curves.length) return void put(curves);
    const n = Math.max(...live.curves.map((one) => one.area_percent.length));
    const top = Math.max(1, ...live.curves.flatMap((one) => one.area_percent.filter((v) => v !== null))) * 1.05;
    const [right, floor] = [WIDTH - EDGE.right, HEIGHT - EDGE.bottom];
    const x = (k) => EDGE.left + (n > 1 ? k / (n - 1) : 0.5) * (right - EDGE.left);
    const y = (value) => floor - (value / top) * (floor - EDGE.top);
    const last = (n - 1) * live.step + 1;
    put(curves, h("h3", {}, "Area (%) over the frames"),
      h("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "Area of each phase in percent over the frames", style: { height: "auto" } },
        h("path", { class: "axis", d: `M${EDGE.left},${EDGE.top} V${floor} H${right}` }),
        niceTicks(top, 3).filter((one) => one <= top).map((one) => h("text", { x: EDGE.left - 4, y: y(one) + 4, "text-anchor": "end" }, String(one))),
        h("text", { x: x(0), y: floor + 13, "text-anchor": n > 1 ? "start" : "middle" }, "1"), n > 1 && h("text", { x: right, y: floor + 13, "text-anchor": "end" }, String(last)), n > 1 && h("text", { x: (EDGE.left + right) / 2, y: floor + 21, "text-anchor": "middle" }, "frame"),
        live.curves.map((one) => [h("path", { d: one.area_percent.map((v, k) => (v === null ? "" : `${k && one.area_percent[k - 1] !== null ? "L" : "M"}${x(k).toFixed(1)},${y(v).toFixed(1)}`)).join(""), fill: "none", stroke: one.colour, "stroke-width": 2 }),
          n < 60 && one.area_percent.map((v, k) => v !== null && h("circle", { cx: x(k), cy: y(v), r: 2.2, fill: one.colour }))])),
      h("div", { class: "row wrap" }, live.curves.map((one) => h("span", { class: "row" }, h("span", { class: "swatch", style: { background: one.colour } }), one.text))));
  }

  on("live", () => { if (state.live) load(); });
  refresh();
  return { sheet };
}
