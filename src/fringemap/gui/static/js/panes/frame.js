// The frame, and the square on it whose diffractogram is live.

import { drawBar, uiRatio } from "../scalebar.js";
import { h, short } from "../dom.js";
import { on, set, state } from "../store.js";
import { PictureView } from "../view.js";

const SIDES = [512, 1024, 256, 128];

export function lengths(input) {
  const [y, x] = input.pixel_angstrom;
  return input.pixel_size_nm ? { y: y / 10, x: x / 10, unit: "nm" } : { y: 1, x: 1, unit: "px" };
}

export function readPlace({ row, col, value }) {
  const { y, x, unit } = lengths(state.input);
  const decimals = unit === "nm" ? 2 : 0;
  return `x ${(col * x).toFixed(decimals)} y ${(row * y).toFixed(decimals)} ${unit} · ${short(value)} counts`;
}

export function makeFrame() {
  const region = h("button", { class: "bare", "aria-pressed": "false", title: "Live diffractogram of a square that you drag (R); again for the next size", onclick: () => nextRegion() }, "▣ Region");
  const view = new PictureView("Frame", { draw, hover: readPlace, drag: { begin }, controls: [region] });

  function draw(ctx, at) {
    const { x, unit } = lengths(state.input);
    if (state.region) {
      const { top, left, side } = state.region;
      const [x0, y0] = at.toScreen(top, left);
      ctx.lineWidth = 2 * uiRatio();
      ctx.strokeStyle = "#000";
      ctx.strokeRect(x0 - 2, y0 - 2, side * at.scale + 4, side * at.scale + 4);
      ctx.strokeStyle = "#ffd24a";
      ctx.strokeRect(x0, y0, side * at.scale, side * at.scale);
    }
    drawBar(ctx, { width: at.size().width, height: at.size().height, unitsPerPx: x / at.scale, unit, ratio: uiRatio() });
  }

  function begin(place) {
    const held = state.region;
    if (!held || place.row < held.top || place.col < held.left || place.row > held.top + held.side || place.col > held.left + held.side) return null;
    return { move: (now) => put(held.side, held.top + now.row - place.row, held.left + now.col - place.col) };
  }

  function put(side, top, left) {
    const [rows, cols] = state.input.frame_shape;
    const inside = (start, n) => Math.round(Math.min(Math.max(start, 0), n - side));
    set({ region: { side, top: inside(top, rows), left: inside(left, cols) } });
  }

  function nextRegion() {
    if (!state.input) return;
    const shortest = Math.min(...state.input.frame_shape);
    const fitting = SIDES.filter((side) => side <= shortest);
    const next = fitting[state.region ? fitting.indexOf(state.region.side) + 1 : 0];
    if (!next) return void set({ region: null });
    const { row, col } = view.centre;
    put(next, row - next / 2, col - next / 2);
  }

  on("region", () => {
    region.textContent = state.region ? `▣ ${state.region.side} px` : "▣ Region";
    region.classList.toggle("on", Boolean(state.region));
    region.setAttribute("aria-pressed", String(Boolean(state.region)));
    view.repaint();
  });
  on("input", () => view.repaint());
  return Object.assign(view, { nextRegion, putRegion: put });
}
