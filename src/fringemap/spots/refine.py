"""Choose, for each candidate, the measurement that fits it: one coherent wave, or a hump of speckle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.spots.fringes import take
from fringemap.spots.power_fit import fit_humps
from fringemap.spots.wave_fit import fit_other_waves, fit_waves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Diffractogram, FloatArray, Mask
    from fringemap.spots.candidates import Candidates
    from fringemap.spots.wave_fit import FittedEarly

# A wave that holds less than this share of a spot's power is one grain among several, or part of a bent one.
_COHERENT_SHARE = 0.8
# A wave that holds this share even of its whole block needs no comparison.
_CERTAINLY_COHERENT = 0.85


@dataclass(frozen=True)
class Refined:
    """Measured candidates, the same n rows in the same order, in bins of the half spectrum, pixels and counts."""

    row: FloatArray
    col: FloatArray
    covariance: FloatArray
    """Of (row, col) [bins²]; (n, 2, 2); NaN where not refined."""
    amplitude: FloatArray
    amplitude_sigma: FloatArray
    snr: FloatArray
    width: FloatArray
    """Full width at half maximum of the power along (row, col) [bins]; (n, 2)."""
    position: FloatArray
    extent: FloatArray
    refined: Mask
    """False: the position is the detector's."""
    several: Mask
    """One wave holds too little of the power: several grains of nearly the same g, or a bent one."""


def refine_candidates(
    diffractogram: Diffractogram, candidates: Candidates, fitted: Sequence[FittedEarly] = ()
) -> Refined:
    """Fit a wave to every candidate, and a hump of power to those that no single wave explains.

    Where several grains share a spot, the strongest of them is measured with and without a window over the frame; half
    the difference is part of the stated error.

    Parameters
    ----------
    diffractogram
        Its ``spectrum`` carries no window.
    candidates
        n coarse positions.
    fitted
        Waves that are there already, of any of them.
    """
    wave = fit_other_waves(diffractogram, candidates, fitted)
    row, col, energy = wave.row.copy(), wave.col.copy(), wave.energy.copy()
    covariance, width, refined = wave.covariance.copy(), wave.width.copy(), wave.ok.copy()
    several = np.zeros(len(candidates), bool)
    chosen = np.flatnonzero(~wave.ok | (wave.share < _CERTAINLY_COHERENT))
    humps = fit_humps(diffractogram, candidates, chosen)
    chosen, humps = chosen[humps.ok], take(humps, humps.ok)
    several[chosen] = wave.energy[chosen] < _COHERENT_SHARE * humps.energy
    wide = several[chosen] | ~wave.ok[chosen]
    energy[chosen[wide]], width[chosen[wide]] = humps.energy[wide], humps.width[wide]
    lost = ~wave.ok[chosen]
    row[chosen[lost]], col[chosen[lost]] = humps.row[lost], humps.col[lost]
    covariance[chosen[lost]], refined[chosen[lost]] = humps.covariance[lost], True
    _compare_windowed(diffractogram, candidates, several & wave.ok, row, col, covariance)
    row, col = np.where(refined, row, candidates.row), np.where(refined, col, candidates.col)
    covariance[~refined] = np.nan
    width[~refined] = candidates.width[~refined, None]
    snr = np.sqrt(2 * energy / np.maximum(wave.noise, 1e-300))
    return Refined(
        row,
        col,
        covariance,
        wave.amplitude,
        wave.amplitude_sigma,
        snr,
        width,
        wave.position,
        wave.extent,
        refined,
        several,
    )


def _compare_windowed(
    diffractogram: Diffractogram,
    candidates: Candidates,
    several: Mask,
    row: FloatArray,
    col: FloatArray,
    covariance: FloatArray,
) -> None:
    """Replace, in place, the position and covariance of spots that several grains share by the windowed measurement."""
    chosen = np.flatnonzero(several)
    windowed = fit_waves(diffractogram, candidates.take(chosen), windowed=True)
    for k, i in enumerate(chosen):
        if windowed.ok[k]:
            difference = np.array([windowed.row[k] - row[i], windowed.col[k] - col[i]])
            row[i], col[i] = windowed.row[k], windowed.col[k]
            covariance[i] = windowed.covariance[k] + np.outer(difference, difference) / 4
