"""What else may explain a grain: nothing that explains its spots is crowded out, and freedom of scale has its price."""

import numpy as np
import pytest

from fringemap.phases import compute_reflections, load_structure
from fringemap.phases.cases import Cases
from fringemap.phases.distortion import (
    Distortion,
    distortion_priors,
    gain_of_freedom,
    prior_distortion,
)
from fringemap.phases.grains import UNLISTED
from fringemap.phases.hypotheses import compare_claims, propose, try_all, weigh
from fringemap.phases.observed import observe
from fringemap.phases.pairs import fit_pairs, make_pairs
from fringemap.phases.posterior import Problem, judge_grains, seek_grains
from fringemap.phases.prepared import prepare
from fringemap.phases.rivals import FREE, find_rivals, weigh_rivals
from fringemap.phases.search import Given, overlaps
from fringemap.phases.sets import GrainSet
from fringemap.phases.zones import one_of_all
from made_crystals import make_reflections, make_spots, project

SI_110 = [(1, -1, 1), (1, -1, -1), (0, 0, 2), (2, -2, 0), (1, -1, 3)]
SI_111 = [(2, -2, 0), (0, 2, -2), (2, 0, -2), (4, -2, -2), (2, 2, -4), (2, -4, 2), (4, -4, 0), (0, 4, -4), (4, 0, -4)]
CUO_010 = [(0, 0, 2), (2, 0, 0), (2, 0, 2), (2, 0, -2), (4, 0, 0), (0, 0, 4)]
REFERENCES = tuple(make_reflections(name, 0.9) for name in ("Li", "LiF", "Cu", "Si", "Cu2O", "CuO", "Li2O"))


@pytest.fixture
def two_grains() -> np.ndarray:
    return np.concatenate([project("Si", SI_111, rotation=0.3), project("Si", SI_110, rotation=1.4)])


def test_what_trials_claim_is_what_they_are_weighed_by(two_grains):
    observed, index = observe(make_spots(two_grains)), prepare(REFERENCES, n_decoys=0).index
    pairs, prior = make_pairs(observed), prior_distortion(0.01)
    cases = Cases.of([prior], np.full((1, len(observed)), 2.0))
    hypotheses = propose(index, observed, pairs, fit_pairs(pairs, cases.covariance, cases.mean))
    trials = try_all(hypotheses, cases)
    claims, mixed = compare_claims(hypotheses, trials, cases.log_null)
    weighed = weigh(hypotheses, trials, cases)
    np.testing.assert_array_equal(claims, weighed.claims)
    # The same zone, spots and sum are the same grain, whatever pair it was found by: it has the same odds.
    names = [
        (int(hypotheses.zone[row]), round(float(value), 6), claim.tobytes())
        for row, value, claim in zip(trials.row, mixed, claims, strict=True)
    ]
    scores: dict[tuple[int, float, bytes], list[float]] = {}
    for name, score in zip(names, weighed.score, strict=True):
        scores.setdefault(name, []).append(float(score))
    assert max(map(len, scores.values())) > 5
    assert max(max(some) - min(some) for some in scores.values()) < 0.1


def test_a_search_for_rivals_finds_each_grain_once_and_only_what_explains_half_of_the_spots(two_grains):
    problem = Problem(make_spots(two_grains), REFERENCES, priors=distortion_priors(0.01), n_decoys=0)
    search = problem.search(0, np.full(len(two_grains), 2.0))
    wanted = np.arange(len(two_grains)) < len(SI_111)
    (found,) = search.find([Given(search.prior, (), ())], wanted=[wanted])
    assert overlaps(found.real.claims, wanted).all()
    names = [
        (int(search.hypotheses.zone[row]), claim.tobytes(), round(float(score), 2))
        for row, claim, score in zip(found.real.row, found.real.claims, found.real.score, strict=True)
    ]
    assert len(set(names)) == len(names)


def test_every_grain_has_its_own_phase_among_what_may_explain_it(two_grains):
    problem = Problem(make_spots(two_grains), REFERENCES, priors=distortion_priors(0.01), n_decoys=2)
    grains = [grain for grain in judge_grains(seek_grains(problem)).grains if grain.is_listed]
    assert len(grains) == 2
    assert all(grain.probability == grain.probabilities.max() > 0.9 for grain in grains)


def test_freedom_gains_where_the_scale_is_off_and_costs_where_it_is_not():
    known = prior_distortion(0.01)
    freer = known.widened(0.06, 0.03)
    precision = np.diag([1e6, 1e6, 1e6])
    off = np.array([[0.0, 0.0, 0.0], [0.05, 0.0, 0.0], [0.0, 0.02, 0.0]])
    gain = gain_of_freedom(known, freer, np.broadcast_to(precision, (3, 3, 3)), off @ precision)
    assert gain[0] < 0.0 < min(gain[1], gain[2])
    # The same, one by one.
    one_by_one = [
        freer.gain([Distortion(precision, pull)]) - known.gain([Distortion(precision, pull)])
        for pull in off @ precision
    ]
    np.testing.assert_allclose(gain, one_by_one, atol=1e-9)


