"""What training and test sets are drawn from: parameters whose ranges do not meet.

Training draws from crystals that nobody has made, testing from the structures of the library. Of a test, pixel size,
dose, voltage, spherical aberration, defocus, the astigmatism of fine rings, the layer's element and the frame's shape
lie in gaps that training leaves, or beyond its ends: what a detector shows on a test set it has not learned by heart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from fringemap.errors import SettingsError
from fringemap.phases import list_structures
from fringemap.simulate import SceneRanges
from fringemap.training.labels import Visibility

if TYPE_CHECKING:
    from fringemap.simulate.recipes import Range

FORMAT = 4
"""Of what a recipe with one seed draws; raised when the same seed draws something else."""


@dataclass(frozen=True)
class Regime:
    """One sort of frame."""

    name: str
    share: float
    scenes: SceneRanges
    fills: bool = False
    """The first grain covers the whole frame: its spots are one bin wide."""
    doses_per_angstrom2: tuple[Range, ...] = ()
    """Instead of the recipe's."""


@dataclass(frozen=True)
class SetRecipe:
    """What the samples of a set are drawn from."""

    kind: str
    crystals: Literal["made up", "library"]
    frame_shapes: tuple[tuple[int, int], ...]
    shape_shares: tuple[float, ...]
    pixel_sizes_nm: tuple[Range, ...]
    """Intervals; uniform in the logarithm over all of them together."""
    doses_per_angstrom2: tuple[Range, ...]
    regimes: tuple[Regime, ...]
    anisotropic_share: float = 0.1
    """Of frames whose pixels are up to 5 % longer than wide, or wider than long."""
    least_field_nm: float = 8.0
    """Of a frame's shorter side; smaller pixels than that allows are not drawn."""
    most_structures: int = 3
    """In one frame."""
    structures: tuple[str, ...] = ()
    """Names of the library's structures that frames are drawn from; all of today's if empty."""
    averaged_share: float = 0.0
    """Of patterns that are the mean of several frames' power, of the same grains under other noise."""
    most_averaged: int = 8
    hann_share: float = 0.0
    """Of patterns that are seen through a Hann window."""
    visibility: Visibility = field(default_factory=Visibility)
    version: int = FORMAT


_LEAST_SIZE = 128

_TRAIN = SceneRanges(
    voltages_kv=(80.0, 200.0, 300.0),
    cs_mm=(0.5, 2.0),
    defocus_scherzer=(0.3, 1.6),
    convergence_mrad=(0.01, 0.5),
    astigmatism_angstrom=(0.0, 150.0),
    drift_angstrom=(0.0, 1.2),
    empty_share=0.15,
    strength=(0.03, 1.0),
    tilt=(0.0, 0.04),
    halo_share=0.25,
    vacuum_share=0.25,
    roughness=(0.0, 0.5),
    grey_share=0.15,
    jpeg_share=0.12,
    scale_bar_share=0.15,
)
_TEST = replace(
    _TRAIN,
    voltages_kv=(100.0, 250.0),
    cs_mm=(2.2, 3.0),
    defocus_scherzer=(1.7, 2.3),
    focal_spread_angstrom=(12.0, 50.0),
    tilt=(0.0, 0.03),
    amorphous_elements=("Ge", "N"),
    jpeg_quality=(75, 95),
)


def _regimes(usual: SceneRanges, *, fine_defocus: tuple[Range, ...], strong_astigmatism: Range) -> tuple[Regime, ...]:
    """Usual frames, crowded ones of small grains, and fine Thon rings, which look like spots to a simple detector."""
    crowded = replace(
        usual,
        n_grains=(4, 8),
        grain_diameter_angstrom=(25.0, 250.0),
        strength=(0.25, 1.0),
        tilt=(0.0, 0.015),
        low_zone_share=0.85,
        voronoi_share=0.4,
        second_order_share=0.5,
        empty_share=0.0,
    )
    thon = [
        replace(
            usual,
            corrected_share=0.0,
            defocus_scherzer=defocus,
            astigmatism_angstrom=strong_astigmatism,
            convergence_mrad=(0.005, 0.08),
            focal_spread_angstrom=(5.0, 30.0),
            amorphous_share=1.0,
            amorphous_angstrom=(50.0, 400.0),
            amorphous_contrast=(0.08, 0.3),
            vacuum_share=0.4,
            thickness_slope=(-1.2, 1.2),
            roughness=(0.0, 0.8),
            empty_share=0.4,
            n_grains=(1, 4),
        )
        for defocus in fine_defocus
    ]
    rings = tuple(Regime("thon", 0.3 / len(thon), ranges) for ranges in thon)
    return (Regime("usual", 0.45, usual), Regime("crowded", 0.25, crowded), *rings)


