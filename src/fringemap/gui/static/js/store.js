// What this page shows. Panes listen to what concerns them; what must survive a reload is in the address or on the server.

export const state = {
  input: null, // what the server says of the open input
  frame: 0,
  result: null, // of the frame shown, with corrections
  selected: [], // rows of spots, at most two
  hiddenPhases: new Set(),
  onlyPhase: null,
  opacity: 0.55,
  threshold: null, // spots with a smaller score are left out at once
  qLimit: 1,
  overlays: [], // theoretical rings and zones
  region: null, // {top, left, side}: the live diffractogram
  runs: [],
  tool: "select", // select | add | delete
};

const listeners = new Map();

export function on(names, listener) {
  for (const name of names.split(" ")) {
    if (!listeners.has(name)) listeners.set(name, []);
    listeners.get(name).push(listener);
  }
}

export function set(changes) {
  Object.assign(state, changes);
  const called = new Set();
  for (const name of Object.keys(changes)) for (const one of listeners.get(name) || []) called.add(one);
  for (const one of called) one(state);
}

export function say(words, kind = "") {
  const foot = document.querySelector("#foot .message");
  if (!foot) return;
  foot.textContent = words;
  foot.className = `message grow cut ${kind}`;
  foot.title = words;
}

/** Do something that may fail, and say so. */
export async function trying(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, "bad");
    return undefined;
  }
}
