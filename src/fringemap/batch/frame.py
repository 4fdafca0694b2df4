"""One frame, analysed without writing anything: what a program or a notebook calls."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from fringemap.batch.work import require_scale
from fringemap.io import read
from fringemap.pipeline import analyze_frame, load_phases
from fringemap.records import Flag, Frame, FrameResult, Scale, ScaleSource
from fringemap.settings import AnalysisSettings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fringemap.settings import ReadSettings


def analyze(
    source: str | Path | Frame,
    *,
    pixel_size_nm: float | None = None,
    phases: str | Sequence[str] = (),
    settings: AnalysisSettings | None = None,
) -> FrameResult:
    """Analyse one frame, and write nothing.

    Parameters
    ----------
    source
        A file, of which the first frame is taken that the settings choose; or a frame.
    pixel_size_nm
        Pixel size [nm/px] in place of the file's or the frame's own.
    phases
        Names from the library, CIFs or tables, or one of them alone, in place of those in the settings.
    settings
        Of every step; the defaults if left out.

    Returns
    -------
    FrameResult
        Spots, match and maps.

    Raises
    ------
    ReadError, CalibrationError, StructureError, SettingsError
        The frame cannot be read or has no pixel size, a phase is unknown, or a setting is impossible.
    """
    chosen = settings or AnalysisSettings()
    if pixel_size_nm is not None:
        chosen = replace(chosen, read=replace(chosen.read, pixel_size_nm=pixel_size_nm))
    if phases:
        names = (phases,) if isinstance(phases, str) else tuple(phases)
        chosen = replace(chosen, phases=replace(chosen.phases, phases=names))
    references = load_phases(chosen)
    threads = os.cpu_count() or 1
    if isinstance(source, Frame):
        return analyze_frame(_rescaled(source, chosen.read), references, settings=chosen, workers=threads)
    with read(source, settings=chosen.read, workers=threads) as series:
        require_scale(series, chosen)
        result = analyze_frame(series[0], references, settings=chosen, workers=threads)
        return replace(result, warnings=(*series.warnings, *result.warnings))


def _rescaled(frame: Frame, settings: ReadSettings) -> Frame:
    if settings.pixel_size_nm is None:
        return frame
    percent = 1.0 if settings.scale_sigma_percent is None else settings.scale_sigma_percent
    side = 10.0 * settings.pixel_size_nm
    scale = Scale((side, side), percent / 100.0, ScaleSource.USER)
    return replace(frame, scale=scale, flags=frame.flags & ~Flag.UNCALIBRATED)
