// Colour maps and the table from 16-bit pixels to colours.

const STOPS = {
  grey: [[0, 0, 0], [255, 255, 255]],
  viridis: [[68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140], [40, 174, 128], [94, 201, 98], [173, 220, 48], [253, 231, 37]],
  inferno: [[0, 0, 4], [31, 12, 72], [85, 15, 109], [136, 34, 106], [186, 54, 85], [227, 89, 51], [249, 140, 10], [249, 201, 50], [252, 255, 164]],
  cividis: [[0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120], [167, 157, 117], [199, 181, 103], [253, 234, 69]],
};
export const COLOUR_MAPS = Object.keys(STOPS);

const maps = new Map();
function colours(name) {
  if (!maps.has(name)) {
    const stops = STOPS[name];
    const table = new Uint8Array(256 * 3);
    for (let k = 0; k < 256; k++) {
      const at = (k / 255) * (stops.length - 1);
      const i = Math.min(Math.floor(at), stops.length - 2);
      for (let c = 0; c < 3; c++) table[3 * k + c] = Math.round(stops[i][c] + (at - i) * (stops[i + 1][c] - stops[i][c]));
    }
    maps.set(name, table);
  }
  return maps.get(name);
}

const LOG_GAIN = 99;

/** Where a value lies between black and white, 0 to 1. */
export function tone(value, { low, high, gamma, log, invert }) {
  let t = Math.min(Math.max((value - low) / (high - low || 1), 0), 1);
  if (log) t = Math.log1p(LOG_GAIN * t) / Math.log1p(LOG_GAIN);
  if (gamma !== 1) t = t ** gamma;
  return invert ? 1 - t : t;
}

/** Colour of each 16-bit pixel, as the bytes R, G, B, A of one number. */
export function table(picture, look) {
  const map = colours(look.map);
  const out = new Uint32Array(65536);
  const step = (picture.high - picture.low) / 65535;
  for (let p = 0; p < 65536; p++) {
    const k = 3 * Math.round(255 * tone(picture.low + p * step, look));
    out[p] = (255 << 24) | (map[k + 2] << 16) | (map[k + 1] << 8) | map[k];
  }
  return out;
}

/** Paint a picture on a canvas of its own size. */
export function paint(picture, look, canvas = document.createElement("canvas")) {
  canvas.width = picture.cols;
  canvas.height = picture.rows;
  const image = new ImageData(picture.cols, picture.rows);
  const out = new Uint32Array(image.data.buffer);
  const colour = table(picture, look);
  const data = picture.data;
  for (let k = 0; k < out.length; k++) out[k] = colour[data[k]];
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

export function histogram(picture, n = 256) {
  const bins = new Uint32Array(n);
  for (const p of picture.data) bins[(p * n) >> 16]++;
  return bins;
}

/** Value below which a share of the pixels lies. */
export function quantile(picture, share) {
  const bins = histogram(picture, 4096);
  let left = share * picture.data.length;
  for (let k = 0; k < bins.length; k++) {
    left -= bins[k];
    if (left <= 0) return picture.low + ((k + 0.5) / bins.length) * (picture.high - picture.low);
  }
  return picture.high;
}
