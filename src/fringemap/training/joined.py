"""Several sets that one network is trained on, as one: their sides, and what tells them from other sets."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fringemap.errors import SettingsError
from fringemap.training.label_scores import LabelledSamples
from fringemap.training.shards import SampleSet, open_set

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fringemap.training.samples import Sample


class SourcedSamples(LabelledSamples, Protocol):
    """Labelled patterns that know their sources without being read."""

    def source(self, index: int) -> str:
        """The frame that a sample comes from."""


@dataclass(frozen=True)
class Joined:
    """Several collections of samples, one behind the other."""

    parts: tuple[SourcedSamples, ...]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __getitem__(self, index: int) -> Sample:
        part, at = self._find(index)
        return part[at]

    def source(self, index: int) -> str:
        """The frame that a sample comes from."""
        part, at = self._find(index)
        return part.source(at)

    def _find(self, index: int) -> tuple[SourcedSamples, int]:
        for part in self.parts:
            if index < len(part):
                return part, index
            index -= len(part)
        raise IndexError(index)


@dataclass(frozen=True)
class OpenedSets:
    """Sets on disk, each split by its own sources."""

    sets: tuple[SampleSet, ...]
    training: Joined
    validation: Joined

    @property
    def fingerprint(self) -> str:
        """What tells these sets from others: a hash of what they were drawn from and of their sources."""
        told = [[one.record.get("seed"), one.record.get("recipe"), one.record["sources"]] for one in self.sets]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def open_sets(folders: Sequence[Path]) -> OpenedSets:
    """Open sets to train on.

    Raises
    ------
    ReadError
        A set is missing or not finished.
    SettingsError
        There is nothing to train on or to validate with, or a source that is trained on in one set is validated with in
        another.
    """
    sets = tuple(open_set(folder) for folder in folders)
    training, validation = (tuple(one.split(side) for one in sets) for side in ("train", "validation"))
    for parts, purpose in ((training, "train on"), (validation, "validate with")):
        if not any(len(part) for part in parts):
            raise SettingsError(
                f"{', '.join(map(str, folders))}: no sample to {purpose}; sets of the kind test are not trained on, "
                "those of the kind rare have none to validate with: give a set of the kind train, alone or beside them"
            )
    twice = _sources(training) & _sources(validation)
    if twice:
        raise SettingsError(
            f"{', '.join(map(str, folders))}: {min(twice)} and {len(twice) - 1} more are trained on in one set and "
            "validated with in another; draw one of them with another --seed"
        )
    return OpenedSets(sets, Joined(training), Joined(validation))


def _sources(parts: Sequence[SampleSet]) -> set[str]:
    return {part.source(index) for part in parts for index in range(len(part))}
