// A bar of a round length, at most a third of the picture wide.

/** Pixels of the canvas to one of a plain page: finer on dense screens, larger where the reader's font is. */
export function uiRatio() { return (window.devicePixelRatio || 1) * fontScale(); }

/** The reader's font over that of a laptop. */
export function fontScale() { return parseFloat(getComputedStyle(document.documentElement).fontSize) / 14; }

export function roundLength(longest) {
  const power = 10 ** Math.floor(Math.log10(longest));
  return [5, 2, 1].map((lead) => lead * power).find((length) => length <= longest * (1 + 1e-9));
}

export function drawBar(ctx, { width, height, unitsPerPx, unit, ratio = 1 }) {
  if (!(unitsPerPx > 0)) return;
  const length = roundLength((width / 3) * unitsPerPx);
  const px = length / unitsPerPx;
  const [x, y] = [12 * ratio, height - 14 * ratio];
  const words = `${Number(length.toPrecision(3))} ${unit}`;
  ctx.save();
  ctx.font = `600 ${13 * ratio}px system-ui, sans-serif`;
  const wide = Math.max(px, ctx.measureText(words).width);
  ctx.fillStyle = "rgb(0 0 0 / .55)";
  ctx.fillRect(x - 6 * ratio, y - 21 * ratio, wide + 12 * ratio, 29 * ratio);
  ctx.fillStyle = "#fff";
  ctx.fillRect(x, y, px, 3 * ratio);
  ctx.fillText(words, x, y - 6 * ratio);
  ctx.restore();
}
