"""How a run scales with frames and workers, and what memory it takes.

``python benchmarks/batch_scaling.py --size 1024 --frames 10 100 --workers 1 2``

and for the figure, on a machine that does nothing else,

``python benchmarks/batch_scaling.py --size 512 --frames 10 30 100 300 1000 --figure docs/pictures/scaling.png``

Times are ratios to ``numpy.fft.fft2`` (complex128) of one frame of that size, timed before and after each run. Each run
is a process of its own, from start to end, and writes all tables and maps, without figures. Memory is the peak of the
largest process: the run itself or one of its workers (Linux only).

Machines are shared. So the cores that are really free are measured beside each run, by processes that only count; and
the time that the cores spent is given beside the time that passed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fringemap.io import write_mrc
from fringemap.simulate import demo_scene, simulate_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

PHASES = "Li,LiF,Li2O,Li2CO3,LiOH,Cu"
# Of the run itself the high-water mark since its program was loaded: what getrusage says includes its parent's.
RUN = r"""
import re, resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module("fringemap", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
spent = sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, kinds))
own = re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]
print(spent, own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@dataclass(frozen=True)
class Measured:
    """One run."""

    frames: int
    workers: int
    seconds: float
    ratio: float
    """Seconds over those of the reference, times the number of frames: 1 is one FFT a frame."""
    cpu_seconds: float
    """Of the run and its workers together, their start included."""
    free_cores: float
    """How many counting processes' worth of work as many processes did, just before."""
    memory_mb: float


def draw_stack(path: Path, size: int, n_frames: int) -> Path:
    """Write a stack of one specimen that drifts, with fresh shot noise in each frame."""
    rng = np.random.default_rng(1)
    frame, _ = simulate_frame(demo_scene(rng=rng, frame_shape=(size, size)), rng=rng)
    assert frame.scale is not None
    clean = np.clip(frame.image, 0, 30000)
    frames = np.lib.format.open_memmap(path.with_suffix(".npy"), "w+", np.int16, (n_frames, size, size))
    for i in range(n_frames):
        shifted = np.roll(clean, (i % 7, -i % 5), (0, 1))
        frames[i] = np.rint(shifted + np.sqrt(shifted) * rng.standard_normal(clean.shape, dtype=np.float32))
    return write_mrc(path, frames, pixel_size_angstrom=frame.scale.pixel_size_angstrom)


def time_reference(size: int) -> float:
    """Seconds of the reference transform, median of three."""
    image = np.random.default_rng(0).standard_normal((size, size)).astype(np.complex128)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        np.fft.fft2(image)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


_COUNT = "total = 0\nfor i in range(10_000_000): total += i"


def count_free_cores(workers: int) -> float:
    """Let processes count, one alone and then several at once."""
    times = []
    for n in (1, workers):
        start = time.perf_counter()
        counting = [subprocess.Popen([sys.executable, "-c", _COUNT]) for _ in range(n)]
        for process in counting:
            process.wait()
        times.append(time.perf_counter() - start)
    return workers * times[0] / times[1]


def measure_run(stack: Path, size: int, n_frames: int, workers: int) -> Measured:
    """Run fringemap on the first frames of the stack."""
    with tempfile.TemporaryDirectory() as out:
        words = [sys.executable, "-c", RUN, "fringemap", "analyze", stack, "-o", out, "--workers", workers]
        words += ["--phases", PHASES, "--no-figures", "--frames", f"0:{n_frames}"]
        free = count_free_cores(workers)
        before = time_reference(size)
        start = time.perf_counter()
        done = subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        unit = (before + time_reference(size)) / 2
    spent, *memory = map(float, done.stdout.split()[-3:])
    return Measured(n_frames, workers, seconds, seconds / unit / n_frames, spent, free, max(memory) / 1024)


def draw(runs: Sequence[Measured], title: str, path: Path) -> None:
    """Draw the time of a frame, and what more workers gain, over the number of frames."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.2), dpi=150, layout="constrained")
    figure.suptitle(title, fontsize=9)
    times, gains = figure.subplots(1, 2)
    alone = {run.frames: run for run in runs if run.workers == 1}
    lengths = sorted({run.frames for run in runs})
    for workers in sorted({run.workers for run in runs}):
        mine = [run for run in runs if run.workers == workers]
        label = f"{workers} worker{'s' if workers > 1 else ''}"
        times.plot([run.frames for run in mine], [run.ratio for run in mine], marker="o", label=label)
        both = [run for run in mine if workers > 1 and run.frames in alone]
        if both:
            gains.plot(
                [r.frames for r in both], [alone[r.frames].seconds / r.seconds for r in both], marker="o", label=label
            )
            gains.plot(
                [r.frames for r in both], [r.free_cores for r in both], color="0.6", linestyle="--", label="cores free"
            )
    times.set_ylabel("time of a frame / FFT of a frame")
    gains.set_ylabel("times as quick as one worker")
    for axes in (times, gains):
        axes.set(xscale="log", xlabel="frames")
        axes.set_xticks(lengths, [str(n) for n in lengths])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)
        axes.grid(visible=True, color="0.92")
    figure.savefig(path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=1024, help="side of the frames [px]")
    parser.add_argument("--frames", type=int, nargs="+", default=[10, 20, 100])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--figure", type=Path, help="picture to write")
    given = parser.parse_args()
    runs = []
    print(f"{given.size} x {given.size} px, {os.cpu_count()} cores; unit: numpy.fft.fft2 in complex128, a frame")
    print(" frames  workers  free cores  seconds  of the cores  units a frame  peak memory")
    with tempfile.TemporaryDirectory() as folder:
        stack = draw_stack(Path(folder) / "stack.mrc", given.size, max(given.frames))
        for workers in given.workers:
            for n_frames in given.frames:
                m = measure_run(stack, given.size, n_frames, workers)
                runs.append(m)
                times = f"{m.free_cores:11.2f} {m.seconds:8.1f} {m.cpu_seconds:13.1f} {m.ratio:14.2f}"
                print(f"{m.frames:7} {m.workers:8} {times} {m.memory_mb:9.0f} MB", flush=True)
    if given.figure:
        draw(runs, f"{given.size} × {given.size} px, tables and maps; start of the program included", given.figure)


if __name__ == "__main__":
    main()
