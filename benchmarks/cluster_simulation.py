"""How runs would scale to many workers: a simulation with task times and sizes of data measured on this machine.

``python benchmarks/cluster_simulation.py [--size 2048] [--figure docs/pictures/scaling_simulated.png]``

First the parts of a run are timed with real frames: reading, analysing and storing a frame, gathering a stored result
into the files of its input, and the scheduler's work for one task. Then workers are simulated, event by event. Each
asks the one scheduler for a task, reads over the one shared storage, computes, and stores its result there; when the
last frame of an input is done, one worker gathers its files. Scheduler and storage serve one at a time, first come
first. Times and bytes are measured; that they stay the same with many workers is assumed, and so are the speeds of the
storage.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import statistics
import tempfile
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl
import numpy as np

from batch_scaling import PHASES, draw_stack
from fringemap.batch.executors import ProcessExecutor, run_tasks
from fringemap.batch.journal import Journal
from fringemap.io import read
from fringemap.pipeline import analyze_frame, load_phases
from fringemap.report import write_results
from fringemap.settings import AnalysisSettings, PhaseSettings, ReportSettings

SETTINGS = AnalysisSettings(phases=PhaseSettings(phases=tuple(PHASES.split(","))), report=ReportSettings(figures=False))
WORKERS = (1, 2, 5, 10, 20, 50, 100)
STORAGE = {"disk, 0.2 GB/s": 0.2e9, "network, 1 GB/s": 1e9, "cluster, 10 GB/s": 1e10}
START_S = 2.5
"""What a worker needs before its first task, as measured by batch_scaling."""


@dataclass(frozen=True)
class Costs:
    """Of one frame: times of a core [s], and bytes that go over the shared storage."""

    analyse_s: float
    """From the frame in memory to the stored result, the transfers left aside."""
    gather_s: float
    """Reading the stored result and writing the tables and maps of the frame."""
    schedule_s: float
    """Of the scheduler, for one task."""
    frame_bytes: float
    result_bytes: float
    files_bytes: float


@dataclass(frozen=True)
class Load:
    """What is to be done."""

    n_inputs: int
    frames_each: int


def measure(size: int, n_frames: int = 6) -> Costs:
    """Time the parts of a run in time of the cores, which others on the machine hardly change."""
    references = load_phases(SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        stack = draw_stack(root / "stack.mrc", size, n_frames)
        journal, times = Journal(root), []
        journal.folder.mkdir()
        with read(stack, settings=SETTINGS.read) as series:
            for position, frame in enumerate(series):
                start = time.process_time()
                journal.save(position, analyze_frame(frame, references, settings=SETTINGS))
                times.append(time.process_time() - start)
        stored = [path.stat().st_size for path in journal.folder.iterdir()]
        _gather(journal, 1, root / "first")  # loads what it needs
        start = time.process_time()
        _gather(journal, n_frames, root / "out")
        gather_s = (time.process_time() - start) / n_frames
        written = sum(path.stat().st_size for path in (root / "out").rglob("*") if path.is_file())
        return Costs(
            analyse_s=statistics.median(times),
            gather_s=gather_s,
            schedule_s=measure_scheduling(),
            frame_bytes=stack.stat().st_size / n_frames,
            result_bytes=statistics.mean(stored),
            files_bytes=written / n_frames,
        )


def _gather(journal: Journal, n_frames: int, out: Path) -> None:
    results = (journal.load(position) for position in range(n_frames))
    write_results(results, folder=out, settings=SETTINGS.report, provenance={})


def measure_scheduling(n_tasks: int = 400) -> float:
    """Seconds that an executor of processes spends, on its side, on one task that does next to nothing."""
    with ProcessExecutor(1) as executor:
        for _ in run_tasks(executor, abs, range(20)):
            pass
        start = time.process_time()
        for _ in run_tasks(executor, abs, range(n_tasks)):
            pass
        return (time.process_time() - start) / n_tasks


class Shared:
    """Something that serves one at a time, in the order of the requests."""

    def __init__(self) -> None:
        self._free = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """Take a request; gives the time at which it is done."""
        self._free = max(self._free, now) + seconds
        return self._free


def simulate(load: Load, costs: Costs, *, workers: int, bytes_per_s: float, start_s: float = START_S) -> float:
    """Play a run through and give the time that it takes [s]."""
    scheduler, storage, count = Shared(), Shared(), itertools.count()
    frames = deque(number for number in range(load.n_inputs) for _ in range(load.frames_each))
    left = [load.frames_each] * load.n_inputs
    gathering: deque[int] = deque()
    events = [(start_s, next(count), "ask", -1) for _ in range(workers)]
    idle: list[float] = []
    end = start_s
    steps = {
        "read": ("analyse", lambda now: storage.serve(now, costs.frame_bytes / bytes_per_s)),
        "analyse": ("store", lambda now: now + costs.analyse_s),
        "store": ("done", lambda now: storage.serve(now, costs.result_bytes / bytes_per_s)),
        "fetch": ("gather", lambda now: storage.serve(now, load.frames_each * costs.result_bytes / bytes_per_s)),
        "gather": ("write", lambda now: now + load.frames_each * costs.gather_s),
        "write": ("ask", lambda now: storage.serve(now, load.frames_each * costs.files_bytes / bytes_per_s)),
    }
    while events:
        now, _, step, task = heapq.heappop(events)
        end = max(end, now)
        if step == "done":
            left[task] -= 1
            if not left[task]:
                gathering.append(task)
                events += [(now, next(count), "ask", -1) for _ in idle]
                idle.clear()
                heapq.heapify(events)
            step = "ask"
        if step == "ask":
            task = gathering.popleft() if gathering else frames.popleft() if frames else -1
            following = "fetch" if task >= 0 and not left[task] else "read"
            if task < 0:
                idle.append(now)
            else:
                heapq.heappush(events, (scheduler.serve(now, costs.schedule_s), next(count), following, task))
            continue
        following, finish = steps[step]
        heapq.heappush(events, (finish(now), next(count), following, task))
    return end


def draw(costs: Costs, loads: dict[str, Load], path: Path) -> None:
    """Draw speed-up over the number of workers, a panel for each load, a line for each storage."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.4), dpi=150, layout="constrained")
    colours = [mpl.colormaps["viridis"](x) for x in np.linspace(0.0, 0.8, len(STORAGE))]
    for axes, (title, load) in zip(figure.subplots(1, len(loads), sharey=True), loads.items(), strict=True):
        axes.plot(WORKERS, WORKERS, color="0.7", linewidth=1.0, linestyle="--", label="ideal")
        for (name, speed), colour in zip(STORAGE.items(), colours, strict=True):
            alone = simulate(load, costs, workers=1, bytes_per_s=speed)
            gain = [alone / simulate(load, costs, workers=n, bytes_per_s=speed) for n in WORKERS]
            axes.plot(WORKERS, gain, color=colour, marker="o", markersize=3, linewidth=1.4, label=name)
        axes.set(xscale="log", yscale="log", title=title, xlabel="workers")
        axes.set_xticks(WORKERS, [str(n) for n in WORKERS])
        axes.set_yticks(WORKERS, [str(n) for n in WORKERS])
        axes.minorticks_off()
        axes.grid(visible=True, color="0.92")
    figure.axes[0].set_ylabel("times as quick as one worker")
    figure.axes[0].legend(fontsize=8, loc="upper left")
    figure.savefig(path)


