"""What the user named on the command line, as a list of inputs; and their fingerprints."""

from __future__ import annotations

import glob
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from fringemap.errors import ReadError
from fringemap.io.formats import ENDINGS
from fringemap.io.names import expanded, looking_at
from fringemap.io.pairs import belonging, ser_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FEWEST_NUMBERED = 3
"""So many files of one name and running numbers make a folder a series."""

_CHUNK = 1 << 20


def find_inputs(patterns: Sequence[str | Path]) -> list[Path]:
    """Turn files, folders and glob patterns into inputs, each once, in the order given and then by name.

    A folder of numbered frames is one input (a series); any other folder stands for the readable files in it, and what
    cannot be read there is skipped. An ``.emi`` beside its ``.ser`` is one input.

    Raises
    ------
    ReadError
        If a name matches nothing or the system refuses it, a named file has an unknown ending, or a folder has nothing
        to read.
    """
    inputs: dict[Path, None] = {}
    for pattern in patterns:
        for path in _expand(pattern):
            inputs[path] = None
    return _without_twins(inputs)


def _expand(pattern: str | Path) -> list[Path]:
    path = expanded(pattern)
    with looking_at(path):
        if path.is_dir():
            return _folder(path)
        if path.exists():
            return [_known(path)]
        matches = sorted((Path(name) for name in glob.glob(str(path), recursive=True)), key=_natural)  # noqa: PTH207
        found = [match for match in matches if match.suffix.lower() in ENDINGS and match.is_file()]
    if not matches:
        raise ReadError(f"{pattern} does not exist; check the name")
    if not found:
        raise ReadError(f"{pattern} matches no file that can be read; fringemap reads {', '.join(sorted(ENDINGS))}")
    return found


def _known(path: Path) -> Path:
    if path.suffix.lower() not in ENDINGS:
        raise ReadError(
            f"{path.name} has the unknown ending '{path.suffix}'; fringemap reads {', '.join(sorted(ENDINGS))}"
        )
    return path


def _folder(folder: Path) -> list[Path]:
    files = readable_files(folder)
    if not files:
        raise ReadError(
            f"the folder {folder} holds no file that can be read; fringemap reads {', '.join(sorted(ENDINGS))}"
        )
    return [folder] if is_numbered(files) else files


def readable_files(folder: Path) -> list[Path]:
    """Files with a known ending in a folder, hidden ones left out, numbers in their order: 2 before 10."""
    files = (p for p in folder.iterdir() if p.suffix.lower() in ENDINGS and not p.name.startswith(".") and p.is_file())
    return sorted(files, key=_natural)


def is_numbered(files: Sequence[Path]) -> bool:
    """Whether the files are frames of one series: one name but for one running number, one ending."""
    if len(files) < FEWEST_NUMBERED or any(p.suffix.lower() in (".ser", ".emi") for p in files):
        return False
    parts = [re.split(r"(\d+)", p.name) for p in files]
    if len({len(p) for p in parts}) != 1:
        return False
    varying = [k for k, values in enumerate(zip(*parts, strict=True)) if len(set(values)) > 1]
    return len(varying) == 1 and varying[0] % 2 == 1 and varying[0] < len(parts[0]) - 1


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    pieces = re.split(r"(\d+)", str(path).casefold())
    return [(int(p), "") if k % 2 else (-1, p) for k, p in enumerate(pieces)], str(path)


def _without_twins(inputs: Iterable[Path]) -> list[Path]:
    """Leave out an .emi file whose .ser files are there: they bring it along."""
    kept = list(inputs)
    return [p for p in kept if not (p.suffix.lower() == ".emi" and any(ser in kept for ser in ser_files(p)))]


def files_of(path: Path) -> list[Path]:
    """Files that an input is made of: itself, both of a TIA pair, or the readable files of a folder."""
    return readable_files(path) if path.is_dir() else belonging(path)


def sha256(path: Path) -> str:
    """Fingerprint of a file, or over names and contents of a TIA pair or a folder's readable files.

    Memory stays flat.
    """
    files = files_of(path)
    if files == [path]:
        return _sha256_of_one(path)
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + bytes.fromhex(_sha256_of_one(file)))
    return digest.hexdigest()


def _sha256_of_one(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
