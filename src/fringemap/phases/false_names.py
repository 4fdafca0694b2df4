"""Expected shares of false names: within one frame, and over all frames of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


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


def batch_q(probabilities: Iterable[Sequence[float]]) -> list[float]:
    """q-value of the least sure name of each input, among the names of all inputs of a run.

    Parameters
    ----------
    probabilities
        Of each input, those of its names, all frames together. A name with a probability of 1 is no finding: the user
        has said that the phase is there.

    Returns
    -------
    list of float
        Of each input, the expected share of false names among all names of the run that are at least as sure as its
        least sure one: 0 where all its names are the user's, NaN where it has none.
    """
    inputs = [list(one) for one in probabilities]
    errors = [[1.0 - probability for probability in one if probability < 1.0] for one in inputs]
    shares = iter(expected_false_shares([error for one in errors for error in one]))
    least_sure = [max((next(shares) for _ in one), default=0.0) for one in errors]
    return [q if names else math.nan for q, names in zip(least_sure, inputs, strict=True)]
