// Teach: what is labelled, fine-tuning with what it gained, and cards of all models with the way back.

import { ask, tell } from "../api.js";
import { h, fixed, put } from "../dom.js";
import { on, say, state, trying } from "../store.js";

const FAST_MS = 700;
const NARROW = { "padding-left": ".2rem", "padding-right": ".2rem" };

export function makeTeach({ useForAnalysis }) {
  const sheet = h("div", { class: "sheet", id: "teach-sheet" });
  const head = h("div");
  const standing = h("div", { "aria-live": "polite", id: "teach-standing" });
  const models = h("div");
  let known = null;
  let timer = null;
  let status = null;
  const given = { epochs: "", minutes: "", drawn: "" };
  put(sheet, head, standing, models);

  async function load() {
    clearTimeout(timer);
    const now = await trying(() => ask("teach"));
    if (now) take(now);
    if (now?.standing.status === "running") timer = setTimeout(load, FAST_MS);
  }

  function take(now) {
    const ended = status === "running" && now.standing.status !== "running";
    status = now.standing.status;
    const changed = !known || ended || JSON.stringify([now.labelled, now.models, now.current, now.standing.status]) !== JSON.stringify([known.labelled, known.models, known.current, known.standing.status]);
    known = now;
    showStanding();
    if (!changed) return;
    showHead();
    showModels();
    if (ended) say(`Fine-tuning: ${now.standing.status}. ${now.standing.message}`, now.standing.taken ? "good" : "");
  }

  async function act(path, body) {
    const now = await trying(() => tell(path, body));
    if (!now) return;
    take(now);
    load();
  }

  const number = (text) => (text === "" ? null : Number(text));
  const start = () => act("teach", Object.fromEntries(Object.entries(given).map(([key, text]) => [key, number(text)])));

  function showHead() {
    const running = known.standing.status === "running";
    const field = (key, words, unit, placeholder, title) => h("label", { class: "field", title }, h("span", {}, words, unit && h("span", { class: "unit" }, ` (${unit})`)), h("input", { type: "number", min: "0", step: "any", value: given[key], placeholder, "aria-label": unit ? `${words} in ${unit}` : words, oninput: (event) => { given[key] = event.target.value; } }));
    const few = known.n_sources < 2;
    put(head,
      h("h3", {}, "Labels"),
      known.labelled.length ? h("table", { "aria-label": "Labelled frames" }, h("thead", {}, h("tr", {}, [["file"], ["frame"], ["spots", "Circles"], ["faint", "Circles to ignore"], ["brush", "Strokes of brush and eraser"]].map(([one, title], k) => h("th", { class: k ? "number" : "", style: NARROW, title }, one)))),
        h("tbody", {}, known.labelled.map((row) => h("tr", { title: row.problem || row.source }, h("td", { class: `cut ${row.problem ? "bad" : ""}`, style: { "max-width": "6.4rem", ...NARROW } }, row.source), h("td", { class: "number", style: NARROW }, row.frame + 1), ...["spots", "ignored", "strokes"].map((one) => h("td", { class: "number", style: NARROW }, row[one] ?? "–"))))))
        : h("p", { class: "quiet" }, "Nothing is labelled yet. The tab Label marks spots."),
      known.missing.length ? h("div", { class: "note" }, h("p", {}, `Fine-tuning needs ${known.missing.join(", ")}, which ${known.missing.length > 1 ? "are" : "is"} not installed. Install with`), h("pre", { class: "words", style: { "font-family": "monospace" } }, known.how_to_install), h("p", {}, "and start the page again."))
        : [h("div", { class: "row", style: { "margin-top": ".5rem" } }, h("button", { class: "main", style: { flex: "none" }, disabled: running || few, title: "Train the model in use on with these labels, on the CPU, at low priority", onclick: start }, "Fine-tune"),
            h("span", { class: "quiet grow" }, few ? "Label frames of two files or more: one is held out to see what is gained." : "A quarter of the files, one or more, is held out.")),
          h("details", {}, h("summary", {}, "Settings"),
            field("epochs", "Rounds at most", "", "12", "Each shows all labels several times"), field("minutes", "Time at most", "min", "15", "Then the best so far is taken"), field("drawn", "Drawn patterns mixed in", "", "24 or more", "They keep the model from forgetting other specimens"))]);
  }

  function showStanding() {
    const { status: now, step, done, total, message, model, taken } = known.standing;
    if (now === "none") return void put(standing);
    if (now === "running") return void put(standing, h("div", { class: "card" },
      h("div", { class: "row" }, h("strong", { class: "grow cut" }, step), h("button", { onclick: () => act("teach/change", { action: "cancel" }) }, "Cancel")),
      h("progress", { max: Math.max(total, 1), ...(total ? { value: done } : {}), "aria-label": "Progress of the fine-tuning" }),
      h("div", { class: "quiet" }, total ? `${done} of ${total}` : "starting …")));
    if (now === "cancelled") return void put(standing, h("p", { class: "note" }, "Cancelled. The model in use is the one before."));
    if (now === "failed") return void put(standing, h("p", { class: "note bad" }, message));
    put(standing, h("p", { class: "note" }, `${model}: ${message}. `, taken ? "It is in use now." : "The model before stays in use; the new one is in the list."));
  }

  function showModels() {
    put(models, h("h3", {}, "Models"),
      known.models.length ? h("div", { class: "row", style: { "margin-bottom": ".35rem" } }, h("button", { disabled: !known.can_roll_back, title: "Use the model again that was in use before", onclick: () => act("teach/change", { action: "back" }) }, "Roll back"),
        h("button", { title: "Put the model in use into the form of the tab Analyse", disabled: known.current === null, onclick: () => useForAnalysis(known.current) }, "Use for analyses")) : h("p", { class: "quiet" }, "There is no model yet. Add the package of one that fringemap train made; until then proposals come from the classical detector."),
      known.models.map(card), adding());
  }

  function card(model) {
    const tuned = model.fine_tuned;
    const rows = [["Made", model.made || "–"], ["Weights", model.n_weights.toLocaleString("en")], ["Dice, validation", fixed(model.metrics.dice, 4)], ...(tuned ? [["From", tuned.base], ["Trained on", tuned.sources.join(", ")], ["Held out", tuned.held_out.join(", ")]] : [])];
    return h("article", { class: `card ${model.current ? "picked" : ""}`, "data-model": model.name, style: { "--colour": model.current ? "var(--good)" : "var(--line)" } },
      h("div", { class: "row" }, h("strong", { class: "grow cut", title: model.title }, model.title), model.current ? h("span", { class: "good" }, "in use")
        : [h("button", { disabled: Boolean(model.problem), title: tuned && !tuned.better ? "It did not do better on held-out labels; use it anyway" : "Use this model", onclick: () => act("teach/change", { action: "use", model: model.name }) }, tuned && !tuned.better ? "Use anyway" : "Use"),
          model.name && h("button", { class: "bare", "aria-label": `Delete ${model.title}`, title: "Delete this model", onclick: () => act("teach/change", { action: "remove", model: model.name }) }, "✕")]),
      model.problem ? h("p", { class: "note bad" }, model.problem) : h("dl", { class: "facts" }, rows.map(([key, value]) => [h("dt", {}, key), h("dd", {}, String(value))])),
      tuned && comparison(tuned), !model.trainable && !model.problem && h("p", { class: "quiet" }, "Holds no weights to train on with."));
  }

  function comparison({ before, after, reason }) {
    const parts = [["labels", "labels"], ["drawn", "drawn"]].filter(([, key]) => before[key].n_patterns);
    const line = (words, key, what) => h("tr", {}, h("td", { style: NARROW }, words), h("td", { class: "number", style: NARROW }, fixed(before[key][what], 3)), h("td", { class: "number", style: NARROW }, fixed(after[key][what], 3)));
    return [h("table", { "aria-label": "Before and after" }, h("thead", {}, h("tr", {}, ["", "before", "after"].map((one) => h("th", { class: "number", style: NARROW }, one)))),
      h("tbody", {}, parts.map(([words, key]) => [line(`Dice, held-out ${words}`, key, "dice"), line(`F1, held-out ${words}`, key, "f1")]))), h("p", { class: "quiet" }, `${reason[0].toUpperCase()}${reason.slice(1, reason.indexOf(":"))}.`)];
  }

  function adding() {
    const name = h("input", { type: "text", placeholder: "folder, e.g. models/mine", "aria-label": "Folder of a model package", class: "grow", onkeydown: (event) => event.stopPropagation() });
    return h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); act("teach/change", { action: "add", model: name.value.trim() }); } }, name, h("button", { type: "submit", title: "Copy a model package of this folder into the list and use it" }, "Add"));
  }

  on("teaching", () => { if (state.teaching) load(); else clearTimeout(timer); });
  return { sheet, load };
}
