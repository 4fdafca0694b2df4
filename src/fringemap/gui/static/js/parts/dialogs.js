// Help, calibration and export.

import { address, ask, blob, tell, text } from "../api.js";
import { h, put, save } from "../dom.js";
import { say, set, state, trying } from "../store.js";

const KEYS = [
  ["← →", "frame before, after (Shift: 10)"], ["Space", "play, pause"], ["Home End", "first, last frame"], ["+ − 0", "zoom in, out, all (in a picture)"], ["Arrows", "move a zoomed picture"],
  ["A", "contrast by itself"], ["L", "logarithmic"], ["F", "diffractogram alone"], ["M", "map alone"], ["G", "frame alone"], ["O", "all phases"], ["S", "spots on, off"], ["R", "region with live diffractogram"],
  ["Shift+click", "second spot: angle, ratio"], ["N", "add a spot where you click"], ["V", "drag a spot"], ["X", "remove a spot that you click"], ["Delete", "remove the chosen spot"], ["Ctrl+Z Ctrl+Y", "undo, redo"],
  ["I", "identify: run"], ["C", "calibrate on a spot"], ["E", "export"], ["B", "files on, off"], ["Esc", "choose nothing"], ["?", "this page"],
  ["N B X", "in Label: circle, brush, eraser"], ["Enter Delete", "in Label: confirm, reject or remove"], ["I [ ]", "in Label: ignore, smaller, larger"],
];

function dialog(title, ...content) {
  document.querySelector("dialog")?.remove();
  const close = h("button", { class: "bare", "aria-label": "Close", title: "Close (Esc)", onclick: () => box.close() }, "✕");
  const box = h("dialog", { "aria-label": title, onclose: () => box.remove() }, h("div", { class: "row" }, h("h2", { class: "grow" }, title), close), content);
  document.body.append(box);
  box.showModal();
  return box;
}

export function showHelp({ sample }) {
  dialog("Help",
    h("h3", {}, "First steps"),
    h("ol", {},
      h("li", {}, h("strong", {}, "Open. "), "Choose a frame on the left or drop one on the page. None at hand? ", h("button", { onclick: sample }, "Draw a sample frame")),
      h("li", {}, h("strong", {}, "Check the scale. "), "Green: verified on a known lattice. Amber: stated, not verified. Red: type the pixel size in nm/px, or click the badge and then a spot that you know."),
      h("li", {}, h("strong", {}, "Identify. "), "Say which elements can be there and choose Run. Click a spot, a row or a phase: all panes show the same.")),
    h("h3", {}, "Keys"),
    h("div", { class: "keys" }, KEYS.map(([key, words]) => [h("kbd", {}, key), h("span", {}, words)])),
    h("p", { class: "quiet" }, "d in Å, |g| = 1/d in 1/nm, angles clockwise from the right. ± is one standard error. A note with a coloured edge says what is doubtful."));
}

export function showCalibration({ phases, taken }) {
  const phase = h("select", { "aria-label": "Phase" }, phases.map((one) => h("option", { value: one.name, selected: one.name === "Au" }, one.name)));
  const hkl = h("input", { type: "text", value: "1 1 1", "aria-label": "Plane (h k l)", style: { width: "6rem" } });
  const box = dialog("Calibrate on a spot that you know",
    h("p", {}, `Now: ${state.input.badge.words}.`),
    h("p", {}, "This is ", phase, " (", hkl, ") – choose, then click the spot in the diffractogram."),
    h("div", { class: "buttons" }, h("button", { class: "main", onclick: () => {
      box.close();
      set({ region: null }); // its diffractogram takes no calibration
      say(`Click the spot of ${phase.value} (${hkl.value}) in the diffractogram; Esc to leave it.`);
      state.calibrating = async (place) => {
        state.calibrating = null;
        const input = await trying(() => tell("calibrate", { name: state.input.name, frame: state.frame, ...place, phase: phase.value, hkl: hkl.value }));
        if (input) taken(input);
      };
    } }, "Click the spot"),
    state.input.given && h("button", { onclick: async () => {
      const input = await trying(() => tell("scale", { name: state.input.name, pixel_size_nm: null }));
      if (input) { box.close(); taken(input); }
    } }, "Back to the file's own")));
}

