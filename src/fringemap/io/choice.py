"""Which of several signals in a file is the lattice image, and why the others are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fringemap.errors import ReadError
from fringemap.io.calibration import is_reciprocal, stored_pixel_size

if TYPE_CHECKING:
    from pathlib import Path

    from fringemap.io.signals import Content, Signal

SMALLEST_SIDE_PX = 32
"""Frames with a shorter side show too few fringes to measure."""

LARGEST_FRAME_PX = 1 << 30
"""32768 x 32768; more is a damaged header, or a picture made to fill the memory."""


def choose_signal(path: Path, content: Content) -> tuple[Signal, list[str]]:
    """Take the largest real image or stack, one with a real-space pixel size before one without.

    Raises
    ------
    ReadError
        If no signal is a usable image; the sentence says what the largest one is instead.
    """
    refused = [(signal, why) for signal in content.signals if (why := why_not(signal))]
    usable = [signal for signal in content.signals if not why_not(signal)]
    if not usable:
        raise ReadError(_refusal(path, refused))
    best = max(usable, key=_rank)
    others = [signal.title for signal in usable if signal is not best]
    remarks = [f"'{best.title}' was taken; also there: {', '.join(others)}"] if others else []
    return best, [*best.remarks, *remarks]


def why_not(signal: Signal) -> str:
    """Why a signal is no lattice image, as the end of a sentence; empty if it can be one."""
    if signal.refusal:
        return signal.refusal
    if signal.dtype.kind == "c":
        return "holds complex numbers (a Fourier transform saved as an image)"
    if signal.dtype.kind == "b":
        return "holds only true and false (a mask)"
    if signal.dtype.kind not in "iuf":
        return f"holds values of the type '{signal.dtype}', not numbers"
    if is_reciprocal(signal.pixel_size):
        return f"is a diffraction pattern: its pixels are in {signal.pixel_size[1].unit or signal.pixel_size[0].unit}"
    if min(signal.frame_shape) < SMALLEST_SIDE_PX:
        rows, cols = signal.frame_shape
        return f"has only {rows} x {cols} pixels, at least {SMALLEST_SIDE_PX} a side are needed"
    if signal.frame_shape[0] * signal.frame_shape[1] > LARGEST_FRAME_PX or signal.n_frames < 1:
        rows, cols = signal.frame_shape
        return f"announces {signal.n_frames} frames of {rows} x {cols} pixels, which makes no sense"
    return ""


def _rank(signal: Signal) -> tuple[bool, int, int]:
    stored, _why = stored_pixel_size(signal.pixel_size)
    return stored is not None, signal.frame_shape[0] * signal.frame_shape[1], signal.n_frames


def _refusal(path: Path, refused: list[tuple[Signal, str]]) -> str:
    if not refused:
        return f"{path.name} holds no image; give the file of a real-space HRTEM image"
    _signal, why = max(refused, key=lambda pair: pair[0].frame_shape[0] * pair[0].frame_shape[1] * pair[0].n_frames)
    return f"{path.name} {why}; give a real-space HRTEM image"
