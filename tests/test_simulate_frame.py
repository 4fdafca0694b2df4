from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import fft

from fringemap.phases import load_structure
from fringemap.records import ScaleSource
from fringemap.simulate import (
    MOIRE,
    Amorphous,
    Camera,
    Ellipse,
    Faults,
    Grain,
    HalfPlane,
    Halo,
    Microscope,
    Polygon,
    Scene,
    amorphous_contrast,
    disc,
    expected_noise_power,
    simulate_frame,
)
from fringemap.simulate.lattice import compute_fringes
from fringemap.simulate.optics import aberration

LIF, LI, LI2O = (load_structure(name) for name in ("LiF", "Li", "Li2O"))
COUNTING = Camera(mtf_nyquist=1.0, noise_share=0.0, counts_per_electron=1.0, read_noise_counts=0.0)
QUIET = {"camera": COUNTING, "dose_per_angstrom2": 1e10}
"""So many electrons that noise does not matter."""


def quiet_scene(*grains, shape=(256, 256), pixel=(0.37, 0.37), **options):
    return Scene(shape, pixel, grains=grains, **(QUIET | options))


def fringe(image, mask, gx, gy, pixel):
    """Complex amplitude of a fringe over a mask."""
    y, x = np.nonzero(mask)
    values = image[mask] - image[mask].mean()
    return 2 * np.mean(values * np.exp(-2j * np.pi * (gx * x * pixel[1] + gy * y * pixel[0])))


def power_of(image):
    return np.abs(fft.rfft2(image.astype(np.float64) - image.mean())) ** 2


def frequencies(scene):
    gy = fft.fftfreq(scene.frame_shape[0], scene.pixel_size_angstrom[0])[:, None]
    return fft.rfftfreq(scene.frame_shape[1], scene.pixel_size_angstrom[1])[None, :], gy


# --- lattices ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "pixel"), [((512, 512), (0.37, 0.37)), ((400, 601), (0.3, 0.3)), ((384, 512), (0.45, 0.31))]
)
@pytest.mark.parametrize("structure", [LIF, LI2O])
def test_the_d_spacings_of_a_grain_return_from_a_padded_transform(structure, shape, pixel, rng):
    scene = quiet_scene(Grain(structure, (0, 1, 1), rotation=0.3), shape=shape, pixel=pixel)
    frame, _ = simulate_frame(scene, rng=rng)
    power = np.abs(fft.rfft2(frame.image - frame.image.mean(), s=(4 * shape[0], 4 * shape[1])))
    gy, gx = fft.fftfreq(4 * shape[0], pixel[0])[:, None], fft.rfftfreq(4 * shape[1], pixel[1])[None, :]
    a = structure.cell[0]
    for d in (a / math.sqrt(3), a / math.sqrt(8)):
        ring = np.where(np.abs(np.hypot(gx, gy) - 1 / d) < 0.02, power, 0)
        row, col = np.unravel_index(np.argmax(ring), ring.shape)
        assert 1 / math.hypot(gy[row, 0], gx[0, col]) == pytest.approx(d, rel=2e-3)


@pytest.mark.parametrize("camera", [COUNTING, Camera(mtf_nyquist=0.3, noise_share=0.6)])
def test_amplitudes_are_what_a_transform_over_the_mask_measures(camera, rng):
    pixel = (0.35, 0.4)
    grains = (
        Grain(LIF, (0, 1, 1), disc((60.0, 55.0), 80.0), rotation=0.4, strength=0.5),
        Grain(LI, (1, 0, 0), Ellipse((60.0, 150.0), (90.0, 60.0), 0.5), rotation=1.1, tilt=(0.004, -0.002)),
    )
    scene = Scene((360, 500), pixel, grains=grains, camera=camera, dose_per_angstrom2=1e7)
    frame, truth = simulate_frame(scene, rng=rng)
    spots = truth.spots
    strong = np.flatnonzero(spots.amplitude > 0.02 * truth.settings["mean_counts"])
    assert set(spots.grain[strong]) == {0, 1}
    for i in strong:
        measured = abs(fringe(frame.image, truth.masks[spots.grain[i]], spots.gx[i], spots.gy[i], pixel))
        # What remains is the leakage of the grain's other fringes.
        assert measured == pytest.approx(spots.amplitude[i], rel=0.06)


