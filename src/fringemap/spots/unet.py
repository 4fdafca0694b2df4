"""Find spots with a trained network: it says where, the power says how many and how wide, empty frames say how sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage

from fringemap.spots.candidates import Candidates
from fringemap.spots.model import MARGIN, load_model, run_model
from fringemap.spots.pattern import complete, make_pattern
from fringemap.spots.peaks import drop_lobes, find_peaks, keep_real_half
from fringemap.spots.window import cut_window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Diffractogram, FloatArray, Image, IntArray, Mask
    from fringemap.settings import SpotSettings
    from fringemap.spots.model import Model
    from fringemap.spots.pattern import Pattern
    from fringemap.spots.peaks import Peak
    from fringemap.spots.window import Window

# A spot has the highest logit within this many of its widths, and at least so many pixels around it.
_NEAR_WIDTHS, _NEAR_PX = 0.5, 1.5


@dataclass(frozen=True)
class Regions:
    """Connected regions of a pattern that a network takes for spots, n rows; positions in its pixels."""

    row: FloatArray
    """Of the highest logit."""
    col: FloatArray
    logit: FloatArray
    """The highest one in the region."""
    size: IntArray
    """Pixels."""

    def __len__(self) -> int:
        return len(self.row)


def detect_unet(diffractogram: Diffractogram, *, settings: SpotSettings) -> Candidates:
    """Spots that a trained network sees, at the stated number of false spots a frame.

    Parameters
    ----------
    diffractogram
        With its background; any shape.
    settings
        ``model``, ``false_spots`` and the limits of d.

    Returns
    -------
    Candidates
        One of each Friedel pair, in falling order of score; empty if nothing stands out.

    Raises
    ------
    ModelError
        The model package is missing, damaged or made for other input.

    Notes
    -----
    The score is read from a table of the model package: how many regions of empty frames, in a million pixels, have a
    logit as high as the highest one on the spot; times the pixels in which spots are looked for.
    """
    model = load_model(settings.model)
    pattern = make_pattern(diffractogram, settings=settings, max_shape=model.max_shape)
    logit = compute_logit(model, pattern.image)
    n_pixels = int(pattern.valid.sum())
    least = model.calibration.logit_at(settings.false_spots, n_pixels)
    found = (logit > min(model.threshold, least)) & _with_mates(pattern.valid, logit)
    window = cut_window(diffractogram, settings, margin=MARGIN * pattern.factor[1])
    peaks = _peaks(window, _bins_found(found, pattern, window))
    highest = np.array([_logit_near(logit, pattern, peak) for peak in peaks])
    return _ranked(peaks, highest, least, model, n_pixels)


def compute_logit(model: Model, image: Image) -> Image:
    """Logit of "belongs to a spot" for a pattern and its mates left of gx = 0.

    Parameters
    ----------
    image
        (2, n_rows, n_cols) as in ``Pattern``.

    Returns
    -------
    Image
        (n_rows, margin + n_cols); margin is ``MARGIN``, or n_cols - 1 where that is less.
    """
    _, n_rows, n_cols = image.shape
    margin = min(MARGIN, n_cols - 1)
    seen = margin if model.half else n_cols - 1
    wide = complete(image[: model.n_channels], seen)
    sides = (-(-n // model.stride) * model.stride for n in wide.shape[1:])
    padded = np.zeros((1, model.n_channels, *sides), np.float32)
    padded[0, :, :n_rows, : wide.shape[2]] = wide
    return run_model(model, padded)[0, :n_rows, seen - margin : wide.shape[2]]


def find_regions(logit: Image, valid: Mask, *, level: float) -> Regions:
    """Connected regions above a level, one of each Friedel pair, in falling order of their highest logit.

    Parameters
    ----------
    logit
        From ``compute_logit``.
    valid
        Where spots are looked for; (n_rows, n_cols).
    level
        Logit.
    """
    half = logit[:, logit.shape[1] - valid.shape[1] :]
    labels, n = scipy.ndimage.label((half > level) & valid, np.ones((3, 3)))
    numbers = np.arange(1, n + 1)
    places = np.array(scipy.ndimage.maximum_position(half, labels, numbers), int).reshape(-1, 2)
    sizes = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    # On the axis both mates are seen.
    listed = (places[:, 1] > 0) | (places[:, 0] > valid.shape[0] // 2)
    places, sizes = places[listed], sizes[listed]
    highest = half[places[:, 0], places[:, 1]].astype(float)
    order = np.argsort(-highest, kind="stable")
    return Regions(places[order, 0].astype(float), places[order, 1].astype(float), highest[order], sizes[order])


def _with_mates(valid: Mask, logit: Image) -> Mask:
    return complete(valid, logit.shape[1] - valid.shape[1])


def _bins_found(found: Mask, pattern: Pattern, window: Window) -> Mask:
    """The network's regions in the bins of a window; each bin asks the nearest pixel."""
    margin = found.shape[1] - pattern.valid.shape[1]
    rows, cols = (first + np.arange(n) for first, n in zip(_corner(window), window.whitened.shape, strict=True))
    row, col = pattern.pixels_of(rows, cols)
    at_rows, at_cols = np.rint(row).astype(int), np.rint(col).astype(int) + margin
    inside = [(at >= 0) & (at < n) for at, n in zip((at_rows, at_cols), found.shape, strict=True)]
    bins = np.zeros(window.whitened.shape, bool)
    bins[np.ix_(*inside)] = found[np.ix_(at_rows[inside[0]], at_cols[inside[1]])]
    return bins


def _corner(window: Window) -> tuple[int, int]:
    return window.layout.first_row, window.layout.first_col


def _peaks(window: Window, found: Mask) -> list[Peak]:
    return drop_lobes(keep_real_half(find_peaks(window, found)))


def _logit_near(logit: Image, pattern: Pattern, peak: Peak) -> float:
    """Highest logit on a spot."""
    row, col = (float(x) for x in pattern.pixels_of(np.array(peak.row), np.array(peak.col)))
    margin = logit.shape[1] - pattern.valid.shape[1]
    half_row, half_col = (max(_NEAR_PX, _NEAR_WIDTHS * peak.width / factor) for factor in pattern.factor)
    rows = slice(max(round(row - half_row), 0), round(row + half_row) + 1)
    cols = slice(max(round(col + margin - half_col), 0), round(col + margin + half_col) + 1)
    return float(logit[rows, cols].max(initial=-np.inf))


def _ranked(peaks: Sequence[Peak], highest: FloatArray, least: float, model: Model, n_pixels: int) -> Candidates:
    """Peaks that reach the stated rate, in falling order of score."""
    order = np.argsort(-highest, kind="stable")
    order = order[highest[order] >= least]
    ranked = [peaks[i] for i in order]
    return Candidates(
        row=np.array([p.row for p in ranked], float),
        col=np.array([p.col for p in ranked], float),
        width=np.array([p.width for p in ranked], float),
        score=model.calibration.score(highest[order], n_pixels),
        merged=np.array([p.merged for p in ranked], bool),
    )
