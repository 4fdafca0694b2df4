"""Which measurement would tell phases apart."""

from dataclasses import replace

from fringemap.phases import match_spots
from fringemap.phases.deciding import distinct_phases, what_decides
from fringemap.phases.explain import tell_spot
from fringemap.records import Candidate, Match, PhaseEvidence, SpotMatch
from fringemap.settings import PhaseSettings
from made_crystals import make_references, make_scale, make_spots

REFERENCES = make_references("Li", "Li2CO3", "Au", "LiH")


def decides(candidates, *, spots=None, scale=None, references=REFERENCES):
    spots = spots or make_spots([[1 / 2.484, 0.0]])
    match = Match((SpotMatch(None, tuple(candidates)),), ())
    return " ".join(what_decides(0, match, spots, references, scale=scale))


LI = Candidate("Li", (1, 1, 0), 2.4820, 0.1, 0.1, 0.3)
LI2CO3 = Candidate("Li2CO3", (0, 2, 0), 2.4863, -0.1, -0.1, 0.2)


def test_the_pixel_size_that_would_decide_is_a_third_of_the_difference():
    text = decides([LI, LI2CO3], scale=make_scale(0.01))
    assert "differ by 0.17 %, so it must be known to 0.058 %, now 1 %" in text


def test_a_pixel_size_that_is_known_well_enough_says_so():
    assert "the pixel size already" in decides([LI, LI2CO3], scale=make_scale(0.0001))


def test_equal_spacings_are_decided_by_no_pixel_size():
    assert "no pixel size" in decides([LI, replace(LI2CO3, d_reference_angstrom=2.4821)])


def test_lines_of_one_phase_alone_and_elements_are_named():
    text = decides([LI, LI2CO3])
    assert "speaks for Li2CO3" in text
    assert "elements, by EDX or EELS: C and O for Li2CO3" in text


def test_a_spot_at_a_line_that_would_decide_is_pointed_out():
    line = REFERENCES[1].d_spacing[0]
    spots = make_spots([[1 / 2.484, 0.0], [0.0, 1 / line]])
    match = Match((SpotMatch(None, (LI, LI2CO3)), SpotMatch(None)), ())
    assert "(spot 1 may be it)" in " ".join(what_decides(0, match, spots, REFERENCES))


def test_without_the_phases_only_the_spot_itself_is_compared():
    assert "speaks for" not in decides([LI, LI2CO3], references=())


def test_nothing_near_leaves_nothing_to_decide():
    assert decides([]) == ""


def test_crystals_that_differ_in_size_only_are_told_apart_by_scale_and_elements():
    spots = make_spots([[1 / 2.355, 0.0]])
    near = (
        PhaseEvidence("Au", (0,), probability=0.5, scale=1.0),
        PhaseEvidence("LiH", (0,), probability=0.3, scale=1.00128),
    )
    match = Match((SpotMatch(None, (Candidate("Au", (1, 1, 1), 2.3546, 0.0, 0.0, 0.5),)),), (), near)
    text = " ".join(what_decides(0, match, spots, REFERENCES, scale=make_scale(0.01)))
    assert "they need it +0.00 % and +0.13 % off, so it must be known to 0.043 %, now 1 %" in text
    assert "another spot" not in text
    assert "Au for Au, H and Li for LiH" in text


def test_each_phase_is_listed_once_the_name_first():
    spot = SpotMatch(LI2CO3, (LI, replace(LI, hkl=(2, 0, 0)), LI2CO3))
    assert [one.phase for one in distinct_phases(spot)] == ["Li2CO3", "Li"]


def test_a_single_d_asks_for_a_second_spot():
    spots = make_spots([[1 / 2.484, 0.0]])
    match = match_spots(spots, REFERENCES, scale=make_scale(0.01), settings=PhaseSettings(match="posterior"))
    story = tell_spot(0, match, spots, REFERENCES)
    assert story.verdict.startswith("Unknown")
    assert story.decides[0].startswith("A second spot of the same grain")
    assert "It could be:" in story.lines()
