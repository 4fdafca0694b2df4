"""Labelled real diffractograms as samples: circles over a frame, mask pictures, and the Zr/ZrO2 patches.

``load_labelled`` takes any of them. None is complete the way drawn ones are: what nobody marked counts as background.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.ndimage

from fringemap.errors import ReadError, SettingsError
from fringemap.io import read
from fringemap.settings import AnalysisSettings, ReadSettings
from fringemap.spectrum import compute_diffractogram
from fringemap.spots.pattern import complete, make_pattern
from fringemap.training.circles import SUFFIX, read_circles
from fringemap.training.drawing import describe_pattern
from fringemap.training.labels import is_within, paint_labels, round_forms
from fringemap.training.pictures import cut_half, radius_of, score_picture
from fringemap.training.samples import PatternSpots, Sample, no_spots
from fringemap.training.shards import SPLITS, open_set, split_sources
from fringemap.training.strokes import draw_strokes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fringemap.records import Image, Mask
    from fringemap.training.circles import Circles
    from fringemap.training.pictures import Layout
    from fringemap.training.shards import SampleSet

ZR_STEP_PER_NM = 0.311523
"""Of the Zr/ZrO2 patches, along either axis [1/nm per px]."""

_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
# Pixels about the centre of a picture of unknown scale that hold no spot.
_CENTRE_PX = 3.0
_GREY_THRESHOLD = 128.0
_PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True)
class LabelledSet:
    """Labelled samples, made when asked for; the same words as a ``SampleSet``."""

    makers: tuple[Callable[[], Sample], ...]
    sources: tuple[str, ...]
    shares: Mapping[str, float] = field(default_factory=lambda: dict(_SHARES))

    def __len__(self) -> int:
        return len(self.makers)

    def __getitem__(self, index: int) -> Sample:
        return self.makers[index]()

    def __iter__(self) -> Iterator[Sample]:
        return (make() for make in self.makers)

    def source(self, index: int) -> str:
        """The frame that a sample comes from."""
        return self.sources[index]

    def split(self, name: str) -> LabelledSet:
        """The samples whose source lies on one side: "train", "validation" or "test"."""
        if name not in SPLITS:
            raise SettingsError(f"There is no side of a split called {name!r}; choose one of {', '.join(SPLITS)}.")
        side = split_sources(self._all_sources(), self.shares)
        return self.take([i for i, source in enumerate(self.sources) if side[source] == name])

    def take(self, numbers: Sequence[int]) -> LabelledSet:
        """Some of the samples, by their place here."""
        makers, sources = tuple(self.makers[i] for i in numbers), tuple(self.sources[i] for i in numbers)
        return _Part(makers, sources, self.shares, self._all_sources())

    def _all_sources(self) -> tuple[str, ...]:
        return self.sources


@dataclass(frozen=True)
class _Part(LabelledSet):
    """Some samples of a set; sources stay on the side that the whole set gave them."""

    whole: tuple[str, ...] = ()

    def _all_sources(self) -> tuple[str, ...]:
        return self.whole


def load_labelled(path: str | Path, *, settings: AnalysisSettings | None = None) -> LabelledSet | SampleSet:
    """Labelled diffractograms of any kind.

    Parameters
    ----------
    path
        A file ``*.spots.json`` of circles or a folder of them; a folder with ``images`` and ``masks`` whose files share
        their names; the ``.npz`` of Zr/ZrO2 patches; or the folder of a set.
    settings
        How frames become diffractograms; the defaults if None.

    Raises
    ------
    ReadError
        There is nothing labelled.
    """
    path, settings = Path(path), settings or AnalysisSettings()
    if path.suffix == ".npz":
        return load_patches(path)
    if (path / "set.json").exists():
        return open_set(path)
    if (path / "images").is_dir() and (path / "masks").is_dir():
        return load_mask_pairs(path)
    files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
    if not files or not files[0].name.endswith(SUFFIX):
        raise ReadError(
            f"{path} holds no labels: no *{SUFFIX}, no folders images and masks, no patches, no {'set.json'}"
        )
    labelled = [(file, read_circles(file)) for file in files]

    def maker(file: Path, circles: Circles) -> Callable[[], Sample]:
        return lambda: sample_from_circles(circles, folder=file.parent, settings=settings)

    return LabelledSet(tuple(maker(*item) for item in labelled), tuple(c.source for _, c in labelled))


def sample_from_circles(circles: Circles, *, folder: Path, settings: AnalysisSettings) -> Sample:
    """Sample of a frame over whose diffractogram circles were drawn; a circle is the label, as it was drawn.

    Raises
    ------
    ReadError
        The frame is missing, or has fewer frames than the label says.
    """
    reading = ReadSettings(
        pixel_size_nm=circles.pixel_size_nm, frames=f"{circles.frame_index}:{circles.frame_index + 1}"
    )
    with read(folder / circles.frame, settings=reading) as series:
        frame = series[0]
    found = compute_diffractogram(frame, settings=settings.spectrum, d_min_angstrom=settings.spots.d_min_angstrom)
    pattern = make_pattern(found, settings=settings.spots)
    gx, gy, radius = (np.asarray(values, float) / 10 for values in (circles.gx, circles.gy, circles.radius))
    back = (gx < 0) | ((gx == 0) & (gy < 0))
    gx, gy = np.where(back, -gx, gx), np.where(back, -gy, gy)
    row, col = gy / pattern.step[0] + pattern.zero_row, gx / pattern.step[1]
    width = 2 * radius / np.sqrt(pattern.step[0] * pattern.step[1])
    spots = PatternSpots(row, col, width, np.full(len(row), np.nan), ~np.asarray(circles.ignored, bool))
    within = is_within(row, col, pattern.valid)
    spots, radius = spots.take(within), radius[within]
    label, weight = paint_labels(spots, round_forms(2 * radius, pattern.step), pattern.valid)
    if circles.strokes:
        spots = draw_strokes(circles.strokes, pattern, spots=spots, label=label, weight=weight)
    about = {
        "source": circles.source,
        "kind": "circles",
        "licence": circles.licence,
        "n_visible": int(spots.visible.sum()),
    }
    return Sample(pattern.image.astype(np.float16), label, weight, spots, describe_pattern(pattern, found) | about)


def load_mask_pairs(
    folder: str | Path, *, layout: Layout = "full", threshold: float = _GREY_THRESHOLD, step_per_nm: float | None = None
) -> LabelledSet:
    """Pictures of diffractograms in ``images`` and of their spots, bright, in ``masks``, as in the paper.

    Parameters
    ----------
    layout
        Which part of a diffractogram a picture shows.
    threshold
        Grey level from which a mask is a spot.
    step_per_nm
        Scale of the pictures [1/nm per px], if known.

    Raises
    ------
    ReadError
        A picture has no mask, or one of another shape.
    """
    pictures = sorted(p for p in (Path(folder) / "images").iterdir() if p.suffix.lower() in _PICTURES)
    masks = {p.stem: p for p in (Path(folder) / "masks").iterdir() if p.suffix.lower() in _PICTURES}
    for picture in pictures:
        if picture.stem not in masks:
            raise ReadError(f"{picture.name} has no mask of its name in {Path(folder) / 'masks'}; add it")

    def maker(picture: Path) -> Callable[[], Sample]:
        def make() -> Sample:
            image, mask = _read_grey(picture), _read_grey(masks[picture.stem])
            return sample_from_mask(
                image, mask >= threshold, source=picture.stem, layout=layout, step_per_nm=step_per_nm
            )

        return make

    return LabelledSet(tuple(maker(p) for p in pictures), tuple(p.stem for p in pictures))


def load_patches(path: str | Path) -> LabelledSet:
    """Read the Zr/ZrO2 patches: ``image``, ``label`` (dark spots on white) and ``name``, original_augmentation.

    Notes
    -----
    The 23 augmentations of an original share its source. The centre, which is labelled too, is left out.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            images, labels, names = file["image"], file["label"], [str(name) for name in file["name"]]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ReadError(f"{path} is no file of patches with image, label and name: {error}") from error

    def maker(number: int) -> Callable[[], Sample]:
        return lambda: sample_from_mask(
            images[number].astype(np.float32),
            labels[number] < _GREY_THRESHOLD,
            source=_original(names[number]),
            step_per_nm=ZR_STEP_PER_NM,
            about={"name": names[number], "licence": "GPL-2"},
        )

    return LabelledSet(tuple(maker(i) for i in range(len(names))), tuple(_original(name) for name in names))


