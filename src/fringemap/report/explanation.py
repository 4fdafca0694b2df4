"""What a run says of its spots, from the files that it left on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fringemap.errors import FringemapError, ReadError, SettingsError
from fringemap.phases import load_references
from fringemap.phases.explain import tell_spot
from fringemap.phases.sweep import sweep_scale
from fringemap.report.identified import read_identified
from fringemap.report.run import RUN_NAME
from fringemap.settings import AnalysisSettings, settings_from_mapping

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fringemap.phases.explain import SpotStory
    from fringemap.phases.sweep import SweepStep
    from fringemap.records import Reflections
    from fringemap.report.identified import Identified


@dataclass(frozen=True)
class StoredRun:
    """One frame of a run, and what its spots were compared with."""

    identified: Identified
    settings: AnalysisSettings
    references: tuple[Reflections, ...]
    remarks: tuple[str, ...] = ()
    """What was not as it was: phases whose files are gone."""


def read_run(folder: Path, *, frame: int | None = None) -> StoredRun:
    """Read one frame of a run with its settings, and load its phases again.

    Raises
    ------
    ReadError, SettingsError
        See ``read_identified``; or ``run.json`` is missing or damaged.
    """
    identified = read_identified(folder, frame=frame)
    settings = _read_settings(folder / RUN_NAME)
    try:
        references = load_references(settings.phases, d_min_angstrom=settings.spots.d_min_angstrom)
    except FringemapError as error:
        return StoredRun(identified, settings, (), (f"the phases of the run cannot be loaded again: {error}",))
    return StoredRun(identified, settings, references)


def _read_settings(path: Path) -> AnalysisSettings:
    try:
        run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        given = run["settings"]
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror}); the run has not ended, repeat it") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ReadError(f"{path} is damaged ({type(error).__name__}: {error}); repeat the run") from error
    known = {section: {k: v for k, v in values.items() if v is not None} for section, values in given.items()}
    return settings_from_mapping(known, origin=str(path))


def explain_stored(run: StoredRun, spot: int) -> SpotStory:
    """Explain a spot of a run.

    Raises
    ------
    SettingsError
        There is no such spot.
    """
    found = run.identified
    return tell_spot(spot, found.match, found.spots, run.references, scale=found.scale)


def sweep_stored(
    run: StoredRun,
    *,
    reach: float,
    step: float,
    spot: int | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> tuple[SweepStep, ...]:
    """Name the spots of a run again at other pixel sizes; see ``sweep_scale``.

    Raises
    ------
    SettingsError
        The frame has no spots or not the one asked for, or the sweep makes no sense.
    ReadError
        The phases of the run cannot be loaded again.
    """
    found = run.identified
    if len(found.spots) == 0:
        raise SettingsError("the frame has no spots, so there is nothing to name")
    if spot is not None and not 0 <= spot < len(found.spots):
        raise SettingsError(f"spot {spot} does not exist; the frame has {len(found.spots)} spots, counted from 0")
    if run.remarks:
        raise ReadError(run.remarks[0])
    return sweep_scale(
        found.spots, run.references, scale=found.scale, settings=run.settings.phases, reach=reach, step=step, tell=tell
    )
