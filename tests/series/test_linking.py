from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fringemap.records import UNKNOWN
from fringemap.series import SpotFollower, gather_tracks, link_spots
from fringemap.settings import SeriesSettings
from series.made_series import SIGMA, make_spots, make_summary


def linked(frames, **settings):
    return [numbers.tolist() for _, numbers in link_spots(frames, settings=SeriesSettings(**settings))]


def resting(gx, gy, n, rng):
    for_each = (rng.normal(0, SIGMA, (2, len(gx))) for _ in range(n))
    return [make_summary(i, make_spots(gx + error[0], gy + error[1])) for i, error in enumerate(for_each)]


def test_spots_that_rest_keep_their_numbers(rng):
    gx, gy = rng.uniform(0.1, 0.6, 12), rng.uniform(-0.6, 0.6, 12)
    assert linked(resting(gx, gy, 30, rng)) == [list(range(12))] * 30


def test_a_spot_too_faint_in_some_frames_is_the_same_when_it_returns(rng):
    frames = resting(np.array([0.3, 0.5]), np.array([0.1, 0.2]), 12, rng)
    for i in (4, 5, 6):
        frames[i] = make_summary(i, make_spots([0.3], [0.1]))
    numbers = linked(frames, max_gap=3)
    assert numbers[3] == numbers[7] == [0, 1]
    assert numbers[5] == [0]


def test_a_gap_longer_than_allowed_starts_a_new_track(rng):
    frames = resting(np.array([0.3]), np.array([0.1]), 3, rng)
    frames += [make_summary(i, make_spots([], [])) for i in range(3, 7)]
    frames += [make_summary(7, make_spots([0.3], [0.1]))]
    assert linked(frames, max_gap=3)[-1] == [1]
    assert linked(frames, max_gap=4)[-1] == [0]


def test_a_rotating_grain_is_followed_all_round(rng):
    step, radius = np.radians(0.25), 0.4
    frames = []
    for i in range(100):
        angle = -1.5 + step * i + rng.normal(0, 1e-4)
        frames.append(make_summary(i, make_spots([radius * np.cos(angle)], [radius * np.sin(angle)])))
    assert linked(frames) == [[0]] * 100


def test_a_spot_that_changes_to_its_friedel_mate_is_the_same():
    frames = [make_summary(i, make_spots([1e-5 * s], [0.4 * s])) for i, s in enumerate((1, 1, -1, 1, -1, -1))]
    assert linked(frames) == [[0]] * 6
    tracks = gather_tracks(frames, [np.array([0])] * 6)
    np.testing.assert_allclose(tracks[0].g[:, 1], 0.4)


def test_two_spots_a_width_apart_are_never_exchanged(rng):
    frames = resting(np.array([0.3, 0.3085]), np.array([0.1, 0.1]), 50, rng)
    assert linked(frames) == [[0, 1]] * 50


def test_a_spot_elsewhere_starts_a_track_of_its_own():
    frames = [make_summary(0, make_spots([0.3], [0.1])), make_summary(1, make_spots([0.33], [0.1]))]
    assert linked(frames) == [[0], [1]]


def test_spots_without_a_fit_are_linked_by_their_width():
    spots = make_spots([0.3], [0.1])
    spots.covariance[:] = np.nan
    assert linked([make_summary(0, spots), make_summary(1, make_spots([0.301], [0.1]))]) == [[0], [0]]


@given(st.permutations(range(6)))
def test_the_order_of_spots_in_a_frame_does_not_matter(order):
    gx, gy = np.linspace(0.1, 0.6, 6), np.array([0.5, -0.3, 0.2, -0.1, 0.4, 0.0])
    follower = SpotFollower()
    first = follower.add(make_spots(gx, gy))
    second = follower.add(make_spots(gx[list(order)], gy[list(order)]))
    assert second.tolist() == first[list(order)].tolist()


def test_the_assignment_has_the_least_cost_of_all():
    """Slow oracle: every way to join three tracks and three spots."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        there = 0.3 + rng.uniform(-1, 1, (3, 2)) * 8e-4
        here = there + rng.normal(0, 3e-4, (3, 2))
        follower = SpotFollower()
        follower.add(make_spots(*there.T))
        found = follower.add(make_spots(*here.T))
        costs = ((here[:, None] - there[None]) ** 2).sum(axis=2)
        best = min(itertools.permutations(range(3)), key=lambda p: sum(costs[i, k] for i, k in enumerate(p)))
        assert found.tolist() == list(best)


def test_a_track_is_named_by_most_of_its_sightings():
    names = [("LiF", 2.3250)] * 5 + [None] * 3 + [("Li", 2.4819)] * 2
    frames = [make_summary(i, make_spots([0.43], [0.0]), [name]) for i, name in enumerate(names)]
    (track,) = gather_tracks(frames, [np.array([0])] * 10)
    assert (track.phase, track.plane, track.d_reference_angstrom) == ("LiF", (1, 1, 1), 2.325)
    assert track.support == pytest.approx(0.5 * 0.99)


def test_a_track_seldom_named_has_no_name():
    names = [("LiF", 2.3250)] * 2 + [None] * 8
    frames = [make_summary(i, make_spots([0.43], [0.0]), [name]) for i, name in enumerate(names)]
    (track,) = gather_tracks(frames, [np.array([0])] * 10)
    assert track.phase == UNKNOWN


def test_planes_of_one_family_have_one_name():
    hkls = [(0, 0, 2), (2, 0, 0), (-2, 0, 0), (0, -2, 0)]
    frames = [
        make_summary(0, make_spots([0.4, 0.1, 0.3, 0.2], [0, 0.4, 0.3, 0.45]), [("LiF", 2.0135, h) for h in hkls])
    ]
    tracks = gather_tracks(frames, [np.arange(4)])
    assert {track.plane for track in tracks} == {(2, 0, 0)}