def _rare_regimes(usual: SceneRanges) -> tuple[Regime, ...]:
    """Crystals that fill the frame, and layers so uneven that neighbouring bins are bright together."""
    filling = replace(usual, n_grains=(1, 3), empty_share=0.0, tilt=(0.0, 0.02))
    uneven = replace(
        usual,
        amorphous_share=1.0,
        amorphous_contrast=(0.1, 0.35),
        halo_share=0.5,
        vacuum_share=0.4,
        thickness_slope=(-1.5, 1.5),
        roughness=(0.3, 1.0),
        empty_share=0.5,
    )
    crowded = replace(usual, n_grains=(4, 8), grain_diameter_angstrom=(25.0, 250.0), empty_share=0.0)
    return (
        Regime("filling", 0.35, filling, fills=True),
        Regime("uneven", 0.35, uneven, doses_per_angstrom2=((800.0, 5000.0),)),
        Regime("usual", 0.15, usual),
        Regime("crowded", 0.15, crowded),
    )


_TRAIN_PIXELS_NM: tuple[Range, ...] = ((0.010, 0.017), (0.021, 0.034), (0.042, 0.100))
_TRAIN_DOSES: tuple[Range, ...] = ((5.0, 40.0), (80.0, 400.0), (800.0, 5000.0))

RECIPES = {
    "train": SetRecipe(
        kind="train",
        crystals="made up",
        frame_shapes=((512, 512), (1024, 1024), (2048, 2048), (512, 640), (900, 512), (1000, 1000), (256, 256)),
        shape_shares=(0.52, 0.24, 0.04, 0.06, 0.05, 0.04, 0.05),
        pixel_sizes_nm=_TRAIN_PIXELS_NM,
        doses_per_angstrom2=_TRAIN_DOSES,
        regimes=_regimes(
            _TRAIN, fine_defocus=((-9.0, -3.0), (3.0, 9.0), (12.0, 20.0)), strong_astigmatism=(0.0, 900.0)
        ),
    ),
    "rare": SetRecipe(
        kind="rare",
        crystals="made up",
        frame_shapes=((512, 512), (640, 512), (1024, 1024), (1000, 1000), (2048, 2048), (4096, 4096)),
        shape_shares=(0.3, 0.06, 0.35, 0.05, 0.2, 0.04),
        pixel_sizes_nm=_TRAIN_PIXELS_NM,
        doses_per_angstrom2=_TRAIN_DOSES,
        regimes=_rare_regimes(_TRAIN),
        averaged_share=0.15,
        hann_share=0.25,
    ),
    "test": SetRecipe(
        kind="test",
        crystals="library",
        frame_shapes=((768, 768), (1200, 1200), (1536, 1536), (480, 720), (1280, 960), (333, 450)),
        shape_shares=(0.45, 0.2, 0.05, 0.1, 0.1, 0.1),
        pixel_sizes_nm=((0.017, 0.021), (0.034, 0.042)),
        doses_per_angstrom2=((40.0, 80.0), (400.0, 800.0)),
        regimes=_regimes(_TEST, fine_defocus=((9.5, 11.5),), strong_astigmatism=(1000.0, 1300.0)),
    ),
}
"""``train``; ``rare``, from the same ranges, with what that holds too little of: large frames, crystals that fill them,
uneven layers at high dose, averaged spectra, Hann windows; and ``test`` with everything held out."""


def find_recipe(kind: str, *, size: int | None = None) -> SetRecipe:
    """Recipe of a kind of set; with ``size``, of square frames of that side only.

    Raises
    ------
    SettingsError
        There is no such kind, or frames of that size are too small to show spots.
    """
    if kind not in RECIPES:
        raise SettingsError(f"There is no kind of set called {kind!r}; choose one of {', '.join(RECIPES)}.")
    recipe = RECIPES[kind]
    if recipe.crystals == "library":
        # By name, so that a set can be drawn again when the library has grown.
        recipe = replace(recipe, structures=list_structures())
    if size is None:
        return recipe
    least = _least_size(recipe)
    if size < least:
        raise SettingsError(
            f"Frames of {size} px are too small for a set of the kind {recipe.kind}; take {least} px or more."
        )
    return replace(recipe, frame_shapes=((size, size),), shape_shares=(1.0,))


def _least_size(recipe: SetRecipe) -> int:
    """Least side of a frame [px] whose field is large enough with at least the largest pixels."""
    largest_nm = max(high for _, high in recipe.pixel_sizes_nm)
    return max(_LEAST_SIZE, math.floor(recipe.least_field_nm / largest_nm) + 1)
