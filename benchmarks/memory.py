"""Peak memory of a run against the number of its frames, and on a stack far larger than the memory.

``python benchmarks/memory.py [--size 1024] [--frames 20 100] [--gigabytes 10]`` prints a table and ends with 1 if the
peaks differ by more than a tenth.

Each run is a process of its own, with one worker, so that its peak is that of reader, analysis and writer together.
Peaks are high-water marks of resident memory as the kernel counts them (Linux only). The large stack has a hole where
no frame was written, so it takes little of the disk; yet its length is that of the whole.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from batch_scaling import PHASES, RUN, draw_stack
from fringemap.simulate import demo_scene, simulate_frame

MOST_GROWTH = 0.1
_SPARSE_SIDE = 2048
_PIXEL_NM = 0.037
_MANY, _FEW = 24, 4
"""Frames of the large stack that are written and analysed, and of these the first few."""


def peak_mb(*words: object) -> float:
    """Run fringemap in one process and give the peak of its memory."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-c", RUN, "fringemap", "analyze", *words, "-o", out, "--workers", 1]
        done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-2]) / 1024


def draw_sparse_stack(path: Path, n_bytes: int) -> range:
    """Write a stack of float32 frames as long as that, of which few frames are on disk; gives their numbers."""
    side = (_SPARSE_SIDE, _SPARSE_SIDE)
    n_frames = n_bytes // (4 * _SPARSE_SIDE**2)
    written = range(0, n_frames, n_frames // _MANY)[:_MANY]
    rng = np.random.default_rng(1)
    scene = demo_scene(rng=rng, frame_shape=side, pixel_size_angstrom=10 * _PIXEL_NM)
    frame, _ = simulate_frame(scene, rng=rng)
    stack = np.lib.format.open_memmap(path, "w+", np.float32, (n_frames, *side))
    for number in written:
        stack[number] = frame.image
    return written


def measure_lengths(size: int, lengths: list[int], *, figures: bool) -> list[float]:
    """Peaks for the first frames of a stack, as many as each of the lengths."""
    option = "--figures" if figures else "--no-figures"
    with tempfile.TemporaryDirectory() as folder:
        stack = draw_stack(Path(folder) / "stack.mrc", size, max(lengths))
        return [peak_mb(stack, "--phases", PHASES, option, "--frames", f"0:{n}") for n in lengths]


def measure_sparse(n_bytes: int) -> tuple[list[int], list[float]]:
    """Peaks for few and for more frames from all over a large stack."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stack.npy"
        written = draw_sparse_stack(path, n_bytes)
        counts = [_FEW, len(written)]
        ranges = [f"0:{written[n - 1] + 1}:{written.step}" for n in counts]
        options = ("--phases", PHASES, "--no-figures", "--pixel-size", _PIXEL_NM)
        return counts, [peak_mb(path, *options, "--frames", frames) for frames in ranges]


def show(what: str, lengths: list[int], peaks: list[float]) -> bool:
    """Print the peaks of growing lengths; say whether they stay within a tenth of the first."""
    growth = max(peaks) / peaks[0] - 1
    said = ", ".join(f"{n} frames {mb:.0f} MB" for n, mb in zip(lengths, peaks, strict=True))
    print(f"{what}: {said}; {100 * growth:+.1f} %{'' if growth <= MOST_GROWTH else '  MISSED'}", flush=True)
    return growth <= MOST_GROWTH


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=1024, help="side of the frames [px]")
    parser.add_argument("--frames", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--gigabytes", type=float, default=10.0, help="of the large stack; 0 leaves it out")
    given = parser.parse_args()
    lengths = sorted(given.frames)
    met = [
        show(f"{given.size}², {name}", lengths, measure_lengths(given.size, lengths, figures=figures))
        for name, figures in (("tables and maps", False), ("figures and video too", True))
    ]
    if given.gigabytes:
        met.append(show(f"stack of {given.gigabytes:g} GB", *measure_sparse(int(given.gigabytes * 1e9))))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
