"""How many names are false on frames where moiré and double diffraction make spots, with and without knowing of them.

    python benchmarks/second_order.py [--frames N] [--seed S]

Two or three grains of known phases lie on top of each other; the frame is drawn as the intensity of their common wave,
so that sums and differences of their spots are in it. Spots are found as in any frame and named among a short list of
phases, on which single spots may get a name: without and with the search for sums and differences of stronger spots.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import numpy as np

from fringemap.phases import load_references, load_structure
from fringemap.phases.distortion import distortion_priors
from fringemap.phases.match import match_spots
from fringemap.phases.naming import name_spots
from fringemap.phases.posterior import Problem, explain_spots
from fringemap.records import UNKNOWN, Flag, Frame, Match, Reflections, Scale, ScaleSource, Spots, Truth
from fringemap.settings import PhaseSettings, SpotSettings
from fringemap.simulate import SceneRanges, disc, random_scene, simulate_frame
from fringemap.spectrum import compute_diffractogram
from fringemap.spots import find_spots
from known_frames import SEI

SHAPE, PIXEL = (640, 640), 0.4
RANGES = SceneRanges(empty_share=0.0, voronoi_share=0.0, fault_share=0.0, second_order_share=1.0, n_grains=(2, 3))
NEAR_SIGMA = 4.0


@dataclass
class Tally:
    """Sums over frames."""

    names: int = 0
    false_names: int = 0
    spots: int = 0
    wrong_spots: int = 0


def draw(rng: np.random.Generator) -> tuple[Frame, Truth]:
    """Draw two or three grains that overlap in the middle of the frame."""
    structures = [load_structure(str(name)) for name in rng.choice(SEI, 3, replace=False)]
    scene = random_scene(structures, SHAPE, (PIXEL, PIXEL), rng=rng, ranges=RANGES)
    side = SHAPE[0] * PIXEL
    grains = tuple(
        replace(
            grain,
            region=disc(tuple(side * rng.uniform(0.4, 0.6, 2)), side * rng.uniform(0.5, 0.8)),
            strength=float(rng.uniform(0.4, 1.0)),
        )
        for grain in scene.grains
    )
    return simulate_frame(replace(scene, grains=grains, dose_per_angstrom2=5000.0), rng=rng)


def match_without(spots: Spots, references: tuple[Reflections, ...], scale: Scale, settings: PhaseSettings) -> Match:
    """Name spots as if every one of them were made by a crystal alone."""
    priors = distortion_priors(scale.sigma)
    explanation = explain_spots(Problem(spots, references, priors=priors, n_decoys=settings.decoys))
    return name_spots(spots, references, explanation, scale=scale, settings=settings)


def true_phases(spots: Spots, truth: Truth) -> list[set[str]]:
    """For each spot that was found, the phases of the true ones at its place; "moire" of two grains."""
    true = truth.spots
    g = np.stack([true.gx, true.gy], axis=1)
    found = np.stack([spots.gx, spots.gy], axis=1)
    off = np.minimum(np.linalg.norm(found[:, None] - g[None], axis=2), np.linalg.norm(found[:, None] + g[None], axis=2))
    reach = np.maximum(NEAR_SIGMA * np.sqrt(np.trace(spots.covariance, axis1=1, axis2=2) / 2), spots.width)
    return [{true.phase[i] for i in np.flatnonzero(row <= limit)} for row, limit in zip(off, reach, strict=True)]


def tally(total: Tally, match: Match, of_spot: list[set[str]], truth: Truth) -> None:
    """Compare names with the truth."""
    named = {evidence.phase for evidence in match.phases} - {UNKNOWN}
    total.names += len(named)
    total.false_names += len(named - set(truth.phases))
    for spot, true in zip(match.spots, of_spot, strict=True):
        if spot.best is not None:
            total.spots += 1
            total.wrong_spots += spot.best.phase not in true


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="False names on frames with second-order spots.")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    settings = PhaseSettings(phases=SEI)
    references = load_references(settings, d_min_angstrom=1.0)
    scale = Scale((PIXEL, PIXEL), 0.01, ScaleSource.USER)
    totals, of_moire, flagged, right = {"without": Tally(), "with": Tally()}, 0, 0, 0
    for number in range(arguments.frames):
        frame, truth = draw(np.random.default_rng([arguments.seed, number]))
        spots = find_spots(compute_diffractogram(replace(frame, scale=scale)), settings=SpotSettings())
        of_spot = true_phases(spots, truth)
        tally(totals["without"], match_without(spots, references, scale, settings), of_spot, truth)
        match = match_spots(spots, references, scale=scale, settings=settings)
        tally(totals["with"], match, of_spot, truth)
        said = [bool(spot.flags & Flag.COMBINATION) for spot in match.spots]
        of_moire += sum(true == {"moire"} for true in of_spot)
        flagged += sum(said)
        right += sum(true <= {"moire"} for true, one in zip(of_spot, said, strict=True) if one)
    print("search | names | false names | named spots | of these wrong")
    for kind, total in totals.items():
        print(f"{kind} | {total.names} | {total.false_names} | {total.spots} | {total.wrong_spots}")
    print(f"{of_moire} spots found are of moiré alone; {flagged} are called so, {right} of them rightly")


if __name__ == "__main__":
    main()
