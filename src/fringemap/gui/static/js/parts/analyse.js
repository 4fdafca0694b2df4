// The form of settings, made from what the server says of them; Run; and the sliders that act on what is there already.

import { ask, tell } from "../api.js";
import { h, fixed, put } from "../dom.js";
import { on, say, set, state, trying } from "../store.js";
import { advance } from "./files.js";

export async function makeAnalyse({ refreshRuns, showRuns, edit, phases }) {
  const fields = (await trying(() => ask("settings"))) || [];
  const inputs = new Map(fields.map((field) => [`${field.section}.${field.name}`, control(field)]));
  const run = h("button", { class: "main", title: "Analyse the open file, or all that are ticked in the list (I)" }, "Run");
  const status = h("div", { "aria-live": "polite" });
  const sensitivity = h("div");
  // The server says what is wrong with a value; a browser would say nothing of one that is folded away.
  const sheet = h("form", { class: "sheet", novalidate: true, onsubmit: (event) => { event.preventDefault(); start(); } },
    h("div", { class: "row" }, run, h("div", { class: "grow cut", id: "run-on" })), status, sensitivity,
    h("h3", {}, "Settings"), fields.filter((f) => f.often).map(row),
    h("details", {}, h("summary", {}, "All settings"), sections(fields.filter((f) => !f.often))));

  function control(field) {
    const id = `set-${field.section}-${field.name}`;
    const about = { id, title: helpOf(field), "aria-describedby": undefined };
    const value = field.value ?? "";
    if (field.kind === "choice") return h("select", about, field.choices.map((one) => h("option", { value: one, selected: one === value }, one)));
    if (field.kind === "switch") return h("input", { ...about, type: "checkbox", checked: Boolean(value) });
    if (field.kind === "number" || field.kind === "whole") return h("input", { ...about, type: "number", step: field.kind === "whole" ? "1" : "any", min: field.minimum, max: field.maximum, value: value === null ? "" : value, placeholder: field.section === "read" ? "from the file" : "by itself" });
    const list = field.name === "phases" ? { list: "known-phases" } : {};
    return h("input", { ...about, ...list, type: "text", value: Array.isArray(value) ? value.join(", ") : value, placeholder: { phases: "whole library", elements: "any, e.g. Li, C, O, F", frames: "all, or 0:100:2" }[field.name] || "", spellcheck: "false", autocomplete: "off" });
  }

  function helpOf(field) {
    const range = field.minimum === null ? "" : field.maximum === null ? `; from ${field.minimum}` : `; ${field.minimum} to ${field.maximum}`;
    return `${field.help}${field.unit ? ` [${field.unit}]` : ""}${range}. ${field.flag}`;
  }

  function row(field) {
    const input = inputs.get(`${field.section}.${field.name}`);
    return h("div", { class: field.kind === "list" ? "field wide" : "field" },
      h("label", { for: input.id, title: input.title }, field.label, field.unit && h("span", { class: "unit" }, ` (${field.unit})`)), input);
  }

  function sections(rest) {
    return [...new Set(rest.map((f) => f.section))].map((name) => [h("h3", {}, name[0].toUpperCase() + name.slice(1)), rest.filter((f) => f.section === name).map(row)]);
  }

  function values() {
    const out = {};
    for (const field of fields) {
      const input = inputs.get(`${field.section}.${field.name}`);
      let value = field.kind === "switch" ? input.checked : input.value;
      if (field.kind === "list") value = input.value.split(",").map((one) => one.trim()).filter(Boolean);
      if (field.kind === "number" || field.kind === "whole") value = input.value === "" ? null : Number(input.value);
      if (value === null && field.default !== null) value = field.default;
      (out[field.section] ??= {})[field.name] = value;
    }
    return out;
  }

  let posting = false;
  async function start() {
    if (posting) return;
    posting = true;
    showStatus();
    const names = state.picked?.length ? state.picked : state.input ? [state.input.name] : [];
    const added = await trying(() => tell("runs", { names, settings: values() }));
    posting = false;
    showStatus();
    if (!added) return;
    set({ threshold: null });
    say(added.length > 1 ? `${added.length} files are in the queue.` : "The run is in the queue.");
    if (added.length > 1) showRuns();
    refreshRuns();
  }

  function showStatus() {
    const many = state.picked?.length || 0;
    run.disabled = posting || (!many && !state.input);
    run.textContent = many > 1 ? `Run ${many} files` : "Run";
    const names = many ? state.picked.map((name) => name.split("/").at(-1)) : state.input ? [state.input.title] : [];
    const where = sheet.querySelector("#run-on");
    where.textContent = where.title = names.length ? `on ${names.join(", ")}` : "Open a file first";
    const mine = state.runs.find((one) => one.name === state.input?.name);
    const now = JSON.stringify([mine?.run, mine?.status, mine?.messages]);
    if (now !== built) showRun(mine);
    built = now;
    if (!mine || !open(mine)) return;
    advance(status.querySelector("progress"), mine);
    status.querySelector(".quiet").textContent = `${mine.total > 1 ? `${mine.done} of ${mine.total} frames · ` : ""}${fixed(mine.seconds || 0, 0)} s${mine.left_s === null ? "" : ` · about ${fixed(Math.max(mine.left_s, 1), 0)} s left`}`;
  }

  let built = "";
  const open = (one) => ["waiting", "running"].includes(one.status);
  function showRun(mine) {
    put(status, mine && open(mine) && h("div", { class: "card" },
      h("div", { class: "row" }, h("strong", { class: "grow" }, mine.status), h("button", { type: "button", onclick: async () => { await trying(() => tell("run", { run: mine.run, action: "cancel" })); refreshRuns(); } }, "Cancel")),
      h("progress", { "aria-label": "Progress" }), h("div", { class: "quiet" })),
      mine && ["failed", "partly failed"].includes(mine.status) && mine.messages.slice(0, 3).map((one) => h("div", { class: "note bad" }, one)),
      mine && mine.status === "stopped" && h("div", { class: "note" }, "This run was stopped when the server ended. ", h("button", { type: "button", onclick: async () => { await trying(() => tell("run", { run: mine.run, action: "retry" })); refreshRuns(); } }, "Resume")));
  }

  // --- sliders on what is computed ---

  function showSliders() {
    if (!state.result) return void put(sensitivity);
    const scores = state.result.spots.map((spot) => spot.score).filter((one) => one !== null);
    if (!scores.length) return void put(sensitivity);
    const [low, high] = [Math.min(...scores), Math.max(...scores, Math.min(...scores) + 1)];
    const words = () => {
      const least = state.threshold ?? low;
      const left = state.result.spots.filter((spot) => !(spot.score < least)).length;
      return `${left} of ${state.result.spots.length} spots · at most ${(10 ** -least).toPrecision(1)} false ones a frame`;
    };
    const said = h("div", { class: "quiet" }, words());
    const slider = h("input", { type: "range", min: "0", max: "1", step: "0.005", value: state.threshold === null ? 1 : 1 - Math.sqrt((state.threshold - low) / (high - low)), "aria-label": "Sensitivity", oninput: () => {
      const t = 1 - Number(slider.value);
      set({ threshold: t === 0 ? null : low + t * t * (high - low) });
      said.textContent = words();
      apply.disabled = state.threshold === null;
    } });
    const apply = h("button", { type: "button", disabled: state.threshold === null, title: "Find names and maps anew from the spots that are left; can be undone", onclick: async () => { if (await edit({ op: "threshold", score: state.threshold })) set({ threshold: null }); } }, "Name anew");
    const q = h("input", { type: "range", min: "0", max: "1", step: "0.01", value: Math.sqrt(Math.min(state.qLimit, 1)), "aria-label": "Largest q-value", oninput: () => { set({ qLimit: Number(q.value) ** 2 }); qSaid.textContent = state.qLimit.toFixed(3); } });
    const qSaid = h("span", { class: "number" }, state.qLimit.toFixed(3));
    put(sensitivity, h("h3", {}, "On what is found"),
      h("label", { class: "field", title: "Leaves weak spots out at once. For weaker ones than were found, raise False spots below and run again." }, "Sensitivity", slider), h("div", { class: "row wrap" }, said, apply),
      h("label", { class: "field", title: "Phases whose expected share of false names is larger are left out at once" }, h("span", {}, "Significance: q up to ", qSaid), q));
  }

  on("runs input picked", showStatus);
  on("result", showSliders);
  put(document.body.querySelector("#known-phases") || document.body.appendChild(h("datalist", { id: "known-phases" })), phases.map((one) => h("option", { value: one.name }, one.formula)));
  showStatus();
  function setModel(name) {
    inputs.get("spots.detector").value = "unet";
    inputs.get("spots.model").value = name;
    say(name ? `The next run looks for spots with the model ${name}.` : "The next run looks for spots with the model that comes with fringemap.");
  }

  return { sheet, start, values, setModel };
}