def test_atoms_are_dark_at_underfocus_and_bright_at_overfocus(rng):
    microscope = Microscope(cs_mm=0.0, focal_spread_angstrom=5.0)
    columns = Grain(load_structure("Au"), (0, 0, 1), thickness_angstrom=10.0, rotation=0.2)
    for defocus, extreme in ((-60.0, np.min), (60.0, np.max)):
        scene = quiet_scene(columns, microscope=replace(microscope, defocus_angstrom=defocus), shape=(64, 64))
        frame, _ = simulate_frame(scene, rng=rng)
        # The lattice of a grain without a region has an atom at the centre of pixel [0, 0].
        assert frame.image[0, 0] == pytest.approx(extreme(frame.image), rel=5e-3)


def test_overlapping_grains_add(rng):
    first = Grain(LIF, (0, 0, 1), disc((40.0, 40.0), 50.0), strength=0.3)
    second = Grain(LI2O, (0, 1, 1), disc((55.0, 50.0), 50.0), strength=0.3)
    draw = {
        key: simulate_frame(quiet_scene(*grains), rng=rng)[0].image.astype(np.float64)
        for key, grains in {"none": (), "1": (first,), "2": (second,), "both": (first, second)}.items()
    }
    background = draw["none"].mean()
    difference = draw["both"] - draw["1"] - draw["2"] + draw["none"]
    assert np.abs(difference).max() < 1e-3 * background


def test_outside_its_region_a_grain_leaves_no_trace(rng):
    scene = quiet_scene(Grain(LIF, (0, 0, 1), Polygon(((20.0, 20.0), (20.0, 60.0), (70.0, 40.0)))))
    frame, truth = simulate_frame(scene, rng=rng)
    relative = frame.image / frame.image.mean() - 1
    assert relative[~truth.masks[0]].std() < 0.1 * relative[truth.masks[0]].std()


def test_a_grain_outside_the_frame_has_an_empty_mask_and_no_spots(rng):
    inside = Grain(LI, (1, 0, 0), disc((40.0, 40.0), 40.0))
    outside = Grain(LIF, (0, 0, 1), disc((-90.0, 40.0), 40.0))
    _, truth = simulate_frame(quiet_scene(outside, inside), rng=rng)
    assert truth.phases == ("LiF", "Li")
    assert not truth.masks[0].any()
    assert set(truth.spots.phase) == {"Li"}


def test_a_shift_moves_mask_lattice_and_atoms_together(rng):
    still = quiet_scene(
        Grain(LIF, (0, 0, 1), disc((40.0, 40.0), 50.0), rotation=0.3),
        amorphous=Amorphous(50.0, seed=5, roughness=0.0),
    )
    moved = replace(still, shift_angstrom=(7 * 0.37, -4 * 0.37))
    (before, truth), (after, moved_truth) = (simulate_frame(scene, rng=rng) for scene in (still, moved))
    np.testing.assert_array_equal(np.roll(truth.masks[0], (7, -4), (0, 1)), moved_truth.masks[0])
    difference = np.roll(before.image, (7, -4), (0, 1)) - after.image
    assert difference.std() < 2e-3 * before.image.std()


def scattered_wave(scene, fine=5):
    """Slow oracle: the wave behind the lens at ``fine`` x ``fine`` places in each pixel, beam by beam."""
    rows, cols = scene.frame_shape
    offsets = (np.arange(fine) + 0.5) / fine - 0.5
    y = ((np.arange(rows)[:, None] + offsets).ravel() * scene.pixel_size_angstrom[0])[:, None]
    x = ((np.arange(cols)[:, None] + offsets).ravel() * scene.pixel_size_angstrom[1])[None, :]
    wave = np.zeros((rows * fine, cols * fine), complex)
    for grain in scene.grains:
        fringes = compute_fringes(grain, scene)
        for gx, gy, (plus, minus) in zip(fringes.gx, fringes.gy, fringes.beams, strict=True):
            turn = np.exp(2j * np.pi * (gx * x + gy * y))
            wave += plus * turn + minus / turn
    return wave


