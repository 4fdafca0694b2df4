// Puts the page together: panes, parts, keys, and the way from a file to what is shown of it.

import { ask, tell } from "./api.js";
import { h, put, tabs } from "./dom.js";
import { makeAnalyse } from "./parts/analyse.js";
import { makeBar } from "./parts/bar.js";
import { showCalibration, showExport, showHelp } from "./parts/dialogs.js";
import { makeFiles } from "./parts/files.js";
import { makeLabel } from "./parts/label.js";
import { makeLive } from "./parts/live.js";
import { makePhases } from "./parts/phases.js";
import { makeTeach } from "./parts/teach.js";
import { makeFrame } from "./panes/frame.js";
import { makeMap } from "./panes/map.js";
import { makeProfile } from "./panes/profile.js";
import { makeSeries } from "./panes/series.js";
import { makeSpectrum } from "./panes/spectrum.js";
import { makeTable } from "./panes/table.js";
import { on, say, set, state, trying } from "./store.js";

const FAST_MS = 400;
const SLOW_MS = 4000;
const PLAY_MS = 200;
let forward = 1; // the way frames are turned: the next one is made ready
const times = (window.fringemapTimes = []); // from a key press, or a click, to the painted frame and diffractogram [ms]

const frame = makeFrame();
const spectrum = makeSpectrum({ edit });
const map = makeMap();
const table = makeTable();
const profile = makeProfile();
const series = makeSeries({ goTo });
const lower = tabs({ Spots: table, Profile: profile, Series: series }, { label: "numbers" });
const lowerPane = h("section", { class: "pane lower", "aria-label": "Numbers" }, lower.row, lower.sheets);
put(document.getElementById("panes"), frame.element, spectrum.element, map.element, lowerPane);
put(document.getElementById("foot"), h("span", { class: "message grow cut" }, "Open a frame to begin; ? shows the keys."), h("span", { class: "tool quiet" }), h("span", { class: "timing quiet" }));
for (const view of [frame, spectrum, map]) view.clear("No file open");

// The map is over the frame, so both show the same part of it.
frame.onMove = () => map.follow(frame);
map.onMove = () => frame.follow(map);

const files = makeFiles(document.getElementById("left"), { open, refreshRuns });
const phaseList = (await trying(() => ask("phases"))) || [];
const phases = makePhases({ edit, phases: phaseList, showCandidates: true });
const analyse = await makeAnalyse({ refreshRuns, showRuns: () => files.choose("Runs"), edit, phases: phaseList });
const teach = makeTeach({ useForAnalysis: (name) => { analyse.setModel(name); right.choose("Analyse"); } });
const label = makeLabel({ spectrum });
const live = makeLive({ open, settings: analyse.values });
const right = tabs({ Phases: phases.sheet, Analyse: analyse.sheet, Label: label.sheet, Teach: teach.sheet, Live: live.sheet }, {
  label: "analysis", onChoose: (name) => set({ labelling: name === "Label", teaching: name === "Teach", live: name === "Live" }),
});
put(document.getElementById("right"), right.row, right.sheets);

