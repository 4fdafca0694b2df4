"""The whole chain over the frames of a series: a short in-situ experiment with a known answer, and real carbon."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fringemap.io import read
from fringemap.pipeline import analyze_series, load_phases
from fringemap.records import EventKind
from fringemap.series import follow_series, summarise_frame
from fringemap.settings import AnalysisSettings, MapSettings, PhaseSettings, ReadSettings
from fringemap.simulate import InSitu, insitu_scenes, simulate_series

PHASES = ("LiF", "Li", "Li2O", "Li2CO3")
SETTINGS = AnalysisSettings(
    phases=PhaseSettings(phases=PHASES, match="posterior"), maps=MapSettings(map="amplitude", resolution_nm=2.0)
)


@pytest.fixture(scope="module")
def experiment():
    plan = InSitu(n_frames=9, lithium_011_frame=3, lithium_002_frame=6, fluoride_decay_frames=8.0)
    plan = replace(plan, drift_per_frame_angstrom=0.6)
    scenes = list(insitu_scenes(plan, rng=np.random.default_rng(1)))
    drawn = simulate_series(scenes, rng=np.random.default_rng(2), frame_time_s=plan.frame_time_s)
    areas = {phase: [] for phase in PHASES}

    def frames():
        for frame, truth in drawn:
            for phase in PHASES:
                masks = truth.masks[[name == phase for name in truth.phases]]
                areas[phase].append(masks.any(axis=0).mean())
            yield frame

    results = analyze_series(frames(), load_phases(SETTINGS), settings=SETTINGS)
    settings = replace(SETTINGS.series, false_presence=0.005)
    series = follow_series(map(summarise_frame, results), settings=settings, dose_rate=1000.0)
    return series, areas, np.array([scene.shift_angstrom for scene in scenes]) / plan.pixel_size_angstrom


def test_phases_appear_in_their_frames(experiment):
    series, _, _ = experiment
    onsets = {
        round(t.d_reference_angstrom, 2): event.frame
        for event in series.events
        if event.kind is EventKind.ONSET and event.phase == "Li"
        for t in series.tracks
        if (t.phase, t.plane) == ("Li", event.plane)
    }
    assert abs(onsets[2.48] - 3) <= 1
    assert abs(onsets[1.75] - 6) <= 1


def test_no_phase_is_named_that_is_not_there(experiment):
    series, _, _ = experiment
    assert {evolution.phase for evolution in series.evolutions} == set(PHASES)


def test_areas_follow_the_truth_within_five_percent_of_the_frame(experiment):
    series, areas, _ = experiment
    for evolution in series.evolutions:
        if evolution.plane is None:
            error = np.abs(evolution.area_fraction - areas[evolution.phase])
            seen = np.isfinite(error)
            assert seen.sum() >= 2
            assert error[seen].max() < 0.05


def test_the_specimen_is_followed_within_a_pixel(experiment):
    series, _, shifts = experiment
    assert np.abs(series.drift.shift_px - (shifts - shifts[0])).max() < 1.0


def test_real_carbon_has_no_phase_and_no_event(shared_data):
    path = shared_data("negative/derived_emilys_thonrings_first20_stack.tif")
    with read(path, settings=ReadSettings(pixel_size_nm=0.1354, frame_time_s=1.0)) as frames:
        results = analyze_series(frames, load_phases(SETTINGS), settings=SETTINGS)
        series = follow_series(map(summarise_frame, results))
    assert len(series) == 20
    assert (series.evolutions, series.events) == ((), ())
