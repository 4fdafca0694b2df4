"""Sums and differences of two stronger spots are no evidence for a phase."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from fringemap.phases.combinations import LARGEST_CHANCE, REACH, Combination, find_combinations
from fringemap.phases.distortion import Distortion
from fringemap.phases.grains import Grain
from fringemap.phases.match import match_spots
from fringemap.phases.observed import observe
from fringemap.records import Flag
from fringemap.settings import PhaseSettings
from made_crystals import make_references, make_scale, make_spots, project

LI_011 = [(0, 1, -1), (2, 0, 0), (2, 1, -1), (-2, 1, -1)]
SI_110 = [(1, -1, 1), (1, -1, -1), (0, 0, 2), (2, -2, 0), (1, -1, 3)]
STRONG = np.concatenate([project("Li", LI_011, rotation=0.3), project("Si", SI_110, rotation=1.9)])
SETTINGS = PhaseSettings(phases=("Li", "Si", "LiF", "Cu", "Li2O"))


def with_weak(extra, *, amplitude: float = 1.0, sigma: float = 2e-4):
    spots = make_spots(np.concatenate([STRONG, np.reshape(extra, (-1, 2))]), sigma=sigma)
    size = spots.amplitude.copy()
    size[len(STRONG) :] = amplitude
    return replace(spots, amplitude=size)


def grain(*spots: int) -> Grain:
    nothing = Distortion(np.zeros((3, 3)), np.zeros(3))
    hkl, shown = ((0, 0, 0),) * len(spots), (0.5,) * len(spots)
    return Grain(0, (0, 0, 1), spots, hkl, shown, 9.0, 9.0, nothing)


TWO_GRAINS = (grain(0, 1, 2, 3), grain(4, 5, 6, 7, 8))


def listed(g: np.ndarray) -> np.ndarray:
    """Of a Friedel pair, the one that is listed."""
    return g if g[0] > 0 else -g


@pytest.mark.parametrize("sign", [1, -1])
def test_a_weak_spot_where_two_strong_ones_put_it_is_their_sum_or_difference(sign):
    made = listed(STRONG[1]) + sign * listed(STRONG[5])
    assert find_combinations(with_weak(made), TWO_GRAINS) == {9: Combination(1, 5, sign)}


def test_a_spot_as_strong_as_those_that_would_make_it_is_no_combination():
    assert find_combinations(with_weak(STRONG[1] + STRONG[5], amplitude=10.0), TWO_GRAINS) == {}


def test_spots_that_no_grain_explains_make_no_combination():
    spots = with_weak(STRONG[1] + STRONG[5])
    assert find_combinations(spots, (grain(0, 2, 3),)) == {}


def test_a_grain_does_not_explain_its_own_spots_as_sums():
    spots = with_weak(STRONG[4] + STRONG[5])
    assert set(find_combinations(spots, TWO_GRAINS)) == {9}
    assert find_combinations(spots, (grain(0, 1, 2, 3), grain(4, 5, 6, 7, 8, 9))) == {}


def test_a_spot_so_uncertain_that_it_meets_some_sum_by_chance_is_no_combination():
    made = STRONG[1] + STRONG[5]
    spots = with_weak(made, sigma=8e-3)
    assert find_combinations(spots, TWO_GRAINS) == {}


def test_random_spots_are_hardly_ever_called_combinations(rng):
    count = 0
    for _ in range(300):
        g, angle = rng.uniform(0.15, 0.8), rng.uniform(0, np.pi)
        spots = with_weak([g * np.cos(angle), g * np.sin(angle)])
        count += len(find_combinations(spots, TWO_GRAINS))
    assert count <= 0.05 * 300


def test_the_remark_says_which_two_spots_make_it_and_no_phase_is_named():
    made = listed(STRONG[1]) + listed(STRONG[5])
    references = make_references("Li", "Si", "LiF", "Cu", "Li2O")
    match = match_spots(with_weak(made), references, scale=make_scale(), settings=SETTINGS)
    assert match.spots[9].best is None
    assert match.spots[9].flags & Flag.COMBINATION
    assert match.spots[9].remark.startswith("sum of spots 1 and 5")
    assert [spot.best.phase for spot in match.spots[:9]] == ["Li"] * 4 + ["Si"] * 5


@pytest.mark.parametrize(("amplitude", "name"), [(10.0, "Li"), (1.0, None)])
def test_a_spot_on_a_ring_of_a_phase_of_the_frame_bears_its_name_only_if_no_two_others_make_it(amplitude, name):
    lithium, silicon = project("Li", LI_011, rotation=0.3), project("Si", SI_110)
    lengths = [np.hypot(*lithium[0]), np.hypot(*silicon[0])]
    ring = np.hypot(*lithium[1])
    # The grains are turned so that the sum of two spots falls on the ring of a third.
    angle = np.arccos((ring**2 - lengths[0] ** 2 - lengths[1] ** 2) / (2.0 * lengths[0] * lengths[1]))
    silicon = project("Si", SI_110, rotation=0.3 + angle)
    made = lithium[0] + silicon[0]
    spots = make_spots(np.concatenate([lithium, silicon, [made]]))
    spots = replace(spots, amplitude=np.append(np.full(9, 10.0), amplitude))
    match = match_spots(spots, make_references("Li", "Si"), scale=make_scale(), settings=SETTINGS)
    assert (match.spots[9].best.phase if match.spots[9].best else None) == name
    assert bool(match.spots[9].flags & Flag.COMBINATION) == (name is None)


def test_a_grain_of_nothing_but_sums_is_not_found(rng):
    # Each spot of a small grain, moved by one strong spot: a lattice of its own, made of differences.
    extra = [STRONG[4] - STRONG[0], STRONG[4] - STRONG[1], STRONG[5] - STRONG[0], STRONG[5] - STRONG[1]]
    spots = with_weak(extra)
    references = make_references("Li", "Si", "LiF", "Cu", "Li2O", "Li2CO3", "LiOH", "Cu2O")
    match = match_spots(spots, references, scale=make_scale(), settings=PhaseSettings())
    assert all(spot.flags & Flag.COMBINATION and spot.best is None for spot in match.spots[9:])
    assert {spot.best.phase for spot in match.spots[:9]} == {"Li", "Si"}


def plainly(spots, grains, row):
    """Nearest of all sums and differences that a spot may be, each looked at; None if none is near or chance may be."""
    observed = observe(spots)
    own = [grain.spots for grain in grains if row in grain.spots]
    sources = sorted(spot for grain in grains if grain.spots not in own for spot in grain.spots)
    expected, best = 0.0, (REACH, None)
    for first, second in itertools.combinations(sources, 2):
        for sign in (1, -1):
            if min(spots.amplitude[first], spots.amplitude[second]) <= spots.amplitude[row]:
                continue
            made = observed.g[first] + sign * observed.g[second]
            covariance = observed.covariance[first] + observed.covariance[second] + observed.covariance[row]
            span, length = 1.05 * observed.length.max(), np.hypot(*made)
            if length <= span:
                area = np.pi * REACH**2 * np.sqrt(np.linalg.det(covariance))
                expected += area / (np.pi * span * max(length, 0.1 * span))
            for mate in (made, -made):
                off = observed.g[row] - mate
                distance = np.sqrt(off @ np.linalg.inv(covariance) @ off)
                best = min(best, (distance, Combination(first, second, sign)))
    return best[1] if expected <= LARGEST_CHANCE else None


def test_sums_and_differences_are_found_as_a_plain_loop_finds_them(rng):
    length, angle = rng.uniform(0.15, 0.95, 30), rng.uniform(-0.5 * np.pi, 0.5 * np.pi, 30)
    g = np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1)
    g[20:24] = g[[0, 1, 2, 3]] - g[[5, 6, 10, 11]]
    spots = replace(make_spots(g, sigma=2e-4), amplitude=rng.uniform(0.5, 2.0, 30) * np.where(np.arange(30) < 20, 3, 1))
    grains = (grain(0, 1, 2, 3), grain(5, 6, 20), grain(10, 11, 12, 25))
    expected = {row: made for row in range(30) if (made := plainly(spots, grains, row)) is not None}
    assert find_combinations(spots, grains) == expected
    assert len(expected) > 2
