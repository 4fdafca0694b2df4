// What panes ask about spots: which are shown, where they lie, what two of them make.

import { state } from "./store.js";

/** Rows of the spots that pass the sliders and whose phase is not switched off. */
export function shownSpots(result = state.result) {
  if (!result) return [];
  return result.spots.filter((spot) => passes(spot) && phaseShown(spot.phase));
}

export function passes(spot) {
  return state.threshold === null || spot.score >= state.threshold || spot.by_hand;
}

export function phaseShown(name) {
  if (state.onlyPhase !== null) return name === state.onlyPhase;
  if (state.hiddenPhases.has(name)) return false;
  const phase = state.result?.phases.find((one) => one.name === name);
  return !phase || phase.q_value === null || phase.q_value <= state.qLimit;
}

export function spotAt(row) { return state.result?.spots[row] ?? null; }

/** Angle between two spots and the ratio of their d; of the two mates the one that makes the smaller angle. */
export function pairWords(first, second) {
  const turn = Math.abs((Math.atan2(first.gy, first.gx) - Math.atan2(second.gy, second.gx)) * (180 / Math.PI)) % 180;
  const angle = Math.min(turn, 180 - turn);
  const ratio = Math.max(first.d, second.d) / Math.min(first.d, second.d);
  return `angle ${angle.toFixed(2)}° (or ${(180 - angle).toFixed(2)}°), d ratio ${ratio.toFixed(4)}`;
}

export function toggled(row, more) {
  if (!more) return [row];
  if (state.selected.includes(row)) return state.selected.filter((one) => one !== row);
  return [...state.selected, row].slice(-2);
}