export function showExport({ views, profile, series }) {
  const query = () => ({ name: state.input.name, frame: state.frame });
  const stem = state.input.title.replace(/\.[^.]*$/, "");
  const panes = Object.entries(views).map(([name, view]) => h("button", { onclick: () => view.snapshot().toBlob((made) => save(`${stem}_${name}.png`, made)) }, `${view.title}.png`));
  const download = (words, path, more) => h("button", { onclick: () => trying(async () => {
    say(`Making ${words} …`);
    const link = h("a", { href: address(path, { ...query(), ...more }), download: "" });
    const made = await blob(path, { ...query(), ...more });
    save(nameOf(words, more), made);
    link.remove();
    say(`${words} is saved.`);
  }) }, words);
  const nameOf = (words) => `${stem}_${words}`;
  const svgOf = (name, host) => host?.svg?.() && h("button", { onclick: () => save(`${stem}_${name}.svg`, serialise(host.svg()), "image/svg+xml") }, `${name}.svg (as shown)`);
  const copied = (kind, words) => h("button", { onclick: () => trying(async () => {
    const said = await text("export/text", { ...query(), kind });
    shown.textContent = said;
    await navigator.clipboard?.writeText(said).then(() => say("Copied."), () => say("Select the text to copy it."));
  }) }, words);
  const shown = h("pre", { class: "words", style: { "font-family": "monospace" } });
  const done = Boolean(state.result);
  dialog("Export",
    h("h3", {}, "Panes as they are shown"), h("div", { class: "buttons" }, panes, svgOf("profile", profile), svgOf("evolution", series)),
    h("h3", {}, "Data, calibrated"), h("div", { class: "buttons" }, download("frame.tif", "export/data"), done && state.result.maps.map((map) => download(`map_${map.phase}.tif`, "export/data", { phase: map.phase }))),
    done ? [
      h("h3", {}, "Figures for print"), h("div", { class: "buttons" }, ["overview", "frame", "diffractogram", "overlay", "profile", ...(state.input.n_frames > 1 ? ["evolution", "waterfall"] : [])].flatMap((kind) => ["png", "svg"].map((form) => download(`${kind}.${form}`, "export/figure", { kind, format: form })))),
      h("h3", {}, "Tables"), h("div", { class: "buttons" }, ["spots", "phases", "profile"].map((kind) => download(`${kind}.csv`, "export/table", { kind }))),
      h("h3", {}, "Everything"), h("div", { class: "buttons" }, download("report.zip", "export/report"), copied("command", "Copy as command line"), copied("python", "Copy as Python")), shown,
      state.result.corrections > 0 && h("p", { class: "note" }, "What you corrected by hand is marked by_hand in tables and figures, and listed in the record of the report."),
    ] : h("p", { class: "quiet" }, "Figures, tables and the report follow after a run."));
}

function serialise(svg) {
  const copy = svg.cloneNode(true);
  const style = getComputedStyle(document.documentElement);
  let words = new XMLSerializer().serializeToString(copy);
  for (const name of ["--text", "--quiet", "--line", "--warm", "--accent"]) words = words.replaceAll(`var(${name})`, style.getPropertyValue(name).trim());
  const rules = `<style>text{font:11px sans-serif;fill:${style.getPropertyValue("--quiet")}}.axis{stroke:${style.getPropertyValue("--line")};fill:none}.hit{fill:none}.hidden{display:none}</style>`;
  return words.replace(/(<svg[^>]*>)/, `$1${rules}`);
}

export { ask, put, set };
