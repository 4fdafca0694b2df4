"""The whole analysis of one frame, and of one series, on one screen."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from fringemap.maps import compute_maps
from fringemap.phases import added_phases, find_standard, load_references, match_spots
from fringemap.phases.any_scale import FOUND_SIGMA, may_seek_scale, search_scale
from fringemap.records import Flag, FrameResult, Scale, ScaleSource
from fringemap.settings import AnalysisSettings
from fringemap.spectrum import (
    compute_diffractogram,
    compute_profile,
    reduce_frame,
    shown_paper_view,
    shown_spectrum,
    sum_rings,
)
from fringemap.spots import find_rings, find_spots, spot_bins, straighten_spots
from fringemap.spots.unscaled import (
    LARGEST_ANGSTROM,
    PROVISIONAL_ANGSTROM,
    SMALLEST_ANGSTROM,
    provisional_scale,
    provisional_settings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from fringemap.records import Diffractogram, Frame, Image, Match, Profile, Reflections, Rings, Spots
    from fringemap.spectrum import RingSums

T = TypeVar("T")
Pictures = Literal["all", "frame", "none"]
"""What a result holds to be looked at: frame and diffractogram, the frame alone, from which drift is followed, or
neither."""


def load_phases(settings: AnalysisSettings) -> tuple[Reflections, ...]:
    """Reflections of every phase that the settings name, down to the smallest d-spacing looked for.

    Raises
    ------
    StructureError
        A name is unknown or a file unusable.
    """
    return load_references(settings.phases, d_min_angstrom=settings.spots.d_min_angstrom)


def analyze_frame(
    frame: Frame,
    references: Sequence[Reflections],
    *,
    settings: AnalysisSettings | None = None,
    workers: int = 1,
    choose: Callable[[Diffractogram], Spots] | None = None,
    pictures: Pictures | Callable[[Match, Spots], Pictures] = "all",
) -> FrameResult:
    """Find the spots of a frame, say which phases explain them, and map each phase.

    Parameters
    ----------
    frame
        Any shape. Without a pixel size it is sought, if the settings name a few phases that the frame may show.
    references
        From ``load_phases``.
    workers
        Threads of the large transform; with more than one, pictures and profile are made beside the other steps.
    choose
        Gives the spots of the diffractogram, as measured there, in place of the detector: those that a hand corrected.
    pictures
        Figures need "all", a series "frame"; those left out are empty. May wait for what the frame turns out to show.

    Raises
    ------
    CalibrationError
        The frame has no pixel size, and ratios and angles give none.
    ReadError
        The frame is constant.
    """
    settings = settings or AnalysisSettings()
    seconds: dict[str, float] = {}
    if frame.scale is None and may_seek_scale(settings.phases):
        with _timed(seconds, "scale"):
            frame = _with_scale(frame, references, settings, workers)
    with _timed(seconds, "spectrum"):
        diffractogram = compute_diffractogram(
            frame, settings=settings.spectrum, d_min_angstrom=settings.spots.d_min_angstrom, workers=workers
        )
    with _beside(workers) as start:
        if not callable(pictures):
            drawn = start(partial(_draw_pictures, frame, diffractogram, settings, pictures, seconds))
        sums = start(lambda: _sum_rings(diffractogram, seconds))
        with _timed(seconds, "spots"):
            seen = (
                choose(diffractogram) if choose else find_spots(diffractogram, settings=settings.spots, workers=workers)
            )
            spots = straighten_spots(seen, diffractogram.scale)
        graph = start(lambda: _integrate(diffractogram, sums(), seen, spots, settings, seconds))
        with _timed(seconds, "phases"):
            match = match_spots(spots, references, scale=diffractogram.scale, settings=settings.phases)
        if callable(pictures):
            drawn = start(partial(_draw_pictures, frame, diffractogram, settings, pictures(match, spots), seconds))
        with _timed(seconds, "maps"):
            maps = compute_maps(diffractogram, seen, match, settings=settings.maps, workers=workers)
        thumbnail, picture, g_edge = drawn()
        profile, rings = graph()
    return FrameResult(
        name=frame.name,
        index=frame.index,
        time_s=frame.time_s,
        frame_shape=diffractogram.frame_shape,
        scale=diffractogram.scale,
        spots=spots,
        rings=rings,
        profile=profile,
        match=match,
        maps=maps,
        thumbnail=thumbnail,
        shown_spectrum=picture,
        shown_g_max=g_edge,
        mean_counts=diffractogram.mean_counts,
        seconds=seconds,
        flags=diffractogram.flags,
        warnings=(*_said_of_phases(settings, references), *_said_of_scale(diffractogram.scale, references)),
    )


def analyze_series(
    frames: Iterable[Frame],
    references: Sequence[Reflections],
    *,
    settings: AnalysisSettings | None = None,
    workers: int = 1,
) -> Iterator[FrameResult]:
    """Analyse frame after frame, as they come; memory holds one."""
    for frame in frames:
        yield analyze_frame(frame, references, settings=settings, workers=workers)


def _with_scale(frame: Frame, references: Sequence[Reflections], settings: AnalysisSettings, workers: int) -> Frame:
    """Give a frame the pixel size at which its spots have the ratios and angles of the phases named."""
    wide = provisional_settings(settings.spots, frame.image.shape[:2])
    diffractogram = compute_diffractogram(
        replace(frame, scale=provisional_scale()),
        settings=settings.spectrum,
        d_min_angstrom=wide.d_min_angstrom,
        workers=workers,
    )
    smallest, largest = (size / PROVISIONAL_ANGSTROM for size in (SMALLEST_ANGSTROM, LARGEST_ANGSTROM))
    standard = find_standard(references, settings.phases.internal_standard)
    known = [references[row] for row in standard] or references
    found = search_scale(find_spots(diffractogram, settings=wide), known, smallest=smallest, largest=largest)
    size = found.factor * PROVISIONAL_ANGSTROM
    scale = Scale((size, size), FOUND_SIGMA, ScaleSource.RATIOS, probability=found.probability)
    return replace(frame, scale=scale, flags=frame.flags | Flag.UNCALIBRATED)


def _said_of_scale(scale: Scale, references: Sequence[Reflections]) -> tuple[str, ...]:
    """Tell of a pixel size that nobody stated."""
    if scale.source is not ScaleSource.RATIOS:
        return ()
    names = ", ".join(reflections.phase for reflections in references)
    return (
        f"the frame has no pixel size; {0.1 * scale.pixel_size_angstrom[1]:.3g} nm/px fits the ratios and angles of "
        f"{names} (probability {scale.probability:.2f} if the frame shows no others): d-spacings and names hang on it",
    )


def _said_of_phases(settings: AnalysisSettings, references: Sequence[Reflections]) -> Iterator[str]:
    """Tell of phases that nobody asked for, and of a list that can hardly name anything."""
    if added := added_phases(settings.phases):
        yield f"{' and '.join(added)} are considered as well, since the specimen is so cold; --absent leaves them out"
    only_lines = bool(references) and all(reflections.structure is None for reflections in references)
    if only_lines and settings.phases.match == "posterior":
        yield "no phase of the list has a cell, so that no grain can be sought; --match tolerance compares d-spacings"


def _draw_pictures(
    frame: Frame,
    diffractogram: Diffractogram,
    settings: AnalysisSettings,
    pictures: Pictures,
    seconds: dict[str, float],
) -> tuple[Image, Image, tuple[float, float]]:
    nothing = np.zeros((0, 0), np.float32)
    if pictures == "none":
        return nothing, nothing, (0.0, 0.0)
    with _timed(seconds, "pictures"):
        thumbnail = reduce_frame(frame.image)
        if pictures == "frame":
            return thumbnail, nothing, (0.0, 0.0)
        if settings.report.spectrum == "paper":
            return thumbnail, *shown_paper_view(frame, diffractogram.scale)
        return thumbnail, *shown_spectrum(diffractogram, d_min_angstrom=settings.spots.d_min_angstrom)


def _sum_rings(diffractogram: Diffractogram, seconds: dict[str, float]) -> RingSums:
    with _timed(seconds, "profile"):
        return sum_rings(diffractogram)


def _integrate(
    diffractogram: Diffractogram,
    sums: RingSums,
    seen: Spots,
    spots: Spots,
    settings: AnalysisSettings,
    seconds: dict[str, float],
) -> tuple[Profile, Rings]:
    with _timed(seconds, "profile"):
        profile = compute_profile(diffractogram, inside=spot_bins(diffractogram, seen), sums=sums)
        return profile, find_rings(profile, spots, settings=settings.spots)


@contextmanager
def _beside(workers: int) -> Iterator[Callable[[Callable[[], T]], Callable[[], T]]]:
    """Start work in a second thread, if there may be one; what that returns is called for the result."""
    if workers == 1:
        yield _finished
        return
    with ThreadPoolExecutor(1) as pool:
        yield lambda work: pool.submit(work).result


def _finished(work: Callable[[], T]) -> Callable[[], T]:
    result = work()
    return lambda: result


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - begin
