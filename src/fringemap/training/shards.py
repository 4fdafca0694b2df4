"""Samples on disk: a folder of shards, each an uncompressed ``.npz`` of a hundred samples, and ``set.json``.

Of sample number i a shard holds ``i/image`` (float16), ``i/target`` (uint8: 0 nothing, 1 spot, 2 ignored, 3 a spot
that is ignored), ``i/spots`` (float64; for each its row, column, width, SNR, and whether it is visible) and ``i/meta``
(JSON as bytes). Any program that reads ``.npz`` reads them; samples may differ in shape; one is read at a time. The
same samples make the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from fringemap.errors import ReadError, SettingsError
from fringemap.report.atomic import atomic_write, write_text
from fringemap.training.samples import PatternSpots, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


FORMAT = 2
RECORD = "set.json"
SPLITS = ("train", "validation", "test")


def split_sources(sources: Iterable[str], shares: Mapping[str, float]) -> dict[str, str]:
    """Put whole sources on one side each, so that nothing of a frame is on two.

    Parameters
    ----------
    sources
        Repetitions count once.
    shares
        Of each side, such as ``{"train": 0.9, "validation": 0.1}``; they add up to 1.

    Returns
    -------
    dict
        Side of each source. It follows from the names alone: a source's rank among the hashes of all of them.

    Raises
    ------
    SettingsError
        Shares do not add up to 1.
    """
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise SettingsError(f"The shares of a split are {dict(shares)}; they must add up to 1.")
    ranked = rank_sources(sources)
    ends = np.rint(np.cumsum(list(shares.values())) * len(ranked)).astype(int)
    sides = np.searchsorted(ends, np.arange(len(ranked)), side="right")
    names = list(shares)
    return {source: names[side] for source, side in zip(ranked, sides, strict=True)}


def rank_sources(sources: Iterable[str]) -> list[str]:
    """Each source once, in an order that follows from the names alone."""
    return sorted(set(sources), key=lambda source: hashlib.sha256(source.encode()).digest())


@dataclass(frozen=True)
class SampleSet:
    """Samples of a set on disk, or some of them; read when asked for, so that memory stays flat."""

    folder: Path
    record: Mapping[str, Any]
    """What ``set.json`` says."""
    numbers: tuple[int, ...]
    """Of the samples, within the whole set."""
    _shards: dict[str, Shard] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Sample:
        number = self.numbers[index]
        name = shard_name(number // int(self.record["shard_size"]))
        if name not in self._shards:
            self._shards[name] = index_shard(self.folder / name)
        return read_sample(self._shards[name], number)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def source(self, index: int) -> str:
        """The frame that a sample comes from, without reading the sample."""
        return str(self.record["sources"][self.numbers[index]])

    def split(self, name: str) -> SampleSet:
        """The samples whose source lies on one side: "train", "validation" or "test".

        Raises
        ------
        SettingsError
            There is no such side.
        """
        shares = self.record["split"]
        if name not in SPLITS:
            raise SettingsError(f"There is no side of a split called {name!r}; choose one of {', '.join(SPLITS)}.")
        side = split_sources(self.record["sources"], shares)
        numbers = tuple(number for number in self.numbers if side[self.record["sources"][number]] == name)
        return SampleSet(self.folder, self.record, numbers, self._shards)

    def take(self, numbers: Sequence[int]) -> SampleSet:
        """Some of the samples, by their place here."""
        return SampleSet(self.folder, self.record, tuple(self.numbers[i] for i in numbers), self._shards)


def open_set(folder: str | Path) -> SampleSet:
    """Open a set that ``write_set`` or ``write_samples`` has finished.

    Raises
    ------
    ReadError
        There is no set, it is not finished, or another version of fringemap wrote it in another format.
    """
    folder = Path(folder)
    record = read_record(folder)
    if record is None:
        raise ReadError(f"{folder} holds no {RECORD}; make a set with fringemap simulate")
    if record.get("format") != FORMAT:
        raise ReadError(f"{folder}: the set has the format {record.get('format')}, not {FORMAT}; make it again")
    if not record.get("complete"):
        raise ReadError(f"{folder}: the set is not finished; give the same command again and it goes on")
    return SampleSet(folder, record, tuple(range(int(record["n_samples"]))))


def read_record(folder: Path) -> dict[str, Any] | None:
    """What ``set.json`` of a folder says; None where there is none."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ReadError(f"{folder / RECORD} cannot be read: {error}") from error
    if not isinstance(record, dict):
        raise ReadError(f"{folder / RECORD} cannot be read: it does not describe a set; make the set again")
    return record


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``set.json``, whole or not at all."""
    write_text(folder / RECORD, json.dumps(record, indent=1, sort_keys=True))


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:05d}.npz"


def write_shard(path: Path, first: int, samples: Sequence[Sample]) -> None:
    """Write samples ``first``, ``first + 1``, ... as one shard, whole or not at all."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for number, sample in enumerate(samples, first):
        ignored = (sample.weight == 0).astype(np.uint8)
        columns = (sample.spots.row, sample.spots.col, sample.spots.width, sample.spots.snr, sample.spots.visible)
        meta = json.dumps(dict(sample.meta), sort_keys=True).encode()
        arrays[f"{number}/image"] = sample.image.astype(np.float16)
        arrays[f"{number}/target"] = sample.label.astype(np.uint8) + 2 * ignored
        arrays[f"{number}/spots"] = np.stack([np.asarray(c, np.float64) for c in columns], axis=1)
        arrays[f"{number}/meta"] = np.frombuffer(meta, np.uint8)
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


@dataclass(frozen=True)
class Shard:
    """Where the arrays of a shard begin; no file is kept open."""

    path: Path
    starts: Mapping[str, int]
    """First byte of each array."""


def index_shard(path: Path) -> Shard:
    """Look up where a shard keeps its arrays.

    Raises
    ------
    ReadError
        It is missing or cut off.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            starts = {member.filename.removesuffix(".npy"): _start(file, member) for member in archive.infolist()}
    except (OSError, ValueError, struct.error, zipfile.BadZipFile) as error:
        raise ReadError(f"{path} cannot be read: {error}; make the set again") from error
    return Shard(path, starts)


def _start(file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """First byte of an uncompressed member, behind its header, name and extra field."""
    file.seek(member.header_offset + 26)
    n_name, n_extra = struct.unpack("<HH", file.read(4))
    return int(member.header_offset + 30 + n_name + n_extra)


def read_sample(shard: Shard, number: int) -> Sample:
    """One sample of a shard.

    Raises
    ------
    ReadError
        The shard is damaged or lacks the sample.
    """
    names = ("image", "target", "spots", "meta")
    try:
        with shard.path.open("rb") as file:
            image, target, table, meta = (_read_array(file, shard.starts[f"{number}/{name}"]) for name in names)
        about = json.loads(meta.tobytes())
    except (KeyError, OSError, ValueError) as error:
        raise ReadError(f"{shard.path}: sample {number} cannot be read: {error}; make the set again") from error
    row, col, width, snr, visible = table.T
    spots = PatternSpots(row, col, width, snr, visible > 0)
    return Sample(image, target & np.uint8(1), (target < 2).astype(np.uint8), spots, about)


def _read_array(file: IO[bytes], start: int) -> np.ndarray[Any, Any]:
    file.seek(start)
    array: np.ndarray[Any, Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array
