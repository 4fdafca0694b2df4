"""What a detector is judged on: labelled patterns, and the frames behind them where these are known.

A drawn sample says from which recipe, seed and number it came; its frame and its exact truth are drawn again when they
are asked for. Circles name the file of their frame. Pictures with masks are patterns and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fringemap.errors import ReadError, SettingsError
from fringemap.io import read
from fringemap.records import TrueSpots
from fringemap.settings import AnalysisSettings, ReadSettings, SpectrumSettings, SpotSettings
from fringemap.simulate import SceneRanges
from fringemap.spectrum import bin_size, compute_diffractogram
from fringemap.spots.pattern import make_pattern
from fringemap.training.circles import SUFFIX, read_circles
from fringemap.training.drawing import draw_diffractogram, draw_sample
from fringemap.training.labelled import LabelledSet, load_labelled, sample_from_circles
from fringemap.training.labels import Visibility
from fringemap.training.recipes import Regime, SetRecipe
from fringemap.training.shards import SPLITS, SampleSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from fringemap.records import Diffractogram, Mask, Truth
    from fringemap.training.circles import Circles
    from fringemap.training.samples import Sample

SIDES = (*SPLITS, "all")
# Of scores as they are stored: half precision near the strongest.
_TOLERANCE = 0.02
# Given to true spots whose SNR nobody knows: strong enough to be looked for.
_CLEAR_SNR = 100.0
# A spot of a list and a true one are the same below this distance [px].
_SAME_PX = 1e-3


@dataclass(frozen=True)
class Seen:
    """Frame of a subject, as an analysis sees it."""

    diffractogram: Diffractogram
    truth: Truth | None
    """Of a drawn frame."""


@dataclass(frozen=True)
class Subject:
    """One labelled pattern."""

    sample: Sample
    look: Callable[[], Seen] | None = None
    """Makes its frame's diffractogram; None where only a picture is known."""

    @cached_property
    def seen(self) -> Seen | None:
        """Frame and truth, made when first asked for."""
        return None if self.look is None else self.look()

    @property
    def step(self) -> tuple[float, float]:
        """Distance of neighbouring pixels of the pattern [1/Å]; 1 where nobody knows the scale."""
        rows, cols = self.sample.meta.get("step_per_nm", (10.0, 10.0))
        return float(rows) / 10, float(cols) / 10

    @property
    def bins(self) -> tuple[float, float]:
        """Distance of neighbouring bins [1/Å], within which a found spot must lie."""
        if self.seen is None:
            return self.step
        return bin_size(self.seen.diffractogram.frame_shape, self.seen.diffractogram.scale)

    @property
    def is_empty(self) -> bool:
        """A frame that is known to hold no crystal."""
        meta = self.sample.meta
        return len(self.sample.spots) == 0 and meta.get("n_grains", 0) == 0 and meta.get("kind") != "mask"

    @property
    def true(self) -> TrueSpots:
        """True spots: of a drawn frame all of them, else those that were marked."""
        if self.seen is not None and self.seen.truth is not None:
            return self.seen.truth.spots
        return marked_spots(self.sample, self.step)

    def is_wanted(self, true: TrueSpots) -> Mask:
        """Which true spots are labelled, so that a detector must find them."""
        shown = self.sample.spots.take(self.sample.spots.visible)
        row, col = true.gy / self.step[0] + len(self.sample.label) // 2, true.gx / self.step[1]
        distance = np.hypot(row[:, None] - shown.row, col[:, None] - shown.col)
        return np.asarray(distance.min(axis=1, initial=np.inf) < _SAME_PX)


@dataclass(frozen=True)
class SubjectSet:
    """A set to judge detectors on."""

    name: str
    path: Path
    samples: SampleSet | LabelledSet
    side: str
    """Of the split; "all" if nothing was left out."""
    settings: AnalysisSettings
    recipe: SetRecipe | None
    """What a drawn set was drawn from."""
    seed: int | None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> Subject:
        sample = self.samples[number]
        if self.recipe is not None:
            return _drawn_subject(sample, self.recipe, self.settings)
        if "frame" in sample.meta:
            folder = self.path if self.path.is_dir() else self.path.parent
            return Subject(sample, partial(_see_file, sample, folder, self.settings))
        return Subject(sample)

    def __iter__(self) -> Iterator[Subject]:
        return (self[number] for number in range(len(self)))

    @property
    def has_frames(self) -> bool:
        """Frames are known, so that a detector without a network can look at them."""
        return self.recipe is not None or (len(self) > 0 and "frame" in self.samples[0].meta)


def open_subjects(path: Path, *, side: str = "", limit: int | None = None) -> SubjectSet:
    """Open a set of any kind, see ``labelled.load_labelled``.

    Parameters
    ----------
    side
        "train", "validation", "test" or "all"; empty: what was held out for tests, else for validation, else all.
    limit
        At most so many samples.

    Raises
    ------
    ReadError
        There is no set, or it is damaged.
    SettingsError
        No sample is on that side.
    """
    if side and side not in SIDES:
        raise SettingsError(f"There is no side of a split called {side!r}; choose one of {', '.join(SIDES)}.")
    if not path.exists():
        raise ReadError(f"{path} does not exist; make a set with fringemap simulate")
    samples = _load(path)
    record = samples.record if isinstance(samples, SampleSet) else {}
    parts = {"all": samples} | {name: samples.split(name) for name in SPLITS}
    chosen = side or next(name for name in ("test", "validation", "all") if len(parts[name]) or name == "all")
    part = parts[chosen]
    if len(part) == 0:
        raise SettingsError(f"{path} holds no sample for {chosen}; choose another side of its split or a larger set.")
    return SubjectSet(
        name=path.stem,
        path=path,
        samples=part.take(range(len(part) if limit is None else min(limit, len(part)))),
        side=chosen,
        settings=_settings_of(path, record.get("settings", {})),
        recipe=read_recipe(record["recipe"]) if "recipe" in record else None,
        seed=int(record["seed"]) if "seed" in record else None,
    )


