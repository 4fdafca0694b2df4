from __future__ import annotations

import numpy as np
import pytest

from fringemap.records import EventKind
from fringemap.series import follow_series
from fringemap.series.changes import find_changes, fit_decay
from fringemap.series.events import find_presence
from fringemap.settings import SeriesSettings
from series.made_series import make_map, make_spots, make_summary

P0 = 0.02


def seen_between(n, first, end, *, share=1.0, seed=0):
    rng = np.random.default_rng(seed)
    seen = np.zeros(n, dtype=bool)
    seen[first:end] = rng.random(end - first) < share
    return seen


def test_onset_and_end_are_where_they_are():
    presence = find_presence(seen_between(100, 22, 80), false_presence=P0)
    assert (presence.first, presence.end) == (22, 80)
    assert presence.first_range == (22, 22)
    assert presence.end_range == (80, 80)


def test_what_is_seen_half_the_time_has_a_wider_interval():
    spans = []
    for seed in range(40):
        presence = find_presence(seen_between(100, 30, 100, share=0.4, seed=seed), false_presence=P0)
        low, high = presence.first_range
        spans.append((low <= 30 <= high, high - low))
    assert 0.5 < np.mean([inside for inside, _ in spans]) < 0.95
    assert np.median([span for _, span in spans]) >= 1


@pytest.mark.parametrize("seed", range(20))
def test_chance_sightings_are_no_presence(seed):
    seen = np.random.default_rng(seed).random(200) < P0
    assert find_presence(seen, false_presence=P0) is None


def test_nothing_seen_is_no_presence():
    assert find_presence(np.zeros(50, dtype=bool), false_presence=P0) is None


def test_one_false_sighting_long_before_does_not_move_the_onset():
    seen = seen_between(100, 50, 100)
    seen[10] = True
    assert find_presence(seen, false_presence=P0).first == 50


@pytest.mark.parametrize("n", [20, 100, 500])
def test_one_frame_without_it_at_either_end_of_a_series_is_no_event(n):
    def kinds(seen):
        spots = [make_spots([0.3], [0.1]) if there else make_spots([], []) for there in seen]
        names = [[("Li", 3.0)] if there else [] for there in seen]
        frames = [make_summary(i, *given) for i, given in enumerate(zip(spots, names, strict=True))]
        return [event.kind for event in follow_series(frames).events if event.plane is None]

    assert kinds(seen_between(n, 1, n - 1)) == []
    assert kinds(seen_between(n, 5, n - 6)) == [EventKind.ONSET, EventKind.END]


def test_the_evidence_of_an_onset_is_over_presence_from_the_start():
    seen = seen_between(60, 4, 60)
    presence = find_presence(seen, false_presence=P0)
    # Four frames without it: unlikely while it is there, likely before.
    assert presence.first_evidence == pytest.approx(4 * np.log((1 - P0) / 0.02))
    assert presence.end_evidence == 0.0


def test_the_likelihood_is_that_of_every_pair_of_ends():
    """Slow oracle: all onsets and ends of a short series."""
    seen = np.array([0, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0, 0], dtype=bool)
    best = (-np.inf, 0, 0)
    for a in range(len(seen)):
        for b in range(a + 1, len(seen) + 1):
            inside, outside = seen[a:b], np.concatenate([seen[:a], seen[b:]])
            p1 = np.clip(inside.mean(), 2 * P0, 0.98)
            value = np.log(np.where(inside, p1, 1 - p1)).sum() + np.log(np.where(outside, P0, 1 - P0)).sum()
            best = max(best, (value, a, b))
    presence = find_presence(seen, false_presence=P0)
    assert (presence.first, presence.end) == best[1:]


def test_a_decay_constant_returns_with_its_error(rng):
    t = np.arange(60) * 2.5
    pulls = []
    for _ in range(60):
        y = 3.0 * np.exp(-t / 80.0)
        decay = fit_decay(t, y + rng.normal(0, 0.05, 60), np.full(60, 0.05))
        pulls.append((decay.constant - 80.0) / decay.sigma)
    assert abs(np.mean(pulls)) < 0.5
    assert 0.7 < np.std(pulls) < 1.4


def test_growth_and_rest_have_no_decay_constant(rng):
    t, sigma = np.arange(50.0), np.full(50, 0.02)
    assert fit_decay(t, 1 + 0.01 * t + rng.normal(0, 0.02, 50), sigma) is None
    assert fit_decay(t, 1 + rng.normal(0, 0.02, 50), sigma) is None
    assert fit_decay(t[:4], np.exp(-t[:4]), sigma[:4]) is None
    assert fit_decay(t, np.ones(50), sigma) is None


def test_a_change_of_rate_is_found_with_an_interval(rng):
    t = np.arange(100) * 2.0
    log = np.where(t < 100, -t / 150, -100 / 150 - (t - 100) / 40)
    y = np.exp(log + rng.normal(0, 0.02, 100))
    (change,) = find_changes(t, y, 0.02 * y)
    assert change.first - 2 <= 50 <= change.last + 2
    assert not change.is_step
    assert change.value == pytest.approx(1 / 150 - 1 / 40, abs=4 * change.sigma)


