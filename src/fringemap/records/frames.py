"""A frame and its diffractogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fringemap.records.basics import ComplexImage, Flag, Image, Scale

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """One real-space image."""

    image: Image
    """Counts, shape (n_rows, n_cols), finite."""
    scale: Scale | None
    """None: uncalibrated."""
    name: str
    """What a user calls it: the file's stem, with the frame number in a series."""
    index: int = 0
    """Position in its series, from 0, as stored in the file."""
    time_s: float | None = None
    flags: Flag = Flag.NONE


@dataclass(frozen=True)
class Diffractogram:
    """Half spectrum of one frame, or of several averaged, with its noise.

    All images have the shape (n_rows, n_cols // 2 + 1) and the order of a real transform: zero frequency at [0, 0],
    negative rows at the end.
    """

    spectrum: ComplexImage
    """Transform of the last (or only) frame, mean removed [counts]."""
    power: Image
    """|spectrum|², averaged over ``n_averaged`` frames [counts²]."""
    background: Image
    """Expected power of everything that is not a spot, smooth; ``power / background`` is the whitened power."""
    noise_shape: float
    """Shape k of the gamma law (mean 1) that the whitened power follows in a bin without a spot; 1 is exponential."""
    frame_shape: tuple[int, int]
    scale: Scale
    smooth_part: tuple[NDArray[np.complex64], NDArray[np.complex64]] | None = None
    """Transforms of the jumps between the frame's opposite edges, along columns and along rows, if the smooth part that
    they make was subtracted from ``spectrum``; ``spectrum.read_raw_block`` puts it back."""
    windowed: bool = False
    """A Hann window lay over the frame: neighbouring bins depend on each other."""
    n_averaged: int = 1
    d_min_angstrom: float | None = None
    """Bins beyond 1 / d_min along either axis are not evaluated: power 0, background 1. None: all are."""
    mean_counts: float = float("nan")
    flags: Flag = Flag.NONE
