"""A watched folder: its files as they become complete, their settings, and where results of single frames wait."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from fringemap.batch.journal import origin_of
from fringemap.batch.run import name_folders, refuse_foreign, refuse_others
from fringemap.batch.work import Job, stamp_of
from fringemap.errors import ReadError
from fringemap.io import find_inputs
from fringemap.io.inputs import readable_files
from fringemap.pipeline import load_phases
from fringemap.settings import settings_of_input

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fringemap.batch.journal import Origin
    from fringemap.settings import AnalysisSettings, FileSettings

STORE_NAME = ".watch"


class WatchPlan:
    """Which settings each input of the folder has, and where results of single files wait."""

    def __init__(self, folder: Path, out: Path, settings: AnalysisSettings, files: Sequence[FileSettings]) -> None:
        self.folder, self.out, self.settings, self.files = folder, out, settings, files
        self._origins: dict[AnalysisSettings, Origin] = {}
        self.job(folder)  # what is wrong with the settings is said before anything is done

    @property
    def store(self) -> Path:
        """Where results of single frames wait."""
        return self.out / STORE_NAME

    def job(self, path: Path, place: Path | None = None) -> Job:
        """Make the job of an input."""
        mine = settings_of_input(path, self.settings, self.files)
        if mine not in self._origins:
            self._origins[mine] = origin_of(mine, load_phases(mine))
        return Job(0, path, place or self.store, mine, self._origins[mine])

    def inputs(self) -> dict[Path, Path]:
        """Inputs that an ordinary run would find now, and their folders."""
        return name_folders(find_inputs([self.folder]), self.out) if readable_files(self.folder) else {}

    def refuse_foreign(self) -> None:
        """Refuse to put results among the frames, or into a folder that holds files of others.

        Raises
        ------
        OutputError
            With the folder.
        """
        # Sooner or later the folder may be a series.
        refuse_foreign(name_folders([self.folder], self.out) | self.inputs())

    def arrivals(self, paths: Sequence[Path]) -> list[Job]:
        """Make a job of each file; one of a numbered series has the settings of the series."""
        inputs = self.inputs()
        jobs = [self.job(path if path in inputs else self.folder) for path in paths]
        return [
            replace(job, number=number, path=path) for number, (job, path) in enumerate(zip(jobs, paths, strict=True))
        ]

    def refuse_others(self) -> None:
        """Refuse to add to results that were made in another way.

        Raises
        ------
        SettingsError
            With what differs.
        """
        if not self.files:
            # Whatever the inputs will be called.
            refuse_others(self.job(self.folder).origin, self.out.glob("*/"))
        for path, place in self.inputs().items():
            refuse_others(self.job(path).origin, [place])


def place_of(job: Job, store: Path, digest: str, position: int) -> Path:
    """Where the result of one frame of a file waits; results made in another way never meet."""
    made = json.dumps(asdict(replace(job.origin, input_sha256="")), sort_keys=True)
    way = hashlib.sha256(made.encode()).hexdigest()[:12]
    return store / f"{digest}-{way}-{position:06d}.npz"


def place_of_group(job: Job, store: Path, members: Sequence[tuple[str, int]]) -> Path:
    """Where the result of a frame waits that averages some: each the fingerprint of a file, and a position in it."""
    if len(members) == 1:
        return place_of(job, store, *members[0])
    together = hashlib.sha256(repr(members).encode()).hexdigest()
    return place_of(job, store, together, members[0][1])


class Arrivals:
    """Knows which files of a folder are complete and have not been handed out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[Path, object] = {}
        self._taken: dict[Path, object] = {}

    def look(self) -> list[Path]:
        """Files that are as they were at the last look, each once, and again if it changes; numbers in their order."""
        now = {path: stamp for path in self._files() if (stamp := _stamp(path)) is not None}
        ready = [path for path, s in now.items() if self._seen.get(path) == s and self._taken.get(path) != s]
        self._seen = now
        self._taken |= {path: now[path] for path in ready}
        return ready

    def _files(self) -> list[Path]:
        # An .emi only accompanies its .ser files.
        return [path for path in readable_files(self._folder) if path.suffix.lower() != ".emi"]


def _stamp(path: Path) -> object:
    try:
        return stamp_of(path)
    except ReadError:
        return None  # gone again since the folder was listed
