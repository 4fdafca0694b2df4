"""Grains, zones, one scale for all, and probabilities."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fringemap.phases.cases import Cases
from fringemap.phases.decoys import LARGEST_CHANGE, SMALLEST_CHANGE, make_decoy_cells
from fringemap.phases.distortion import prior_distortion
from fringemap.phases.hypotheses import EDGE, REACH, propose, rank, try_all, weigh
from fringemap.phases.lattice import g_vectors, lattice_points
from fringemap.phases.match import match_spots
from fringemap.phases.observed import observe
from fringemap.phases.pairs import fit_pairs, make_pairs
from fringemap.phases.posterior import Problem, explain_spots, seek_grains
from fringemap.phases.prepared import prepare
from fringemap.phases.reflections import zone_pattern
from fringemap.phases.search import Given
from fringemap.phases.singles import SHARES, make_ring_set, weigh_singles
from fringemap.phases.zones import build_zone_table
from fringemap.records import UNKNOWN, Flag, ScaleSource
from fringemap.settings import PhaseSettings
from made_crystals import STRUCTURES, make_references, make_scale, make_spots, project

POSTERIOR = PhaseSettings(match="posterior")
MANY = ("Li", "LiF", "Li2O", "Cu", "Si", "Cu2O", "CuO", "Li2CO3", "LiOH", "ice Ih")

USUAL = ((1.0, prior_distortion(0.01)),)

LI_011 = [(0, 1, -1), (2, 0, 0), (2, 1, -1), (-2, 1, -1)]
SI_110 = [(1, -1, 1), (1, -1, -1), (0, 0, 2), (2, -2, 0), (1, -1, 3)]
CARBONATE = [(1, 1, 0), (0, 0, 2), (1, 1, 2), (1, 1, -2), (2, 2, 0)]


def named(match) -> list[str | None]:
    return [spot.best.phase if spot.best else None for spot in match.spots]


def noisy(g: np.ndarray, rng: np.random.Generator, sigma: float = 3e-4):
    return make_spots(g + rng.normal(0.0, sigma, g.shape), sigma=sigma)


def test_no_spots_give_an_empty_match():
    match = match_spots(make_spots([]), make_references("Li"), scale=make_scale(), settings=POSTERIOR)
    assert match.spots == ()
    assert match.phases == ()


@pytest.mark.parametrize("references", [(), make_references("Li")])
@pytest.mark.parametrize("n_spots", [1, 2])
def test_too_few_spots_or_no_references_end_in_unknown(references, n_spots):
    spots = make_spots([[0.21, 0.1], [0.05, 0.4]][:n_spots])
    match = match_spots(spots, references, scale=make_scale(), settings=POSTERIOR)
    assert named(match) == [None] * n_spots
    assert [evidence.phase for evidence in match.phases] == [UNKNOWN]


@pytest.mark.parametrize("decoys", [0, 4])
def test_spots_on_one_line_make_no_grain(decoys):
    spots = make_spots([[0.2, 0.0], [0.4, 0.001], [0.6, 0.0]])
    settings = PhaseSettings(match="posterior", decoys=decoys)
    match = match_spots(spots, make_references("Cu", "Li"), scale=make_scale(0.01), settings=settings)
    assert [evidence.phase for evidence in match.phases] == [UNKNOWN]


def test_without_a_pixel_size_nothing_is_named():
    spots = make_spots(project("Li", LI_011))
    scale = make_scale(np.inf, ScaleSource.NONE)
    match = match_spots(spots, make_references("Li"), scale=scale, settings=POSTERIOR)
    assert named(match) == [None] * 4


@pytest.mark.parametrize(("name", "hkls"), [("Li", [*LI_011, (0, 2, -2)]), ("Si", SI_110), ("Li2CO3", CARBONATE)])
def test_a_grain_among_many_phases_is_named_with_zone_and_scale(name, hkls, rng):
    spots = noisy(project(name, hkls, rotation=0.7, scale_error=0.004), rng)
    match = match_spots(spots, make_references(*MANY), scale=make_scale(0.01), settings=POSTERIOR)
    assert named(match) == [name] * len(hkls)
    evidence = match.phases[0]
    assert evidence.probability > 0.9
    assert evidence.q_value <= 0.05
    assert evidence.scale == pytest.approx(1.004, abs=4 * evidence.scale_sigma)
    assert evidence.scale_sigma < 0.005
    u, v, w = evidence.zone_axis
    assert all(h * u + k * v + l * w == 0 for h, k, l in (spot.best.hkl for spot in match.spots))  # noqa: E741


@pytest.mark.parametrize("mirror", [1.0, -1.0])
@pytest.mark.parametrize(("name", "hkls"), [("Si", SI_110), ("Li2CO3", CARBONATE)])
def test_the_rotation_brings_the_zones_pattern_on_the_spots(name, hkls, mirror, rng):
    g = project(name, hkls, rotation=2.1) * np.array([1.0, mirror])
    spots = noisy(g, rng)
    match = match_spots(spots, make_references(*MANY), scale=make_scale(0.01), settings=POSTERIOR)
    evidence = match.phases[0]
    pattern = zone_pattern(STRUCTURES[name], evidence.zone_axis, d_min_angstrom=1.2)
    turned = (pattern.g[:, 0] + 1j * pattern.g[:, 1]) * np.exp(1j * evidence.rotation)
    seen = spots.gx + 1j * spots.gy
    assert np.abs(seen[:, None] - turned[None, :]).min(axis=1).max() < 0.004


def test_turning_the_frame_turns_the_zone_and_changes_no_name(rng):
    g = project("Li2CO3", CARBONATE, rotation=0.2)
    turn = 0.9
    rotated = g @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    references = make_references(*MANY)
    one, other = (match_spots(make_spots(x), references, scale=make_scale(), settings=POSTERIOR) for x in (g, rotated))
    assert named(one) == named(other)
    difference = other.phases[0].rotation - one.phases[0].rotation
    assert np.cos(2 * (difference - turn)) == pytest.approx(1.0, abs=1e-4)


def test_three_phases_share_one_scale_error(rng):
    grains = [("Li2CO3", CARBONATE), ("Li", LI_011), ("Si", SI_110)]
    g = np.concatenate([project(n, h, rotation=0.3 + i, scale_error=0.03) for i, (n, h) in enumerate(grains)])
    match = match_spots(noisy(g, rng), make_references(*MANY), scale=make_scale(0.025), settings=POSTERIOR)
    assert named(match) == ["Li2CO3"] * 5 + ["Li"] * 4 + ["Si"] * 5
    assert all(evidence.scale == pytest.approx(1.03, abs=0.005) for evidence in match.phases)


def test_an_ellipse_of_two_percent_does_no_harm(rng):
    g = np.concatenate([project("Li2CO3", CARBONATE, rotation=0.3), project("Si", SI_110, rotation=1.9)])
    g = g @ np.array([[1.01, 0.002], [0.002, 0.99]])
    match = match_spots(noisy(g, rng), make_references(*MANY), scale=make_scale(0.01), settings=POSTERIOR)
    assert named(match) == ["Li2CO3"] * 5 + ["Si"] * 5
    distortion = explain_spots(Problem(noisy(g, rng), make_references(*MANY), priors=USUAL, n_decoys=2)).distortion
    assert distortion.mean[1:] == pytest.approx([0.01, 0.002], abs=0.003)


@pytest.mark.parametrize(
    ("d", "pair"), [(2.484, ("Li", "Li2CO3")), (2.666, ("Li2O", "ice Ih")), (2.3235, ("LiF", "CuO"))]
)
def test_degenerate_pairs_get_no_name_on_d_alone(d, pair):
    spots = make_spots([[1 / d, 0.0]])
    match = match_spots(spots, make_references(*MANY), scale=make_scale(), settings=POSTERIOR)
    assert named(match) == [None]
    assert match.spots[0].flags & Flag.AMBIGUOUS
    assert match.spots[0].flags & Flag.SINGLE_SPOT
    assert set(pair) <= {rival.phase for rival in match.spots[0].rivals}


@pytest.mark.parametrize(("name", "hkls"), [("Li", LI_011), ("Li2CO3", [(0, 2, 0), (0, 0, 2), (0, 2, 2)])])
def test_a_degenerate_pair_resolves_with_further_spots_and_angles(name, hkls, rng):
    references = make_references("Li", "Li2CO3")
    match = match_spots(noisy(project(name, hkls), rng), references, scale=make_scale(0.01), settings=POSTERIOR)
    assert named(match) == [name] * len(hkls)


def test_the_ladder_of_lithium_hydride_and_gold_stays_ambiguous_until_elements_decide(rng):
    spots = noisy(project("Au", SI_110, rotation=0.5), rng)
    both = match_spots(spots, make_references(*MANY, "LiH", "Au"), scale=make_scale(), settings=POSTERIOR)
    first = both.spots[0]
    assert first.flags & Flag.AMBIGUOUS
    assert {"LiH", "Au"} <= {rival.phase for rival in first.rivals} | {first.best.phase if first.best else ""}
    one = match_spots(spots, make_references("Cu", "Au"), scale=make_scale(0.003), settings=POSTERIOR)
    assert named(one) == ["Au"] * 5
    assert not one.phases[0].flags & Flag.AMBIGUOUS


def test_a_phase_that_is_not_listed_stays_unknown(rng):
    spots = noisy(project("Li2CO3", CARBONATE, rotation=1.0), rng)
    listed = make_references("Li", "LiF", "Li2O", "Cu", "Si", "Cu2O")
    match = match_spots(spots, listed, scale=make_scale(0.01), settings=POSTERIOR)
    assert named(match) == [None] * 5
    assert "lattice" in match.spots[0].remark


def test_random_spots_get_no_names(rng):
    references = make_references(*MANY)
    n_named = 0
    for _ in range(15):
        length, angle = rng.uniform(0.2, 0.7, 12), rng.uniform(0.0, np.pi, 12)
        spots = make_spots(np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1), sigma=5e-4)
        match = match_spots(spots, references, scale=make_scale(0.01), settings=POSTERIOR)
        n_named += sum(name is not None for name in named(match))
    assert n_named <= 3


def test_a_single_spot_is_named_only_where_the_user_left_one_phase(rng):
    spots = make_spots([[1 / 1.755, 0.0]])
    references = make_references("Li", "Si")
    free = match_spots(spots, references, scale=make_scale(0.003), settings=POSTERIOR)
    assert named(free) == [None]
    chosen = PhaseSettings(match="posterior", elements=("Li", "Si"))
    match = match_spots(spots, references, scale=make_scale(0.003), settings=chosen)
    assert match.spots[0].flags & Flag.SINGLE_SPOT
    assert match.spots[0].probability < 0.95


def test_harmonics_do_not_make_a_grain():
    g = project("Li", [(0, 1, -1), (2, 0, 0)], rotation=0.4)
    g = np.concatenate([g, 2 * g])
    flags = [0, 0, int(Flag.HARMONIC), int(Flag.HARMONIC)]
    references = make_references(*MANY)
    plain, marked = (
        explain_spots(Problem(make_spots(g, flags=f), references, priors=USUAL, n_decoys=2)).grains for f in (0, flags)
    )
    assert max(grain.score for grain in plain) > max((grain.score for grain in marked), default=0.0) + 5.0


def test_a_missing_reflection_counts_less_where_nothing_would_be_seen(rng):
    spots = noisy(project("Li2CO3", CARBONATE), rng)
    references = make_references("Li2CO3")
    blind, seeing = (
        explain_spots(Problem(spots, references, priors=USUAL, n_decoys=0, visibility=visibility))
        for visibility in (lambda g: np.where(g > 0.3, 0.1, 1.0), None)
    )
    assert blind.grains[0].score > seeing.grains[0].score + 1.0


def test_unrefined_spots_are_taken_with_the_spread_of_their_peaks(rng):
    spots = make_spots(project("Si", SI_110))
    spots.covariance[0] = np.nan
    match = match_spots(spots, make_references(*MANY), scale=make_scale(), settings=POSTERIOR)
    assert all(np.isfinite(spot.probability) for spot in match.spots)


def ranked_hypotheses(index, observed, prior, null):
    """All hypotheses about some spots in one case, each tried, and how they rank."""
    case, pairs = Cases.of([prior], null[None]), make_pairs(observed)
    fit = fit_pairs(pairs, case.covariance, case.mean)
    hypotheses = propose(index, observed, pairs, fit)
    trials = try_all(hypotheses, case)
    return case, hypotheses, trials, rank(hypotheses, trials, fit, case.log_null)


def test_the_order_in_which_grains_are_added_does_not_matter(rng):
    g = np.concatenate([project("Li2CO3", CARBONATE, rotation=0.3), project("Si", SI_110, rotation=1.9)])
    observed = observe(noisy(g, rng))
    index = prepare(make_references("Li2CO3", "Si"), n_decoys=0).index
    prior = prior_distortion(0.01)
    null = np.zeros(len(observed))
    case, hypotheses, trials, ranked = ranked_hypotheses(index, observed, prior, null)
    table = index.table[hypotheses.zone[trials.row]]
    best = np.array([np.flatnonzero(table == t)[np.argmax(ranked[table == t])] for t in (0, 1)])
    alone = weigh(hypotheses, trials.take(best), case)
    after = []
    for first, second in ((0, 1), (1, 0)):
        told = Cases.of([prior.with_evidence([alone.evidence(first)])], null[None])
        given = weigh(hypotheses, trials.take(best[[second]]), told)
        after.append(alone.score[first] + given.score[0])
    assert after[0] == pytest.approx(after[1], abs=1e-6)


def test_ranking_agrees_with_the_integral_where_two_spots_are_all(rng):
    g = project("Li", [(0, 1, -1), (2, 0, 0)], rotation=0.4)
    observed = observe(noisy(g, rng))
    index = prepare(make_references("Li"), n_decoys=0).index
    case, hypotheses, trials, ranked = ranked_hypotheses(index, observed, prior_distortion(0.01), np.array([0.3, 0.7]))
    fits = np.flatnonzero(np.isfinite(ranked))
    exact = weigh(hypotheses, trials.take(fits), case)
    assert exact.score == pytest.approx(ranked[fits], abs=0.15)


def test_members_of_hypotheses_are_the_pair_and_then_the_further_spots(rng):
    g = np.concatenate([project("Li2CO3", CARBONATE, rotation=0.3), rng.uniform(-0.5, 0.5, (6, 2))])
    index = prepare(make_references("Li2CO3", "Si"), n_decoys=0).index
    hypotheses = ranked_hypotheses(index, observe(noisy(g, rng)), prior_distortion(0.02), np.zeros(len(g)))[1]
    further, members, pairs = hypotheses.further, hypotheses.members, hypotheses.pairs
    rows = np.array([len(hypotheses) - 1, *np.argsort(-np.bincount(further.row))[:3], 0])
    place, member = hypotheses.members_of(rows)
    for number, row in enumerate(rows):
        mine, pair = member[place == number], hypotheses.pair[row]
        of_pair = [pairs.first[pair], pairs.second[pair]]
        own = further.row == row
        assert members.spot[mine].tolist() == [*of_pair, *further.spot[own]]
        second = hypotheses.lattice[row, 1] * pairs.sign[pair]
        np.testing.assert_array_equal(
            members.point[mine], np.concatenate([[hypotheses.lattice[row, 0], second], further.point[own]])
        )
        assert members.gain[mine].tolist() == [np.inf, np.inf, *further.gain[own]]
    assert len(place) > 3 * len(rows)


def test_spots_far_from_all_rings_say_nothing_of_the_scale(rng):
    observed = observe(noisy(np.array([[0.2, 0.02], [0.05, 0.24], [0.18, 0.18]]), rng))
    rings = [make_ring_set(reflections) for reflections in make_references("Si")]
    null, free = np.full(3, -1.0), np.arange(3)
    prior = prior_distortion(0.01)
    far, found, share = weigh_singles(observed, null, rings, prior, free)
    assert found is prior
    # Each share is as likely as the others, and leaves so much to unknown spots.
    assert far == pytest.approx(np.log(np.mean((1.0 - SHARES) ** 3)), abs=1e-6)
    assert 0.0 < share < 0.5


def test_further_spots_are_those_that_a_plain_loop_finds_on_the_lattice(rng):
    g = np.concatenate([project("Li2CO3", CARBONATE, rotation=0.3), rng.uniform(-0.5, 0.5, (6, 2))])
    observed = observe(noisy(g, rng))
    index = prepare(make_references("Li2CO3", "Si"), n_decoys=0).index
    hypotheses = ranked_hypotheses(index, observed, prior_distortion(0.02), np.zeros(len(g)))[1]
    found = set(zip(hypotheses.further.row.tolist(), hypotheses.further.spot.tolist(), strict=True))
    expected, near_the_bound = set(), set()
    for row, (pair, zone, lattice) in enumerate(zip(hypotheses.pair, hypotheses.zone, hypotheses.lattice, strict=True)):
        two = [hypotheses.pairs.first[pair], hypotheses.pairs.second[pair]]
        basis = observed.g[two] * [[1.0], [hypotheses.pairs.sign[pair]]]
        for spot in set(range(len(g))) - set(two):
            along = observed.g[spot] @ np.linalg.inv(basis)
            point = np.rint(along @ lattice)
            off = observed.g[spot] - point @ np.linalg.inv(lattice) @ basis
            variance = observed.sigma[spot] ** 2 + along**2 @ observed.sigma[two] ** 2
            shows = np.isfinite(index.log_shown[index.place(np.array([zone]), point[None])[0]])
            distance = np.sqrt(off @ off / variance)
            if distance <= REACH and shows and observed.length[spot] <= EDGE * index.g_max[zone]:
                expected.add((row, spot))
            if abs(distance - REACH) < 0.01:
                near_the_bound.add((row, spot))
    assert found - near_the_bound == expected - near_the_bound
    assert len(expected) > 20


def two_grains(rng) -> Problem:
    g = np.concatenate([project("Li2CO3", CARBONATE, rotation=0.3), project("Si", SI_110, rotation=1.9)])
    return Problem(noisy(g, rng), make_references(*MANY), priors=USUAL, n_decoys=2)


def test_cases_that_are_searched_together_give_what_each_gives_alone(rng):
    problem = two_grains(rng)
    search = problem.search(0, seek_grains(problem).log_null)
    grains = seek_grains(problem).sets[0].grains
    given = [
        Given(search.prior, (), ()),
        *(Given(search.prior.with_evidence([one.evidence]), one.spots, {one.reference}) for one in grains),
    ]
    claims = [np.isin(np.arange(len(problem.spots)), one.spots) for one in (*grains, grains[0])]
    claims[-1] = ~claims[0]
    decoys = search.find_decoys(given, claims)
    for number, together in enumerate(search.find(given)):
        alone = search.find(given[number : number + 1])[0]
        assert np.array_equal(alone.real.row, together.real.row)
        assert np.array_equal(alone.real.claims, together.real.claims)
        assert alone.real.score == pytest.approx(together.real.score, abs=1e-9)
        assert alone.lattice_score == pytest.approx(together.lattice_score, abs=1e-9)
        of_decoys = search.find_decoys(given[number : number + 1], claims[number : number + 1])[0]
        assert np.array_equal(of_decoys[0], decoys[number][0])
        assert of_decoys[1] == pytest.approx(decoys[number][1], abs=1e-9)


def test_a_second_search_without_some_spots_finds_what_a_first_one_would(rng):
    problem = two_grains(rng)
    first = seek_grains(problem).grains
    for spot in range(len(problem.spots)):
        again = seek_grains(problem, [spot])
        fresh = Problem(problem.spots, problem.references, priors=USUAL, n_decoys=2)
        anew = seek_grains(fresh, [spot])
        assert [one.name for one in again.grains] == [one.name for one in anew.grains]
        assert [one.score for one in again.sets] == pytest.approx([one.score for one in anew.sets], abs=1e-6)
    assert len(first) == 2


def test_seeds_near_a_pair_are_found_as_a_plain_loop_finds_them(rng):
    index = prepare(make_references("Li2CO3", "LiOH"), n_decoys=2).decoys
    features = np.stack([rng.uniform(-1.2, -0.5, 40), rng.uniform(0, 0.8, 40), rng.uniform(0.3, 1.6, 40)], axis=1)
    reach = np.stack([rng.uniform(0.01, 0.2, 40), rng.uniform(0.005, 0.04, 40), rng.uniform(0.01, 0.06, 40)], axis=1)
    pair, seed, off = index.find(features, reach)
    found = set(zip(pair.tolist(), seed.tolist(), strict=True))
    every = np.stack([index.log_g, index.log_ratio, index.angle], axis=1)
    expected = {
        (p, int(s))
        for p in range(len(features))
        for s in np.flatnonzero(np.all(np.abs(every - features[p]) <= reach[p], axis=1))
    }
    assert found == expected
    assert len(expected) > 20
    assert pytest.approx(features[pair] - every[seed]) == off.T


def test_a_search_stays_small_however_uncertain_spots_and_scale_are(rng):
    length, angle = rng.uniform(0.15, 0.95, 300), rng.uniform(0.0, np.pi, 300)
    spots = make_spots(np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1))
    spots.covariance[::2] *= (rng.uniform(0.01, 10.0, 150) / 2e-4)[:, None, None] ** 2
    references = make_references(*MANY)
    prepare(references, n_decoys=POSTERIOR.decoys)
    tracemalloc.start()
    match_spots(spots, references, scale=make_scale(0.5), settings=POSTERIOR)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300e6


@pytest.mark.parametrize(("name", "d_min"), [("Li", 1.2), ("Si", 1.5), ("LiOH", 1.7), ("ice Ih", 2.1), ("CuO", 2.1)])
def test_every_pair_of_low_reflections_has_its_seed(name, d_min, rng):
    reflections = make_references(name, d_min=1.0)[0]
    table = build_zone_table(reflections)
    cell = STRUCTURES[name].cell
    hkl = lattice_points(cell, d_min)
    strong = {tuple(h) for h in hkl.tolist()} & _allowed(reflections)
    pool = np.array(sorted(strong))
    misses = checked = 0
    for _ in range(200):
        one, two = pool[rng.integers(len(pool), size=2)]
        g1, g2 = np.sort(np.linalg.norm(g_vectors(cell, [one, two]), axis=1))
        angle = np.arccos(min(1.0, abs(_cosine(cell, one, two))))
        if angle < 0.3:
            continue
        checked += 1
        near = np.abs(table.log_g - 0.5 * np.log(g1 * g2)) < 1e-6
        near &= (np.abs(np.abs(table.log_ratio) - np.log(g2 / g1)) < 1e-6) & (np.abs(table.angle - angle) < 1e-6)
        misses += not near.any()
    assert misses == 0
    assert checked > 50


def _cosine(cell, one, two) -> float:
    a, b = g_vectors(cell, [one, two])
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def _allowed(reflections) -> set[tuple[int, int, int]]:
    from fringemap.phases.reflections import equivalent_hkl

    return {tuple(h) for family in reflections.hkl for h in equivalent_hkl(reflections.structure, family).tolist()}


@settings(max_examples=15)
@given(
    name=st.sampled_from(["CuO", "Li2CO3", "triclinic"]),
    uvw=st.tuples(*[st.integers(-1, 1)] * 3).filter(any),
    turn=st.floats(0, 6.2),
)
def test_low_zones_of_oblique_cells_are_recognised_at_any_angle(name, uvw, turn):
    hkl = zone_pattern(STRUCTURES[name], uvw, d_min_angstrom=1.5).hkl
    references = make_references(name, d_min=1.2)
    hkl = np.array([h for h in hkl.tolist() if tuple(h) in _allowed(references[0])])
    hkl = hkl[(hkl @ np.array([10000, 100, 1])) > 0][:6]
    if np.linalg.matrix_rank(hkl) < 2:
        return
    spots = make_spots(project(name, hkl, rotation=turn))
    grain = explain_spots(Problem(spots, references, priors=USUAL, n_decoys=0)).grains[0]
    assert grain.reference == 0
    assert len(grain.spots) >= len(hkl) - 1


@pytest.mark.parametrize("name", ["Li", "LiOH", "ice Ih", "CuO", "triclinic"])
def test_decoys_change_every_edge_by_4_to_12_percent_and_keep_the_system(name):
    structure = STRUCTURES[name]
    cells = make_decoy_cells(structure, 20)
    assert cells == make_decoy_cells(structure, 20)
    edges = np.array(cells)[:, :3] / np.array(structure.cell[:3]) - 1.0
    assert np.abs(edges).min() >= SMALLEST_CHANGE - 1e-9
    assert np.abs(edges).max() <= LARGEST_CHANGE + 1e-9
    for a, b in ((0, 1), (1, 2), (0, 2)):
        if structure.cell[a] == structure.cell[b]:
            assert np.allclose(np.array(cells)[:, a], np.array(cells)[:, b])
    for angle in (3, 4, 5):
        if structure.cell[angle] in (90, 120):
            assert np.all(np.array(cells)[:, angle] == structure.cell[angle])


def test_names_are_given_only_up_to_the_allowed_share_of_false_ones(rng):
    spots = noisy(project("Au", SI_110, rotation=0.5), rng)
    references = make_references(*MANY, "LiH", "Au")
    strict = match_spots(spots, references, scale=make_scale(), settings=POSTERIOR)
    lax = match_spots(spots, references, scale=make_scale(), settings=PhaseSettings(match="posterior", false_names=1.0))
    assert named(strict) == [None] * 5
    assert "not named" in strict.spots[0].remark
    assert set(named(lax)) <= {"Au", "LiH", None}
    assert lax.phases[0].q_value > 0.05 or lax.phases[0].phase == UNKNOWN
