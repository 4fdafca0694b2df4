"""Find spots with a trained network: it says where, the power says how many and how wide, empty frames say how sure.

The law of noise is asked as well, for what it can say better.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage

from fringemap.spots.candidates import in_order, ranked
from fringemap.spots.classical import look_by_law
from fringemap.spots.model import MARGIN, load_model, run_model
from fringemap.spots.pattern import complete, make_pattern
from fringemap.spots.peaks import drop_lobes, find_peaks, keep_real_half
from fringemap.spots.window import cut_window

if TYPE_CHECKING:
    from collections.abc import Callable

    from fringemap.records import Diffractogram, FloatArray, Image, IntArray, Mask
    from fringemap.settings import SpotSettings
    from fringemap.spots.candidates import Candidates
    from fringemap.spots.model import Model
    from fringemap.spots.pattern import Pattern
    from fringemap.spots.window import Window

# A spot has the highest logit within this many of its widths, and at least so many pixels around it.
_NEAR_WIDTHS, _NEAR_PX = 0.5, 1.5
# Two detectors list the same spot if their places are this near, in bins or in the geometric mean of its two widths.
_SAME_BINS, _SAME_WIDTHS = 1.5, 0.5
# Spots narrower than this [bins] that noise makes in one of so many frames need no network: -log10 of that.
_SHARP_BINS, _SURE = 1.3, 5.0


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


def detect_unet(
    diffractogram: Diffractogram,
    *,
    settings: SpotSettings,
    workers: int = 1,
    meanwhile: Callable[[Candidates], None] = lambda _: None,
) -> Candidates:
    """Spots that a trained network sees, at the stated number of false spots a frame, with the law of noise beside it.

    Parameters
    ----------
    diffractogram
        With its background; any shape.
    settings
        ``model``, ``false_spots``, the limits of d, and the smallest grain.
    workers
        Threads that make what the network sees.
    meanwhile
        Is given what the law of noise lists, to work on while the network is at work; most of it will be listed.

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
    logit as high as the highest one on the spot; times the pixels in which spots are looked for. Near the axes of
    reciprocal space, where scale bars have their lobes, false spots are counted apart, and a tenth of all is allowed.

    The classical detector looks at the same frame. A spot that both list has the place and the width of the classical
    one; what the network alone lists is marked. What the classical one alone lists is left out, but for spots of one
    bin that noise makes in one of 100,000 frames, as a crystal has that fills the frame, and for the outermost two or
    three bins, which the network does not see.

    Under a window neighbouring bins depend on each other, and noise looks like small spots: there a spot has to be on
    both lists, and has the lower of the two scores. Where a crystal that fills the frame is so strong that a window is
    needed, the network sees the frame without it as well, and what it lists there is marked and added.
    """
    model = load_model(settings.model)
    window = cut_window(diffractogram, settings, workers=workers)
    pattern = _pattern(diffractogram, model, settings, window, workers)
    with ThreadPoolExecutor(1) as beside:
        looking = beside.submit(_look, pattern, model, settings)
        by_law, seen = look_by_law(diffractogram, settings, window=window)
        meanwhile(by_law)
        look = looking.result()
    if diffractogram.windowed:
        return _agreed(look, by_law)
    by_network = _listed(look, window)
    if seen.windowed:
        pattern = _pattern(seen, model, settings, cut_window(seen, settings, workers=workers), workers)
        by_law = _agreed(_look(pattern, model, settings), by_law)
        return in_order([by_law, _unconfirmed(by_network, _pairs(by_network, by_law))])
    pairs = _pairs(by_network, by_law)
    confirmed = pairs >= 0
    both = replace(by_law.take(pairs[confirmed]), score=by_network.score[confirmed])
    rest = by_law.take(np.setdiff1d(np.arange(len(by_law)), pairs))
    trusted = (rest.width < _SHARP_BINS) & (rest.score >= _SURE) | ~look.sees(rest)
    return in_order([both, _unconfirmed(by_network, pairs), rest.take(np.flatnonzero(trusted))])


def _unconfirmed(by_network: Candidates, pairs: IntArray) -> Candidates:
    """What the network alone lists, marked as such."""
    alone = by_network.take(np.flatnonzero(pairs < 0))
    return replace(alone, unconfirmed=np.ones(len(alone), bool))


@dataclass(frozen=True)
class _Look:
    """What a network sees in one diffractogram."""

    model: Model
    pattern: Pattern
    logit: Image
    """As from ``compute_logit``."""
    least_score: float
    """What a spot must have."""
    least: float
    """No spot with this score has a lower logit."""

    def sees(self, spots: Candidates) -> Mask:
        """Which spots lie in the pattern; it has no pixel for the outermost two or three bins."""
        row, col = self.pattern.pixels_of(spots.row, spots.col)
        n_rows, n_cols = self.pattern.valid.shape
        seen: Mask = (row > -0.5) & (row < n_rows - 0.5) & (col < n_cols - 0.5)
        return seen

    def logit_near(self, row: FloatArray, col: FloatArray, width: FloatArray) -> FloatArray:
        """Highest logit on each spot; places and widths in bins."""
        margin = self.logit.shape[1] - self.pattern.valid.shape[1]
        at_row, at_col = self.pattern.pixels_of(row, col)
        reach = [np.maximum(_NEAR_PX, _NEAR_WIDTHS * width / factor) for factor in self.pattern.factor]
        sides = [(np.rint(at - r), np.rint(at + r) + 1) for at, r in ((at_row, reach[0]), (at_col + margin, reach[1]))]
        (top, bottom), (left, right) = (np.maximum(side, 0).astype(int) for side in sides)
        boxes = zip(top, bottom, left, right, strict=True)
        return np.array([self.logit[t:b, le:r].max(initial=-np.inf) for t, b, le, r in boxes], float)

    def score(self, logit: FloatArray, row: FloatArray, col: FloatArray) -> FloatArray:
        """-log10 of the false spots that are expected with at least this logit; places in bins."""
        return self.model.score(logit, *self.pattern.pixels_of(row, col), self.pattern.valid)


def _pattern(
    diffractogram: Diffractogram, model: Model, settings: SpotSettings, window: Window, workers: int
) -> Pattern:
    return make_pattern(diffractogram, settings=settings, max_shape=model.max_shape, window=window, workers=workers)


def _look(pattern: Pattern, model: Model, settings: SpotSettings) -> _Look:
    least = model.least_logit(settings.false_spots, pattern.valid)
    return _Look(model, pattern, compute_logit(model, pattern.image), -np.log10(settings.false_spots), least)


def _agreed(look: _Look, by_law: Candidates) -> Candidates:
    """What the law lists and the network does not doubt, with the lower of their scores."""
    logit = np.where(look.sees(by_law), look.logit_near(by_law.row, by_law.col, by_law.width), np.inf)
    score = look.score(logit, by_law.row, by_law.col)
    agreed = replace(by_law, score=np.minimum(by_law.score, score))
    return in_order([agreed.take(np.flatnonzero(score >= look.least_score))])


def _listed(look: _Look, window: Window) -> Candidates:
    """What the network alone lists."""
    pattern, logit = look.pattern, look.logit
    found = (logit > min(look.model.threshold, look.least)) & _with_mates(pattern.valid, logit)
    peaks = drop_lobes(keep_real_half(find_peaks(window, _bins_found(found, pattern, window))))
    row, col, width = np.array([(peak.row, peak.col, peak.width) for peak in peaks]).reshape(-1, 3).T
    score = look.score(look.logit_near(row, col, width), row, col)
    kept = np.flatnonzero(score >= look.least_score)
    return ranked([peaks[i] for i in kept], score[kept])


def _pairs(ours: Candidates, others: Candidates) -> IntArray:
    """For each of our spots the nearest of the others, or -1 if it is another spot or a stronger one of ours has it.

    Beside the axis gx = 0 one list may hold a spot and the other its mate.
    """
    pairs = np.full(len(ours), -1)
    for i in range(len(ours)) if len(others) else ():
        apart, to_mate = (np.hypot(others.row - k * ours.row[i], others.col - k * ours.col[i]) for k in (1, -1))
        apart = np.minimum(apart, to_mate)
        same = apart < np.maximum(_SAME_BINS, _SAME_WIDTHS * np.sqrt(others.width * ours.width[i]))
        same[pairs[pairs >= 0]] = False
        if same.any():
            pairs[i] = int(np.argmin(np.where(same, apart, np.inf)))
    return pairs


def compute_logit(model: Model, image: Image) -> Image:
    """Logit of "belongs to a spot" for a pattern and its mates left of gx = 0.

    Parameters
    ----------
    image
        (3, n_rows, n_cols) as in ``Pattern``; those that the network does not see may be missing.

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
    # Both rise, so those inside lie together.
    rows_in, cols_in = (
        slice(*np.searchsorted(at, (0, n))) for at, n in zip((at_rows, at_cols), found.shape, strict=True)
    )
    bins = np.zeros(window.whitened.shape, bool)
    # Columns of the small picture first: then whole rows are copied.
    bins[rows_in, cols_in] = found.take(at_cols[cols_in], axis=1).take(at_rows[rows_in], axis=0)
    return bins


def _corner(window: Window) -> tuple[int, int]:
    return window.layout.first_row, window.layout.first_col
