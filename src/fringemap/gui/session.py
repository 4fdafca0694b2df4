"""What a user has done in a folder: pixel sizes given, frames opened, runs, corrections. It survives the server.

All of it lies in the state folder as JSON, written whole at each change; the pages hold nothing that a reload loses.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fringemap.gui.corrections import Corrections
from fringemap.gui.frames import FrameStore, Place, place_of
from fringemap.gui.runs import Run, Runs
from fringemap.gui.teaching import Teaching
from fringemap.gui.watching import Watching
from fringemap.io import read
from fringemap.io.reading import parse_frames
from fringemap.report.atomic import write_text
from fringemap.report.style import assign_styles
from fringemap.series import follow_series, summarise_frame
from fringemap.settings import ReadSettings, settings_from_mapping

if TYPE_CHECKING:
    from pathlib import Path

    from fringemap.gui.root import Root
    from fringemap.records import FrameResult, Series
    from fringemap.report.style import PhaseStyle

_NAME = "session.json"
_MOST_RECENT = 20


@dataclass(frozen=True)
class GivenScale:
    """A pixel size that the user gave for an input."""

    pixel_size_nm: float
    sigma_percent: float
    """Relative standard error."""
    standard: str = ""
    """The lattice that it was calibrated on, such as "Au (111)"; empty if it was typed."""


@dataclass
class Kept:
    """What is written to disk."""

    scales: dict[str, GivenScale] = field(default_factory=dict)
    """By the name of the input."""
    recent: list[dict[str, Any]] = field(default_factory=list)
    """Inputs that were opened, the last first."""
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of the last run, section by section."""


class Session:
    """State of one folder; its methods may be called from any thread.

    Parameters
    ----------
    root
        What may be reached.
    state
        Folder for what is kept.
    """

    def __init__(self, root: Root, state: Path) -> None:
        self.root = root
        self.state = state
        self.frames = FrameStore()
        self._lock = threading.RLock()
        self._kept = _load(state / _NAME)
        self.runs = Runs(state / "runs", root.find)
        self.corrections = Corrections(self.runs, self.frames, self._place_in_run)
        self.teaching = Teaching(state)
        self.watching = Watching(root.folder, state)
        self._phases: dict[str, list[str]] = {}
        self._series: tuple[str, Series] | None = None

    def close(self) -> None:
        """End what is under way; it can be resumed."""
        self.teaching.close()
        self.watching.close()
        self.runs.close()
        self.frames.close()

    def result(self, run: Run, frame: int) -> FrameResult:
        """Give the result of a frame, corrected if it was.

        Raises
        ------
        ReadError
            There is none.
        """
        return self.corrections.result(run, frame)

    def position_of(self, run: Run, frame: int) -> int | None:
        """Place of a frame of the file among those that a run analysed; None if it left it out.

        Raises
        ------
        ReadError
            The file cannot be read.
        """
        read_as = settings_from_mapping(run.settings).read
        if not read_as.frames and read_as.bin_frames == 1:
            return frame
        with read(self.root.find(run.name)) as series:
            chosen = parse_frames(read_as.frames, len(series))
        return chosen.index(frame) // read_as.bin_frames if frame in chosen else None

    def version_of(self, run: Run) -> str:
        """Give a word that changes whenever a result of the run may have changed."""
        return f"{run.run}-{run.status}-{run.done}-{self.corrections.changes}"

    def styles_of(self, run: Run, result: FrameResult) -> dict[str, PhaseStyle]:
        """Give the phases of a run their colours, in the order in which they were seen."""
        return self.styles_of_phases(run, [e.phase for e in (*result.match.phases, *result.match.candidates)])

    def styles_of_phases(self, run: Run, phases: list[str]) -> dict[str, PhaseStyle]:
        """Give these phases of a run the colours that they have wherever the run is shown."""
        with self._lock:
            seen = self._phases.setdefault(run.run, [])
            seen += [phase for phase in dict.fromkeys(phases) if phase not in seen]
            return assign_styles(seen)

    def series_of(self, run: Run) -> Series | None:
        """See the frames of a run together; None where there are fewer than two."""
        version = self.version_of(run)
        if self._series is None or self._series[0] != version:
            done = self.runs.frames_done(run)
            if len(done) < 2:
                return None
            settings = settings_from_mapping(run.settings)
            results = (summarise_frame(self.result(run, frame)) for frame in done)
            series = follow_series(results, settings=settings.series, dose_rate=settings.read.dose_rate)
            self._series = (version, series)
        return self._series[1]

    def _place_in_run(self, run: Run, frame: int) -> Place:
        return place_of(self.root.find(run.name), settings_from_mapping(run.settings).read, frame)

    def read_settings(self, name: str) -> ReadSettings:
        """How an input is read: with the pixel size that the user gave, if any."""
        with self._lock:
            given = self._kept.scales.get(name)
        if given is None:
            return ReadSettings()
        return ReadSettings(pixel_size_nm=given.pixel_size_nm, scale_sigma_percent=given.sigma_percent)

    def place(self, name: str, frame: int) -> Place:
        """Name a frame of an input in the folder.

        Raises
        ------
        ReadError
            The input is not in the folder.
        """
        place = place_of(self.root.find(name), self.read_settings(name), frame)
        run = self.runs.latest(name)
        sought = {} if run is None else run.settings.get("spots", {})
        # All that the run looked for can be seen.
        d_min = min(place.d_min_angstrom, sought.get("d_min_angstrom", place.d_min_angstrom))
        return replace(place, d_min_angstrom=d_min)

    def given_scale(self, name: str) -> GivenScale | None:
        """What the user gave for an input."""
        with self._lock:
            return self._kept.scales.get(name)

    def give_scale(self, name: str, given: GivenScale | None) -> None:
        """Take, or forget, a pixel size.

        Raises
        ------
        SettingsError
            It is out of range.
        """
        if given is not None:
            ReadSettings(pixel_size_nm=given.pixel_size_nm, scale_sigma_percent=given.sigma_percent)
        with self._lock:
            self._kept.scales.pop(name, None)
            if given is not None:
                self._kept.scales[name] = given
            self._save()

    def opened(self, name: str) -> None:
        """Remember that an input was opened."""
        with self._lock:
            others = [entry for entry in self._kept.recent if entry["name"] != name]
            self._kept.recent = [{"name": name, "time": time.time()}, *others][:_MOST_RECENT]
            self._save()

    @property
    def recent(self) -> list[dict[str, Any]]:
        """Inputs opened last."""
        with self._lock:
            return list(self._kept.recent)

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Settings of the last run."""
        with self._lock:
            return dict(self._kept.settings)

    @settings.setter
    def settings(self, settings: dict[str, dict[str, Any]]) -> None:
        with self._lock:
            self._kept.settings = settings
            self._save()

    def _save(self) -> None:
        write_text(self.state / _NAME, json.dumps(asdict(self._kept), indent=1, ensure_ascii=False) + "\n")


def _load(path: Path) -> Kept:
    """Read what was kept; what is damaged is left aside, and kept under another name."""
    if not path.exists():
        return Kept()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        scales = {name: GivenScale(**given) for name, given in found["scales"].items()}
        return Kept(scales, list(found["recent"]), dict(found["settings"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        path.replace(path.with_name(f"damaged-{_NAME}"))
        return Kept()