def sample_from_mask(
    picture: Image,
    mask: Mask,
    *,
    source: str,
    layout: Layout = "full",
    step_per_nm: float | None = None,
    about: Mapping[str, Any] | None = None,
) -> Sample:
    """Sample of a shown diffractogram and the mask of its spots, both (rows, columns).

    Raises
    ------
    ReadError
        Their shapes differ.
    """
    if picture.shape != mask.shape:
        raise ReadError(f"{source}: the picture is {picture.shape} px, its mask {mask.shape}; both must be equal")
    half, first_col = cut_half(np.asarray(picture, np.float32), layout)
    marked, _ = cut_half(mask, layout)
    radius = radius_of(half.shape)
    valid = (radius >= _centre_px(step_per_nm)) & (radius < len(half) // 2)
    valid[:, :first_col] = False
    spots, centre = _spots_of_mask(marked)
    weight = (valid & ~centre).astype(np.uint8)
    described = {"source": source, "kind": "mask", "n_visible": len(spots), **(about or {})}
    if step_per_nm is not None:
        described["step_per_nm"] = [step_per_nm, step_per_nm]
    image = score_picture(half, valid).astype(np.float16)
    return Sample(image, (marked & (weight > 0)).astype(np.uint8), weight, spots, described)


def _centre_px(step_per_nm: float | None) -> float:
    """Radius within which no spot is looked for [px]."""
    if step_per_nm is None:
        return _CENTRE_PX
    return max(10.0 / AnalysisSettings().spots.d_max_angstrom / step_per_nm, 1.0)


def _spots_of_mask(marked: Mask) -> tuple[PatternSpots, Mask]:
    """Spots of a half mask, one of each pair, and the pixels of what is marked at the centre."""
    margin, middle = marked.shape[1] - 1, len(marked) // 2
    numbers, n = scipy.ndimage.label(complete(marked, margin), structure=np.ones((3, 3)))
    centre = (
        (numbers == numbers[middle, margin]) & (numbers > 0)
        if numbers[middle, margin]
        else np.zeros_like(numbers, bool)
    )
    kept = [i for i in range(1, n + 1) if i != numbers[middle, margin]]
    if not kept:
        return no_spots(), centre[:, margin:]
    row, col = np.array(scipy.ndimage.center_of_mass(numbers > 0, numbers, kept)).T
    width = 2 * np.sqrt(np.bincount(numbers.ravel(), minlength=n + 1)[kept] / np.pi)
    col = col - margin
    # On the axis a spot and its mate both appear; that below the centre is listed.
    own = (col > 0.25) | ((np.abs(col) <= 0.25) & (row > middle))
    n_own = int(own.sum())
    spots = PatternSpots(row[own], col[own], width[own], np.full(n_own, np.nan), np.ones(n_own, bool))
    return spots, centre[:, margin:]


def _original(name: str) -> str:
    return name.rsplit("_", 1)[0]


def _read_grey(path: Path) -> Image:
    with read(path) as series:
        return series[0].image
