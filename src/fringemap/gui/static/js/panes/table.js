// All spots in a table: sorted by any column, chosen by mouse or keys.

import { h, fixed, formula, put } from "../dom.js";
import { on, set, state } from "../store.js";
import { passes, phaseShown, toggled } from "../spots.js";

const COLUMNS = [
  ["", "row", "Number of the spot"], ["phase", "phase", "Which phase explains it"], ["hkl", "hkl", "By which plane"],
  ["d (Å)", "d", "d-spacing with the standard error of its fit"], ["|g| (1/nm)", "g", "1 / d"], ["angle (°)", "angle", "Of g: 0 to the right, clockwise on the screen"],
  ["off (%)", "deviation", "(measured − reference) / reference of d"], ["p", "probability", "Probability of the name"], ["SNR", "snr", "Power of the spot over the noise's, as an amplitude"],
  ["score", "score", "−log10 of the number of equally strong false spots expected in the frame"], ["doubts", "flags", "What is doubtful"],
];
const TEXT = new Set(["phase", "hkl", "flags"]);

export function makeTable() {
  let sorted = { by: "score", down: true };
  const head = h("tr", {}, COLUMNS.map(([words, key, help]) => h("th", { class: TEXT.has(key) ? "" : "number", scope: "col", title: help },
    h("button", { onclick: () => { sorted = { by: key, down: sorted.by === key ? !sorted.down : !TEXT.has(key) }; refresh(); } }, words || "#"))));
  const body = h("tbody");
  const table = h("table", { "aria-label": "Spots", role: "grid" }, h("thead", {}, head), body);
  const empty = h("p", { class: "quiet", style: { padding: "0 .6rem" } });
  const sheet = h("div", { class: "body", tabindex: "-1" }, table, empty);

  function refresh() {
    const spots = (state.result?.spots || []).filter(passes);
    const value = (spot) => (sorted.by === "flags" ? spot.flags.join() : spot[sorted.by]);
    const sign = sorted.down ? -1 : 1;
    const order = [...spots].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === y) return a.row - b.row;
      if (x === null) return 1;
      if (y === null) return -1;
      return x < y ? -sign : sign;
    });
    put(body, order.map(rowOf));
    head.querySelectorAll("th").forEach((cell, k) => cell.setAttribute("aria-sort", COLUMNS[k][1] === sorted.by ? (sorted.down ? "descending" : "ascending") : "none"));
    empty.textContent = !state.input ? "" : state.result ? (spots.length ? "" : "No spot stands out from the noise.") : "Not analysed yet: choose Run on the right.";
    mark();
  }

  function rowOf(spot) {
    return h("tr", { tabindex: "0", "data-row": spot.row, class: phaseShown(spot.phase) ? "" : "mute", onclick: (event) => set({ selected: toggled(spot.row, event.shiftKey || event.ctrlKey) }), onkeydown: keys },
      h("td", { class: "number" }, spot.row),
      h("td", {}, h("span", { class: "swatch", style: { background: spot.colour } }), ` ${spot.phase === "unknown" ? "unknown" : formula(spot.phase)}${spot.by_hand ? " ✎" : ""}`),
      h("td", {}, spot.hkl), h("td", { class: "number" }, spot.d_text), h("td", { class: "number" }, fixed(spot.g, 3)), h("td", { class: "number" }, fixed(spot.angle, 1)),
      h("td", { class: "number" }, fixed(spot.deviation, 2)), h("td", { class: "number" }, spot.probability_text), h("td", { class: "number" }, fixed(spot.snr, 1)),
      h("td", { class: "number" }, fixed(spot.score, 1)), h("td", { class: "quiet", title: spot.flags.join("; ") }, spot.flag_words.join(", ")));
  }

  function keys(event) {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    if (step) {
      const other = event.currentTarget[step];
      if (other) { other.focus(); set({ selected: [Number(other.dataset.row)] }); }
    } else if (event.key === "Enter" || event.key === " ") event.currentTarget.click();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function mark() {
    for (const row of body.children) {
      const picked = state.selected.includes(Number(row.dataset.row));
      row.setAttribute("aria-selected", String(picked));
      if (picked && state.selected.at(-1) === Number(row.dataset.row)) reveal(row);
    }
  }

  function reveal(row) {
    const [box, view] = [row.getBoundingClientRect(), sheet.getBoundingClientRect()];
    if (box.top < view.top + 26) sheet.scrollTop += box.top - view.top - 26;
    if (box.bottom > view.bottom) sheet.scrollTop += box.bottom - view.bottom;
  }

  on("result threshold hiddenPhases onlyPhase qLimit input", refresh);
  on("selected", mark);
  return sheet;
}
