"""Results of single frames, safe on disk until the files of their whole input are.

``OUT/<name>/.frames/`` holds ``origin.json``, which says what the results were made from, and a file for each frame.
Results of different origins are never mixed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fringemap.batch.executors import installed_version
from fringemap.batch.stored import is_whole, load_record, save_record
from fringemap.io import read_calibration, sha256
from fringemap.io.names import expanded
from fringemap.report.atomic import write_text, writing
from fringemap.report.run import RUN_NAME, to_plain
from fringemap.spots.model import load_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fringemap.records import FrameResult, Reflections
    from fringemap.settings import AnalysisSettings, ReadSettings, SpotSettings

FOLDER_NAME = ".frames"
_ORIGIN_NAME = "origin.json"


@dataclass(frozen=True)
class Origin:
    """All that a result depends on."""

    version: str
    """Of fringemap."""
    settings: dict[str, dict[str, Any]]
    """As plain values, section by section."""
    phases_sha256: str
    """Of the reflections that the settings lead to: files of structures may change while their names stay."""
    input_sha256: str = ""
    """Empty where only the rest is compared."""
    calibration_sha256: str = ""
    """Of the calibration file; empty without one."""
    model_sha256: str = ""
    """Of what describes the network that finds spots, its threshold and its own SHA-256 included; empty without one."""

    def differences(self, other: Origin) -> list[str]:
        """Say what differs from another origin, the input left aside: "maps.map: otsu, was amplitude"."""
        found = [] if self.version == other.version else [f"fringemap: {self.version}, was {other.version}"]
        for section in sorted({*self.settings, *other.settings}):
            mine, theirs = self.settings.get(section, {}), other.settings.get(section, {})
            changed = [name for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)]
            found += [f"{section}.{n}: {_said(mine.get(n))}, was {_said(theirs.get(n))}" for n in changed]
        if not found and self.phases_sha256 != other.phases_sha256:
            found.append("the files that define phases have another content")
        if not found and self.calibration_sha256 != other.calibration_sha256:
            found.append("the calibration file has another content")
        if not found and self.model_sha256 != other.model_sha256:
            found.append("the model is another one")
        return found


def _said(value: Any) -> str:
    return (
        "not given"
        if value in (None, "", [])
        else ", ".join(map(str, value))
        if isinstance(value, list)
        else f"{value}"
    )


def origin_of(settings: AnalysisSettings, references: Sequence[Reflections]) -> Origin:
    """Describe what results with these settings and phases depend on besides their input.

    Raises
    ------
    CalibrationError
        The settings name a calibration file that cannot be used.
    ModelError
        The settings ask for a network whose package is missing or does not fit.
    """
    # Through text and back, so that it equals what is read from a file.
    plain = json.loads(json.dumps(to_plain(settings)))
    return Origin(
        installed_version(),
        plain,
        fingerprint(references),
        calibration_sha256=_calibration_sha256(settings.read),
        model_sha256=_model_sha256(settings.spots),
    )


def _calibration_sha256(settings: ReadSettings) -> str:
    if not settings.calibration:
        return ""
    path = expanded(settings.calibration)
    # Before anything is written, so that one wrong name does not fail every input by itself.
    read_calibration(path)
    return sha256(path)


def _model_sha256(settings: SpotSettings) -> str:
    # To load it is to check that model.onnx is the file that model.json names.
    return sha256(load_model(settings.model).folder / "model.json") if settings.detector == "unet" else ""


def fingerprint(references: Sequence[Reflections]) -> str:
    """SHA-256 over all that the phases are."""
    digest = hashlib.sha256()
    for reflections in references:
        _add_reflections(digest, reflections)
    return digest.hexdigest()


def _add_reflections(digest: Any, reflections: Reflections) -> None:
    digest.update(reflections.phase.encode() + b"\0")
    for f in dataclasses.fields(reflections):
        value = getattr(reflections, f.name)
        if isinstance(value, np.ndarray):
            digest.update(np.ascontiguousarray(value).tobytes())
    if reflections.structure is not None:
        digest.update(repr(to_plain(reflections.structure)).encode())


class Journal:
    """The results of the frames of one input, each in a file.

    Parameters
    ----------
    folder
        Of the input's results.
    """

    def __init__(self, folder: Path) -> None:
        self._results = folder
        self.folder = folder / FOLDER_NAME

    def begin(self, origin: Origin, *, keep: bool, unsigned: Origin | None = None) -> None:
        """Make ready for results of this origin; those that are there stay if ``keep`` and theirs is the same.

        Parameters
        ----------
        unsigned
            Counts as the same: what a run left that ended before it knew the fingerprint of the input.

        Raises
        ------
        OutputError
            If the folder cannot be written.
        """
        found = read_origin(self.folder / _ORIGIN_NAME)
        same = keep and found is not None and found in (origin, unsigned)
        with writing(self.folder):
            if not same:
                self.remove()
            self.folder.mkdir(parents=True, exist_ok=True)
            # What a killed run was writing.
            for leftover in [*self.folder.glob(".partial-*"), *self._results.glob(".partial-*")]:
                leftover.unlink(missing_ok=True)
        if not same or found != origin:
            self.sign(origin)

    def sign(self, origin: Origin) -> None:
        """Write down what the results are made from.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        text = json.dumps(dataclasses.asdict(origin), indent=1, ensure_ascii=False)
        write_text(self.folder / _ORIGIN_NAME, text + "\n")

    def done(self) -> set[int]:
        """Positions of the frames whose results are here and whole."""
        return {int(path.stem) for path in self.folder.glob("[0-9]*.npz") if is_whole(path)}

    def has(self, position: int) -> bool:
        """Whether the result of the frame at this position is here and whole."""
        return is_whole(self._path(position))

    def save(self, position: int, result: FrameResult) -> None:
        """Put the result of the frame at this position of its series down.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        save_record(self._path(position), result)

    def load(self, position: int) -> FrameResult:
        """Give a result back as it was.

        Raises
        ------
        ReadError
            If it is missing or damaged.
        """
        return cast("FrameResult", load_record(self._path(position)))

    def forget(self, position: int) -> None:
        """Remove the result of one frame, so that it counts as missing."""
        with suppress(OSError):
            self._path(position).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove it all; what cannot be removed does no harm."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, position: int) -> Path:
        return self.folder / f"{position:06d}.npz"


def read_origin(path: Path) -> Origin | None:
    """Read an origin from ``origin.json`` or ``run.json``; None if there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return _origin_of_run(found) if path.name == RUN_NAME else Origin(**found)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _origin_of_run(run: dict[str, Any]) -> Origin:
    made = Origin(run["fringemap"], run["settings"], run["phases_sha256"], run["inputs"][0]["sha256"])
    return dataclasses.replace(
        made,
        calibration_sha256=run.get("calibration_sha256", ""),
        model_sha256=run.get("model", {}).get("package_sha256", ""),
    )


def earlier_origins(folder: Path) -> list[Origin]:
    """What the results that lie in a folder were made from."""
    paths = (folder / RUN_NAME, folder / FOLDER_NAME / _ORIGIN_NAME)
    return [origin for path in paths if (origin := read_origin(path))]
