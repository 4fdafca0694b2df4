// Files: the folder, what was opened last, the queue of runs, and what the open file says of itself.

import { address, ask, tell, upload } from "../api.js";
import { h, fixed, megabytes, put, short, tabs } from "../dom.js";
import { on, say, set, state, trying } from "../store.js";

/** Show how far a run is; one of a single frame does not say. */
export function advance(bar, run) {
  bar.max = run.total;
  if (run.total > 1) bar.value = run.done; else bar.removeAttribute("value");
}

export function makeFiles(host, { open, refreshRuns }) {
  const listing = h("div");
  const recent = h("div");
  const picked = new Set();
  const files = h("div", { class: "sheet" }, listing, dropZone(), h("h3", {}, "Opened last"), recent);
  const queue = h("div", { class: "sheet" });
  const facts = h("div", { class: "sheet" });
  const sheets = tabs({ Files: files, Runs: queue, Info: facts }, { label: "files" });
  put(host, sheets.row, sheets.sheets);
  let folder = "";

  async function show(name = folder) {
    const found = await trying(() => ask("folder", { name }));
    if (!found) return;
    folder = found.name;
    put(listing,
      h("div", { class: "row" }, h("strong", { class: "cut grow", title: found.name || found.title }, found.title),
        found.parent !== null && h("button", { title: "The folder above", "aria-label": "The folder above", onclick: () => show(found.parent) }, "↑")),
      h("ul", { class: "list", "aria-label": "Folder" }, found.entries.map(entry)),
      found.entries.length === 0 && h("p", { class: "quiet" }, "Nothing here that can be read."));
    recents();
  }

  function entry(one) {
    const folderLike = one.kind === "folder";
    const box = !folderLike && h("input", { type: "checkbox", "aria-label": `Choose ${one.title} for a run`, title: "Choose for a run of several", checked: picked.has(one.name), onchange: (event) => { event.target.checked ? picked.add(one.name) : picked.delete(one.name); set({ picked: [...picked] }); } });
    return h("li", { class: "row" }, box, h("button", { class: "grow", "aria-current": String(one.name === state.input?.name), title: one.title, onclick: () => (folderLike ? show(one.name) : open(one.name)) },
      folderLike ? h("span", { class: "thumb", "aria-hidden": "true" }, h("svg", { viewBox: "0 0 24 24" }, h("path", { d: "M2.5 6.5v12h19v-10h-10l-2-2.5h-7z" }))) : h("img", { class: "thumb", loading: "lazy", alt: "", src: address("thumbnail", { name: one.name, at: one.time }), onerror: (event) => event.target.replaceWith(h("span", { class: "thumb", title: "cannot be shown" }, "–")) }),
      h("span", { class: "two" }, h("span", { class: "cut" }, one.title), h("small", {}, folderLike ? "folder" : one.kind === "series" ? "series of frames" : megabytes(one.bytes)))));
  }

  async function recents() {
    const found = (await trying(() => ask("recent"))) || [];
    put(recent, found.length ? h("ul", { class: "list" }, found.slice(0, 6).map((one) => h("li", {}, h("button", { class: "cut", title: one.name, onclick: () => open(one.name) }, one.name.split("/").at(-1))))) : h("p", { class: "quiet" }, "Nothing yet."));
  }

  function dropZone() {
    const input = h("input", { type: "file", class: "hidden", onchange: () => take(input.files) });
    return h("div", { class: "drop" }, "Drop a frame here, or ", h("button", { onclick: () => input.click() }, "choose one"), input);
  }

  async function take(given) {
    for (const file of given) {
      say(`Sending ${file.name} …`);
      const kept = await trying(() => upload(file));
      if (!kept) continue;
      say(`${file.name} is in the folder uploads.`);
      await show();
      await open(kept.name);
    }
  }

  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      document.body.classList.toggle("dropping", kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files);
    });
  }

  // --- runs ---

  // A card stays while its run does, so that it can be clicked and keeps the focus; what counts up is written into it.
  let built = "";
  let cards = [];
  function showRuns() {
    const { runs } = state;
    const now = JSON.stringify(runs.map(({ run, status, messages }) => [run, status, messages]));
    if (now !== built) {
      cards = runs.map(card);
      put(queue, runs.length ? null : h("p", { class: "quiet" }, "No run yet. Open a frame and choose Run."), cards);
      built = now;
    }
    runs.forEach((run, k) => {
      cards[k].classList.toggle("picked", run.name === state.input?.name);
      cards[k].querySelector(".said").textContent = said(run);
      const bar = cards[k].querySelector("progress");
      if (bar) advance(bar, run);
    });
  }

  function card(run) {
    return h("div", { class: "card", "data-status": run.status },
      h("button", { class: "entry", title: run.name, onclick: () => open(run.name) }, h("strong", { class: "cut grow" }, run.name.split("/").at(-1)), h("span", { class: { done: "good", failed: "bad", "partly failed": "bad" }[run.status] || "quiet" }, run.status)),
      run.status === "running" && h("progress", { "aria-label": `Progress of ${run.name}` }),
      h("div", { class: "quiet said" }),
      run.messages.map((message) => h("div", { class: "note bad" }, message)),
      h("div", { class: "row" },
        ["waiting", "running"].includes(run.status) && h("button", { onclick: () => change(run, "cancel") }, "Cancel"),
        ["failed", "partly failed"].includes(run.status) && h("button", { onclick: () => change(run, "retry") }, "Retry"),
        ["cancelled", "stopped"].includes(run.status) && h("button", { onclick: () => change(run, "retry") }, "Resume"),
        !["waiting", "running"].includes(run.status) && h("button", { title: "Forget this run and its results", onclick: () => change(run, "remove") }, "Remove")));
  }

  function said(run) {
    const parts = [];
    if (run.total > 1) parts.push(`${run.done} of ${run.total} frames`);
    if (run.seconds !== null && run.status !== "waiting") parts.push(`${fixed(run.seconds, 0)} s`);
    if (run.left_s !== null) parts.push(`about ${fixed(Math.max(run.left_s, 1), 0)} s left`);
    if (run.status === "done") parts.push(run.summary.phases || "no phase named");
    return parts.join(" · ");
  }

  async function change(run, action) {
    await trying(() => tell("run", { run: run.run, action }));
    refreshRuns();
  }

  // --- what the file says ---

  const WORDS = { high_tension_kv: ["Voltage", "kV"], exposure_s: ["Exposure", "s"], frame_interval_s: ["Frame interval", "s"], dwell_time_s: ["Dwell time", "s"], defocus_nm: ["Defocus", "nm"], spherical_aberration_mm: ["Cs", "mm"], dose_e_per_square_angstrom: ["Dose", "e/Å²"], stage_tilt_deg: ["Stage tilt", "°"], magnification: ["Magnification", "×"] };

  function showFacts() {
    const input = state.input;
    if (!input) return void put(facts, h("p", { class: "quiet" }, "Open a file to see what it says of itself."));
    const field = input.field_of_view_nm;
    const rows = [
      ["Format", input.format], ["Shape", `${input.frame_shape[1]} × ${input.frame_shape[0]} px`], ["Frames", input.n_frames], ["Pixels", input.dtype],
      ["Pixel size", input.pixel_size_nm ? `${short(input.pixel_size_nm[1], 6)} × ${short(input.pixel_size_nm[0], 6)} nm` : "unknown"],
      ["Its source", input.pixel_size_source], ["Its error", input.scale_sigma_percent === null ? "–" : `${short(input.scale_sigma_percent, 2)} %`],
      ["Field of view", field ? `${short(field[1])} × ${short(field[0])} nm` : "–"], ["Smallest d", input.nyquist_d_angstrom ? `${short(input.nyquist_d_angstrom)} Å` : "–"],
      ["Times", input.times_source === "none" ? "unknown" : `${fixed(input.first_time_s, 1)} to ${fixed(input.last_time_s, 1)} s`],
      ...Object.entries(input.metadata).map(([key, value]) => [WORDS[key]?.[0] || key.replaceAll("_", " "), typeof value === "number" ? `${short(value, 6)} ${WORDS[key]?.[1] || ""}` : value]),
    ];
    put(facts, h("h3", {}, input.title), h("p", { class: { green: "good", amber: "warm", red: "bad" }[input.badge.level] }, `Scale: ${input.badge.words}.`),
      h("dl", { class: "facts" }, rows.map(([key, value]) => [h("dt", {}, key), h("dd", {}, String(value))])), input.warnings.map((one) => h("p", { class: "note" }, one)));
  }

  on("runs input", showRuns);
  on("input", () => { showFacts(); for (const one of listing.querySelectorAll("[aria-current]")) one.setAttribute("aria-current", String(one.title === state.input?.title)); recents(); });
  showRuns();
  showFacts();
  show("");
  return { show, choose: sheets.choose };
}
