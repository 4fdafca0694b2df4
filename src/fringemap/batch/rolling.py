"""The evolution of series while their frames arrive: the tables that a run over the frames so far would write."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fringemap.batch.run import is_foreign
from fringemap.batch.stored import is_whole, load_record, save_record
from fringemap.batch.watched import place_of_group
from fringemap.batch.work import references_for
from fringemap.errors import FringemapError, ReadError
from fringemap.io import read
from fringemap.io.inputs import readable_files
from fringemap.pipeline import analyze_frame
from fringemap.report.drawn import FIGURES_NAME, remove_figures_folder
from fringemap.report.run import RUN_NAME
from fringemap.report.series_tables import TABLE_NAMES, write_series_tables
from fringemap.series import SeriesFollower, summarise_frame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fringemap.batch.watched import WatchPlan
    from fringemap.batch.work import Job
    from fringemap.io import FrameSeries
    from fringemap.records import FrameResult, Scale
    from fringemap.settings import AnalysisSettings

log = logging.getLogger(__name__)

_LEAST_REST = 4.0
"""While frames arrive, an update waits until this many times its last duration have passed: frames come first."""


@dataclass(frozen=True)
class _Sighting:
    """A frame of a series: where its result waits, and what the series adds to it."""

    place: Path
    index: int
    time_s: float | None
    scale: Scale | None
    frame_shape: tuple[int, int]


@dataclass
class _Rolling:
    """One series as far as it is followed."""

    settings: AnalysisSettings
    taken: list[_Sighting] = field(default_factory=list)
    follower: SeriesFollower = field(init=False)

    def __post_init__(self) -> None:
        self.follower = SeriesFollower(self.settings.series)

    def follow(self, frames: Sequence[_Sighting]) -> bool:
        """Take the frames that are new, all anew if one came between the old ones; False if there was none."""
        if self.taken != frames[: len(self.taken)]:
            self.taken, self.follower = [], SeriesFollower(self.settings.series)
        new = frames[len(self.taken) :]
        for frame in new:
            result = load_record(frame.place)
            if _belongs(result, frame):
                known = {"index": frame.index, "time_s": frame.time_s}
                self.follower.add(summarise_frame(replace(result, **known)))
            self.taken.append(frame)
        return bool(new)


def _belongs(result: FrameResult, frame: _Sighting) -> bool:
    """Whether the file is calibrated as its series is; else it is analysed again at the end."""
    return (result.scale, result.frame_shape) == (frame.scale, frame.frame_shape)


@dataclass(frozen=True)
class Average:
    """Task: analyse a frame that averages others, and put the result where the evolution finds it."""

    job: Job
    position: int
    """In the series, as its settings have it."""
    place: Path


def analyze_average(task: Average) -> None:
    """Do the task; what goes wrong is said at the end, by the run over the whole series."""
    job = task.job
    try:
        with read(job.path, settings=job.settings.read) as series:
            frame = series[task.position]
        references = references_for(job.settings, job.origin.phases_sha256)
        save_record(task.place, analyze_frame(frame, references, settings=job.settings, workers=job.threads))
    except FringemapError as error:
        log.info("%s", error)


class RollingEvolution:
    """Keeps ``evolution.csv``, its sister tables and the figure of each series of a folder up to date."""

    def __init__(self, plan: WatchPlan) -> None:
        self._plan = plan
        self._digests: dict[Path, str] = {}
        self._series: dict[Path, _Rolling] = {}
        self._stale = False
        self._rest_until = 0.0
        self.lengths: dict[Path, int] = {}
        """Of each series with tables, by their folder, the number of frames in them."""

    def note(self, path: Path, sha256: str) -> None:
        """Take note of a file whose frames are analysed."""
        self._digests[path] = sha256
        self._stale = True

    def update(self, *, hurry: bool) -> bool:
        """Write what is new; in a hurry not every time. Says whether anything was written.

        Raises
        ------
        OutputError
            A table cannot be written.
        """
        start = time.monotonic()
        if not self._stale or (hurry and start < self._rest_until):
            return False
        inputs = self._plan.inputs()
        for folder in self.lengths.keys() - set(inputs.values()):
            _remove(folder)
            del self.lengths[folder]
        written = [self._update(path, folder) for path, folder in inputs.items()]
        self._stale = False
        self._rest_until = time.monotonic() + _LEAST_REST * (time.monotonic() - start)
        return any(written)

    def _update(self, path: Path, folder: Path) -> bool:
        if is_foreign(folder):  # the end of the watch names it
            return False
        job = self._plan.job(path, folder)
        rolling = self._series.setdefault(path, _Rolling(job.settings))
        try:
            if not rolling.follow(self._frames_so_far(job)):
                return False
        except ReadError as error:  # still being written; the next look may find it whole
            log.info("%s", error)
            return False
        if len(rolling.follower) > 1:
            _write(rolling, folder)
            self.lengths[folder] = len(rolling.follower)
        return len(rolling.follower) > 1

    def averages(self) -> list[Average]:
        """Averaged frames whose own frames are all there, and that wait to be analysed."""
        if not self._stale:
            return []
        jobs = [self._plan.job(path, folder) for path, folder in self._plan.inputs().items()]
        averaged = [job for job in jobs if job.settings.read.bin_frames > 1]
        return [task for job in averaged for task in self._averages_of(job)]

    def _averages_of(self, job: Job) -> list[Average]:
        try:
            with read(job.path, settings=job.settings.read) as series:
                places = self._places(job, series)
        except FringemapError as error:  # still being written, or no frame of the choice is there yet
            log.info("%s", error)
            return []
        return [Average(job, n, place) for n, place in enumerate(places) if place is not None and not is_whole(place)]

    def _frames_so_far(self, job: Job) -> list[_Sighting]:
        with read(job.path, settings=job.settings.read) as series:
            times = [None] * len(series) if series.times_s is None else series.times_s.tolist()
            return [
                _Sighting(place, stored[0], time_s, series.scale, series.frame_shape)
                for place, stored, time_s in zip(self._places(job, series), series.stored, times, strict=True)
                if place is not None and is_whole(place)
            ]

    def _places(self, job: Job, series: FrameSeries) -> list[Path | None]:
        """Where the result of each frame of a series waits; None where not all of its own frames have arrived."""
        files = readable_files(job.path) if job.path.is_dir() else None
        if files is not None and len(files) != series.n_frames_stored:
            raise ReadError(f"{job.path.name} grew while it was opened; look again")
        digests = self._digests
        members = [[(files[k], 0) if files else (job.path, k) for k in stored] for stored in series.stored]
        return [
            place_of_group(job, self._plan.store, [(digests[file], k) for file, k in group])
            if all(file in digests for file, _ in group)
            else None
            for group in members
        ]


def _remove(folder: Path) -> None:
    """Remove what was written of a series that is none any more, since other files joined it."""
    if (folder / RUN_NAME).exists():
        return
    remove_figures_folder(folder / FIGURES_NAME)
    # The first one last: by it a folder is known to be of a watch, which may be killed here.
    for name in reversed(TABLE_NAMES):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _write(rolling: _Rolling, folder: Path) -> None:
    series = rolling.follower.finish(dose_rate=rolling.settings.read.dose_rate)
    write_series_tables(series, folder)
    if rolling.settings.report.figures:
        # matplotlib is slow to import, and a run without figures does without.
        from fringemap.report.rendering import write_figure
        from fringemap.report.series_figures import draw_evolution

        write_figure(draw_evolution(series, dpi=rolling.settings.report.dpi), folder / FIGURES_NAME / "evolution")