def test_second_order_draws_the_intensity_of_the_whole_wave(rng):
    tilted = Grain(LIF, (0, 0, 1), strength=0.5, max_contrast=0.5, tilt=(0.01, 0.0))
    other = Grain(LI2O, (0, 1, 1), strength=0.5, max_contrast=0.5, rotation=0.3)
    scene = quiet_scene(tilted, other, second_order=True, shape=(64, 72), pixel=(0.2, 0.22))
    frame, _ = simulate_frame(scene, rng=rng)
    wave = scattered_wave(scene)
    intensity = (1 + 2 * wave.real + np.abs(wave) ** 2).reshape(64, 5, 72, 5).mean(axis=(1, 3))
    lost = sum(np.sum(np.abs(compute_fringes(grain, scene).beams) ** 2) for grain in scene.grains)
    drawn = frame.image / (1e10 * 0.2 * 0.22)
    np.testing.assert_allclose(drawn, intensity - lost, atol=2e-3)
    assert np.abs(wave).max() ** 2 > 0.05


def test_in_second_order_stated_amplitudes_are_still_what_is_measured(rng):
    grains = (Grain(LIF, (0, 0, 1), rotation=0.2), Grain(LI, (1, 1, 1), disc((74.0, 74.0), 130.0), rotation=0.6))
    scene = quiet_scene(*grains, second_order=True, shape=(400, 400))
    frame, truth = simulate_frame(scene, rng=rng)
    moire = np.array([phase == MOIRE for phase in truth.spots.phase])
    np.testing.assert_array_equal(moire, truth.spots.grain == -1)
    for i in (*np.flatnonzero(~moire)[:4], *np.flatnonzero(moire)[:4]):
        # Moiré of a frame-filling grain with another is where the other is.
        mask = truth.masks[1 if moire[i] else truth.spots.grain[i]]
        measured = abs(fringe(frame.image, mask, truth.spots.gx[i], truth.spots.gy[i], (0.37, 0.37)))
        assert measured == pytest.approx(truth.spots.amplitude[i], rel=0.15)


def test_in_second_order_a_plane_that_a_screw_axis_extinguishes_can_be_seen(rng):
    rutile = Grain(load_structure("rutile"), (0, 0, 1), strength=0.5)
    seen = {}
    for flag in (False, True):
        _, truth = simulate_frame(quiet_scene(rutile, second_order=flag), rng=rng)
        seen[flag] = {
            tuple(map(abs, hkl)): a for hkl, a in zip(truth.spots.hkl.tolist(), truth.spots.amplitude, strict=True)
        }
    assert (1, 0, 0) not in seen[False]
    assert seen[True][1, 0, 0] > 0


# --- noise ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise_share", [0.0, 0.4, 1.0])
def test_vacuum_has_the_noise_of_its_dose(noise_share, rng):
    camera = Camera(mtf_nyquist=0.3, noise_share=noise_share, counts_per_electron=5.0, read_noise_counts=3.0)
    scene = Scene((512, 400), (0.4, 0.3), camera=camera, dose_per_angstrom2=100.0)
    frame, truth = simulate_frame(scene, rng=rng)
    assert frame.image.mean() == pytest.approx(100 * 0.12 * 5, rel=1e-2)
    assert truth.settings["mean_counts"] == pytest.approx(100 * 0.12 * 5)
    gx, gy = frequencies(scene)
    ratio = power_of(frame.image)[1:, 1:-1] / expected_noise_power(scene, gx, gy)[1:, 1:-1]
    assert ratio.mean() == pytest.approx(1.0, abs=0.015)
    assert ratio[:, -60:].mean() == pytest.approx(1.0, abs=0.03)
    assert ratio[:, :60].mean() == pytest.approx(1.0, abs=0.03)


