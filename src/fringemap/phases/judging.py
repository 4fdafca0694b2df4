"""From the odds of all that may explain each grain of a frame to the probabilities of its phases.

All that may explain a grain is written as log odds over the explanation that was found. What they owe to the
reflections that show and hide is believed in part only; what they owe to scale and ellipse, in full. The constants are
those that make the answers of many frames with a known truth likeliest, see ``benchmarks/fit_judging.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import FloatArray, IntArray, Mask


class Measured(NamedTuple):
    """What no model tells; fitted on frames with a known truth."""

    trust: float
    """Share of the log odds that is believed, but for what scale and ellipse have in them. Spots of a grain, and grains
    of a frame, share one transfer function that nobody knows: what each shows and hides is no independent evidence."""
    plain: float
    """Factor on the odds of plain lattices that are on no list."""
    decoys: float
    """Factor on those of decoys."""
    siblings: float
    """Phases on no list that differ from a listed one by the size of their cell only, for each that is on a long list
    and not cubic."""
    cubic_siblings: float
    """The same for each that is cubic: with one edge and no angle, the same structure comes in many sizes."""
    lattices: float
    """Factor on the odds of "unknown" where a plain lattice explains a grain better than any phase."""
    sisters: float
    """Factor on the odds that a further grain of a phase is of another one."""


MEASURED = Measured(
    trust=0.456, plain=7.46, decoys=5.19, siblings=0.0803, cubic_siblings=0.403, lattices=0.609, sisters=0.0557
)


@dataclass(frozen=True)
class Odds:
    """What may explain most spots of one grain, as log odds against each of them being unknown."""

    reference: int | None
    """Of the grain; None: a lattice that no phase of the list explains as well."""
    of_list: FloatArray
    """Of each phase of the list; (n_references,)."""
    decoys: FloatArray
    """Of each decoy; (n_decoys,)."""
    plain: float
    """Of plain lattices, and of spots without any order."""
    of_sets: FloatArray
    """Log odds of the best set of grains in which each phase, and last plain lattices, explain the spots; -inf for what
    leads no set; (n_references + 1,)."""
    distortion_of_list: FloatArray
    """Share that scale and ellipse have in ``of_list``; (n_references,)."""
    distortion_of_sets: FloatArray
    """Share that they have in ``of_sets``; (n_references + 1,)."""
    siblings: float
    """By how much the evidence for the grain's phase gains if the size of its cell is free."""
    is_cubic: bool
    of_prior: float
    """What a short list takes from the log odds of all that is on no list."""


@dataclass(frozen=True)
class Rivals:
    """What else may explain each of n grains, as log odds over the explanation that was found."""

    of_list: FloatArray
    """Of each phase of the list; (n, n_references)."""
    plain: FloatArray
    """Of plain lattices; (n,)."""
    decoys: FloatArray
    """Of all decoys together; (n,)."""
    distortion_of_list: FloatArray
    """Share that scale and ellipse have in ``of_list``; (n, n_references)."""
    distortion_of_none: FloatArray
    """Share that they have in ``plain`` and ``decoys``; (n,)."""
    siblings: FloatArray
    is_cubic: Mask
    of_prior: FloatArray
    is_lattice: Mask
    """A plain lattice explains the grain best; (n,)."""
    elder: IntArray
    """Row of the first grain of the same phase in the same frame; (n,)."""
    apart: FloatArray
    """Of a further grain of a phase: of all that is on no list to explain this grain alone; (n,)."""

    @classmethod
    def join(cls, frames: Sequence[Rivals]) -> Rivals:
        """Put the grains of several frames with the same list in one row."""
        begins = np.cumsum([0, *(len(one.plain) for one in frames)])
        columns = {one.name: np.concatenate([getattr(frame, one.name) for frame in frames]) for one in fields(cls)}
        shift = np.repeat(begins[:-1], np.diff(begins))
        return cls(**{**columns, "elder": columns["elder"] + shift})


def compare(odds: Sequence[Odds], *, again: FloatArray, again_decoys: float) -> Rivals:
    """Write all that may explain each grain of a frame over the explanation that was found.

    Parameters
    ----------
    odds
        Of each grain, the strongest first; at least one.
    again
        Log of how many times as many grains are expected of each phase once it is in the frame; (n_references,).
    again_decoys
        The same for a decoy.

    Notes
    -----
    The first grain of a phase stands for all of them. Whatever else it may be must explain the others, too: another
    phase or a decoy by itself, at its own odds for each, or all of them apart, by decoys and plain lattices.
    """
    rows = [_compare_one(odds, number, again, again_decoys) for number in range(len(odds))]
    first = {one.reference: number for number, one in reversed(list(enumerate(odds)))}
    elder = [number if one.reference is None else first[one.reference] for number, one in enumerate(odds)]
    return Rivals(
        **{name: np.array([getattr(row, name) for row in rows]) for name in _Row._fields},
        siblings=np.array([one.siblings for one in odds]),
        is_cubic=np.array([one.is_cubic for one in odds]),
        of_prior=np.array([one.of_prior for one in odds]),
        is_lattice=np.array([one.reference is None for one in odds]),
        elder=np.array(elder),
    )


