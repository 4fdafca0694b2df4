"""The order of things for one frame."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fringemap import pipeline
from fringemap.settings import AnalysisSettings, PhaseSettings, SpotSettings
from fringemap.simulate import demo_scene, simulate_frame


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(5)
    return simulate_frame(demo_scene(rng=rng, frame_shape=(512, 640)), rng=rng)[0]


@pytest.fixture(scope="module")
def settings():
    return AnalysisSettings(phases=PhaseSettings(phases=("Li", "Li2O", "LiF")), spots=SpotSettings(d_min_angstrom=1.2))


def test_nothing_is_evaluated_beyond_the_smallest_d(frame, settings, monkeypatch):
    seen = []
    compute = pipeline.compute_diffractogram

    def spy(*args, **options):
        seen.append(compute(*args, **options))
        return seen[-1]

    monkeypatch.setattr(pipeline, "compute_diffractogram", spy)
    pipeline.analyze_frame(frame, pipeline.load_phases(settings), settings=settings)
    assert seen[0].d_min_angstrom == 1.2


def test_work_in_a_second_thread_changes_no_result(frame, settings):
    references = pipeline.load_phases(settings)
    one, two = (pipeline.analyze_frame(frame, references, settings=settings, workers=n) for n in (1, 2))
    assert len(one.spots) > 4
    for field in ("spots", "rings", "profile"):
        for f in dataclasses.fields(getattr(one, field)):
            values = (getattr(getattr(result, field), f.name) for result in (one, two))
            np.testing.assert_array_equal(*values, err_msg=f"{field}.{f.name}")
    assert one.match == two.match
    np.testing.assert_array_equal(one.shown_spectrum, two.shown_spectrum)
    np.testing.assert_array_equal(one.thumbnail, two.thumbnail)


def test_pictures_that_nobody_asks_for_are_not_made(frame, settings, monkeypatch):
    references = pipeline.load_phases(settings)
    whole = pipeline.analyze_frame(frame, references, settings=settings)
    monkeypatch.setattr(pipeline, "shown_spectrum", lambda *_, **__: pytest.fail("drawn in vain"))
    thin = pipeline.analyze_frame(frame, references, settings=settings, pictures="frame")
    np.testing.assert_array_equal(thin.thumbnail, whole.thumbnail)
    monkeypatch.setattr(pipeline, "reduce_frame", lambda *_, **__: pytest.fail("drawn in vain"))
    bare = pipeline.analyze_frame(frame, references, settings=settings, pictures="none")
    assert [thin.shown_spectrum.size, bare.shown_spectrum.size, bare.thumbnail.size] == [0, 0, 0]
    assert whole.match == thin.match == bare.match


def test_a_failure_beside_the_other_steps_is_not_lost(frame, settings, monkeypatch):
    def broken(*_args, **_options):
        raise ValueError("no picture")

    monkeypatch.setattr(pipeline, "shown_spectrum", broken)
    with pytest.raises(ValueError, match="no picture"):
        pipeline.analyze_frame(frame, pipeline.load_phases(settings), settings=settings, workers=2)


@pytest.mark.parametrize(
    ("phases", "match", "said"),
    [("2.0:2.6:0.1", "posterior", True), ("2.0:2.6:0.1", "tolerance", False), ("LiF", "posterior", False)],
)
def test_a_list_without_a_single_cell_is_pointed_out(frame, settings, phases, match, said):
    own = dataclasses.replace(settings, phases=PhaseSettings(phases=(phases,), match=match))
    result = pipeline.analyze_frame(frame, pipeline.load_phases(own), settings=own, pictures="none")
    assert any("no phase of the list has a cell" in warning for warning in result.warnings) == said
