// The diffractogram: spots with their mates, rings and zone patterns of phases, d and |g| under the cursor.

import { tell } from "../api.js";
import { drawBar, uiRatio } from "../scalebar.js";
import { h, fixed, formula } from "../dom.js";
import { on, say, set, state, trying } from "../store.js";
import { shownSpots, spotAt, toggled } from "../spots.js";
import { PictureView } from "../view.js";

const FEW_LABELS = 40;
const SAME = 1e-6;

/** By how much g of the result, in the pixel size of its run, grows in a picture of this pixel size (rows, cols). */
export function shareOf(pixel) {
  const own = state.result?.pixel_size_nm;
  return own && pixel ? { x: own[1] / pixel[1], y: own[0] / pixel[0] } : { x: 1, y: 1 };
}

export function makeSpectrum({ edit }) {
  const show = { spots: true, labels: true };
  const toggle = (name, words, title) => h("button", { class: "bare on", "aria-pressed": "true", title, onclick: (event) => {
    show[name] = !show[name];
    event.currentTarget.classList.toggle("on", show[name]);
    event.currentTarget.setAttribute("aria-pressed", String(show[name]));
    view.repaint();
  } }, words);
  const view = new PictureView("Diffractogram", {
    shares: [0.35, 0.9995], draw, hover: read, pick, drag: { begin },
    controls: [toggle("spots", "○ Spots", "Show or hide the circles (S)"), toggle("labels", "Labels", "Show or hide the names")],
  });
  view.stage.classList.add("spectrum");

  const middle = () => ({ row: (view.full[0] - 1) / 2 + 0.5, col: (view.full[1] - 1) / 2 + 0.5 });
  const steps = () => view.cut?.bin_per_nm || [1, 1];
  view.toG = ({ row, col }) => ({ gx: (col - middle().col) * steps()[1], gy: (row - middle().row) * steps()[0] });
  view.fromG = ({ gx, gy }) => ({ row: gy / steps()[0] + middle().row, col: gx / steps()[1] + middle().col });

  // Spots, and what is asked of them, are in the pixel size of their run.
  const share = () => shareOf(view.cut?.pixel_size_nm);
  const toRun = (place) => { const { gx, gy } = view.toG(place); return { gx: gx / share().x, gy: gy / share().y }; };
  const fromRun = ({ gx, gy }) => view.fromG({ gx: gx * share().x, gy: gy * share().y });
  const reachOf = (spot) => (0.75 * spot.width * share().x) / steps()[1];
  // Phases have their true g: that of the picture, or of the run where the picture has none.
  const known = () => (view.cut.calibrated ? { x: 1, y: 1 } : share());

  let told = null;
  function tellScale() {
    const { x, y } = share();
    const now = `${state.result.run} ${view.cut.pixel_size_nm}`;
    if (told === now || !view.cut.calibrated || (Math.abs(x - 1) < SAME && Math.abs(y - 1) < SAME)) return;
    told = now;
    say("The pixel size has changed since this run: circles stay on their spots, d-spacings are those of the run.", "warm");
  }

  function read(place) {
    const { gx, gy } = view.toG(place);
    const g = Math.hypot(gx, gy);
    const angle = (Math.atan2(gy, gx) * 180) / Math.PI;
    const power = place.value === null ? "" : ` · ${(10 ** place.value).toFixed(1)} × background`;
    if (!view.cut?.calibrated) return `|g| ${(g / 10).toFixed(4)} 1/px · period ${fixed(10 / g, 2)} px · ${fixed(angle, 1)}°${power}`;
    return `d ${fixed(10 / g, 3)} Å · |g| ${fixed(g, 3)} 1/nm · ${fixed(angle, 1)}°${power}`;
  }

  function draw(ctx, at) {
    const ratio = uiRatio();
    drawOverlays(ctx, at, ratio);
    if (show.spots && state.result && !state.region && !state.labelling) drawSpots(ctx, at, ratio);
    const [x, y] = at.toScreen(middle().row, middle().col);
    ctx.strokeStyle = "rgb(255 255 255 / .7)";
    ctx.lineWidth = ratio;
    ctx.beginPath();
    ctx.moveTo(x - 6 * ratio, y); ctx.lineTo(x + 6 * ratio, y); ctx.moveTo(x, y - 6 * ratio); ctx.lineTo(x, y + 6 * ratio);
    ctx.stroke();
    const calibrated = view.cut.calibrated;
    drawBar(ctx, { width: at.size().width, height: at.size().height, unitsPerPx: (steps()[1] / at.scale) * (calibrated ? 1 : 0.1), unit: calibrated ? "1/nm" : "1/px", ratio });
  }

  function drawSpots(ctx, at, ratio) {
    tellScale();
    const spots = shownSpots();
    const chosen = new Set(state.selected);
    const rivals = new Set(state.selected.flatMap((row) => (spotAt(row)?.rivals || []).map((rival) => rival.phase)));
    const radius = (spot) => Math.max(7 * ratio, reachOf(spot) * at.scale);
    const mute = state.selected.length > 0;
    const taken = [];
    for (const spot of spots) {
      const picked = chosen.has(spot.row);
      const same = mute && state.selected.some((row) => spotAt(row)?.phase === spot.phase && spot.phase !== "unknown");
      ctx.globalAlpha = !mute || picked || same ? 1 : rivals.has(spot.phase) ? 0.85 : 0.45;
      for (const sign of [1, -1]) {
        const place = fromRun({ gx: sign * spot.gx, gy: sign * spot.gy });
        const [x, y] = at.toScreen(place.row, place.col);
        ring(ctx, x, y, radius(spot), { colour: spot.colour, ratio, picked, dashed: sign < 0, byHand: spot.by_hand });
        if (sign > 0 && show.labels && (spots.length <= FEW_LABELS || picked || !at.isFit())) label(ctx, at, spot, x, y, radius(spot), ratio, taken);
      }
    }
    ctx.globalAlpha = 1;
  }

  function ring(ctx, x, y, radius, { colour, ratio, picked, dashed, byHand }) {
    ctx.setLineDash(dashed ? [4 * ratio, 3 * ratio] : []);
    ctx.beginPath();
    if (byHand) ctx.rect(x - radius, y - radius, 2 * radius, 2 * radius);
    else ctx.arc(x, y, radius, 0, 2 * Math.PI);
    ctx.strokeStyle = "rgb(0 0 0 / .8)";
    ctx.lineWidth = (picked ? 5 : 3.2) * ratio;
    ctx.stroke();
    ctx.strokeStyle = picked ? "#ffffff" : colour;
    ctx.lineWidth = (picked ? 2.6 : 1.6) * ratio;
    ctx.stroke();
    ctx.setLineDash([]);
  }

  function label(ctx, at, spot, x, y, radius, ratio, taken) {
    const words = `${fixed(spot.d, 3)} Å${spot.hkl ? ` ${spot.hkl}` : ""}`;
    ctx.font = `${11.5 * ratio}px system-ui, sans-serif`;
    const width = ctx.measureText(words).width;
    const line = 14 * ratio;
    const places = [[x + radius + 3 * ratio, y + 4 * ratio], [x - width / 2, y - radius - 4 * ratio], [x - width / 2, y + radius + 13 * ratio]];
    const free = places.find(([left, base]) => left > 0 && left + width < at.size().width && base > line && base < at.size().height &&
      !taken.some((box) => left < box[2] && left + width > box[0] && base - line < box[3] && base > box[1]));
    if (!free) return;
    const [left, base] = free;
    taken.push([left, base - line, left + width, base]);
    ctx.fillStyle = "rgb(0 0 0 / .6)";
    ctx.fillRect(left - 2 * ratio, base - 11 * ratio, width + 4 * ratio, 14 * ratio);
    ctx.fillStyle = spot.colour;
    ctx.fillText(words, left, base);
  }

  function drawOverlays(ctx, at, ratio) {
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    for (const overlay of state.overlays) {
      ctx.strokeStyle = ctx.fillStyle = overlay.colour;
      ctx.lineWidth = 1.2 * ratio;
      if (overlay.rings) drawRings(ctx, at, overlay, ratio);
      else drawZone(ctx, at, overlay, ratio);
    }
    ctx.globalAlpha = 1;
  }

  function drawRings(ctx, at, overlay, ratio) {
    const [x, y] = at.toScreen(middle().row, middle().col);
    let outermost = 0;
    for (const one of overlay.rings) {
      if (one.intensity !== null && one.intensity < overlay.weakest) continue;
      const [rx, ry] = [((one.g_per_nm * known().x) / steps()[1]) * at.scale, ((one.g_per_nm * known().y) / steps()[0]) * at.scale];
      ctx.globalAlpha = one.intensity === null ? 0.8 : 0.35 + 0.6 * Math.sqrt(one.intensity / 100);
      ctx.setLineDash([6 * ratio, 4 * ratio]);
      ctx.beginPath();
      ctx.ellipse(x, y, rx, ry, 0, 0, 2 * Math.PI);
      ctx.stroke();
      ctx.setLineDash([]);
      if (rx - outermost < 13 * ratio) continue;
      outermost = rx;
      ctx.globalAlpha = 1;
      const angle = overlay.labelAngle;
      ctx.fillText(`(${one.hkl.join(" ")})`.replaceAll("-", "−"), x + rx * Math.cos(angle) + 2, y + ry * Math.sin(angle));
    }
  }

  function drawZone(ctx, at, overlay, ratio) {
    const [cos, sin] = [Math.cos(overlay.angle), Math.sin(overlay.angle)];
    for (const one of overlay.spots) {
      const place = view.fromG({ gx: known().x * (cos * one.gx - sin * one.gy), gy: known().y * (sin * one.gx + cos * one.gy) });
      const [x, y] = at.toScreen(place.row, place.col);
      const radius = (3 + 4 * Math.sqrt((one.intensity || 0) / 100)) * ratio;
      ctx.globalAlpha = one.extinct ? 0.5 : 0.95;
      ctx.beginPath();
      ctx.moveTo(x, y - radius); ctx.lineTo(x + radius, y); ctx.lineTo(x, y + radius); ctx.lineTo(x - radius, y);
      ctx.closePath();
      if (one.extinct) ctx.stroke(); else ctx.fill();
      if (overlay.spots.length <= 80) ctx.fillText(one.hkl.join(" ").replaceAll("-", "−"), x + radius + 1, y - radius);
    }
  }

  // --- choosing and correcting ---

  function nearest({ row, col, reach }) {
    let best = null;
    for (const spot of shownSpots()) for (const sign of [1, -1]) {
      const place = fromRun({ gx: sign * spot.gx, gy: sign * spot.gy });
      const far = Math.hypot(place.row - row, place.col - col);
      if (far <= Math.max(reach, reachOf(spot)) && (!best || far < best.far)) best = { far, spot };
    }
    return best?.spot ?? null;
  }
  view.nearest = nearest;

  async function pick(place, event) {
    if (state.region) return;
    const spot = nearest(place);
    if (state.calibrating) return void state.calibrating(view.toG(place));
    if (state.tool === "add" && !spot) return void edit({ op: "add", ...toRun(place) });
    if (state.tool === "delete" && spot) return void edit({ op: "delete", ...spotPlace(spot) });
    if (!spot) return void set({ selected: [] });
    set({ selected: toggled(spot.row, event.shiftKey || event.ctrlKey) });
  }

  function begin(place, event) {
    const zone = state.overlays.find((one) => one.spots && one.turning);
    if (zone && event.altKey) return { move: (now) => { const g = view.toG(now); zone.angle = Math.atan2(g.gy, g.gx); view.repaint(); } };
    if (state.tool !== "move" || state.region) return null;
    const spot = nearest({ ...place, reach: (12 * (devicePixelRatio || 1)) / view.scale });
    if (!spot) return null;
    return {
      move: (now) => { view.repaint(); say(`moving to d = ${fixed(10 / Math.hypot(...Object.values(toRun(now))), 3)} Å`); },
      end: (now, far) => far && edit({ op: "move", ...spotPlace(spot), to: toRun(now) }),
    };
  }

  const spotPlace = (spot) => ({ gx: spot.gx, gy: spot.gy });

  let widened = null;
  /** A run may have looked further out than the picture goes. */
  async function widen() {
    if (!view.cut || !view.full || state.region || widened === state.result?.run) return;
    const beyond = ({ row, col }) => row < 0 || col < 0 || row > view.full[0] || col > view.full[1];
    if (!shownSpots().some((spot) => beyond(fromRun(spot)))) return;
    widened = state.result.run;
    await view.fetchCut();
    view.fetchSoon();
  }

  on("input", () => { told = null; });
  on("result", widen);
  on("result selected hiddenPhases onlyPhase threshold qLimit overlays region", () => view.repaint());
  return Object.assign(view, { spotPlace });
}

/** Take a spot as a known reflection: the pixel size follows. */
export async function calibrateOn({ gx, gy }, phase, hkl) {
  return trying(() => tell("calibrate", { name: state.input.name, frame: state.frame, gx, gy, phase, hkl }));
}

export { formula };