def main() -> None:
    """Measure, simulate, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=2048, help="side of the frames [px]")
    parser.add_argument("--figure", type=Path, help="picture to write")
    given = parser.parse_args()
    costs = measure(given.size)
    print(f"{given.size} x {given.size} px, measured for a frame:")
    print(f"  analyse {costs.analyse_s:.3f} s, gather {costs.gather_s:.4f} s, schedule {1e3 * costs.schedule_s:.2f} ms")
    megabytes = (1e-6 * n for n in (costs.frame_bytes, costs.result_bytes, costs.files_bytes))
    print("  frame {:.1f} MB, stored result {:.1f} MB, files {:.1f} MB".format(*megabytes))
    loads = {"one series of 1000 frames": Load(1, 1000), "100 series of 100 frames": Load(100, 100)}
    for title, load in loads.items():
        print(title)
        for name, speed in STORAGE.items():
            times = {n: simulate(load, costs, workers=n, bytes_per_s=speed) for n in (1, 10, 100)}
            print(f"  {name:18}", ", ".join(f"{n} workers {t:.0f} s ({times[1] / t:.1f} x)" for n, t in times.items()))
        spare = replace(costs, gather_s=0.0)
        gained = simulate(load, spare, workers=100, bytes_per_s=1e10)
        print(f"  100 workers, 10 GB/s, if files were gathered in no time: {gained:.0f} s")
    if given.figure:
        draw(costs, loads, given.figure)


if __name__ == "__main__":
    main()