def test_a_step_is_found_at_its_place(rng):
    y = np.where(np.arange(80) < 30, 1.0, 0.8) * np.exp(rng.normal(0, 0.02, 80))
    (change,) = find_changes(np.arange(80.0), y, 0.02 * y)
    assert change.first <= 30 <= change.last
    assert change.is_step
    assert change.value == pytest.approx(np.log(0.8), abs=0.06)


@pytest.mark.parametrize("seed", range(6))
def test_a_smooth_course_has_no_change(seed):
    rng, t = np.random.default_rng(seed), np.arange(100.0)
    for y in (np.exp(-t / 40), 1 - 0.5 * np.exp(-t / 25), np.full(100, 2.0)):
        noisy = y * np.exp(rng.normal(0, 0.02, 100))
        # Errors stated too small by half must not make changes.
        assert find_changes(t, noisy, 0.013 * noisy) == []


def test_long_curves_are_grouped(rng):
    y = np.where(np.arange(5000) < 2000, 1.0, 0.7) * np.exp(rng.normal(0, 0.1, 5000))
    (change,) = find_changes(np.arange(5000.0), y, 0.1 * y)
    assert abs(change.index - 2000) <= 40


def lif_and_li(n=40, onset=12, *, flicker=0.0, seed=0):
    """LiF decays, Li comes; some frames name nothing."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        present = i >= onset
        gx, gy = [0.43, 0.1][: 1 + present], [0.0, 0.39][: 1 + present]
        names = [("LiF", 2.3256), ("Li", 2.4819, (1, 1, 0))][: 1 + present]
        if rng.random() < flicker:
            names = [None] * len(names)
        maps = [make_map("LiF", [0], 0.2 * np.exp(-i / 15))] + ([make_map("Li", [1], 0.05)] if present else [])
        power = [1e-3 * np.exp(-i / 15 + rng.normal(0, 0.02)), 2e-4][: 1 + present]
        yield make_summary(i, make_spots(gx, gy), names, maps=maps, time_s=2.46 * i, power=power)


def test_a_series_tells_its_events():
    series = follow_series(lif_and_li(), dose_rate=100.0)
    events = {(e.kind, e.phase, e.plane): e for e in series.events}
    assert events[EventKind.ONSET, "Li", None].frame == 12
    assert events[EventKind.ONSET, "Li", (1, 1, 0)].frame == 12
    decay = [e for e in series.events if e.kind is EventKind.DECAY and "power" in e.quantity]
    assert [e.phase for e in decay] == ["LiF"]
    assert decay[0].value == pytest.approx(15 * 2.46, rel=0.05)
    assert decay[0].quantity.endswith("(s)")
    assert not any(e.kind is EventKind.END for e in series.events)
    np.testing.assert_allclose(series.doses[-1], 39 * 2.46 * 100)


def test_frames_that_name_nothing_are_named_by_the_others():
    series = follow_series(lif_and_li(flicker=0.3, seed=3))
    lif = next(e for e in series.evolutions if e.phase == "LiF" and e.plane is None)
    assert (lif.n_spots == 1).all()
    assert np.isfinite(lif.area_fraction).all()


def test_missing_is_missing_never_zero():
    series = follow_series(lif_and_li())
    li = next(e for e in series.evolutions if e.phase == "Li" and e.plane is None)
    for values in (li.fringe_power, li.area_fraction, li.intensity, li.deviation_percent):
        assert np.isnan(values[:12]).all()
        assert np.isfinite(values[12:]).all()
    assert (li.n_spots[:12] == 0).all()


def test_a_map_of_two_phases_gives_no_area():
    frames = [
        make_summary(
            i,
            make_spots([0.43, 0.1], [0.0, 0.39]),
            [("LiF", 2.3256), ("Li", 2.4819)],
            maps=[make_map("LiF", [0, 1] if i == 5 else [0]), make_map("Li", [] if i == 5 else [1])],
        )
        for i in range(10)
    ]
    series = follow_series(frames)
    for evolution in series.evolutions:
        if evolution.plane is None:
            assert np.flatnonzero(np.isnan(evolution.area_fraction)).tolist() == [5]


def test_a_false_name_in_single_frames_makes_no_phase():
    frames = []
    for i in range(60):
        odd = i in (7, 30, 51)
        spots = make_spots([0.43, 0.2][: 1 + odd], [0.0, 0.3 + 0.001 * i][: 1 + odd])
        frames.append(make_summary(i, spots, [("LiF", 2.3256), ("Cu2O", 2.77)][: 1 + odd]))
    assert {e.phase for e in follow_series(frames).evolutions} == {"LiF"}


def test_a_spot_at_the_limit_of_detection_is_no_change_of_its_phase():
    frames = []
    for i in range(60):
        seen = i < 30
        spots = make_spots([0.43, 0.1][: 1 + seen], [0.0, 0.41][: 1 + seen])
        power = [1e-3 * np.exp(-i / 40), 2e-4][: 1 + seen]
        frames.append(make_summary(i, spots, [("LiF", 2.3256)] * (1 + seen), power=power, time_s=float(i)))
    assert not any(e.kind is EventKind.CHANGE for e in follow_series(frames).events)


def test_frames_without_any_spot_make_an_empty_series():
    series = follow_series([make_summary(i, make_spots([], [])) for i in range(8)])
    assert (series.tracks, series.evolutions, series.events) == ((), (), ())
    assert series.times_s is None


def test_a_series_of_no_frames_is_empty():
    series = follow_series([], settings=SeriesSettings())
    assert len(series) == 0
