// Label mode: while its tab is open, circles, a brush and an eraser mark the spots of the diffractogram for training.
// What is marked is kept by the server a moment after each change; proposals are kept nowhere until they are confirmed.

import { address, ask, tell } from "../api.js";
import { h, fixed, put } from "../dom.js";
import { uiRatio } from "../scalebar.js";
import { on, say, set, state, trying } from "../store.js";

const SAVE_MS = 350;
const HIT_PX = 9;
const SNAP_PX = 9;
const LEAST_SEEN_PX = 4;
const MINE = "#ffd24a";
const PROPOSED = "#6fc3ff";
const STEP = 1.15;
const MOST_UNDO = 300;
const AGAIN_MS = 4000;
const SAME_SIZE = 1e-4;

export function makeLabel({ spectrum, onSaved = () => {} }) {
  const sheet = h("div", { class: "sheet", id: "label-sheet" });
  const before = { draw: spectrum.draw, pick: spectrum.pick, drag: spectrum.drag, hover: spectrum.hover };
  let key = null; // name and frame of the marks, and the pixel size they are in [nm]; null until the server gave them
  let refused = ""; // why it did not
  let kept = false; // whether the server holds labels of this frame
  let work = { marks: [], strokes: [] };
  let proposals = [];
  let by = "";
  let past = [];
  let future = [];
  let picked = null; // {list: "marks" | "proposals", at}
  let tool = "circle";
  let brush = 0.15; // radius [1/nm]
  let drawing = null; // what the hand is making
  let cursor = null;
  const unsaved = new Map(); // a frame to its labels
  let lost = ""; // why the last ones were not taken
  let sending = 0;
  let timer = null;
  let saving = Promise.resolve();
  let wanted = 0;
  let seen = false; // the diffractogram is the one of this frame and pixel size
  spectrum.onCut = () => { seen = true; if (state.labelling) spectrum.repaint(); };

  const ratio = uiRatio;
  const steps = () => spectrum.cut?.bin_per_nm || [1, 1];
  const perPx = () => steps()[1] / spectrum.scale; // 1/nm to a pixel of the screen
  const ready = () => Boolean(key && seen && spectrum.full && spectrum.cut?.calibrated && !state.region);
  const distance = (a, b) => Math.hypot(a.gx - b.gx, a.gy - b.gy);
  const list = (name) => (name === "marks" ? work.marks : proposals);
  const idOf = ({ name, frame }) => `${frame} ${name}`;
  const sizeNow = () => state.input?.pixel_size_nm?.[1];
  const pickedOne = () => (picked ? list(picked.list)[picked.at] : undefined);

  // --- the mode itself ---

  function enter() {
    Object.assign(spectrum, { draw, pick: (place, event) => state.calibrating && before.pick(place, event), drag: { begin }, hover });
    if (state.region) set({ region: null });
    spectrum.stage.classList.add("labelling");
    load();
  }

  function leave() {
    Object.assign(spectrum, before);
    spectrum.stage.classList.remove("labelling");
    flush();
    spectrum.repaint();
  }

  async function load() {
    const { input, frame } = state;
    if (key && key.name === input?.name && key.frame === frame) return void rescale();
    const mine = ++wanted;
    clear();
    if (!input) return;
    await flush();
    if (mine !== wanted) return;
    // What the server did not take is newer than what it holds.
    const asked = { name: input.name, frame };
    const left = unsaved.get(idOf(asked));
    const found = left || (await ask("labels", asked).catch((error) => error));
    if (mine !== wanted) return;
    if (found instanceof Error) { refused = found.message; return void refresh(); }
    kept = Boolean(found);
    if (found) work = { marks: found.marks, strokes: found.strokes };
    key = { ...asked, size: left ? left.size : found?.pixel_size_nm };
    rescale();
  }

  /** Nothing is marked until the labels of this frame are there. */
  function clear() {
    key = null;
    refused = "";
    [work, proposals, past, future, picked, kept] = [{ marks: [], strokes: [] }, [], [], [], null, false];
    refresh();
  }

  /** Marks stay on their bins when the pixel size changes. */
  function rescale() {
    const [old, size] = [key.size, sizeNow()];
    if (size && Math.abs(old / size - 1) > SAME_SIZE) {
      const one = (them) => scaled(them, old / size);
      [work, past, future, proposals] = [one(work), past.map(one), future.map(one), one({ marks: proposals, strokes: [] }).marks];
      key = { ...key, size };
      if (kept) save();
    } else if (size && !old) key = { ...key, size };
    refresh();
  }

  function scaled({ marks, strokes }, factor) {
    const each = (given) => (Array.isArray(given) ? given.map((x) => x * factor) : given * factor);
    const one = (mark) => ({ ...mark, gx: each(mark.gx), gy: each(mark.gy), radius: mark.radius * factor });
    return { marks: marks.map(one), strokes: strokes.map(one) };
  }

  // --- changes ---

  function change(next, chosen = null) {
    if (!key) return;
    past = [...past, work].slice(-MOST_UNDO);
    future = [];
    work = { ...work, ...next };
    picked = chosen;
    save();
    refresh();
  }

  function travel(from, to) {
    if (!from.length) return;
    to.push(work);
    work = from.pop();
    picked = null;
    save();
    refresh();
  }
  const undo = () => travel(past, future);
  const redo = () => travel(future, past);

  function save() {
    kept = true;
    unsaved.set(idOf(key), { ...key, ...work });
    clearTimeout(timer);
    timer = setTimeout(flush, SAVE_MS);
  }

  function flush() {
    clearTimeout(timer);
    const all = [...unsaved];
    unsaved.clear();
    sending += all.length;
    for (const [id, mine] of all) saving = saving.then(() => send(id, mine));
    return saving;
  }

  async function send(id, mine) {
    try {
      const size = mine.name === state.input?.name ? sizeNow() : null;
      await tell("labels", size ? { ...mine, ...scaled(mine, mine.size / size) } : mine);
      lost = "";
      onSaved();
    } catch (error) {
      if (!lost) say(`The labels are not saved: ${error.message}`, "bad");
      lost = error.message;
      if (!unsaved.has(id)) unsaved.set(id, mine);
      clearTimeout(timer);
      timer = setTimeout(flush, AGAIN_MS);
    }
    sending -= 1;
    status();
  }

  async function forget() {
    const mine = key;
    await flush();
    if (!(await trying(() => tell("labels", { ...mine, forget: true })))) return;
    unsaved.delete(idOf(mine));
    if (!unsaved.size) lost = "";
    onSaved();
    if (key !== mine) return;
    [work, past, future, picked, kept] = [{ marks: [], strokes: [] }, [], [], null, false];
    refresh();
  }

  async function snapped(place, reach) {
    return trying(() => tell("labels/snap", { ...key, ...place, reach }));
  }

  async function add(place, { radius = null, free = false } = {}) {
    const mine = key;
    const found = free ? null : await snapped(place, Math.max(radius ?? 0, SNAP_PX * ratio() * perPx()));
    if (!mine || key !== mine) return;
    const near = found || place;
    const mark = { gx: near.gx, gy: near.gy, radius: radius ?? found?.radius ?? 1.5 * Math.max(...steps()), ignored: false };
    const double = work.marks.findIndex((one) => Math.min(distance(one, mark), distance(one, mate(mark))) < 0.5 * Math.max(one.radius, mark.radius));
    if (double >= 0) { picked = { list: "marks", at: double }; say("This spot, or its mate, is marked already."); return void refresh(); }
    change({ marks: [...work.marks, mark] }, { list: "marks", at: work.marks.length });
  }

  function replace(at, changes) {
    change({ marks: work.marks.map((one, k) => (k === at ? { ...one, ...changes } : one)) }, { list: "marks", at });
  }

  function remove() {
    if (!picked) return;
    const { list: where, at } = picked;
    if (where === "proposals") return reject();
    change({ marks: work.marks.filter((_, k) => k !== at) });
  }

  // --- proposals ---

  async function propose() {
    if (!key) return;
    say("Looking for spots …");
    const mine = key;
    const found = await trying(() => tell("labels/propose", mine));
    if (!found || key !== mine) return;
    by = found.by;
    proposals = found.marks.filter((one) => !work.marks.some((mark) => Math.min(distance(one, mark), distance(one, mate(mark))) < Math.max(one.radius, mark.radius)));
    picked = proposals.length ? { list: "proposals", at: 0 } : null;
    say(proposals.length ? `${proposals.length} proposals: Enter confirms, Delete rejects.` : "Nothing more is proposed.");
    refresh();
  }

  function confirm(which = picked?.list === "proposals" ? [picked.at] : []) {
    if (!which.length) return;
    const taken = which.map((k) => proposals[k]).map(({ gx, gy, radius, ignored }) => ({ gx, gy, radius, ignored }));
    proposals = proposals.filter((_, k) => !which.includes(k));
    change({ marks: [...work.marks, ...taken] }, nextProposal(which[0]));
  }

  function reject(which = picked?.list === "proposals" ? [picked.at] : []) {
    if (!which.length) return;
    proposals = proposals.filter((_, k) => !which.includes(k));
    // A frame where everything was rejected is labelled too: it shows what is no spot.
    change({}, nextProposal(which[0]));
  }

  const everyOne = () => proposals.map((_, k) => k);
  const nextProposal = (at) => (proposals.length ? { list: "proposals", at: Math.min(at, proposals.length - 1) } : null);

  // --- hands ---

  function begin(place, event) {
    if (event.button !== 0 || state.calibrating) return null;
    if (!ready()) { if (state.input?.pixel_size_nm && !refused) say("The labels of this frame are still being read; mark it in a moment."); return null; }
    const start = spectrum.toG(place);
    if (tool !== "circle") return paint(start);
    const hit = nearest(start);
    if (!hit) return stretch(start, event.altKey);
    picked = { list: hit.list, at: hit.at };
    refresh();
    return hit.list === "marks" ? shift(hit, event.shiftKey, event.altKey) : { move() {} };
  }

  function stretch(start, free) {
    const mine = key;
    return {
      move(now) { drawing = { circle: { ...start, radius: Math.max(distance(start, spectrum.toG(now)), perPx()) } }; spectrum.repaint(); },
      end(now, far) {
        const radius = far ? distance(start, spectrum.toG(now)) : null;
        drawing = null;
        if (key === mine) add(start, { radius, free });
      },
    };
  }

  function shift({ at, sign }, sizes, free) {
    const mark = work.marks[at];
    const own = (now) => { const g = spectrum.toG(now); return { gx: sign * g.gx, gy: sign * g.gy }; };
    const changed = (now) => (sizes ? { radius: Math.max(distance(mark, own(now)), perPx()) } : own(now));
    return {
      move(now) { drawing = { circle: { ...mark, ...changed(now) }, instead: at }; spectrum.repaint(); },
      async end(now, far) {
        drawing = null;
        if (!far || work.marks[at] !== mark) return;
        if (sizes) return void replace(at, changed(now));
        const place = own(now);
        const found = free ? null : await snapped(place, Math.max(mark.radius, SNAP_PX * ratio() * perPx()));
        const { gx, gy } = found || place;
        // Another frame may be shown by now, or the mark be gone.
        if (work.marks.includes(mark)) replace(work.marks.indexOf(mark), { gx, gy });
      },
    };
  }

  function paint(start) {
    const mine = key;
    const stroke = { gx: [start.gx], gy: [start.gy], radius: brush, erases: tool === "eraser" };
    drawing = { stroke };
    spectrum.repaint();
    return {
      move(now) {
        const g = spectrum.toG(now);
        if (Math.hypot(g.gx - stroke.gx.at(-1), g.gy - stroke.gy.at(-1)) < brush / 3) return;
        stroke.gx.push(g.gx);
        stroke.gy.push(g.gy);
        spectrum.repaint();
      },
      end() { drawing = null; if (key === mine) change({ strokes: [...work.strokes, stroke] }); },
    };
  }

  function nearest(g) {
    let best = null;
    const reach = HIT_PX * ratio() * perPx();
    for (const name of ["marks", "proposals"]) list(name).forEach((one, at) => {
      for (const sign of [1, -1]) {
        const far = Math.hypot(sign * one.gx - g.gx, sign * one.gy - g.gy);
        if (far <= Math.max(reach, one.radius) && (!best || far < best.far)) best = { list: name, at, far, sign };
      }
    });
    return best;
  }

  function hover(place) {
    cursor = spectrum.toG(place);
    if (tool !== "circle") spectrum.repaint();
    return before.hover(place);
  }
  spectrum.stage.addEventListener("pointerleave", () => { cursor = null; if (state.labelling) spectrum.repaint(); });

  const KEYS = {
    Enter: () => confirm(), Delete: remove, Backspace: remove, Escape: () => { picked = null; refresh(); },
    i: () => picked?.list === "marks" && replace(picked.at, { ignored: !pickedOne().ignored }),
    "[": () => grow(1 / STEP), "]": () => grow(STEP), p: propose,
    n: () => choose("circle"), b: () => choose("brush"), x: () => choose("eraser"),
  };
  document.addEventListener("keydown", (event) => {
    if (!state.labelling || event.altKey || event.target.closest("input:not([type=range]):not([type=checkbox]), textarea, select, dialog")) return;
    let action = KEYS[event.key];
    if (event.ctrlKey || event.metaKey) action = { z: event.shiftKey ? redo : undo, y: redo }[event.key.toLowerCase()];
    if (!action || (event.key === "Enter" && event.target.closest("button"))) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }, true);

  function grow(factor) {
    if (tool !== "circle") { brush *= factor; return void refresh(); }
    const one = pickedOne();
    if (!one) return;
    if (picked.list === "marks") replace(picked.at, { radius: one.radius * factor });
    else { proposals = proposals.map((p, k) => (k === picked.at ? { ...p, radius: p.radius * factor } : p)); refresh(); }
  }

  function choose(name) { tool = name; refresh(); }

  // --- what is seen ---

  const mate = (one) => ({ ...one, gx: -one.gx, gy: -one.gy });

  function draw(ctx, at) {
    before.draw(ctx, at);
    if (!ready()) return;
    drawLayer(ctx, at);
    work.marks.forEach((one, k) => { if (drawing?.instead !== k) ring(ctx, at, one, { colour: MINE, chosen: picked?.list === "marks" && picked.at === k }); });
    proposals.forEach((one, k) => ring(ctx, at, one, { colour: PROPOSED, chosen: picked?.list === "proposals" && picked.at === k }));
    if (drawing?.circle) ring(ctx, at, { ignored: false, ...drawing.circle }, { colour: MINE, chosen: true });
    if (tool !== "circle" && cursor) ring(ctx, at, { ...cursor, radius: brush, ignored: false }, { colour: tool === "brush" ? MINE : "#ffffff", chosen: false });
  }

  /** The mask as training will see it, half transparent. */
  function drawLayer(ctx, at) {
    const layer = h("canvas");
    Object.assign(layer, { width: ctx.canvas.width, height: ctx.canvas.height });
    const own = layer.getContext("2d");
    const middle = spectrum.fromG({ gx: 0, gy: 0 });
    own.setTransform(at.scale / steps()[1], 0, 0, at.scale / steps()[0], ...at.toScreen(middle.row, middle.col));
    own.fillStyle = own.strokeStyle = MINE;
    own.lineCap = own.lineJoin = "round";
    for (const one of work.marks) if (!one.ignored) for (const sign of [1, -1]) disc(own, sign * one.gx, sign * one.gy, one.radius);
    for (const one of [...work.strokes, ...(drawing?.stroke ? [drawing.stroke] : [])]) {
      own.globalCompositeOperation = one.erases ? "destination-out" : "source-over";
      own.lineWidth = 2 * one.radius;
      for (const sign of [1, -1]) {
        disc(own, sign * one.gx[0], sign * one.gy[0], one.radius);
        own.beginPath();
        one.gx.forEach((gx, k) => own.lineTo(sign * gx, sign * one.gy[k]));
        own.stroke();
      }
    }
    ctx.globalAlpha = 0.4;
    ctx.drawImage(layer, 0, 0);
    ctx.globalAlpha = 1;
  }

  function disc(ctx, gx, gy, radius) {
    ctx.beginPath();
    ctx.arc(gx, gy, radius, 0, 2 * Math.PI);
    ctx.fill();
  }

  function ring(ctx, at, one, { colour, chosen }) {
    for (const sign of [1, -1]) {
      const place = spectrum.fromG({ gx: sign * one.gx, gy: sign * one.gy });
      const [x, y] = at.toScreen(place.row, place.col);
      const [rx, ry] = [steps()[1], steps()[0]].map((step) => Math.max((one.radius / step) * at.scale, LEAST_SEEN_PX * ratio()));
      ctx.setLineDash(one.ignored ? [2 * ratio(), 3 * ratio()] : colour === PROPOSED ? [5 * ratio(), 3 * ratio()] : []);
      for (const [width, stroke] of [[(chosen ? 4.6 : 3) * ratio(), "rgb(0 0 0 / .75)"], [(chosen ? 2.4 : 1.3) * ratio(), chosen && sign > 0 ? "#ffffff" : colour]]) {
        ctx.lineWidth = width;
        ctx.strokeStyle = stroke;
        ctx.globalAlpha = sign > 0 ? 1 : 0.6;
        ctx.beginPath();
        ctx.ellipse(x, y, rx, ry, 0, 0, 2 * Math.PI);
        ctx.stroke();
      }
    }
    ctx.globalAlpha = 1;
    ctx.setLineDash([]);
  }

  // --- the sheet ---

  const said = h("p", { "aria-live": "polite", id: "label-status" });

  function status() {
    const spots = work.marks.filter((one) => !one.ignored).length;
    const ignored = work.marks.length - spots;
    const parts = [`${spots} ${spots === 1 ? "circle" : "circles"}`, ignored && `${ignored} to ignore`, work.strokes.length && `${work.strokes.length} ${work.strokes.length === 1 ? "stroke" : "strokes"}`].filter(Boolean).join(", ");
    const how = lost ? `not saved, which is tried again (${lost})` : unsaved.size || sending ? "saving …" : "saved";
    said.textContent = !key ? "Reading its labels …" : kept || lost ? `${parts} · ${how}` : "This frame has no labels yet.";
  }

  function refresh() {
    spectrum.repaint();
    if (!state.input) return void put(sheet, h("p", { class: "quiet" }, "Open a file on the left; then mark the spots of its diffractogram."));
    if (!state.input.pixel_size_nm) return void put(sheet, h("p", { class: "note" }, "This frame has no pixel size. Give it at the top, then label."));
    if (refused) return void put(sheet, h("p", { class: "note bad" }, `The labels of this frame cannot be read, so none are taken: ${refused}`), h("button", { onclick: load }, "Try again"));
    const one = pickedOne();
    const size = h("span", { class: "number" }, fixed(brush, 3));
    const button = (words, title, action, more = {}) => h("button", { title, onclick: (event) => { action(); event.currentTarget.blur(); }, ...more }, words);
    const toolButton = (name, words, title) => button(words, title, () => choose(name), { class: tool === name ? "on" : "", "aria-pressed": String(tool === name) });
    put(sheet, said,
      h("div", { class: "row wrap", role: "group", "aria-label": "Tools" },
        toolButton("circle", "○ Circle", "Click a spot, or drag from its middle to its edge; it moves to the brightest place (Alt: it stays). Drag a circle to move it, with Shift to size it (N)"),
        toolButton("brush", "✎ Brush", "Paint a spot of any shape (B)"), toolButton("eraser", "⌫ Eraser", "Erase the mask; what is erased counts as no spot (X)")),
      tool === "circle" ? h("p", { class: "quiet" }, "Click a spot, or drag from its middle to its edge. Its mate is drawn by itself.")
        : h("label", { class: "field" }, h("span", {}, "Radius ", size, " 1/nm"),
          h("input", { type: "range", min: Math.log(steps()[1]), max: Math.log(60 * steps()[1]), step: 0.02, value: Math.log(brush), "aria-label": "Radius of the brush in 1/nm", oninput: (event) => { brush = Math.exp(Number(event.target.value)); size.textContent = fixed(brush, 3); spectrum.repaint(); } })),
      h("div", { class: "row wrap" }, button("↶ Undo", "Take the last change of the labels back (Ctrl+Z)", undo, { disabled: !past.length }), button("↷ Redo", "Do it again (Ctrl+Y)", redo, { disabled: !future.length })),
      one && pickedCard(one, button),
      h("h3", {}, "Proposals"),
      h("div", { class: "row wrap" }, button("Propose", "Let the model in use, or the classical detector, look for spots (P)", propose, { disabled: !key }), proposals.length > 0 && h("span", { class: "grow cut", title: by }, `${proposals.length} left, by the ${by}`)),
      proposals.length > 0 && h("div", { class: "row wrap", style: { "margin-top": ".35rem" } },
        button("Confirm", "Take the chosen proposal (Enter)", () => confirm(), { disabled: picked?.list !== "proposals" }), button("Reject", "Drop the chosen proposal (Delete)", () => reject(), { disabled: picked?.list !== "proposals" }),
        button("Confirm all", "Take all that are left; faint ones to ignore", () => confirm(everyOne())), button("Reject all", "Drop all that are left", () => reject(everyOne()))),
      proposals.length > 0 && h("p", { class: "quiet" }, "Dotted ones are faint: an analysis would not list them. Training looks away there."),
      h("h3", {}, "This frame"),
      h("p", { class: "quiet" }, "Whatever is not marked counts as background."),
      h("div", { class: "row wrap" }, key && !kept && button("It shows no spot", "Keep this frame as one without any spot", () => change({})), key && kept && button("Forget its labels", "Delete the labels of this frame", forget)));
    status();
  }

  function pickedCard(one, button) {
    const g = Math.hypot(one.gx, one.gy);
    const mine = picked.list === "marks";
    const radius = h("input", { type: "number", step: "any", min: "0", value: Number(one.radius.toPrecision(4)), "aria-label": "Radius in 1/nm", disabled: !mine, onchange: () => Number(radius.value) > 0 && replace(picked.at, { radius: Number(radius.value) }) });
    return h("div", { class: "card picked", style: { "--colour": mine ? MINE : PROPOSED } },
      h("strong", {}, mine ? "Circle" : "Proposal"), h("div", { class: "quiet" }, `d ${fixed(10 / g, 3)} Å · |g| ${fixed(g, 3)} 1/nm`),
      h("label", { class: "field" }, "Radius (1/nm)", radius),
      mine && h("div", { class: "row" }, h("label", { class: "row grow", title: "Training looks away here: neither a spot nor background (I)" }, h("input", { type: "checkbox", checked: one.ignored, onchange: () => replace(picked.at, { ignored: !one.ignored }) }), "Faint: ignore"), button("Delete", "Remove this circle and its mate (Delete)", remove)));
  }

  on("labelling", () => (state.labelling ? enter() : leave()));
  on("input frame scale", () => { seen = false; if (state.labelling) load(); });
  on("input", () => { if (!state.labelling) key = null; });
  window.addEventListener("pagehide", () => {
    // A page that goes away may finish one question, if it says so.
    for (const mine of unsaved.values()) fetch(address("labels"), { method: "POST", keepalive: true, headers: { "X-Fringemap": "1", "Content-Type": "application/json" }, body: JSON.stringify(mine) });
    unsaved.clear();
  });
  refresh();
  return { sheet, undo, redo, flush, ready, count: () => ({ marks: work.marks.length, strokes: work.strokes.length, proposals: proposals.length }) };
}
