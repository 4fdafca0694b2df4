// One picture on a canvas: pan, zoom, contrast. It asks the server for the part that is seen, at the resolution that the
// screen shows: means over whole pixels at full view (so that fringes never turn into moiré), every pixel when zoomed in.

import { pixels } from "./api.js";
import { COLOUR_MAPS, histogram, paint, quantile, tone } from "./colour.js";
import { h, short } from "./dom.js";
import { say } from "./store.js";

const ZOOM_STEP = 1.25;
const MOST_ZOOM = 64;
const WAIT_MS = 60;
const MARGIN = 0.2;

export class PictureView {
  /**
   * `look`: first contrast; `shares`: of the pixels that are black and white by itself; `draw(ctx, view)`: what lies over
   * the picture; `hover(place)` and `pick(place, event)`: place is {row, col, value} in pixels of the picture, or null.
   */
  constructor(title, { shares = [0.005, 0.995], draw = () => {}, hover = () => "", pick = () => {}, drag = null, controls = [] } = {}) {
    Object.assign(this, { title, shares, draw, hover, pick, drag });
    this.look = { low: 0, high: 1, gamma: 1, log: false, map: "grey", invert: false, auto: true };
    this.centre = null;
    this.scale = 0; // screen pixels (of the device) to one of the picture
    this.full = null;
    this.readout = h("span", { class: "readout cut" });
    this.picture = h("canvas");
    this.over = h("canvas");
    this.words = h("div", { class: "empty" }, "");
    this.stage = h("div", { class: "stage", tabindex: "0", role: "img", "aria-label": `${title}; wheel or + and − to zoom, drag or arrow keys to move, 0 to see all` },
      this.picture, this.over, this.words);
    this.toolButton = h("button", { class: "bare", title: "Contrast, gamma and colours", "aria-expanded": "false", onclick: () => this.toggleTools() }, "◐ Contrast");
    this.largeButton = h("button", { class: "bare", title: "This pane alone, or all (double-click on the title)", "aria-label": `${title} alone`, onclick: () => this.toggleAlone() }, "⤢");
    this.head = h("div", { class: "head", ondblclick: (event) => { if (event.target.closest("button, select") === null) this.toggleAlone(); } },
      h("h2", {}, title), this.readout, controls, this.toolButton, this.largeButton);
    this.element = h("section", { class: "pane", "aria-label": title, "data-pane": title.toLowerCase() }, this.head, this.stage);
    this.listenToHands();
    new ResizeObserver(() => this.resized()).observe(this.stage);
  }

  /** Show another picture of the same kind: `path` and `query` name it to the server. Resolves when it is painted. */
  async show(path, query, { keepView = true } = {}) {
    this.source = { path, query };
    if (!keepView) this.full = null;
    this.words.textContent = "";
    return this.fetchCut();
  }

  clear(words) {
    this.source = null;
    this.cut = this.overview = this.full = null;
    this.words.textContent = words;
    this.repaint();
  }

  setWords(words) { this.words.textContent = words; }

  // --- what the server is asked for ---

  async fetchCut() {
    if (!this.source) return;
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    const whole = !this.full;
    try {
      const cut = await pixels(this.source.path, { ...this.source.query, ...this.wanted() }, asking.signal);
      if (asking.signal.aborted) return;
      const changed = !this.full || this.full[0] !== cut.full[0] || this.full[1] !== cut.full[1];
      this.full = cut.full;
      this.cut = cut;
      if (changed || !this.centre) this.fit(false);
      if (cut.rows * cut.bin >= cut.full[0] - cut.bin && cut.cols * cut.bin >= cut.full[1] - cut.bin) {
        this.overview = cut;
        if (this.look.auto) this.autoContrast(cut);
      } else if (changed) this.overview = null;
      cut.canvas = paint(cut, this.look);
      this.repaint();
      this.onCut?.(cut);
      if (whole && this.wanted().bin < cut.bin) this.fetchSoon();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.clear(error.message);
      say(error.message, "bad");
    }
  }

