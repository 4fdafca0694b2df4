// The bar at the top: what is open, its scale, which frame, and what can be done with it.

import { tell } from "../api.js";
import { h, put, short } from "../dom.js";
import { on, say, set, state, trying } from "../store.js";

export function makeBar(host, { goTo, actions }) {
  const title = h("strong", { class: "title cut" }, "No file open");
  const badge = h("button", { class: "badge", title: "", "aria-haspopup": "dialog", onclick: () => actions.calibrate() }, "no scale");
  const size = h("input", { type: "text", inputmode: "decimal", spellcheck: "false", autocomplete: "off", style: { width: "7rem" }, "aria-label": "Pixel size in nm per pixel", title: "Pixel size; Enter takes it, empty goes back to the file's own", onkeydown: (event) => { if (event.key === "Enter") size.blur(); event.stopPropagation(); }, onchange: () => give() });
  let written = { name: "", words: "" }; // what this page put into the field
  const slider = h("input", { id: "slider", type: "range", min: "0", max: "0", step: "1", "aria-label": "Frame", oninput: () => goTo(Number(slider.value)) });
  const place = h("span", { class: "number", style: { "min-width": "6.5rem" } });
  const play = h("button", { title: "Play or pause (space)", "aria-label": "Play", onclick: () => actions.play() }, "▶");
  const frames = h("span", { class: "row hidden" }, play, slider, place);
  const scale = h("span", { class: "row hidden" }, badge, h("label", { class: "row" }, size, h("span", { class: "quiet" }, "nm/px")));
  put(host,
    h("span", { class: "brand" }, h("img", { src: "static/icon.svg", alt: "" }), "fringemap"),
    h("button", { title: "Show or hide the files (B)", "aria-label": "Show or hide the files", onclick: () => actions.left() }, "☰"),
    title, scale, frames, h("span", { class: "grow" }),
    h("button", { title: "Take the last correction back (Ctrl+Z)", "aria-label": "Undo", id: "undo", onclick: () => actions.undo() }, "↶"),
    h("button", { title: "Do it again (Ctrl+Y)", "aria-label": "Redo", id: "redo", onclick: () => actions.redo() }, "↷"),
    h("button", { title: "Pictures, tables, report, command line (E)", onclick: () => actions.export() }, "Export"),
    h("button", { title: "Light or dark", "aria-label": "Light or dark", onclick: () => actions.theme() }, "☾"),
    h("button", { title: "Keys and first steps (?)", onclick: () => actions.help() }, "? Help"));

  async function give() {
    const typed = size.value.trim();
    const { name } = state.input || {};
    if (!name || typed === written.words) return;
    const value = typed === "" ? null : Number(typed.replace(",", "."));
    if (value !== null && !(value > 0 && value < Infinity)) { write(); return void say(`“${typed}” is no pixel size; give a number of nm per pixel, above zero.`, "bad"); }
    const input = await trying(() => tell("scale", { name, pixel_size_nm: value }));
    if (state.input.name !== name) return;
    if (!input) return void write();
    set({ input, scale: {} });
    say(`Pixel size: ${input.badge.words}`);
  }

  function write() {
    const { name, pixel_size_nm: known } = state.input;
    written = { name, words: known ? short(known[1], 6) : "" };
    size.value = written.words;
  }

  function refresh() {
    const input = state.input;
    title.textContent = input ? input.title : "No file open";
    title.title = input?.name || "";
    scale.classList.toggle("hidden", !input);
    frames.classList.toggle("hidden", !input || input.n_frames < 2);
    if (!input) return;
    badge.className = `badge ${input.badge.level}`;
    badge.textContent = { green: "calibrated", amber: "not verified", red: "no pixel size" }[input.badge.level];
    badge.title = `${input.badge.words}. Click to calibrate on a spot that you know.`;
    if (document.activeElement !== size || size.value === written.words || input.name !== written.name) write();
    size.placeholder = "give it";
    slider.max = input.n_frames - 1;
    turned();
  }

  function turned() {
    slider.value = state.frame;
    const time = state.input?.times_s?.[state.frame];
    place.textContent = state.input ? `${state.frame + 1} / ${state.input.n_frames}${time === undefined || time === null ? "" : ` · ${time.toFixed(1)} s`}` : "";
    play.textContent = state.playing ? "❚❚" : "▶";
  }

  on("input", refresh);
  on("frame playing", turned);
  on("result", () => {
    document.getElementById("undo").disabled = !state.result?.corrections;
    document.getElementById("redo").disabled = !state.result?.can_redo;
  });
  refresh();
}
