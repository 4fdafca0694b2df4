"""Write whole sets: drawn ones, shard by shard and by several processes, and any other samples."""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fringemap.errors import OutputError, SettingsError, WorkerError
from fringemap.settings import AnalysisSettings
from fringemap.training.drawing import draw_sample, draw_samples
from fringemap.training.shards import (
    FORMAT,
    SampleSet,
    open_set,
    read_record,
    shard_name,
    split_sources,
    write_record,
    write_shard,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fringemap.training.recipes import SetRecipe
    from fringemap.training.samples import Sample

__all__ = ["draw_samples", "open_set", "split_sources", "write_samples", "write_set"]

_SHARD_SIZE = 100
_LICENCE = "made by fringemap, free of any rights"
_DRAWN_SPLIT = {"train": {"train": 0.9, "validation": 0.1}, "test": {"test": 1.0}}


def write_set(
    folder: str | Path,
    recipe: SetRecipe,
    *,
    n: int,
    seed: int,
    settings: AnalysisSettings | None = None,
    workers: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> SampleSet:
    """Draw a set and write it; a folder that holds a part of the same set is continued.

    Parameters
    ----------
    recipe
        ``recipes.find_recipe("train")`` or ``("test")``.
    n
        Samples.
    workers
        Processes. The set's bytes do not depend on it, nor on how often the run was stopped.
    progress
        Called with (name, done, total).

    Raises
    ------
    SettingsError
        ``n`` is below 1, or the folder holds another set.
    OutputError
        The folder cannot be written.
    WorkerError
        A process died.
    """
    if n < 1:
        raise SettingsError(f"A set of {n} samples makes no sense; ask for 1 or more.")
    folder, settings = Path(folder), settings or AnalysisSettings()
    record = _drawn_record(recipe, n, seed, settings)
    if _begin(folder, record):
        return open_set(folder)
    report = progress or _silent
    shards = [range(first, min(first + _SHARD_SIZE, n)) for first in range(0, n, _SHARD_SIZE)]
    missing = [numbers for numbers in shards if not (folder / _name(numbers)).exists()]
    done = n - sum(len(numbers) for numbers in missing)
    report("drawing", done, n)
    drawn = _draw_all([i for numbers in missing for i in numbers], recipe, seed, settings, workers)
    for numbers in missing:
        samples = []
        for _ in numbers:
            samples.append(next(drawn))
            done += 1
            report("drawing", done, n)
        write_shard(folder / _name(numbers), numbers[0], samples)
    write_record(folder, {**record, "complete": True})
    return open_set(folder)


def write_samples(
    folder: str | Path, samples: Iterable[Sample], *, licence: str, shares: Mapping[str, float], about: str = ""
) -> SampleSet:
    """Write samples of any origin, such as labelled real frames, as a set; they are taken one at a time.

    Parameters
    ----------
    licence
        Under which the labelled frames may be used; it goes into the model's card.
    shares
        Of the sides of the split, by source, such as ``{"train": 0.8, "validation": 0.1, "test": 0.1}``.

    Raises
    ------
    SettingsError
        The folder holds another set.
    """
    folder, sources = Path(folder), []
    if read_record(folder) is not None:
        raise SettingsError(f"{folder} holds a set already; choose another folder.")
    _make_folder(folder)
    shard: list[Sample] = []
    for number, sample in enumerate(samples):
        sources.append(sample.source)
        shard.append(sample)
        if len(shard) == _SHARD_SIZE:
            write_shard(folder / shard_name(number // _SHARD_SIZE), number + 1 - len(shard), shard)
            shard = []
    if shard:
        write_shard(folder / shard_name(len(sources) // _SHARD_SIZE), len(sources) - len(shard), shard)
    if not sources:
        raise SettingsError("There are no samples to write; check where they come from.")
    split_sources(sources, shares)
    record = _record(len(sources), sources, licence, shares) | {"about": about, "complete": True}
    write_record(folder, record)
    return open_set(folder)


def _record(n: int, sources: list[str], licence: str, shares: Mapping[str, float]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "fringemap": version("fringemap"),
        "n_samples": n,
        "shard_size": _SHARD_SIZE,
        "licence": licence,
        "split": dict(shares),
        "sources": sources,
        "complete": False,
    }


def _drawn_record(recipe: SetRecipe, n: int, seed: int, settings: AnalysisSettings) -> dict[str, Any]:
    sources = [f"{recipe.kind}-{seed}-{i}" for i in range(n)]
    drawn_with = {"spectrum": dataclasses.asdict(settings.spectrum), "spots": dataclasses.asdict(settings.spots)}
    record = _record(n, sources, _LICENCE, _DRAWN_SPLIT.get(recipe.kind, {"train": 1.0}))
    return record | {"seed": seed, "recipe": _plain(dataclasses.asdict(recipe)), "settings": _plain(drawn_with)}


def _begin(folder: Path, record: dict[str, Any]) -> bool:
    """Claim a folder for a set; return whether the whole set is there already."""
    _make_folder(folder)
    found = read_record(folder)
    if found is None:
        write_record(folder, record)
        return False
    if {**found, "complete": False, "fringemap": ""} != {**record, "complete": False, "fringemap": ""}:
        raise SettingsError(f"{folder} holds a set that was drawn in another way; choose another folder.")
    return bool(found["complete"])


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}; choose another folder") from error


def _name(numbers: range) -> str:
    return shard_name(numbers[0] // _SHARD_SIZE)


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON gives them back."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _silent(_name: str, _done: int, _total: int) -> None:
    return


def _draw_all(
    numbers: list[int], recipe: SetRecipe, seed: int, settings: AnalysisSettings, workers: int
) -> Iterator[Sample]:
    """Samples of these numbers, in order; only a few are ahead of the reader."""
    if workers == 1:
        for number in numbers:
            yield draw_sample(recipe, seed=seed, index=number, settings=settings)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = deque(numbers)
        running: deque[Any] = deque()
        try:
            while waiting or running:
                while waiting and len(running) < 3 * workers:
                    running.append(
                        pool.submit(draw_sample, recipe, seed=seed, index=waiting.popleft(), settings=settings)
                    )
                yield running.popleft().result()
        except BrokenProcessPool as error:
            raise WorkerError("a process that draws samples died; give the same command again to go on") from error
        finally:
            pool.shutdown(cancel_futures=True)