  fetchSoon() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.fetchCut(), WAIT_MS);
  }

  wanted() {
    const { width, height } = this.size();
    if (!this.full) return { bin: this.guess(width, height) };
    const bin = Math.max(1, Math.floor(1 / this.scale + 1e-6));
    const [rows, cols] = this.full;
    const half = { rows: (height / this.scale) * (0.5 + MARGIN), cols: (width / this.scale) * (0.5 + MARGIN) };
    const top = Math.max(0, Math.floor((this.centre.row - half.rows) / bin) * bin);
    const left = Math.max(0, Math.floor((this.centre.col - half.cols) / bin) * bin);
    return {
      bin, top, left,
      rows: Math.max(bin, Math.min(rows, Math.ceil(this.centre.row + half.rows)) - top),
      cols: Math.max(bin, Math.min(cols, Math.ceil(this.centre.col + half.cols)) - left),
    };
  }

  guess(width, height) {
    const [rows, cols] = this.expected || [1, 1];
    return Math.max(1, Math.floor(Math.min(rows / height, cols / width) + 1e-6)) || 1;
  }

  // --- geometry ---

  size() {
    return { width: Math.max(this.picture.width, 1), height: Math.max(this.picture.height, 1) };
  }

  resized() {
    const ratio = window.devicePixelRatio || 1;
    const box = this.stage.getBoundingClientRect();
    const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (!width || !height || (width === this.picture.width && height === this.picture.height)) return;
    const wasFit = this.isFit();
    for (const canvas of [this.picture, this.over]) Object.assign(canvas, { width, height });
    if (wasFit) this.fit(false);
    this.repaint();
    if (this.source) this.fetchSoon();
  }

  fitScale() {
    const { width, height } = this.size();
    return this.full ? Math.min(width / this.full[1], height / this.full[0]) : 1;
  }

  isFit() { return !this.full || Math.abs(this.scale / this.fitted - 1) < 1e-3; }

  fit(ask = true) {
    if (!this.full) return;
    this.fitted = this.scale = this.fitScale();
    this.centre = { row: this.full[0] / 2, col: this.full[1] / 2 };
    this.moved(ask);
  }

  moved(ask = true) {
    this.repaint();
    if (ask) this.fetchSoon();
    this.onMove?.();
  }

  follow(other) {
    if (!this.full || !other.full || this.full[0] !== other.full[0] || this.full[1] !== other.full[1]) return;
    if (this.scale === other.scale && this.centre.row === other.centre.row && this.centre.col === other.centre.col) return;
    this.scale = (other.scale / other.fitScale()) * this.fitScale();
    this.fitted = this.fitScale();
    this.centre = { ...other.centre };
    this.repaint();
    this.fetchSoon();
  }

  toScreen(row, col) {
    const { width, height } = this.size();
    return [(col - this.centre.col) * this.scale + width / 2, (row - this.centre.row) * this.scale + height / 2];
  }

  toPicture(x, y) {
    const { width, height } = this.size();
    return { row: (y - height / 2) / this.scale + this.centre.row, col: (x - width / 2) / this.scale + this.centre.col };
  }

  valueAt({ row, col }) {
    const cut = this.cut;
    if (!cut) return null;
    const [r, c] = [Math.floor((row - cut.top) / cut.bin), Math.floor((col - cut.left) / cut.bin)];
    if (r < 0 || c < 0 || r >= cut.rows || c >= cut.cols) return null;
    return cut.low + (cut.data[r * cut.cols + c] * (cut.high - cut.low)) / 65535;
  }

  zoom(factor, x = this.size().width / 2, y = this.size().height / 2) {
    if (!this.full) return;
    const before = this.toPicture(x, y);
    this.scale = Math.min(Math.max(this.scale * factor, this.fitScale()), MOST_ZOOM * (window.devicePixelRatio || 1));
    const after = this.toPicture(x, y);
    this.centre.row += before.row - after.row;
    this.centre.col += before.col - after.col;
    this.keepInside();
    this.moved();
  }

  pan(dx, dy) {
    if (!this.full) return;
    this.centre.col -= dx / this.scale;
    this.centre.row -= dy / this.scale;
    this.keepInside();
    this.moved();
  }

  keepInside() {
    if (this.scale <= this.fitScale() * 1.0001) this.centre = { row: this.full[0] / 2, col: this.full[1] / 2 };
    this.centre.row = Math.min(Math.max(this.centre.row, 0), this.full[0]);
    this.centre.col = Math.min(Math.max(this.centre.col, 0), this.full[1]);
  }

  // --- painting ---

  repaint() {
    if (this.frameAsked) return;
    this.frameAsked = requestAnimationFrame(() => { this.frameAsked = null; this.paintNow(); });
  }

  paintNow() {
    const ctx = this.picture.getContext("2d");
    const over = this.over.getContext("2d");
    ctx.clearRect(0, 0, this.picture.width, this.picture.height);
    over.clearRect(0, 0, this.over.width, this.over.height);
    if (!this.full || !this.cut) return;
    if (this.overview && this.overview !== this.cut) this.paintCut(ctx, this.overview);
    this.paintCut(ctx, this.cut);
    this.draw(over, this);
    this.onPaint?.();
  }

  paintCut(ctx, cut) {
    cut.canvas ??= paint(cut, this.look);
    const [x, y] = this.toScreen(cut.top, cut.left);
    const px = cut.bin * this.scale;
    ctx.imageSmoothingEnabled = px < 1.5;
    ctx.imageSmoothingQuality = "high";
    ctx.drawImage(cut.canvas, x, y, cut.cols * px, cut.rows * px);
  }

  // --- contrast ---

  autoContrast(cut = this.overview || this.cut) {
    if (!cut) return;
    this.look.low = quantile(cut, this.shares[0]);
    this.look.high = quantile(cut, this.shares[1]);
    if (!(this.look.high > this.look.low)) this.look.high = this.look.low + 1;
    this.refreshTools();
  }

  setLook(changes) {
    Object.assign(this.look, changes);
    for (const cut of [this.cut, this.overview]) if (cut) paint(cut, this.look, cut.canvas);
    this.refreshTools();
    this.repaint();
    this.onLook?.();
  }

  toggleTools() {
    if (this.tools) {
      this.tools.remove();
      this.tools = null;
    } else {
      this.tools = this.makeTools();
      this.element.append(this.tools);
      this.refreshTools();
    }
    this.toolButton.setAttribute("aria-expanded", String(Boolean(this.tools)));
    this.toolButton.classList.toggle("on", Boolean(this.tools));
  }

  makeTools() {
    const slider = (name, words, min, max, step) => {
      const shown = h("span", { class: "number" });
      const input = h("input", { type: "range", min, max, step, "aria-label": `${this.title}: ${words}`, oninput: () => {
        const t = Number(input.value);
        if (name === "gamma") return this.setLook({ gamma: 10 ** t });
        const { low, high } = this.overview || this.cut || { low: 0, high: 1 };
        return this.setLook({ [name]: low + t * (high - low), auto: false });
      } });
      return { row: h("label", {}, words, input, shown), input, shown, name };
    };
    this.sliders = [slider("low", "Black", 0, 1, 0.002), slider("high", "White", 0, 1, 0.002), slider("gamma", "Gamma", -0.7, 0.7, 0.01)];
    this.bars = h("canvas", { width: 512, height: 96, "aria-hidden": "true" });
    const check = (name, words) => h("label", { style: { display: "flex" } },
      h("input", { type: "checkbox", checked: this.look[name], onchange: (event) => this.setLook({ [name]: event.target.checked }) }), words);
    return h("div", { class: "tools", role: "group", "aria-label": `Contrast of ${this.title}` },
      this.bars, this.sliders.map((one) => one.row),
      h("div", { class: "row" },
        h("select", { "aria-label": "Colour map", onchange: (event) => this.setLook({ map: event.target.value }) },
          COLOUR_MAPS.map((name) => h("option", { value: name, selected: name === this.look.map }, name))),
        check("log", "log"), check("invert", "invert"), h("span", { class: "grow" }),
        h("button", { title: "Black and white from the histogram (A)", onclick: () => this.resetContrast() }, "Auto")));
  }

  resetContrast() {
    this.look.auto = true;
    this.autoContrast();
    this.setLook({ gamma: 1 });
  }

  refreshTools() {
    const cut = this.overview || this.cut;
    if (!this.tools || !cut) return;
    for (const { input, shown, name } of this.sliders) {
      const value = this.look[name];
      if (document.activeElement !== input) input.value = name === "gamma" ? Math.log10(value) : (value - cut.low) / (cut.high - cut.low || 1);
      shown.textContent = short(value, 3);
    }
    this.drawHistogram(cut);
  }

  drawHistogram(cut) {
    const ctx = this.bars.getContext("2d");
    const { width, height } = this.bars;
    const bins = histogram(cut, 128);
    const top = Math.log1p(Math.max(...bins));
    ctx.clearRect(0, 0, width, height);
    ctx.fillStyle = getComputedStyle(this.element).getPropertyValue("--quiet");
    bins.forEach((n, k) => {
      const high = (Math.log1p(n) / top) * (height - 4);
      ctx.fillRect((k * width) / 128, height - high, width / 128 - 1, high);
    });
    ctx.strokeStyle = getComputedStyle(this.element).getPropertyValue("--accent");
    ctx.lineWidth = 3;
    ctx.beginPath();
    for (let k = 0; k <= 128; k++) {
      const value = cut.low + (k / 128) * (cut.high - cut.low);
      const y = height - 2 - tone(value, { ...this.look, invert: false }) * (height - 4);
      if (k) ctx.lineTo((k / 128) * width, y); else ctx.moveTo(0, y);
    }
    ctx.stroke();
  }

  toggleAlone() {
    const panes = this.element.parentElement;
    const alone = this.element.classList.toggle("alone");
    for (const other of panes.children) if (other !== this.element) other.classList.remove("alone");
    panes.classList.toggle("alone", alone);
    this.largeButton.textContent = alone ? "⤡" : "⤢";
  }

  // --- hands ---

  listenToHands() {
    const at = (event) => {
      const box = this.stage.getBoundingClientRect();
      const ratio = this.picture.width / box.width;
      return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    };
    this.stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(ZOOM_STEP ** (-event.deltaY / 100), ...at(event));
    }, { passive: false });
    this.stage.addEventListener("pointerdown", (event) => this.press(event, at));
    this.stage.addEventListener("pointermove", (event) => {
      if (!this.full || this.held) return;
      const place = this.toPicture(...at(event));
      const inside = place.row >= 0 && place.col >= 0 && place.row < this.full[0] && place.col < this.full[1];
      this.readout.textContent = inside ? this.hover({ ...place, value: this.valueAt(place) }) : "";
      this.readout.title = this.readout.textContent;
    });
    this.stage.addEventListener("pointerleave", () => { this.readout.textContent = ""; });
    this.stage.addEventListener("keydown", (event) => this.key(event));
  }

  press(event, at) {
    if (!this.full || event.button > 1) return;
    event.preventDefault(); // no dragging of the page
    this.stage.focus();
    const start = at(event);
    let last = start;
    let far = false;
    this.held = true;
    const dragging = this.drag?.begin(this.toPicture(...start), event, this);
    this.stage.setPointerCapture(event.pointerId);
    const move = (moved) => {
      const now = at(moved);
      far ||= Math.hypot(now[0] - start[0], now[1] - start[1]) > 4;
      if (dragging) dragging.move(this.toPicture(...now));
      else if (far) this.pan(now[0] - last[0], now[1] - last[1]);
      last = now;
    };
    const up = (ended) => {
      this.held = false;
      this.stage.removeEventListener("pointermove", move);
      this.stage.removeEventListener("pointerup", up);
      this.stage.removeEventListener("pointercancel", up);
      if (dragging) dragging.end?.(this.toPicture(...at(ended)), far);
      if (!far && ended.type === "pointerup") this.pick({ ...this.toPicture(...start), reach: 12 * (window.devicePixelRatio || 1) / this.scale }, ended);
    };
    this.stage.addEventListener("pointermove", move);
    this.stage.addEventListener("pointerup", up);
    this.stage.addEventListener("pointercancel", up);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = 0.1 * Math.min(this.picture.width, this.picture.height);
    const actions = {
      "+": () => this.zoom(ZOOM_STEP), "=": () => this.zoom(ZOOM_STEP), "-": () => this.zoom(1 / ZOOM_STEP), 0: () => this.fit(),
      a: () => this.resetContrast(), l: () => this.setLook({ log: !this.look.log }),
    };
    if (!this.isFit()) Object.assign(actions, {
      ArrowLeft: () => this.pan(step, 0), ArrowRight: () => this.pan(-step, 0), ArrowUp: () => this.pan(0, step), ArrowDown: () => this.pan(0, -step),
    });
    const action = actions[event.key];
    if (!action) return;
    action();
    event.preventDefault();
    event.stopPropagation();
  }

  /** The pane as it is seen, with bars and labels, as a canvas. */
  snapshot() {
    const canvas = h("canvas");
    Object.assign(canvas, this.size());
    const ctx = canvas.getContext("2d");
    ctx.fillStyle = "#080c0f";
    ctx.fillRect(0, 0, canvas.width, canvas.height);
    ctx.drawImage(this.picture, 0, 0);
    ctx.drawImage(this.over, 0, 0);
    return canvas;
  }
}
