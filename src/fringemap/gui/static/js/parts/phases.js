// What was found: phases with their numbers, rivals and reasons in words; and phases laid over for comparison.

import { ask } from "../api.js";
import { h, fixed, formula, put, short } from "../dom.js";
import { on, set, state, trying } from "../store.js";
import { pairWords, spotAt } from "../spots.js";

const OVERLAY_COLOURS = ["#ff6fb5", "#7dd3fc", "#bef264", "#fdba74"];

export function makePhases({ edit, phases, showCandidates }) {
  const head = h("div");
  const cards = h("div");
  const spot = h("div", { "aria-live": "polite" });
  const compare = h("div");
  const sheet = h("div", { class: "sheet" }, head, spot, cards, compare);

  function refresh() {
    const result = state.result;
    if (!result) {
      const running = state.runs.some((run) => run.name === state.input?.name && ["waiting", "running"].includes(run.status));
      put(head, h("p", { class: "quiet" }, !state.input ? "Open a file on the left." : running ? "The analysis is under way." : "Not analysed yet: choose Run in the tab Analyse."));
      return void put(cards);
    }
    put(head, result.headline.map((one) => h("p", {}, one)), result.warnings.map((one) => h("p", { class: "note" }, one)),
      h("div", { class: "row" }, h("button", { class: state.onlyPhase === null && !state.hiddenPhases.size ? "on" : "", title: "Show all phases (O)", onclick: () => set({ onlyPhase: null, hiddenPhases: new Set() }) }, "All"),
        h("label", { class: "row grow", title: "Of the colours on the map" }, "Opacity", h("input", { type: "range", min: "0", max: "1", step: "0.05", value: state.opacity, "aria-label": "Opacity of the map", oninput: (event) => set({ opacity: Number(event.target.value) }) }))));
    put(cards, result.phases.map(card), result.candidates.length > 0 && h("details", {}, h("summary", {}, `Candidates (${result.candidates.length})`), h("p", { class: "quiet" }, "They may explain spots that got no name."), result.candidates.map(card)));
  }

  function card(phase) {
    const known = phase.name !== "unknown";
    const only = state.onlyPhase === phase.name;
    const rows = known ? [["Probability", phase.probability_text], ["q (false names)", fixed(phase.q_value, 3)], ["Zone axis", phase.zone_text], ["Mean d", `${fixed(phase.d_mean, 3)} Å`], ["Match", `${fixed(phase.match, 2)} %`], ["Area", phase.area_text], ["Scale", phase.scale_text]] : [["Area", phase.area_text]];
    return h("article", { class: `card ${only ? "picked" : ""}`, style: { "--colour": phase.colour }, "data-phase": phase.name },
      h("div", { class: "row" },
        h("input", { type: "checkbox", checked: !state.hiddenPhases.has(phase.name), "aria-label": `Show ${phase.name}`, title: "Show on map, diffractogram and table", onchange: (event) => { const hidden = new Set(state.hiddenPhases); event.target.checked ? hidden.delete(phase.name) : hidden.add(phase.name); set({ hiddenPhases: hidden, onlyPhase: null }); } }),
        h("button", { class: "entry", "aria-pressed": String(only), title: "This phase alone, or all", onclick: () => set({ onlyPhase: only ? null : phase.name }) }, h("span", { class: "swatch", style: { background: phase.colour } }), h("strong", { class: "grow" }, known ? formula(phase.name) : "without a name"), h("span", { class: "quiet" }, `${phase.spots.length} ${phase.spots.length === 1 ? "spot" : "spots"}`))),
      h("dl", { class: "facts" }, rows.map(([key, value]) => [h("dt", {}, key), h("dd", {}, value)])),
      phase.doubts.map((one) => h("p", { class: "note" }, one)));
  }

  // --- the chosen spots ---

  let asked = 0;
  async function showSpot() {
    const chosen = state.selected.map(spotAt).filter(Boolean);
    const mine = ++asked;
    if (!chosen.length) return void put(spot);
    const last = chosen.at(-1);
    const choice = h("select", { "aria-label": "Name this spot", title: "Name this spot by hand; the nearest plane of the phase is taken", onchange: () => edit({ op: "name", gx: last.gx, gy: last.gy, phase: choice.value }) },
      h("option", { value: "", selected: true, disabled: true }, "Name it …"), h("option", { value: "unknown" }, "unknown"), namesFor(last).map((name) => h("option", { value: name }, name)));
    const words = h("p", { class: "words" }, "…");
    put(spot, h("div", { class: "card picked", style: { "--colour": last.colour } },
      h("div", { class: "row" }, h("strong", { class: "grow" }, `Spot ${last.row}: ${last.phase === "unknown" ? "unknown" : formula(last.phase)} ${last.hkl}`), h("button", { class: "bare", "aria-label": "Choose no spot", title: "Choose none (Esc)", onclick: () => set({ selected: [] }) }, "✕")),
      chosen.length === 2 && h("p", { class: "note" }, `Spots ${chosen[0].row} and ${chosen[1].row}: ${pairWords(...chosen)}.`), words,
      h("div", { class: "row" }, choice, h("button", { title: "Remove this spot (Delete)", onclick: () => edit({ op: "delete", gx: last.gx, gy: last.gy }) }, "Remove"))));
    const said = await trying(() => ask("explain", { name: state.result.input, frame: state.result.frame, spot: last.row }));
    if (mine === asked && said) words.textContent = said.words;
  }

  function namesFor(one) {
    const near = one.rivals.map((rival) => rival.phase);
    const found = state.result.phases.map((phase) => phase.name).filter((name) => name !== "unknown");
    return [...new Set([...near, ...found, ...(showCandidates ? phases.map((phase) => phase.name) : [])])];
  }

  // --- phases laid over ---

  function showCompare() {
    const name = h("input", { type: "text", list: "known-phases", placeholder: "e.g. Li2CO3", "aria-label": "Phase to lay over", onkeydown: (event) => event.stopPropagation() });
    const zone = h("input", { type: "text", placeholder: "rings, or 0 0 1", "aria-label": "Zone axis; empty for rings", title: "Empty: rings. A zone axis: its spots; turn them with the slider", onkeydown: (event) => event.stopPropagation() });
    const add = async () => {
      const colour = OVERLAY_COLOURS[state.overlays.length % OVERLAY_COLOURS.length];
      const query = { phase: name.value, d_min: 1 };
      const found = await trying(() => (zone.value.trim() ? ask("zone", { ...query, uvw: zone.value }) : ask("rings", query)));
      if (found) set({ overlays: [...state.overlays, { ...found, colour, angle: 0, weakest: 3, labelAngle: -1.45 + 0.5 * state.overlays.length }] });
    };
    put(compare, h("h3", {}, "Lay a phase over the diffractogram"),
      h("form", { onsubmit: (event) => { event.preventDefault(); add(); } }, h("div", { class: "field", style: { "grid-template-columns": "minmax(0, 1fr) minmax(0, 1fr)" } }, name, zone), h("button", { type: "submit" }, "Lay over")),
      state.overlays.map((overlay, k) => h("div", { class: "card", style: { "--colour": overlay.colour } },
        h("div", { class: "row" }, h("strong", { class: "grow" }, `${formula(overlay.phase)} ${overlay.uvw ? `[${overlay.uvw.join(" ")}]` : "rings"}`), h("button", { class: "bare", "aria-label": `Remove ${overlay.phase}`, onclick: () => { set({ overlays: state.overlays.filter((_, i) => i !== k) }); showCompare(); } }, "✕")),
        overlay.uvw ? h("label", { class: "field" }, "Turn (°)", h("input", { type: "range", min: "-180", max: "180", step: "0.5", value: (overlay.angle * 180) / Math.PI, "aria-label": "Rotation of the zone pattern in degrees", oninput: (event) => { overlay.angle = (Number(event.target.value) * Math.PI) / 180; set({ overlays: [...state.overlays] }); } }))
          : h("label", { class: "field" }, "Weakest (% of strongest)", h("input", { type: "range", min: "0", max: "50", step: "1", value: overlay.weakest, "aria-label": "Weakest reflection shown", oninput: (event) => { overlay.weakest = Number(event.target.value); set({ overlays: [...state.overlays] }); } })))));
  }

  on("result runs input onlyPhase hiddenPhases", refresh);
  on("result selected", showSpot);
  on("input", showCompare);
  let shown = 0;
  on("overlays", () => { if (state.overlays.length !== shown) { shown = state.overlays.length; showCompare(); } });
  refresh();
  showCompare();
  return { sheet };
}

export { short };