const actions = {
  left: () => document.getElementById("house").classList.toggle("no-left"),
  undo: () => edit({ op: "undo" }),
  redo: () => edit({ op: "redo" }),
  theme: () => wear(document.documentElement.dataset.theme === "dark" ? "light" : "dark"),
  help: () => showHelp({ sample: drawSample }),
  export: () => (state.input ? showExport({ views: { frame, diffractogram: spectrum, map }, profile, series }) : say("Open a file first.")),
  calibrate: () => state.input && showCalibration({ phases: phaseList, taken: rescaled }),
  play,
};
makeBar(document.getElementById("bar"), { goTo, actions });
wear(localStorage.getItem("fringemap-theme") || (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark"));

function wear(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("fringemap-theme", theme);
}

// --- from a file to what is shown ---

let opened = 0;
async function open(name, { at = 0 } = {}) {
  const mine = ++opened;
  const input = await trying(() => ask("input", { name }));
  if (!input || mine !== opened) return;
  stop();
  set({ input, frame: Math.min(at, input.n_frames - 1), result: null, selected: [], region: null, onlyPhase: null, hiddenPhases: new Set(), threshold: null, tool: "select", calibrating: null });
  for (const view of [frame, spectrum, map]) {
    view.look.auto = true;
    view.expected = input.frame_shape;
    view.full = view.centre = null;
  }
  spectrum.expected = null;
  remember();
  say(input.warnings[0] || `${input.title}: ${input.frame_shape[1]} × ${input.frame_shape[0]} px, ${input.n_frames === 1 ? "one frame" : `${input.n_frames} frames`}.`, input.warnings.length ? "warm" : "");
  await showFrame();
  await refreshRuns();
}

/** Ask for frame and diffractogram at once; note how long it takes until both are painted. */
async function showFrame(began = performance.now()) {
  const query = { name: state.input.name, frame: state.frame, scale: state.input.pixel_size_nm?.[0] };
  const shown = [frame.show("frame", query), showSpectrum(query)];
  loadResult();
  await Promise.all(shown);
  requestAnimationFrame(() => setTimeout(() => {
    times.push(performance.now() - began);
    document.querySelector("#foot .timing").textContent = `shown in ${Math.round(times.at(-1))} ms`;
    document.body.dataset.shown = `${state.input.name}#${state.frame}`;
  }));
  map.look = { ...frame.look };
  await map.show("frame", query);
  const next = state.frame + forward;
  if (query.frame === state.frame && next >= 0 && next < state.input.n_frames) ask("ahead", { ...query, frame: next }).catch(() => {});
}

function showSpectrum(query = { name: state.input.name, frame: state.frame }) {
  if (!state.region) return spectrum.show("spectrum", query);
  const { top, left, side } = state.region;
  return spectrum.show("region", { ...query, region_top: top, region_left: left, side });
}

async function goTo(at, began = performance.now()) {
  if (!state.input) return;
  const next = Math.min(Math.max(at, 0), state.input.n_frames - 1);
  if (next === state.frame) return;
  forward = Math.sign(next - state.frame);
  set({ frame: next, selected: [] });
  remember();
  await showFrame(began);
}

let wanted = 0;
async function loadResult() {
  const mine = ++wanted;
  const { name } = state.input;
  const at = state.frame;
  const result = await trying(() => ask("result", { name, frame: at }));
  if (mine !== wanted || result === undefined || state.input.name !== name) return;
  const kept = state.selected.filter((row) => result && row < result.spots.length);
  set({ result, selected: kept });
}

// While a square is dragged, one question is on its way and one waits: the last.
let asking = false;
let again = false;
on("region", async () => {
  if (!state.input) return;
  if (asking) { again = true; return; }
  asking = true;
  do {
    again = false;
    const began = performance.now();
    await showSpectrum();
    document.querySelector("#foot .timing").textContent = state.region ? `region in ${Math.round(performance.now() - began)} ms` : "";
    (window.fringemapRegionTimes ??= []).push(performance.now() - began);
  } while (again);
  asking = false;
});

function rescaled(input) {
  if (input.name !== state.input.name) return;
  set({ input, scale: {} });
  say(`Pixel size: ${input.badge.words}`);
}
on("scale", () => { if (state.input) showFrame(); });

async function edit(correction) {
  if (!state.input || !state.result) return void say("Run the analysis first; then its spots can be corrected.");
  const kept = await trying(async () => {
    say("Finding names and maps anew …");
    const { to, ...rest } = correction;
    return tell("correct", { name: state.input.name, frame: state.frame, ...rest, ...(to ? { to_gx: to.gx, to_gy: to.gy } : {}) });
  });
  if (!kept) return false;
  if (["delete", "undo", "redo"].includes(correction.op)) set({ selected: [] });
  await loadResult();
  say({ undo: "Taken back.", redo: "Done again." }[correction.op] || "Corrected; names and maps follow.");
  return true;
}

async function drawSample() {
  say("Drawing a sample frame; this takes some seconds …");
  const made = await trying(() => tell("sample", {}));
  if (!made) return;
  document.querySelector("dialog")?.close();
  await files.show();
  await open(made.name);
}

// --- runs ---

let timer = null;
const seen = new Map();
async function refreshRuns() {
  clearTimeout(timer);
  const runs = await trying(() => ask("runs"));
  if (runs) {
    const mine = runs.find((run) => run.name === state.input?.name);
    const changed = mine && seen.get(mine.run) !== mine.version;
    if (JSON.stringify(runs) !== JSON.stringify(state.runs)) set({ runs });
    for (const run of runs) {
      const before = seen.get(`status ${run.run}`);
      if (before && before !== run.status && run.status === "done" && run === mine && !analyse.sheet.classList.contains("hidden")) right.choose("Phases");
      if (before && before !== run.status && !["waiting", "running"].includes(run.status)) say(`${run.name}: ${run.status}${run.messages.length ? `: ${run.messages[0]}` : ""}`, run.status === "done" ? "good" : "bad");
      seen.set(`status ${run.run}`, run.status);
      seen.set(run.run, run.version);
    }
    if (changed) loadResult();
  }
  const busy = (runs || []).some((run) => ["waiting", "running"].includes(run.status));
  timer = setTimeout(refreshRuns, busy ? FAST_MS : SLOW_MS);
}

// --- playing ---

function play() { if (state.playing) stop(); else if (state.input?.n_frames > 1) { set({ playing: true }); next(++loop); } }
function stop() { if (state.playing) set({ playing: false }); }
let loop = 0;
async function next(mine) {
  while (mine === loop && state.playing && state.input) {
    const began = performance.now();
    await goTo((state.frame + 1) % state.input.n_frames, began);
    await new Promise((resume) => setTimeout(resume, Math.max(0, PLAY_MS - (performance.now() - began))));
  }
}

// --- keys ---

const alone = (view) => () => view.toggleAlone();
const tool = (name) => () => set({ tool: state.tool === name ? "select" : name });
const KEYS = {
  " ": () => play(), Home: () => goTo(0), End: () => goTo(Infinity), f: alone(spectrum), m: alone(map), g: alone(frame),
  o: () => set({ onlyPhase: null, hiddenPhases: new Set() }), s: () => spectrum.element.querySelector(".head button").click(), r: () => frame.nextRegion(),
  n: tool("add"), v: tool("move"), x: tool("delete"), i: () => { right.choose("Analyse"); analyse.start(); }, c: () => actions.calibrate(), e: () => actions.export(), b: () => actions.left(), "?": () => actions.help(),
  Delete: () => { const row = state.selected.at(-1); if (row !== undefined) edit({ op: "delete", ...spectrum.spotPlace(state.result.spots[row]) }); },
  Escape: () => { state.calibrating = null; set({ selected: [], tool: "select" }); },
};
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input:not([type=range]):not([type=checkbox]), textarea, select, dialog")) return;
  if ((event.ctrlKey || event.metaKey) && !event.altKey) {
    const action = { z: event.shiftKey ? actions.redo : actions.undo, y: actions.redo }[event.key.toLowerCase()];
    if (action) { event.preventDefault(); action(); }
    return;
  }
  if (event.altKey) return;
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step && !event.target.closest("[type=range]")) { event.preventDefault(); stop(); goTo(state.frame + step * (event.shiftKey ? 10 : 1)); return; }
  const action = KEYS[event.key];
  if (!action || (event.key === " " && event.target.closest("button, [type=checkbox], [type=range], tr"))) return;
  event.preventDefault();
  if (!event.repeat) action();
});
on("tool", () => {
  document.querySelector("#foot .tool").textContent = { add: "Click where a spot is (N ends it)", move: "Drag a spot (V ends it)", delete: "Click a spot to remove it (X ends it)" }[state.tool] || "";
  spectrum.stage.style.cursor = state.tool === "select" ? "" : "crosshair";
});

// --- what is open is in the address: a reload shows it again ---

function remember() {
  const place = new URLSearchParams({ open: state.input.name, ...(state.frame ? { frame: state.frame } : {}) });
  history.replaceState(null, "", `#${place}`);
  document.title = `${state.input.title} – fringemap`;
}

if (location.search) history.replaceState(null, "", location.pathname + location.hash); // the token stays in the cookie
const place = new URLSearchParams(location.hash.slice(1));
if (place.get("open")) await open(place.get("open"), { at: Number(place.get("frame")) || 0 });
else await refreshRuns();
document.body.dataset.ready = "yes";
Object.assign(window, { fringemap: { state, frame, spectrum, map, set, label } });