def probabilities(rivals: Rivals, measured: Measured = MEASURED) -> FloatArray:
    """Probability of each listed phase for each grain; what is missing to 1 is unknown; (n, n_references)."""
    # What scale and ellipse say, and what is known beforehand, hangs on no transfer function: all of it counts.
    each = measured.trust * rivals.of_list + (1.0 - measured.trust) * rivals.distortion_of_list
    plain = measured.trust * rivals.plain + np.log(measured.plain)
    decoys = measured.trust * rivals.decoys + np.log(measured.decoys)
    unlisted = _log_sum(plain, decoys) + (1.0 - measured.trust) * (rivals.of_prior + rivals.distortion_of_none)
    unknown = np.where(rivals.is_lattice, unlisted + np.log(measured.lattices), unlisted)
    # Whatever phase of the list it looks like, it may be a sibling instead.
    siblings = np.exp(np.minimum(rivals.siblings, 500.0)) * np.where(
        rivals.is_cubic, measured.cubic_siblings, measured.siblings
    )
    top = np.maximum(each.max(axis=1), unknown)
    odds = np.exp(each - top[:, None])
    shares = odds / (odds.sum(axis=1) * (1.0 + siblings) + np.exp(unknown - top))[:, None]
    same = 1.0 / (1.0 + measured.sisters * np.exp(np.minimum(measured.trust * rivals.apart, 500.0)))
    is_first = rivals.elder == np.arange(len(rivals.elder))
    probability: FloatArray = np.where(is_first, 1.0, same)[:, None] * shares[rivals.elder]
    return probability


class _Row(NamedTuple):
    """Of one grain, the columns of ``Rivals`` that are log odds over its explanation or shares in them."""

    of_list: FloatArray
    plain: float
    decoys: float
    distortion_of_list: FloatArray
    distortion_of_none: float
    apart: float


def _compare_one(odds: Sequence[Odds], number: int, again: FloatArray, again_decoys: float) -> _Row:
    one = odds[number]
    own = one.plain if one.reference is None else float(one.of_list[one.reference])
    of_list, plain, decoys = _with_sisters(odds, number, again, again_decoys)
    found, of_distortion = _with_sets(one, np.append(of_list, plain) - own)
    return _Row(
        of_list=found[:-1],
        plain=float(found[-1]),
        decoys=_total(decoys) - own,
        distortion_of_list=of_distortion[:-1],
        distortion_of_none=float(of_distortion[-1]),
        apart=float(_log_sum(_total(one.decoys), one.plain)) - own,
    )


def _with_sisters(
    odds: Sequence[Odds], number: int, again: FloatArray, again_decoys: float
) -> tuple[FloatArray, float, FloatArray]:
    """Log odds of listed phases, plain lattices and decoys to explain a grain and all others of its phase."""
    one = odds[number]
    of_list, plain, decoys = one.of_list, one.plain, one.decoys
    for other, sister in enumerate(odds):
        if one.reference is None or sister.reference != one.reference or other == number:
            continue
        others = float(_log_sum(_total(sister.decoys), sister.plain))
        any_way = float(_log_sum(sister.of_list[one.reference], others))
        of_list = of_list + _beside(sister.of_list + again, others, any_way)
        decoys = decoys + _beside(sister.decoys + again_decoys, others, any_way)
        plain += others - any_way
    return of_list, plain, decoys


def _with_sets(one: Odds, alone: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Let sets of grains speak where they say more than a grain alone; log odds, and the share of scale and ellipse."""
    place = -1 if one.reference is None else one.reference
    of_distortion = np.append(one.distortion_of_list, 0.0)
    of_distortion -= of_distortion[place]
    alone[place] = 0.0
    of_sets = one.of_sets - one.of_sets[place]
    of_distortion = np.where(of_sets > alone, one.distortion_of_sets - one.distortion_of_sets[place], of_distortion)
    return np.maximum(alone, of_sets), of_distortion


def _beside(same: FloatArray, apart: float, any_way: float) -> FloatArray:
    """Log probability that something explains a sister, too, or else all that is on no list does."""
    return _log_sum(same, apart) - _log_sum(same, any_way)


def _total(log_odds: FloatArray) -> float:
    """Log of the sum of odds; -inf if there are none."""
    top = log_odds.max(initial=-np.inf)
    return float(top + np.log(np.exp(log_odds - top).sum())) if np.isfinite(top) else -np.inf


def _log_sum(one: FloatArray | float, other: FloatArray | float) -> FloatArray:
    log_sum: FloatArray = np.logaddexp(one, other)
    return log_sum