def test_a_counting_camera_gives_poisson_noise(rng):
    frame, _ = simulate_frame(Scene((300, 300), (0.5, 0.5), camera=COUNTING, dose_per_angstrom2=28.0), rng=rng)
    assert np.array_equal(frame.image, np.rint(frame.image))
    assert frame.image.var() == pytest.approx(7.0, rel=0.03)
    assert frame.image.mean() == pytest.approx(7.0, rel=0.01)


def test_the_snr_is_amplitude_over_its_scatter_among_noise_draws(rng):
    camera = Camera(mtf_nyquist=0.4, noise_share=0.5, read_noise_counts=5.0)
    region = disc((24.0, 24.0), 30.0)
    scene = Scene(
        (128, 160),
        (0.37, 0.37),
        grains=(Grain(LIF, (0, 0, 1), region, rotation=0.2, strength=1.0),),
        amorphous=Amorphous(40.0),
        camera=camera,
        dose_per_angstrom2=200.0,
    )
    drawn = [simulate_frame(scene, rng=rng) for _ in range(250)]
    truth = drawn[0][1]
    for i in range(2):
        gx, gy = truth.spots.gx[i], truth.spots.gy[i]
        values = np.array([fringe(f.image, truth.masks[0], gx, gy, (0.37, 0.37)) for f, _ in drawn])
        assert abs(values.mean()) == pytest.approx(truth.spots.amplitude[i], rel=0.06)
        scatter = math.sqrt((values.real.var() + values.imag.var()) / 2)
        assert abs(values.mean()) / scatter == pytest.approx(truth.spots.snr[i], rel=0.12)


def test_excess_energy_over_the_noise_of_a_bin_is_half_the_snr_squared(rng):
    scene = quiet_scene(Grain(LI, (1, 0, 0), disc((47.0, 47.0), 60.0), rotation=0.5), dose_per_angstrom2=2e4)
    frame, truth = simulate_frame(scene, rng=rng)
    power, (gx, gy) = power_of(frame.image), frequencies(scene)
    noise = expected_noise_power(scene, gx, gy)
    for i in range(2):
        near = np.hypot(gx - truth.spots.gx[i], gy - truth.spots.gy[i]) < 6 * truth.spots.width[i]
        assert math.sqrt(2 * np.sum(power[near] / noise[near] - 1)) == pytest.approx(truth.spots.snr[i], rel=0.04)


def test_the_stated_width_is_that_of_the_peak(rng):
    for region, tolerance in ((None, 0.02), (disc((47.0, 47.0), 60.0), 0.04)):
        scene = quiet_scene(Grain(LI, (1, 0, 0), region, rotation=0.0))
        frame, truth = simulate_frame(scene, rng=rng)
        i = int(np.argmax(np.where(truth.spots.gy > 0.1, truth.spots.amplitude, 0)))
        offsets = np.linspace(-truth.spots.width[i], truth.spots.width[i], 201)
        mask = np.ones(scene.frame_shape, bool)
        peak = [
            abs(fringe(frame.image, mask, truth.spots.gx[i], truth.spots.gy[i] + o, (0.37, 0.37))) ** 2 for o in offsets
        ]
        above = offsets[np.array(peak) > max(peak) / 2]
        assert above[-1] - above[0] == pytest.approx(truth.spots.width[i], rel=tolerance + 0.02)


# --- the amorphous layer -------------------------------------------------------------------------------------------

BLURRED = Microscope(defocus_angstrom=-1500.0, astigmatism_angstrom=150.0, astigmatism_angle=0.4)


