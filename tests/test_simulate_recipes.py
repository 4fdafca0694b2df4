from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fringemap.errors import SettingsError
from fringemap.phases import list_structures, load_structure
from fringemap.simulate import (
    InSitu,
    SceneRanges,
    demo_scene,
    insitu_scenes,
    random_scene,
    simulate_frame,
    simulate_series,
)

STRUCTURES = [load_structure(name) for name in list_structures()]
SHORT = InSitu(n_frames=30, frame_shape=(256, 256))


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(32, 200), st.integers(32, 200)),
    pixel=st.tuples(st.floats(0.1, 1.0), st.floats(0.1, 1.0)),
)
def test_any_random_scene_can_be_drawn(seed, shape, pixel):
    rng = np.random.default_rng(seed)
    scene = random_scene(STRUCTURES, shape, pixel, rng=rng)
    frame, truth = simulate_frame(scene, rng=rng)
    assert frame.image.shape == shape
    assert np.isfinite(frame.image).all()
    assert truth.masks.shape == (len(scene.grains), *shape)
    spots = truth.spots
    assert np.all(np.abs(spots.gx) <= 0.5 / pixel[1])
    assert np.all(np.abs(spots.gy) <= 0.5 / pixel[0])
    assert np.isfinite(spots.snr).all()
    assert np.all(spots.amplitude >= 0)


def test_random_scenes_depend_on_the_seed_alone():
    scenes = [random_scene(STRUCTURES, (64, 64), (0.3, 0.3), rng=np.random.default_rng(s)) for s in (1, 1, 2)]
    assert scenes[0] == scenes[1]
    assert scenes[0] != scenes[2]


def test_the_number_of_grains_is_obeyed(rng):
    for n in (0, 1, 5):
        assert len(random_scene(STRUCTURES, (64, 64), (0.3, 0.3), rng=rng, n_grains=n).grains) == n


def test_random_scenes_vary_in_all_that_matters(rng):
    scenes = [random_scene(STRUCTURES, (256, 256), (0.3, 0.3), rng=rng) for _ in range(300)]
    empty = np.mean([not scene.grains for scene in scenes])
    assert empty == pytest.approx(SceneRanges().empty_share, abs=0.08)
    assert {type(g.region).__name__ for s in scenes for g in s.grains} == {"Ellipse", "Polygon"}
    assert len({g.structure.name for s in scenes for g in s.grains}) == len(STRUCTURES)
    assert {s.microscope.voltage_kv for s in scenes} == {200.0, 300.0}
    assert {abs(s.microscope.cs_mm) < 0.02 for s in scenes} == {True, False}
    assert {s.amorphous is None for s in scenes} == {True, False}
    assert {s.amorphous.region is None for s in scenes if s.amorphous} == {True, False}
    assert max(max(map(abs, g.zone_axis)) for s in scenes for g in s.grains) > 2
    dose = np.log10([s.dose_per_angstrom2 for s in scenes])
    assert dose.min() < 1
    assert dose.max() > 3.4
    assert all(math.gcd(*g.zone_axis) == 1 for s in scenes for g in s.grains)


def test_grains_without_structures_are_refused(rng):
    with pytest.raises(SettingsError, match="no structure"):
        random_scene([], (64, 64), (0.3, 0.3), rng=rng, n_grains=2)


@pytest.mark.parametrize("shape", [(512, 512), (1024, 1024), (600, 800)])
def test_the_demo_shows_two_spots_or_more_of_each_grain(shape, rng):
    scene = demo_scene(rng=rng, frame_shape=shape)
    _, truth = simulate_frame(scene, rng=rng)
    assert set(truth.phases) == {"Li", "Li2O", "LiF", "Li2CO3"}
    for grain in range(len(truth.phases)):
        directions = truth.spots.snr[truth.spots.grain == grain] > 10
        assert np.count_nonzero(directions) >= 2
    assert truth.settings["clipped_share"] < 1e-2
    assert not truth.masks[:, : shape[0] // 25, -shape[1] // 25 :].any()


def test_lithium_appears_in_the_stated_frames():
    first: dict[tuple[int, ...], int] = {}
    rng = np.random.default_rng(0)
    for frame, truth in simulate_series(insitu_scenes(SHORT, rng=rng), rng=rng, frame_time_s=2.46):
        for phase, hkl, snr in zip(truth.spots.phase, truth.spots.hkl, truth.spots.snr, strict=True):
            if phase == "Li" and snr > 3:
                first.setdefault(tuple(sorted(abs(hkl))), frame.index)
    assert first[0, 1, 1] == 6
    assert first[0, 0, 2] == 22


def test_fluoride_shrinks_at_its_stated_rate_and_the_rest_stays():
    scenes = list(insitu_scenes(replace(SHORT, drift_per_frame_angstrom=0.0), rng=np.random.default_rng(1)))
    area = {}
    for i in (0, 25):
        _, truth = simulate_frame(scenes[i], rng=np.random.default_rng(2))
        for phase, mask in zip(truth.phases, truth.masks, strict=True):
            area[phase, i] = area.get((phase, i), 0) + int(mask.sum())
    assert area["LiF", 25] / area["LiF", 0] == pytest.approx(math.exp(-25 / 40), rel=0.02)
    assert area["Li2O", 25] == area["Li2O", 0]
    assert area["Li2CO3", 25] == area["Li2CO3", 0]


def test_the_specimen_drifts_by_the_stated_steps_and_keeps_its_atoms():
    scenes = list(insitu_scenes(replace(SHORT, drift_per_frame_angstrom=2.0), rng=np.random.default_rng(3)))
    shifts = np.array([scene.shift_angstrom for scene in scenes])
    steps = np.array([scene.drift_angstrom for scene in scenes])
    np.testing.assert_allclose(np.diff(shifts, axis=0), steps[:-1])
    assert np.hypot(*steps.mean(axis=0)) == pytest.approx(2.0, abs=0.5)
    assert len({scene.amorphous.seed for scene in scenes}) == 1


def test_the_dose_decays_and_steps_as_planned():
    plan = replace(SHORT, dose_rate=200.0, dose_decay_s=24.6, dose_step=(20, 5.0))
    dose = [scene.dose_per_angstrom2 for scene in insitu_scenes(plan, rng=np.random.default_rng(0))]
    assert dose[0] == pytest.approx(200 * 2.46)
    assert dose[10] == pytest.approx(dose[0] / math.e)
    assert dose[20] == pytest.approx(5 * dose[0] / math.e**2)


def test_a_series_is_drawn_one_frame_at_a_time():
    rng = np.random.default_rng(0)
    endless = (scene for _ in iter(int, 1) for scene in insitu_scenes(SHORT, rng=rng))
    frames = [frame for frame, _ in islice(simulate_series(endless, rng=rng, frame_time_s=2.46, name="cell"), 3)]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.time_s for frame in frames] == pytest.approx([0.0, 2.46, 4.92])
    assert frames[2].name == "cell 0002"


def test_a_series_without_frame_time_has_no_times():
    rng = np.random.default_rng(0)
    frame, _ = next(simulate_series(insitu_scenes(SHORT, rng=rng), rng=rng))
    assert frame.time_s is None


def test_a_series_without_frames_is_refused():
    with pytest.raises(SettingsError, match="0 frames"):
        InSitu(n_frames=0)
