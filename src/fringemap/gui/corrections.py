"""The corrections of all frames of all runs, with undo and redo, and the results that follow from them."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from fringemap.batch.corrections import Correction, correct_result
from fringemap.batch.stored import load_record, save_record
from fringemap.errors import ReadError, SettingsError
from fringemap.pipeline import load_phases
from fringemap.report.atomic import write_text
from fringemap.settings import settings_from_mapping

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fringemap.gui.frames import FrameStore, Place
    from fringemap.gui.runs import Run, Runs
    from fringemap.records import FrameResult

_NAME = "corrections.json"


@dataclass
class History:
    """Corrections of one frame."""

    done: list[Correction] = field(default_factory=list)
    undone: list[Correction] = field(default_factory=list)
    """The next to be done again last."""


class Corrections:
    """Keeps corrections beside the run that they belong to.

    Parameters
    ----------
    runs, frames
        Of the session.
    place
        Names a frame of an input, read as its run read it.
    """

    def __init__(self, runs: Runs, frames: FrameStore, place: Callable[[Run, int], Place]) -> None:
        self._runs = runs
        self._frames = frames
        self._place = place
        self._lock = threading.Lock()
        self._changes = 0

    @property
    def changes(self) -> int:
        """Grows with each change."""
        return self._changes

    def result(self, run: Run, frame: int) -> FrameResult:
        """Give the result of a frame, corrected if it was.

        Raises
        ------
        ReadError
            There is none.
        """
        path = self._corrected(run, frame)
        return cast("FrameResult", load_record(path)) if path.exists() else self._runs.result(run, frame)

    def told(self, run: Run, frame: int) -> dict[str, Any]:
        """What the page needs to know of a frame's corrections."""
        history = self._load(run).get(frame, History())
        return {"corrections": len(history.done), "can_redo": len(history.undone)}

    def of_run(self, run: Run) -> dict[int, list[dict[str, Any]]]:
        """All corrections of a run, frame by frame, for its record."""
        return {frame: [asdict(c) for c in history.done] for frame, history in self._load(run).items() if history.done}

    def add(self, run: Run, frame: int, correction: Correction) -> None:
        """Do a correction; one that cannot be done is not kept.

        Raises
        ------
        SettingsError
            It makes no sense.
        """
        self._change(run, frame, lambda history: History([*history.done, correction], []))

    def undo(self, run: Run, frame: int) -> None:
        """Take the last correction back.

        Raises
        ------
        SettingsError
            There is none.
        """
        self._change(run, frame, _one_back)

    def redo(self, run: Run, frame: int) -> None:
        """Do again what was taken back last.

        Raises
        ------
        SettingsError
            There is nothing.
        """
        self._change(run, frame, _one_forth)

    def _change(self, run: Run, frame: int, step: Callable[[History], History]) -> None:
        with self._lock:
            histories = self._load(run)
            history = step(histories.get(frame, History()))
            self._follow(run, frame, history)
            histories[frame] = history
            text = json.dumps({str(k): asdict(h) for k, h in histories.items()}, indent=1)
            write_text(self._runs.own_folder(run) / _NAME, text + "\n")
            self._changes += 1

    def _follow(self, run: Run, frame: int, history: History) -> None:
        path = self._corrected(run, frame)
        original = self._runs.result(run, frame)
        if not history.done:
            path.unlink(missing_ok=True)
            return
        settings = settings_from_mapping(run.settings)
        place = replace(
            self._place(run, frame),
            scale=original.scale,  # that of now, if any, is another
            spectrum=settings.spectrum,
            d_min_angstrom=settings.spots.d_min_angstrom,
        )
        corrected = correct_result(
            original,
            history.done,
            frame=self._frames.frame(place),
            diffractogram=self._frames.diffractogram(place),
            references=load_phases(settings),
            settings=settings,
        )
        path.parent.mkdir(exist_ok=True)
        save_record(path, corrected)

    def _corrected(self, run: Run, frame: int) -> Path:
        return self._runs.own_folder(run) / "corrected" / f"{frame:06d}.npz"

    def _load(self, run: Run) -> dict[int, History]:
        path = self._runs.own_folder(run) / _NAME
        if not path.exists():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {int(frame): _history(kept) for frame, kept in found.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ReadError(f"the corrections of {run.name} are damaged ({error}); remove {path.name}") from error


def _history(kept: dict[str, Any]) -> History:
    return History([Correction(**c) for c in kept["done"]], [Correction(**c) for c in kept["undone"]])


def _one_back(history: History) -> History:
    if not history.done:
        raise SettingsError("there is nothing to undo in this frame")
    return History(history.done[:-1], [*history.undone, history.done[-1]])


def _one_forth(history: History) -> History:
    if not history.undone:
        raise SettingsError("there is nothing to redo in this frame")
    return History([*history.done, history.undone[-1]], history.undone[:-1])
