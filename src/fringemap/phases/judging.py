"""From the odds of all that may explain each grain of a frame to the probabilities of its phases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import FloatArray


class Measured(NamedTuple):
    """How the odds of phases against "unknown" must be changed so that stated and realised shares agree."""

    power: float
    """Of all probabilities."""
    unknown: float
    """Factor on that of "unknown"."""


# By ``benchmarks/identification.py --reliability``: lists of seed 31, and images (``--drawn``) of seeds 1 and 2.
OF_GRAINS = Measured(1.05, 1.15)
OF_LATTICES = Measured(0.8, 0.5)


@dataclass(frozen=True)
class Odds:
    """What may explain most spots of one grain, as odds against each of them being unknown."""

    reference: int | None
    """Of the grain; None: a lattice that no phase of the list explains as well."""
    of_list: FloatArray
    """Of each phase of the list; (n_references,)."""
    decoys: FloatArray
    """Of each decoy; (n_decoys,)."""
    plain: float
    """Of plain lattices, and of spots without any order."""
    of_sets: FloatArray
    """Weight of the sets of grains in which each phase, and last plain lattices, explain the spots; 0 for what leads no
    set; (n_references + 1,)."""
    siblings: float
    """Of phases on no list that differ from the grain's by their size only, against the grain's phase."""


def judge(odds: Sequence[Odds], *, again: float) -> list[FloatArray]:
    """Probabilities of the listed phases for each grain of a frame.

    Parameters
    ----------
    odds
        Of each grain, the strongest first.
    again
        How many times as many grains are expected of a decoy once it is in the frame.

    Returns
    -------
    list of FloatArray
        Of each grain, for each reference; what is missing to 1 is unknown.

    Notes
    -----
    What leads a set of its own is weighed by the sets; all else by the odds for the grain alone. The first grain of a
    phase stands for all of them. Whatever else it may be must explain the others, too: a decoy by itself, at its own
    odds for each, or all of them apart, by other decoys and plain lattices.
    """
    judged: list[FloatArray] = []
    for number, one in enumerate(odds):
        sisters = [
            other
            for other, sister in enumerate(odds)
            if one.reference is not None and sister.reference == one.reference and other != number
        ]
        elder = next((judged[other] for other in sisters if other < number), None)
        if elder is not None:
            assert one.reference is not None  # plain lattices have no sisters
            own = one.of_list[one.reference]
            judged.append(elder * own / (own + one.decoys.sum() + one.plain))
            continue
        decoys, plain = _beside_sisters(one, [odds[other] for other in sisters], again)
        of_list, plain = _with_sets(one, plain)
        judged.append(of_list / (of_list.sum() + decoys + plain) / (1.0 + one.siblings))
    return judged


def _beside_sisters(one: Odds, sisters: Sequence[Odds], again: float) -> tuple[float, float]:
    """Odds of all decoys and of plain lattices, less by what it takes to explain the other grains of the phase."""
    decoys, plain = one.decoys, one.plain
    for sister in sisters:
        own = sister.of_list[one.reference]
        apart = sister.decoys.sum() + sister.plain
        same = again * sister.decoys
        decoys = decoys * (same + apart) / (own + same + apart)
        plain *= float(apart / (own + apart))
    return float(decoys.sum()), plain


def _with_sets(one: Odds, plain: float) -> tuple[FloatArray, float]:
    """Replace the odds of what leads a set, phases and plain lattices, by the weights of the sets."""
    merged = np.append(one.of_list, plain)
    place = -1 if one.reference is None else one.reference
    merged = np.where(one.of_sets > 0.0, merged[place] * one.of_sets / one.of_sets[place], merged)
    return merged[:-1], float(merged[-1])


def as_reported(probabilities: FloatArray, *, is_lattice: bool) -> FloatArray:
    """Turn the probabilities of the model into those that come true as often as they say.

    Parameters
    ----------
    probabilities
        Of each reference for one grain; what is missing to 1 is unknown; (n_references,).
    is_lattice
        The grain is a lattice that no phase explains well.

    Notes
    -----
    With a single phase, this is Platt's map: the log odds times a power, less the log of a factor. Grains of which
    nothing speaks against a phase stay so, and the order of phases is kept.
    """
    power, factor = OF_LATTICES if is_lattice else OF_GRAINS
    each = probabilities**power
    unknown = factor * max(0.0, 1.0 - float(probabilities.sum())) ** power
    reported: FloatArray = each / (each.sum() + unknown)
    return reported
