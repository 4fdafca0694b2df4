"""The demonstration: a frame with a known answer, analysed like any user's file, and found set beside true."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import numpy as np

from fringemap.batch import analyze_input
from fringemap.errors import FringemapError
from fringemap.io import write_mrc
from fringemap.report.truth import VISIBLE_SNR, compare_with_truth, match_true_spots
from fringemap.settings import AnalysisSettings, PhaseSettings
from fringemap.simulate import demo_scene, simulate_frame

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fringemap.records import FloatArray, FrameResult, Truth
    from fringemap.report.truth import TruthLine

ELEMENTS = ("Li", "C", "O", "F", "H")
"""What the sample can hold: the four phases of the scene, and their rivals in the library."""


def run_demo(out: Path, *, seed: int, size: int, tell: Callable[[str], None]) -> Path:
    """Draw a piece of a battery's interphase, write it as a file, analyse that file, and tell found beside true.

    Parameters
    ----------
    out
        Folder: gets ``demo.mrc`` and ``demo/`` with the results.
    seed
        Of the drawing.
    size
        Side of the frame [px]; the grains grow with it.
    tell
        Takes the lines of text for the user.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    FringemapError
        Something could not be written or analysed.
    """
    start = time.perf_counter()
    path, truth = draw_sample(out, seed, size)
    tell(f"Drawn: {path}, {_described(truth)}")
    result, page = _analyze(path, truth)
    tell(f"Analysed as any file is, among all phases of {', '.join(ELEMENTS)} in the library; {_seconds(start)} in all")
    tell("")
    for line in compare_in_words(result, truth):
        tell(line)
    tell("")
    return page


def draw_sample(out: Path, seed: int, size: int) -> tuple[Path, Truth]:
    """Draw the scene and write it as ``demo.mrc`` in a folder; give its path and the truth."""
    rng = np.random.default_rng(seed)
    frame, truth = simulate_frame(demo_scene(rng=rng, frame_shape=(size, size)), rng=rng, name="demo")
    # A camera delivers whole counts.
    counts = np.clip(np.rint(frame.image), -32768, 32767).astype(np.int16)
    path = write_mrc(out / "demo.mrc", counts, pixel_size_angstrom=truth.scale.pixel_size_angstrom)
    return path, truth


def _analyze(path: Path, truth: Truth) -> tuple[FrameResult, Path]:
    settings = AnalysisSettings(phases=PhaseSettings(elements=ELEMENTS, match="posterior"))
    seen: list[FrameResult] = []
    ended = analyze_input(
        path, path.with_suffix(""), settings, threads=os.cpu_count() or 1, truth=truth, watch=seen.append
    )
    if ended.failures or ended.page is None:
        raise FringemapError("; ".join(failure.message for failure in ended.failures))
    return seen[0], ended.page


def _described(truth: Truth) -> str:
    rows, cols = truth.masks.shape[1:]
    height, width = (n * p / 10 for n, p in zip((rows, cols), truth.scale.pixel_size_angstrom, strict=True))
    grains = len(truth.phases)
    return f"{cols} x {rows} px, {width:.0f} x {height:.0f} nm, {grains} grains of {len(set(truth.phases))} phases"


def _seconds(start: float) -> str:
    return f"{time.perf_counter() - start:.1f} s"


def compare_in_words(result: FrameResult, truth: Truth) -> list[str]:
    """Set found beside true as a table of text: a row for each phase, then what was found without being there."""
    row = "{:<10} {:>10} {:>16} {:>12} {:>12} {:>12}".format
    lines = [row("phase", "true area", "found area", "spots found", "named right", "error of d")]
    errors = _relative_d_errors(result, truth)
    phases = np.array(truth.spots.phase, dtype=object)
    for line in compare_with_truth(result, truth):
        visible = np.isfinite(errors) & (phases == line.phase) & (truth.spots.snr >= VISIBLE_SNR)
        lines.append(
            row(
                line.phase,
                f"{100 * line.true_area:.2f} %",
                _found_area(result, line),
                f"{line.n_found_spots} of {line.n_true_spots}",
                f"{line.n_named_spots}",
                _percent_error(errors[visible]),
            )
        )
    return [*lines, *_explanation(result, truth)]


def _explanation(result: FrameResult, truth: Truth) -> list[str]:
    false = len(result.spots) - len(set(match_true_spots(result, truth).tolist()) - {-1})
    return [
        f"Spots: those of a true signal-to-noise ratio of {VISIBLE_SNR:g} or more. Found where nothing is: {false}.",
        "Error of d: root mean square over the phase's spots, found against drawn.",
    ]


def _found_area(result: FrameResult, line: TruthLine) -> str:
    found = next((m for m in result.maps if m.phase == line.phase), None)
    if found is None:
        return "not found"
    return f"{100 * found.area_fraction:.2f} ± {100 * found.area_sigma:.2f} %"


def _relative_d_errors(result: FrameResult, truth: Truth) -> FloatArray:
    """(found - true) / true of d for each true spot; NaN where it was not found."""
    nearest = match_true_spots(result, truth)
    errors = np.full(len(truth.spots), np.nan)
    hit = nearest >= 0
    true_g = np.hypot(truth.spots.gx, truth.spots.gy)
    errors[hit] = result.spots.d_spacing[nearest[hit]] * true_g[hit] - 1.0
    return errors


def _percent_error(errors: FloatArray) -> str:
    return f"{100 * np.sqrt(np.mean(errors**2)):.3f} %" if len(errors) else "-"