def test_thon_rings_are_dark_where_the_sine_of_chi_is_zero(rng):
    microscope = Microscope(defocus_angstrom=-2000.0, focal_spread_angstrom=20.0, convergence_mrad=0.05)
    scene = quiet_scene(amorphous=Amorphous(100.0), microscope=microscope, shape=(768, 768))
    frame, _ = simulate_frame(scene, rng=rng)
    power, (gx, gy) = power_of(frame.image), frequencies(scene)
    g, step = np.hypot(gx, gy), 0.0025
    ring = (g / step).astype(int).ravel()
    profile = np.bincount(ring, power.ravel()) / np.maximum(np.bincount(ring), 1)
    radius = (np.arange(len(profile)) + 0.5) * step
    chi = aberration(microscope, radius, np.zeros(1))
    inner = (radius > 0.1) & (radius < 0.5)  # where enough bins make a ring
    crossings = radius[1:][(np.diff(np.floor(chi / np.pi)) != 0) & inner[1:]]
    minima = radius[1:-1][(profile[1:-1] < profile[:-2]) & (profile[1:-1] < profile[2:]) & inner[1:-1]]
    deep = [
        m for m in minima if profile[int(m / step)] < 0.3 * profile[max(0, int(m / step) - 8) : int(m / step) + 9].max()
    ]
    assert len(crossings) == 6
    assert len(deep) == len(crossings)
    for zero in crossings:
        assert np.min(np.abs(np.array(deep) - zero)) < 1.5 * step


def test_the_power_of_the_layer_is_the_expected_one_in_all_directions(rng):
    scene = Scene(
        (300, 420),
        (0.5, 0.4),
        amorphous=Amorphous(80.0, halos=(Halo(3.0, 0.05, 2.0),)),
        microscope=BLURRED,
        drift_angstrom=(0.8, 0.3),
        dose_per_angstrom2=2000.0,
    )
    power = np.mean([power_of(simulate_frame(scene, rng=rng)[0].image) for _ in range(6)], axis=0)
    gx, gy = frequencies(scene)
    expected, angle, g = expected_noise_power(scene, gx, gy), np.arctan2(gy, gx), np.hypot(gx, gy)
    for low in np.arange(-1.5, 1.5, 0.5):
        for inner in (0.05, 0.2, 0.35, 0.5, 0.8):
            sector = (angle > low) & (angle < low + 0.5) & (g > inner) & (g < inner + 0.15) & (gx > 0)
            tolerance = 5 / math.sqrt(6 * np.count_nonzero(sector))
            assert (power[sector] / expected[sector]).mean() == pytest.approx(1.0, abs=tolerance)


def test_the_contrast_of_the_layer_is_the_stated_one(rng):
    scene = quiet_scene(amorphous=Amorphous(60.0, strength=0.5), pixel=(0.4, 0.3))
    frame, _ = simulate_frame(scene, rng=rng)
    assert frame.image.std() / frame.image.mean() == pytest.approx(amorphous_contrast(scene), rel=0.03)


def test_vacuum_is_smoother_and_brighter_than_the_layer(rng):
    layer = Amorphous(150.0, region=HalfPlane((48.0, 48.0), 0.0), absorption_per_angstrom=1e-3)
    frame, _ = simulate_frame(quiet_scene(amorphous=layer), rng=rng)
    solid, vacuum = frame.image[:, :110], frame.image[:, 150:]
    assert vacuum.mean() == pytest.approx(solid.mean() / 0.85, rel=0.02)
    assert vacuum[:, 40:-40].std() < 0.2 * solid.std()


def test_a_wedge_is_rougher_where_it_is_thicker(rng):
    layer = Amorphous(100.0, slope=(1.6, 0.0))
    frame, _ = simulate_frame(quiet_scene(amorphous=layer), rng=rng)
    thin, thick = frame.image[:85].var(), frame.image[-85:].var()
    # Thickness runs from 0.2 to 1.8 of the mean; the thirds' means are 0.47 and 1.53.
    assert thick / thin == pytest.approx(1.53 / 0.47, rel=0.25)


# --- faults, housekeeping ------------------------------------------------------------------------------------------


def test_grey_levels_are_whole_numbers_and_the_amplitudes_follow(rng):
    grain = Grain(LI, (1, 0, 0), strength=0.3)
    scene = quiet_scene(grain, faults=Faults(grey_levels=256))
    frame, truth = simulate_frame(scene, rng=rng)
    assert frame.image.min() == 0
    assert frame.image.max() == 255
    assert np.array_equal(frame.image, np.rint(frame.image))
    spots = truth.spots
    measured = abs(fringe(frame.image, truth.masks[0], spots.gx[0], spots.gy[0], (0.37, 0.37)))
    assert measured == pytest.approx(spots.amplitude[0], rel=0.02)