def test_a_set_gains_from_freedom_only_if_its_own_phases_need_another_scale(two_grains):
    as_stated, larger = (_sought(scale * two_grains, sigma=0.01).sets[0] for scale in (1.0, 1.025))
    assert {grain.reference for one in (as_stated, larger) for grain in one.grains} == {_number("Si")}
    assert as_stated.gain_of_freedom(*FREE) < 0.0
    assert larger.gain_of_freedom(0.06, reference=_number("Si")) > 0.0
    # What is not in the set says nothing.
    for absent in (UNLISTED, _number("Li")):
        assert larger.gain_of_freedom(0.06, reference=absent) == pytest.approx(0.0, abs=1e-9)


def test_a_set_tells_which_of_its_grains_explains_most_of_some_spots():
    g = np.concatenate([project("Si", SI_111, rotation=0.3), project("CuO", CUO_010, rotation=1.4)])
    best = _sought(g).sets[0]
    one, other = best.grains
    assert {one.reference, other.reference} == {_number("Si"), _number("CuO")}
    rows = np.arange(len(g))
    assert best.share(np.isin(rows, one.spots)) == one.reference
    claims = np.isin(rows, [*one.spots[:1], *other.spots])
    assert best.share(claims) == other.reference
    assert GrainSet([], best.search).share(claims) is None


def test_a_phase_that_is_surely_there_has_no_siblings_that_it_may_be_instead(two_grains):
    silicon = _number("Si")
    for certain in ((), (silicon,)):
        sets = _sought(two_grains, certain=certain).sets
        rivals = weigh_rivals(sets, find_rivals(sets[0]), REFERENCES)
        assert np.isneginf(rivals.siblings).tolist() == [bool(certain)] * 2
        assert rivals.is_cubic.all()


def _sought(g, *, sigma=0.01, certain=()):
    return seek_grains(Problem(make_spots(g), REFERENCES, priors=distortion_priors(sigma), n_decoys=2, certain=certain))


def _number(name):
    return [reflections.phase for reflections in REFERENCES].index(name)


def test_a_pattern_that_several_zones_of_a_phase_fit_leaves_the_zone_open():
    titanate = compute_reflections(load_structure("BaTiO3"), d_min_angstrom=0.9, min_intensity_percent=0.0)
    nearly_square = np.array([(1, 0), (0, 1), (1, 1), (1, -1), (2, 0), (0, 2)]) / titanate.structure.cell[0]
    problem = Problem(make_spots(nearly_square), (titanate, *REFERENCES), priors=distortion_priors(0.01), n_decoys=2)
    grain = judge_grains(seek_grains(problem)).grains[0]
    assert grain.reference == 0
    assert {grain.zone_axis, *(axis for axis, _ in grain.rival_zones)} == {(0, 0, 1), (0, 1, 0)}
    assert 0.3 < grain.zone_probability < 0.9
    assert grain.zone_probability + sum(share for _, share in grain.rival_zones) == pytest.approx(1.0, abs=0.1)


def test_a_zone_is_sure_where_no_other_of_its_phase_fits(two_grains):
    problem = Problem(make_spots(two_grains), REFERENCES, priors=distortion_priors(0.01), n_decoys=2)
    grains = judge_grains(seek_grains(problem)).grains
    assert [grain.rival_zones for grain in grains] == [(), ()]
    assert all(grain.zone_probability > 0.95 for grain in grains)


def test_an_unlisted_lattice_has_no_zone():
    net = [(0.21, 0.0), (0.03, 0.27), (0.24, 0.27), (0.18, -0.27), (0.42, 0.0), (0.06, 0.54)]
    grains = judge_grains(_sought(np.array(net))).grains
    assert grains
    assert all(not grain.is_listed and np.isnan(grain.zone_probability) for grain in grains)


def test_axes_of_one_pattern_and_its_mirror_image_have_one_name():
    carbonate, silicon = (load_structure(name) for name in ("Li2CO3", "Si"))
    assert one_of_all(silicon, np.array([0, -1, 1])) == one_of_all(silicon, np.array([1, 1, 0])) == (0, 1, 1)
    first, *others = (one_of_all(carbonate, np.array(axis)) for axis in ([1, 2, 3], [-1, -2, -3], [1, -2, 3]))
    assert others == [first, first]
    assert one_of_all(carbonate, np.array([1, 2, -3])) != first
