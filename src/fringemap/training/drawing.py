"""Draw training samples: a random scene, its frame, the diffractogram as in any analysis, the labels of its spots."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fringemap.phases import list_structures, load_structure
from fringemap.settings import AnalysisSettings
from fringemap.simulate import Ellipse, electron_wavelength, random_scene, random_structure, simulate_frame
from fringemap.spectrum import average_diffractograms
from fringemap.spots.pattern import make_pattern
from fringemap.training.labels import label_pattern
from fringemap.training.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Literal

    from fringemap.records import Diffractogram, Frame, Structure, Truth
    from fringemap.simulate import Microscope, Scene
    from fringemap.simulate.recipes import Range
    from fringemap.spots.pattern import Pattern
    from fringemap.training.recipes import Regime, SetRecipe

    Edges = Literal["periodic", "hann", "none"]


def draw_samples(
    recipe: SetRecipe, *, seed: int, n: int | None = None, settings: AnalysisSettings | None = None
) -> Iterator[Sample]:
    """Samples 0, 1, 2, ... of a set; endless without ``n``."""
    index = 0
    while n is None or index < n:
        yield draw_sample(recipe, seed=seed, index=index, settings=settings)
        index += 1


def draw_sample(recipe: SetRecipe, *, seed: int, index: int, settings: AnalysisSettings | None = None) -> Sample:
    """One sample of a set; it depends on the recipe, the seed and its index only.

    Parameters
    ----------
    settings
        Of the analysis whose diffractograms the network will see: window, limits of d. The defaults if None.
    """
    settings = settings or AnalysisSettings()
    diffractogram, truth, about = draw_diffractogram(recipe, seed=seed, index=index, settings=settings)
    pattern = make_pattern(diffractogram, settings=settings.spots)
    label, weight, spots = label_pattern(
        truth, pattern, visibility=recipe.visibility, n_averaged=diffractogram.n_averaged
    )
    listed = describe_pattern(pattern, diffractogram) | about
    listed |= {"n_spots": len(spots), "n_visible": int(spots.visible.sum())}
    return Sample(pattern.image.astype(np.float16), label, weight, spots, listed)


def draw_diffractogram(
    recipe: SetRecipe, *, seed: int, index: int, settings: AnalysisSettings
) -> tuple[Diffractogram, Truth, dict[str, Any]]:
    """Diffractogram of a sample, of one frame or averaged over several, its truth, and what it was drawn from."""
    rng = _generator(recipe, seed, index)
    scene, about = _draw_scene(recipe, rng)
    name = f"{recipe.kind}-{seed}-{index}"
    # Numbers of their own: what a frame holds does not depend on how it is looked at.
    n, edges = _draw_view(recipe, settings, np.random.default_rng([_number(recipe.kind), seed, index, 1]))
    drawn = [simulate_frame(scene, rng=rng, name=name) for _ in range(n)]
    diffractogram = average_diffractograms(
        (frame for frame, _ in drawn),
        settings=replace(settings.spectrum, edges=edges),
        d_min_angstrom=settings.spots.d_min_angstrom,
    )
    about |= {"source": name, "seed": seed, "index": index, "edges": edges, "n_averaged": n}
    return diffractogram, drawn[0][1], about


def draw_frame(recipe: SetRecipe, *, seed: int, index: int) -> tuple[Frame, Truth, dict[str, Any]]:
    """Frame of a sample, the first where several are averaged, its truth, and what it was drawn from."""
    rng = _generator(recipe, seed, index)
    scene, about = _draw_scene(recipe, rng)
    frame, truth = simulate_frame(scene, rng=rng, name=f"{recipe.kind}-{seed}-{index}")
    return frame, truth, {"source": frame.name, **about, "seed": seed, "index": index}


def _generator(recipe: SetRecipe, seed: int, index: int) -> np.random.Generator:
    return np.random.default_rng([_number(recipe.kind), seed, index])


def _number(kind: str) -> int:
    return zlib.crc32(kind.encode())


def _draw_view(recipe: SetRecipe, settings: AnalysisSettings, rng: np.random.Generator) -> tuple[int, Edges]:
    """Frames that are averaged, and what is done against the streak of their edges."""
    averaged, windowed = rng.random(2) < (recipe.averaged_share, recipe.hann_share)
    n = int(rng.integers(2, recipe.most_averaged + 1)) if averaged else 1
    return n, "hann" if windowed else settings.spectrum.edges


def _describe_scene(recipe: SetRecipe, regime: Regime, scene: Scene) -> dict[str, Any]:
    return {
        "kind": recipe.kind,
        "regime": regime.name,
        "dose_per_angstrom2": scene.dose_per_angstrom2,
        "n_grains": len(scene.grains),
        "phases": [f"{grain.structure.formula}, {grain.structure.space_group}" for grain in scene.grains],
        "defocus_angstrom": scene.microscope.defocus_angstrom,
        "astigmatism_angstrom": scene.microscope.astigmatism_angstrom,
        "jpeg_quality": scene.faults.jpeg_quality,
    }


def describe_pattern(pattern: Pattern, diffractogram: Diffractogram) -> dict[str, Any]:
    """What leads from the pixels of a pattern back to reciprocal space."""
    return {
        "frame_shape": list(diffractogram.frame_shape),
        "pixel_size_nm": [size / 10 for size in diffractogram.scale.pixel_size_angstrom],
        "factor": list(pattern.factor),
        "step_per_nm": [10 * step for step in pattern.step],
    }


def _draw_scene(recipe: SetRecipe, rng: np.random.Generator) -> tuple[Scene, dict[str, Any]]:
    """A scene, and what is to be said of it."""
    regime = recipe.regimes[_choose([r.share for r in recipe.regimes], rng)]
    shape = recipe.frame_shapes[_choose(recipe.shape_shares, rng)]
    pixel = 10 * _log_uniform(_from(recipe.pixel_sizes_nm, recipe.least_field_nm / min(shape)), rng)
    ratio = float(rng.uniform(0.95, 1.05)) if rng.random() < recipe.anisotropic_share else 1.0
    dose = _log_uniform(regime.doses_per_angstrom2 or recipe.doses_per_angstrom2, rng)
    ranges = replace(regime.scenes, dose_per_angstrom2=(dose, dose))
    scene = random_scene(_draw_structures(recipe, rng), shape, (pixel * ratio, pixel), rng=rng, ranges=ranges)
    if regime.fills:
        scene = _filled(scene)
    scene = replace(scene, microscope=_without_folded_rings(scene))
    return scene, _describe_scene(recipe, regime, scene)


def _filled(scene: Scene) -> Scene:
    """The scene with its first grain everywhere, if it has any."""
    if not scene.grains:
        return scene
    height, width = scene.size_angstrom
    everywhere = Ellipse((height / 2, width / 2), (2 * height, 2 * width))
    first = replace(scene.grains[0], region=everywhere)
    return replace(scene, grains=(first, *scene.grains[1:]))


def _without_folded_rings(scene: Scene) -> Microscope:
    """The scene's microscope, so little coherent that no ring is finer than the bins.

    A drawn frame is periodic. Where the lens displaces a beam by more than half the frame, a real one would lose it, a
    drawn one folds its rings back. Convergence α damps a beam displaced by x as ``exp(-(π α x / λ)²)``.
    """
    microscope = scene.microscope
    least = 1e3 * electron_wavelength(microscope.voltage_kv) / min(scene.size_angstrom)
    return replace(microscope, convergence_mrad=max(microscope.convergence_mrad, least))


def _draw_structures(recipe: SetRecipe, rng: np.random.Generator) -> Sequence[Structure]:
    n = int(rng.integers(1, recipe.most_structures + 1))
    if recipe.crystals == "made up":
        return [random_structure(rng, name=f"made up {number}") for number in range(1, n + 1)]
    names = recipe.structures or list_structures()
    return [load_structure(str(name)) for name in rng.choice(names, size=n, replace=False)]


def _choose(shares: Sequence[float], rng: np.random.Generator) -> int:
    weights = np.asarray(shares, float)
    return int(rng.choice(len(weights), p=weights / weights.sum()))


def _from(intervals: Sequence[Range], least: float) -> list[Range]:
    """The parts of intervals above a value."""
    return [(max(low, least), high) for low, high in intervals if high > least]


def _log_uniform(intervals: Sequence[Range], rng: np.random.Generator) -> float:
    """A number from one of several intervals, uniform in the logarithm over all of them."""
    low, high = intervals[_choose([np.log(high / low) for low, high in intervals], rng)]
    return float(low * (high / low) ** rng.random())
