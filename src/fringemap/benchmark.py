"""The figures of speed and memory: each step as a ratio to numpy's complex128 FFT of the same frame, in the same run.

Machines are shared and noisy, so the reference is timed in turn with every step and medians are compared.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from fringemap.io import read, write_mrc
from fringemap.pipeline import analyze_frame, load_phases
from fringemap.report import write_results
from fringemap.settings import AnalysisSettings, PhaseSettings, ReportSettings, SpotSettings
from fringemap.simulate import demo_scene, simulate_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from fringemap.records import FrameResult

_PHASES = ("Li", "LiF", "Li2O", "Li2CO3", "LiOH", "Cu")
# Of the design's table: what a whole analysis has to stay below, and where it must end.
_AIMS = {"classical": (0.6, 0.25), "unet": (1.0, 0.5)}
_AIMS_SIZE = 4096


@dataclass(frozen=True)
class Timing:
    """One line of the benchmark."""

    name: str
    seconds: float
    """Median."""
    ratio: float
    """Median over runs of time / time of the reference beside it."""


def run_benchmark(
    *, size: int, repeats: int, tell: Callable[[str], None], detector: Literal["classical", "unet"] = "classical"
) -> list[Timing]:
    """Time reading, each step, and the whole analysis with its tables and maps on disk; without figures.

    Parameters
    ----------
    size
        Side of the frame [px].
    repeats
        Runs of everything; the first, which fills caches, is not counted.
    tell
        Gets the table, line by line.
    detector
        Of spots.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = _draw_frame(Path(folder) / "benchmark.mrc", size)
        tell(f"{size} x {size} px, {os.cpu_count()} cores, {repeats} runs; unit: numpy.fft.fft2 in complex128")
        runs = [_time_once(path, Path(folder) / "out", detector) for _ in range(repeats + 1)][1:]
    timings = [_median(name, runs) for name in runs[0]]
    for timing in timings:
        tell(f"{timing.name:28} {timing.seconds:8.3f} s  {timing.ratio:7.3f}")
    whole = timings[-1].ratio
    required, aim = _AIMS[detector]
    wanted = f"required {required}, aimed at {aim}"
    # What a small frame takes does not shrink with its transform.
    wanted = wanted if size >= _AIMS_SIZE else f"at {_AIMS_SIZE} px {wanted}"
    tell(f"whole analysis, {detector} detector: {whole:.2f} of the unit; {wanted}")
    tell(f"peak memory of one analysis in its own process: {_peak_memory(size, detector):.0f} MB")
    tell(f"fringemap --help: {_start_time():.2f} s")
    return timings


def _draw_frame(path: Path, size: int) -> Path:
    rng = np.random.default_rng(1)
    frame, _ = simulate_frame(demo_scene(rng=rng, frame_shape=(size, size)), rng=rng)
    assert frame.scale is not None
    counts = np.clip(np.rint(frame.image), 0, 32767).astype(np.int16)
    return write_mrc(path, counts, pixel_size_angstrom=frame.scale.pixel_size_angstrom)


def _settings(detector: Literal["classical", "unet"]) -> AnalysisSettings:
    return AnalysisSettings(
        spots=SpotSettings(detector=detector),
        phases=PhaseSettings(phases=_PHASES),
        report=ReportSettings(figures=False),
    )


def _analyze(path: Path, out: Path, detector: Literal["classical", "unet"]) -> tuple[FrameResult, dict[str, float]]:
    settings = _settings(detector)
    references, workers = load_phases(settings), os.cpu_count() or 1
    start = time.perf_counter()
    frame = read(path, settings=settings.read, workers=workers)[0]
    seconds = {"read": time.perf_counter() - start}
    # As a run without figures does.
    result = analyze_frame(frame, references, settings=settings, workers=workers, pictures="none")
    seconds |= result.seconds
    written = time.perf_counter()
    write_results([result], folder=out, settings=settings.report, provenance={"input": path.name})
    end = time.perf_counter()
    return result, seconds | {"tables and maps on disk": end - written, "whole": end - start}


def _time_once(path: Path, out: Path, detector: Literal["classical", "unet"]) -> dict[str, tuple[float, float]]:
    """Seconds of each step, and their ratio to the reference timed just before and just after."""
    image = read(path)[0].image.astype(np.complex128)
    before = _reference(image)
    _, seconds = _analyze(path, out, detector)
    unit = (before + _reference(image)) / 2
    return {"numpy.fft.fft2": (unit, 1.0)} | {name: (s, s / unit) for name, s in seconds.items()}


def _reference(image: np.ndarray[tuple[int, int], np.dtype[np.complex128]]) -> float:
    start = time.perf_counter()
    np.fft.fft2(image)
    return time.perf_counter() - start


def _median(name: str, runs: list[dict[str, tuple[float, float]]]) -> Timing:
    return Timing(name, *(statistics.median(run[name][k] for run in runs) for k in (0, 1)))


_MEMORY_SCRIPT = """
import re, resource, sys
from pathlib import Path
from fringemap.benchmark import _analyze
folder = Path(sys.argv[1])
_analyze(folder / "frame.mrc", folder / "out", sys.argv[2])
status = Path("/proc/self/status")
# getrusage also counts the parent up to the start of this program; the kernel's own high-water mark does not.
high = re.search("VmHWM:[^0-9]*([0-9]+)", status.read_text()) if status.exists() else None
print(high[1] if high else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _peak_memory(size: int, detector: str) -> float:
    """Peak resident memory of one analysis in a process of its own [MB]."""
    with tempfile.TemporaryDirectory() as folder:
        _draw_frame(Path(folder) / "frame.mrc", size)
        command = [sys.executable, "-c", _MEMORY_SCRIPT, folder, detector]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(printed) / 1024


def _start_time() -> float:
    """Median time of ``fringemap --help`` in a fresh process [s]."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "fringemap", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
