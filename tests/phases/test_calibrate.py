"""Scale and ellipse from a phase that is known to be there."""

import numpy as np
import pytest

from fringemap.errors import CalibrationError, SettingsError
from fringemap.phases import load_references
from fringemap.phases.calibrate import fit_distortion
from fringemap.phases.match import match_spots
from fringemap.settings import PhaseSettings
from made_crystals import make_references, make_scale, make_spots, project

SI_110 = [(1, -1, 1), (1, -1, -1), (0, 0, 2), (2, -2, 0), (1, -1, 3)]
SI_100 = [(0, 2, 2), (0, 2, -2), (0, 4, 0)]


def silicon_frame(rng: np.random.Generator, scale: float, e1: float, e2: float) -> np.ndarray:
    g = [project("Si", hkls, rotation=turn) for hkls, turn in ((SI_110, 0.2), (SI_110, 1.5), (SI_100, 2.3))]
    g = np.concatenate(g) @ ((1 + scale) * np.eye(2) + np.array([[e1, e2], [e2, -e1]]))
    length, angle = rng.uniform(0.2, 0.7, 4), rng.uniform(0.0, np.pi, 4)
    strangers = np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1)
    return np.concatenate([g, strangers]) + rng.normal(0.0, 3e-4, (len(g) + 4, 2))


@pytest.mark.parametrize(("scale", "e1", "e2"), [(0.0, 0.0, 0.0), (0.03, 0.025, -0.01), (-0.04, -0.02, 0.03)])
def test_scale_and_ellipse_are_found_within_their_errors(rng, scale, e1, e2):
    spots = make_spots(silicon_frame(rng, scale, e1, e2), sigma=3e-4)
    found = fit_distortion(spots, make_references("Si")[0], scale_sigma=0.025)
    error = np.sqrt(np.diag(found.covariance))
    assert np.all(error < 0.002)
    assert np.all(np.abs(found.mean - (scale, e1, e2)) < 4 * error)


def test_random_spots_calibrate_nothing(rng):
    length, angle = rng.uniform(0.2, 0.7, 12), rng.uniform(0.0, np.pi, 12)
    spots = make_spots(np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1))
    with pytest.raises(CalibrationError, match="hardly better than random ones"):
        fit_distortion(spots, make_references("Li2CO3")[0], scale_sigma=0.025)


def test_too_few_spots_are_refused():
    with pytest.raises(CalibrationError, match="2 spots are too few"):
        fit_distortion(make_spots([[0.3, 0.0], [0.0, 0.3]]), make_references("Si")[0], scale_sigma=0.025)


def test_an_internal_standard_makes_a_distorted_frame_readable(rng):
    g = silicon_frame(rng, 0.03, 0.025, -0.01)[:13]
    li = project("Li", [(0, 1, -1), (2, 0, 0), (2, 1, -1), (-2, 1, -1)], rotation=0.9)
    g = np.concatenate([g, li @ (1.03 * np.eye(2) + np.array([[0.025, -0.01], [-0.01, -0.025]]))])
    references = make_references("Si", "Li", "Cu", "Li2O", "Li2CO3")
    settings = PhaseSettings(match="posterior", internal_standard="si")
    match = match_spots(make_spots(g, sigma=3e-4), references, scale=make_scale(0.025), settings=settings)
    assert [spot.best.phase if spot.best else None for spot in match.spots] == ["Si"] * 13 + ["Li"] * 4


def test_a_standard_that_is_not_listed_is_refused():
    settings = PhaseSettings(match="posterior", internal_standard="Au")
    with pytest.raises(SettingsError, match="Au is not among the phases"):
        match_spots(make_spots([[0.3, 0.0]]), make_references("Si"), scale=make_scale(), settings=settings)


def test_the_library_says_how_oblong_the_pixels_of_a_real_picture_are():
    """The lattice spacings of the Co3O4 picture that its authors' d-spacings and ours give, and where they lie."""
    d = [
        2.507,
        2.502,
        2.787,
        2.349,
        2.005,
        4.660,
        2.9195,
        2.4055,
        2.4284,
        2.4184,
        2.5402,
        2.0713,
        2.105,
        2.0411,
        2.9227,
    ]
    angle = [13.5, -39.5, 77.4, -65.8, -75.4, -66.4, -38.1, 67.7, -88.4, -75.5, -5.8, -42.8, 11.9, 49.4, -48.4]
    g = np.stack([np.cos(np.radians(angle)), np.sin(np.radians(angle))], axis=1) / np.array(d)[:, None]
    standard = load_references(PhaseSettings(phases=("Co3O4",)), d_min_angstrom=1.4)[0]
    found = fit_distortion(make_spots(g, sigma=1e-3), standard, scale_sigma=0.01)
    assert found.mean[1] == pytest.approx(-0.025, abs=0.005)
