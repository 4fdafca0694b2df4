"""Expected shares of false names: within one frame, and over all frames of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fringemap.records import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from fringemap.records import Match


def expected_false_shares(errors: Sequence[float]) -> list[float]:
    """q-values of names: the mean probability of error of all names at least as sure as each.

    Parameters
    ----------
    errors
        Probability of each of n names to be false.

    Returns
    -------
    list of float
        In the same order; names that are equally sure have one q-value.
    """
    ordered = np.sort(np.asarray(errors, np.float64))
    means = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    return [float(means[np.searchsorted(ordered, error, side="right") - 1]) for error in errors]


def name_errors(match: Match, *, certain: Collection[str] = ()) -> list[float]:
    """Probability of each name of a frame to be false.

    Parameters
    ----------
    match
        Of the frame.
    certain
        Phases that are there by the word of the user, and so no findings.

    Returns
    -------
    list of float
        Empty where nothing was named, or the way of matching gives no probabilities.
    """
    return [
        1.0 - evidence.probability
        for evidence in match.phases
        if evidence.phase != UNKNOWN and evidence.phase not in certain and math.isfinite(evidence.probability)
    ]


def batch_q(errors: Iterable[Sequence[float]]) -> list[float]:
    """q-value of the least sure name of each input, among the names of all inputs of a run.

    Parameters
    ----------
    errors
        Of each input, the probabilities of its names to be false, those of all its frames together.

    Returns
    -------
    list of float
        Of each input, the expected share of false names among all names of the run that are at least as sure as its
        least sure one; NaN for an input without names.
    """
    inputs = [list(one) for one in errors]
    shares = iter(expected_false_shares([error for one in inputs for error in one]))
    return [max((next(shares) for _ in one), default=math.nan) for one in inputs]