def empty_subjects(subjects: SubjectSet, n: int) -> Iterator[Subject]:
    """Further frames without any crystal, drawn like a set's others; none of a set that was not drawn.

    No set has them: they are drawn from a seed of their own.
    """
    if subjects.recipe is None or subjects.seed is None:
        return
    regimes = tuple(replace(r, scenes=replace(r.scenes, empty_share=1.0)) for r in subjects.recipe.regimes)
    recipe = replace(subjects.recipe, regimes=regimes)
    for index in range(n):
        sample = draw_sample(recipe, seed=subjects.seed + 1_000_003, index=index, settings=subjects.settings)
        yield _drawn_subject(sample, recipe, subjects.settings)


def marked_spots(sample: Sample, step: tuple[float, float]) -> TrueSpots:
    """Spots of a list as true ones of no known grain or phase."""
    spots = sample.spots
    n = len(spots)
    return TrueSpots(
        gx=spots.col * step[1],
        gy=(spots.row - len(sample.label) // 2) * step[0],
        hkl=np.zeros((n, 3), np.int64),
        phase=("",) * n,
        grain=np.full(n, -1, np.int64),
        amplitude=np.full(n, np.nan),
        width=spots.width * np.sqrt(step[0] * step[1]),
        snr=np.where(np.isfinite(spots.snr), spots.snr, _CLEAR_SNR),
    )


def read_recipe(content: Mapping[str, Any]) -> SetRecipe:
    """Make a recipe from what ``set.json`` says of it.

    Raises
    ------
    ReadError
        Another version of fringemap wrote it.
    """
    try:
        values = {name: _tuples(value) for name, value in content.items()}
        regimes = tuple(
            Regime(**{**_tuples(r), "scenes": SceneRanges(**_tuples(r["scenes"]))}) for r in content["regimes"]
        )
        return SetRecipe(**{**values, "regimes": regimes, "visibility": Visibility(**content["visibility"])})
    except (KeyError, TypeError) as error:
        raise ReadError(f"The set's recipe is of another version of fringemap ({error}); draw the set again") from error


def _load(path: Path) -> SampleSet | LabelledSet:
    """As ``load_labelled``; the samples of circles also say which frame of which file they show."""
    files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path] * path.name.endswith(SUFFIX)
    if not files:
        return load_labelled(path)
    labelled = [(file.parent, read_circles(file)) for file in files]
    return LabelledSet(
        tuple(partial(_circled_sample, folder, circles) for folder, circles in labelled),
        tuple(circles.source for _, circles in labelled),
    )


def _circled_sample(folder: Path, circles: Circles) -> Sample:
    sample = sample_from_circles(circles, folder=folder, settings=AnalysisSettings())
    return replace(sample, meta={**sample.meta, "frame": circles.frame, "frame_index": circles.frame_index})


def _tuples(value: Any) -> Any:
    """Lists as tuples, those in a mapping too."""
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _settings_of(path: Path, content: Mapping[str, Any]) -> AnalysisSettings:
    spectrum, spots = (
        {name: _tuples(value) for name, value in content.get(part, {}).items()} for part in ("spectrum", "spots")
    )
    try:
        return AnalysisSettings(spectrum=SpectrumSettings(**spectrum), spots=SpotSettings(**spots))
    except (TypeError, SettingsError) as error:
        raise ReadError(f"{path}: the set is of another version of fringemap ({error}); make it again") from error


def _drawn_subject(sample: Sample, recipe: SetRecipe, settings: AnalysisSettings) -> Subject:
    return Subject(sample, partial(_see_drawn, sample, recipe, settings))


def _see_drawn(sample: Sample, recipe: SetRecipe, settings: AnalysisSettings) -> Seen:
    """Draw a sample's frame again, and make sure that it is the same."""
    diffractogram, truth, _ = draw_diffractogram(
        recipe, seed=int(sample.meta["seed"]), index=int(sample.meta["index"]), settings=settings
    )
    seen = Seen(diffractogram, truth)
    image = make_pattern(seen.diffractogram, settings=settings.spots).image
    stored = np.asarray(sample.image, np.float32)
    if image.shape != stored.shape or not np.abs(image - stored).max(initial=0.0) < _TOLERANCE:
        raise ReadError(
            f"{sample.source} cannot be drawn again as the set holds it: another version of fringemap made the set; "
            "make it again"
        )
    return seen


def _see_file(sample: Sample, folder: Path, settings: AnalysisSettings) -> Seen:
    number = int(sample.meta["frame_index"])
    reading = ReadSettings(pixel_size_nm=float(sample.meta["pixel_size_nm"][1]), frames=f"{number}:{number + 1}")
    with read(folder / str(sample.meta["frame"]), settings=reading) as series:
        frame = series[0]
    return Seen(
        compute_diffractogram(frame, settings=settings.spectrum, d_min_angstrom=settings.spots.d_min_angstrom), None
    )