def test_hot_pixels_are_as_many_and_as_hot_as_asked(rng):
    scene = quiet_scene(faults=Faults(hot_pixels=12, hot_pixel_factor=30.0))
    frame, _ = simulate_frame(scene, rng=rng)
    hot = frame.image[frame.image > 5 * np.median(frame.image)]
    assert 10 <= len(hot) <= 12
    assert hot.min() == pytest.approx(30 * np.median(frame.image), rel=0.05)


@pytest.mark.parametrize(("fault", "along_rows"), [("row_gain", True), ("column_gain", False)])
def test_gain_stripes_make_a_streak_along_one_axis(fault, along_rows, rng):
    power = power_of(simulate_frame(quiet_scene(faults=Faults(**{fault: 0.05})), rng=rng)[0].image)
    streak, other = (power[1:, 0], power[0, 1:]) if along_rows else (power[0, 1:], power[1:, 0])
    assert streak.mean() > 1e3 * other.mean()


def test_uneven_light_keeps_the_mean_and_weighs_each_grains_amplitude(rng):
    grains = tuple(Grain(LI, (1, 0, 0), disc((47.0, x), 40.0), strength=0.3) for x in (24.0, 70.0))
    scene = quiet_scene(*grains, faults=Faults(illumination_slope=(0.0, 0.6)))
    frame, truth = simulate_frame(scene, rng=rng)
    assert frame.image.mean() == pytest.approx(1e10 * 0.37**2, rel=1e-2)
    left, right = (truth.spots.amplitude[truth.spots.grain == i].max() for i in (0, 1))
    assert right / left == pytest.approx((1 + 0.6 * (70 / 94.7 - 0.5)) / (1 + 0.6 * (24 / 94.7 - 0.5)), rel=0.02)
    spots = truth.spots
    for i in range(2):
        measured = abs(fringe(frame.image, truth.masks[spots.grain[i]], spots.gx[i], spots.gy[i], (0.37, 0.37)))
        assert measured == pytest.approx(spots.amplitude[i], rel=0.05)


def test_an_empty_scene_has_no_spots_and_no_masks(rng):
    _, truth = simulate_frame(Scene((40, 50), (0.4, 0.4)), rng=rng)
    assert len(truth.spots) == 0
    assert truth.spots.hkl.shape == (0, 3)
    assert truth.masks.shape == (0, 40, 50)


@pytest.mark.parametrize("shape", [(256, 256), (1000, 300), (255, 301), (64, 1024)])
def test_frames_of_any_shape_are_float32_and_say_their_scale(shape, rng):
    scene = Scene(shape, (0.3, 0.4), grains=(Grain(LI, (1, 1, 1)),), amorphous=Amorphous(50.0, roughness=0.2))
    frame, truth = simulate_frame(scene, rng=rng, name="a", index=3, time_s=7.5)
    assert frame.image.shape == shape
    assert frame.image.dtype == np.float32
    assert np.isfinite(frame.image).all()
    assert frame.scale is not None
    assert frame.scale.pixel_size_angstrom == (0.3, 0.4)
    assert frame.scale.source is ScaleSource.CALIBRATED
    assert (frame.name, frame.index, frame.time_s) == ("a", 3, 7.5)
    assert truth.masks.shape == (1, *shape)


def test_equal_seeds_give_equal_frames():
    scene = Scene((128, 128), (0.37, 0.37), grains=(Grain(LI, (1, 0, 0)),), amorphous=Amorphous(50.0))
    frames = [simulate_frame(scene, rng=np.random.default_rng(seed))[0].image for seed in (4, 4, 5)]
    np.testing.assert_array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], frames[2])


def test_spots_come_in_falling_order_of_snr(rng):
    grains = (Grain(LI, (1, 0, 0), disc((40.0, 40.0), 50.0)), Grain(LIF, (0, 0, 1)))
    snr = simulate_frame(quiet_scene(*grains), rng=rng)[1].spots.snr
    assert np.all(np.diff(snr) <= 0)
