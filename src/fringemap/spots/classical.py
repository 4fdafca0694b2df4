"""Find spots in the whitened power at a stated rate of false alarms, with no training and no structure.

A spot of a large grain is one bin wide, that of a 2 nm grain tens of bins. Blocks of 1, 2, 4, ... bins are therefore
compared with what noise alone makes of them, from fine to coarse; what has been found at one size is taken out before
the next. Blocks that touch form a group; a watershed splits it into spots, and each is judged against its own ring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fringemap.spectrum import under_hann
from fringemap.spots.blocks import find_blocks
from fringemap.spots.candidates import ranked
from fringemap.spots.peaks import drop_lobes, find_peaks, keep_real_half
from fringemap.spots.significance import score_peaks
from fringemap.spots.window import block_sides, cut_window, smallest_grain_width

if TYPE_CHECKING:
    from fringemap.records import Diffractogram
    from fringemap.settings import SpotSettings
    from fringemap.spots.blocks import Law
    from fringemap.spots.candidates import Candidates
    from fringemap.spots.peaks import Peak
    from fringemap.spots.window import Window

# What is wider than this many times the spots of the smallest grain is an error of the background.
_WIDEST = 2.5
# A crystal that fills the frame: spots this narrow [bins] and this high over the background. Their lobes along the axes
# would bury their neighbours, so the frame is looked at under a window.
_FRAME_FILLING_BINS = 1.7
_FRAME_FILLING_HEIGHT = 100.0


def detect_classical(diffractogram: Diffractogram, *, settings: SpotSettings, workers: int = 1) -> Candidates:
    """Spots whose blocks are brighter than noise makes them at the stated number of false spots a frame.

    Parameters
    ----------
    diffractogram
        With its background; any shape.
    settings
        ``false_spots``, the limits of d, and the smallest grain.
    workers
        Threads.

    Returns
    -------
    Candidates
        One of each Friedel pair; empty if nothing stands out.
    """
    return look_by_law(diffractogram, settings, workers=workers)[0]


def look_by_law(
    diffractogram: Diffractogram, settings: SpotSettings, *, window: Window | None = None, workers: int = 1
) -> tuple[Candidates, Diffractogram]:
    """Spots as of ``detect_classical``, and what they were seen in: under a window if a crystal fills the frame.

    Parameters
    ----------
    window
        From ``cut_window``, if it is there already; bins are hidden in it for a while.
    """
    window = window or cut_window(diffractogram, settings, workers=workers)
    found = _find_peaks(diffractogram, settings, window)
    crowded = any(p.width < _FRAME_FILLING_BINS and p.height > _FRAME_FILLING_HEIGHT for p in found[0])
    if crowded and not diffractogram.windowed:
        diffractogram = under_hann(diffractogram)
        window = cut_window(diffractogram, settings, workers=workers)
        found = _find_peaks(diffractogram, settings, window)
    scores = score_peaks(*found, crowded=crowded)
    kept = np.flatnonzero(scores >= -np.log10(settings.false_spots))
    return ranked([found[0][i] for i in kept], scores[kept]), diffractogram


def _find_peaks(
    diffractogram: Diffractogram, settings: SpotSettings, window: Window
) -> tuple[list[Peak], Window, list[Law]]:
    width = smallest_grain_width(diffractogram, settings)
    found, laws = find_blocks(
        window,
        block_sides(diffractogram, settings),
        false_spots=settings.false_spots,
        noise_shape=diffractogram.noise_shape,
        windowed=diffractogram.windowed,
    )
    peaks = [peak for peak in keep_real_half(find_peaks(window, found)) if peak.width < _WIDEST * max(width, 2.0)]
    return drop_lobes(peaks), window, laws
