"""``identification.jsonl``: spots and match of each frame, so that they can be explained and tried anew without images.

The first line says what the file is; each further line is one frame as a JSON object. Numbers keep nine significant
digits, those that are not finite are null.
"""

from __future__ import annotations

import dataclasses
import json
import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fringemap.errors import ReadError, SettingsError
from fringemap.records import Candidate, Flag, Match, PhaseEvidence, Scale, ScaleSource, SpotMatch, Spots
from fringemap.report.atomic import growing_text, writing
from fringemap.report.words import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fringemap.records import FrameResult

IDENTIFIED_NAME = "identification.jsonl"
FORMAT = "fringemap identification 1"

_CANDIDATE = ("phase", "hkl", "d_reference_angstrom", "deviation_percent", "deviation_sigma", "probability")


@dataclass(frozen=True)
class Identified:
    """What a run left of one frame."""

    index: int
    scale: Scale
    spots: Spots
    match: Match


@contextmanager
def write_identified(path: Path) -> Iterator[Callable[[FrameResult], None]]:
    """Open the file; gives a function that appends one frame. It gets its name when the block ends well.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with growing_text(path, newline="\n") as stream:

        def append(result: FrameResult) -> None:
            with writing(path):
                stream.write(_line(_frame_to_plain(result)))

        with writing(path):
            stream.write(_line({"format": FORMAT, "candidate": _CANDIDATE}))
        yield append


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _frame_to_plain(result: FrameResult) -> dict[str, Any]:
    scale, match = result.scale, result.match
    return {
        "frame": result.index,
        "scale": {
            "pixel_size_angstrom": _plain(scale.pixel_size_angstrom),
            "sigma": _plain(scale.sigma),
            "source": scale.source.value,
            "shear": _plain(scale.shear),
            "probability": _plain(scale.probability),
        },
        "spots": {f.name: _plain(getattr(result.spots, f.name).tolist()) for f in dataclasses.fields(Spots)},
        "names": [_match_to_plain(spot) for spot in match.spots],
        "phases": [_evidence_to_plain(evidence) for evidence in match.phases],
        "candidates": [_evidence_to_plain(evidence) for evidence in match.candidates],
    }


def _match_to_plain(match: SpotMatch) -> dict[str, Any]:
    return {
        "best": None if match.best is None else _candidate_to_plain(match.best),
        "rivals": [_candidate_to_plain(rival) for rival in match.rivals],
        "probability": _plain(match.probability),
        "flags": int(match.flags),
        "remark": match.remark,
    }


def _candidate_to_plain(candidate: Candidate) -> list[Any]:
    return [_plain(getattr(candidate, name)) for name in _CANDIDATE]


def _evidence_to_plain(evidence: PhaseEvidence) -> dict[str, Any]:
    return {f.name: _plain(getattr(evidence, f.name)) for f in dataclasses.fields(evidence)}


def _plain(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, int | np.integer) else value


def read_identified(folder: Path, *, frame: int | None = None) -> Identified:
    """Read one frame of a run.

    Parameters
    ----------
    folder
        Of an input: ``OUT/<name>``.
    frame
        Position in its series as stored; may be left out where the run has one frame only.

    Raises
    ------
    ReadError
        The folder holds no run, or its file is damaged.
    SettingsError
        There is no such frame, or there are several and none was named.
    """
    path = folder / IDENTIFIED_NAME
    lines = _read_lines(path)
    try:
        kept = [line for line in lines[1:] if frame is None or _index_of(line) == frame]
        if len(kept) != 1:
            frames = [_index_of(line) for line in lines[1:]]
            _refuse(path, frames, frame)
        return _frame_from_plain(json.loads(kept[0]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ReadError(f"{path} is damaged ({type(error).__name__}: {error}); repeat the run") from error


def _read_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({_why_missing(path, error)})") from error
    except ValueError as error:
        raise ReadError(f"{path} is damaged ({error}); repeat the run") from error
    if not lines or FORMAT not in lines[0]:
        raise ReadError(f"{path} is not what fringemap analyze writes; repeat the run")
    return lines


def _why_missing(path: Path, error: OSError) -> str:
    folder = path.parent
    if not folder.exists():
        return f"the folder {folder} does not exist; check the name"
    inside = sorted(p.parent.name for p in folder.glob(f"*/{IDENTIFIED_NAME}"))
    if inside:
        named = ", ".join(inside[:5]) + (", ..." if len(inside) > 5 else "")
        return f"name the folder of one input: {folder} holds {named}"
    return f"{error.strerror}; name the folder that fringemap analyze made for an input, or repeat the run"


def _index_of(line: str) -> int:
    # The first key of each line; the rest is long, and needed of one frame only.
    key, _, rest = line.partition(":")
    if key != '{"frame"':
        raise ValueError("a line is no frame")
    return int(rest.partition(",")[0])


def _refuse(path: Path, frames: list[int], frame: int | None) -> None:
    if not frames:
        raise SettingsError(f"{path} holds no frame: every frame of the run failed; see errors.csv")
    listed = ", ".join(map(str, frames[:10])) + (", ..." if len(frames) > 10 else "")
    held = f"{path.parent} holds {count(len(frames), 'frame')} ({listed})"
    if frame is None:
        raise SettingsError(f"{held}; name one with --frame")
    raise SettingsError(f"{held}, no frame {frame}; name one of them with --frame")


def _frame_from_plain(plain: dict[str, Any]) -> Identified:
    scale = plain["scale"]
    rows, cols = scale["pixel_size_angstrom"]
    return Identified(
        index=int(plain["frame"]),
        scale=Scale(
            (rows, cols),
            _number(scale["sigma"]),
            ScaleSource(scale["source"]),
            scale["shear"],
            scale.get("probability", 1.0),
        ),
        spots=_spots_from_plain(plain["spots"]),
        match=Match(
            tuple(_match_from_plain(spot) for spot in plain["names"]),
            tuple(_evidence_from_plain(evidence) for evidence in plain["phases"]),
            tuple(_evidence_from_plain(evidence) for evidence in plain["candidates"]),
        ),
    )


_SHAPES = {"covariance": (-1, 2, 2), "position": (-1, 2), "extent": (-1, 2)}


def _spots_from_plain(plain: dict[str, Any]) -> Spots:
    arrays: dict[str, Any] = {
        f.name: np.array(plain[f.name], np.int64)
        if f.name == "flags"
        else np.array(plain[f.name], np.float64).reshape(_SHAPES.get(f.name, (-1,)))
        for f in dataclasses.fields(Spots)
    }
    if len({len(array) for array in arrays.values()}) != 1:
        raise ValueError("columns of the spots differ in length")
    return Spots(**arrays)


def _match_from_plain(plain: dict[str, Any]) -> SpotMatch:
    return SpotMatch(
        best=None if plain["best"] is None else _candidate_from_plain(plain["best"]),
        rivals=tuple(_candidate_from_plain(rival) for rival in plain["rivals"]),
        probability=_number(plain["probability"]),
        flags=Flag(plain["flags"]),
        remark=plain["remark"],
    )


def _candidate_from_plain(plain: list[Any]) -> Candidate:
    phase, (h, k, l), *numbers = plain  # noqa: E741 - the name every crystallographer uses
    d, percent, sigma, probability = map(_number, numbers)
    return Candidate(phase, (h, k, l), d, percent, sigma, probability)


def _evidence_from_plain(plain: dict[str, Any]) -> PhaseEvidence:
    given: dict[str, Any] = {}
    for f in dataclasses.fields(PhaseEvidence):
        # Older runs say nothing of how sure a zone is.
        value = plain.get(f.name, f.default) if f.name in ("zone_probability", "rival_zones") else plain[f.name]
        if f.name == "flags":
            given[f.name] = Flag(value)
        elif isinstance(value, list):
            given[f.name] = tuple(tuple(one) if isinstance(one, list) else one for one in value)
        else:
            given[f.name] = math.nan if value is None and f.name != "zone_axis" else value
    return PhaseEvidence(**given)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
