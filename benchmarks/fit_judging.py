"""Fit the constants of ``phases/judging.py`` to frames with a known truth.

    python benchmarks/fit_judging.py [--frames N] [--seed S] [--images N] [--image-seed S] [--cache FOLDER]

Frames are those of ``identified_frames``: lists of spots in all cases, and images whose spots come from both detectors.
What may explain each grain that is found does not depend on the constants, so it is worked out once; then the constants
are sought that make the true phases likeliest. A grain counts by the root of its number of spots, each spot with
its own truth; lists and images weigh the same. Printed are the constants that stand in the code and those that are
found, for all frames and for lists and images alone, each with the mean log likelihood of a grain.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from fringemap.phases.distortion import distortion_priors
from fringemap.phases.judging import MEASURED, Measured, Rivals, probabilities
from fringemap.phases.posterior import Problem, seek_first_order
from fringemap.phases.rivals import find_rivals, weigh_rivals
from fringemap.settings import PhaseSettings
from identified_frames import CASES, Made, drawn_frames, listed_frames, split_library

if TYPE_CHECKING:
    from collections.abc import Iterable

LEAST = 2e-3
"""A smaller probability of the truth counts as this: no constant helps where the truth is not found at all."""

FIRST_STEP = 0.3
"""Of the search, in the logarithm of each constant."""


@dataclass(frozen=True)
class Judged:
    """Grains that were found, n rows."""

    rivals: Rivals
    truth: np.ndarray
    """Share of the grain's spots that each phase made, and last what is on no list; (n, n_references + 1)."""
    weight: np.ndarray
    """(n,)."""

    @classmethod
    def join(cls, parts: list[Judged]) -> Judged:
        """Put several in one row; each part weighs the same."""
        return cls(
            Rivals.join([part.rivals for part in parts]),
            np.concatenate([part.truth for part in parts]),
            np.concatenate([part.weight / part.weight.sum() for part in parts]),
        )

    def log_likelihood(self, measured: Measured) -> float:
        """Mean log of the probability of the truth."""
        shares = probabilities(self.rivals, measured)
        every = np.concatenate([shares, 1.0 - shares.sum(axis=1, keepdims=True)], axis=1)
        each = (self.truth * np.log(np.maximum(every, LEAST))).sum(axis=1)
        return float(each @ self.weight / self.weight.sum())


def judge_frames(frames: Iterable[Made]) -> Judged:
    """Find the grains of all frames and what may explain them."""
    _, _, known = split_library()
    place = {reflections.phase: number for number, reflections in enumerate(known)}
    rivals, truth = [], []
    for made in frames:
        priors = distortion_priors(made.scale.sigma)
        problem = Problem(made.spots, known, priors=priors, n_decoys=PhaseSettings().decoys)
        sought, _ = seek_first_order(problem)
        if not sought.grains:
            continue
        rivals.append(weigh_rivals(sought.sets, find_rivals(sought.sets[0]), known))
        for grain in sought.grains:
            of_spots = [place.get(made.phase[spot], len(known)) for spot in grain.spots]
            truth.append(np.bincount(of_spots, minlength=len(known) + 1))
    counts = np.array(truth, float)
    n_spots = counts.sum(axis=1)
    return Judged(Rivals.join(rivals), counts / n_spots[:, None], np.sqrt(n_spots))


def fit(judged: Judged) -> Measured:
    """Find the constants that make the truth likeliest; all are above 0."""
    start = np.log(MEASURED)
    simplex = np.vstack([start, start + FIRST_STEP * np.eye(len(start))])
    options = {"initial_simplex": simplex, "xatol": 0.005, "fatol": 1e-6, "maxiter": 2000}
    found = minimize(
        lambda x: -judged.log_likelihood(Measured(*np.exp(x))), start, method="Nelder-Mead", options=options
    )
    return Measured(*(float(value) for value in np.exp(found.x)))


def tell(label: str, measured: Measured, parts: dict[str, Judged]) -> None:
    """Print constants and likelihoods as a row of a table."""
    constants = " | ".join(f"{value:.3g}" for value in measured)
    likelihoods = " | ".join(f"{part.log_likelihood(measured):.4f}" for part in parts.values())
    print(f"| {label} | {constants} | {likelihoods} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Fit the constants that judge names.")
    parser.add_argument("--frames", type=int, default=300, help="lists of spots of each case")
    parser.add_argument("--seed", type=int, default=62)
    parser.add_argument("--images", type=int, default=900)
    parser.add_argument("--image-seed", type=int, default=41)
    parser.add_argument("--cache", type=Path, help="folder that keeps the spots of images for the next time")
    arguments = parser.parse_args()
    lists = judge_frames(made for case in CASES for made in listed_frames(case, arguments.frames, arguments.seed))
    drawn = drawn_frames(arguments.images, arguments.image_seed, arguments.cache)
    images = judge_frames(made for _, made in drawn)
    parts = {"lists": lists, "images": images}
    head = ["constants", *Measured._fields, *(f"log likelihood, {name}" for name in parts)]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    tell("in the code", MEASURED, parts)
    tell("found", fit(Judged.join([lists, images])), parts)
    for name, part in parts.items():
        tell(f"found on {name} alone", fit(part), parts)


if __name__ == "__main__":
    main()
