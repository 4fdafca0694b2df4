// Where each phase is: the frame with the regions of all phases, or of one, in their colours.

import { pixels } from "../api.js";
import { drawBar, uiRatio } from "../scalebar.js";
import { h } from "../dom.js";
import { on, state, trying } from "../store.js";
import { phaseShown, spotAt } from "../spots.js";
import { PictureView } from "../view.js";
import { lengths, readPlace } from "./frame.js";

export function makeMap() {
  const layers = new Map(); // phase -> {amplitude, mask, canvas}
  let kind = "amplitude";
  const choice = h("select", { "aria-label": "What the colour shows", title: "amplitude: fringe amplitude where it is significant; region: the region alone", onchange: (event) => { kind = event.target.value; layers.forEach((layer) => { layer.canvas = null; }); view.repaint(); } },
    h("option", { value: "amplitude" }, "amplitude"), h("option", { value: "region" }, "region"));
  const view = new PictureView("Map", { draw, hover: read, controls: [choice] });

  function chosenPhases() {
    const picked = state.selected.map((row) => spotAt(row)?.phase).filter(Boolean);
    return state.result?.maps.map((map) => map.phase).filter((name) => (picked.length ? picked.includes(name) : phaseShown(name))) || [];
  }

  function draw(ctx, at) {
    const { x, unit } = lengths(state.input);
    ctx.imageSmoothingEnabled = true;
    for (const phase of chosenPhases()) {
      const layer = layers.get(phase);
      if (!layer) continue;
      layer.canvas ??= tint(layer);
      const [left, top] = at.toScreen(layer.about.origin_px[0] - layer.about.pixel_px[0] / 2 + 0.5, layer.about.origin_px[1] - layer.about.pixel_px[1] / 2 + 0.5);
      ctx.globalAlpha = state.opacity;
      ctx.drawImage(layer.canvas, left, top, layer.canvas.width * layer.about.pixel_px[1] * at.scale, layer.canvas.height * layer.about.pixel_px[0] * at.scale);
    }
    ctx.globalAlpha = 1;
    drawBar(ctx, { width: at.size().width, height: at.size().height, unitsPerPx: x / at.scale, unit, ratio: uiRatio() });
  }

  function tint({ about, amplitude, mask }) {
    const canvas = h("canvas");
    Object.assign(canvas, { width: about.cols, height: about.rows });
    const image = new ImageData(about.cols, about.rows);
    const [r, g, b] = [1, 3, 5].map((k) => parseInt(about.colour.slice(k, k + 2), 16));
    for (let k = 0; k < mask.length; k++) {
      const strength = kind === "region" ? 1 : 0.25 + 0.75 * (amplitude[k] / 65535);
      image.data.set([r, g, b, mask[k] > 32767 ? 255 * strength : 0], 4 * k);
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  function read(place) {
    const here = chosenPhases().filter((phase) => {
      const layer = layers.get(phase);
      if (!layer) return false;
      const r = Math.round((place.row - 0.5 - layer.about.origin_px[0]) / layer.about.pixel_px[0]);
      const c = Math.round((place.col - 0.5 - layer.about.origin_px[1]) / layer.about.pixel_px[1]);
      return layer.mask[r * layer.about.cols + c] > 32767 && c >= 0 && c < layer.about.cols;
    });
    return `${readPlace(place)}${here.length ? ` · ${here.join(", ")}` : ""}`;
  }

  async function load(result) {
    layers.clear();
    view.repaint();
    for (const about of result?.maps || []) {
      const query = { name: result.input, frame: result.frame, phase: about.phase, version: result.version };
      const [amplitude, mask] = await Promise.all(["amplitude", "mask"].map((layer) => pixels("map", { ...query, layer })));
      if (state.result !== result) return;
      layers.set(about.phase, { about, amplitude: amplitude.data, mask: mask.data });
      view.repaint();
    }
  }

  on("result", () => trying(() => load(state.result)));
  on("input selected hiddenPhases onlyPhase opacity qLimit", () => view.repaint());
  return Object.assign(view, { layers });
}
