"""Frame results made by hand: a few grains whose fringes, spots, maps and names are known."""

from __future__ import annotations

import dataclasses

import numpy as np

from fringemap.records import (
    UNKNOWN,
    Candidate,
    Flag,
    FrameResult,
    Match,
    PhaseEvidence,
    PhaseMap,
    Profile,
    Rings,
    Scale,
    ScaleSource,
    SpotMatch,
    Spots,
    TrueSpots,
    Truth,
)

# phase, hkl, d [Å], angle [degrees], centre of its grain (row, col) as a share of the frame
PLANES = (
    ("Li2O", (1, 1, 1), 2.664, 20.0, (0.35, 0.3)),
    ("Li2O", (1, -1, 1), 2.664, -50.5, (0.35, 0.3)),
    ("Li2O", (2, 0, 2), 1.631, -15.2, (0.35, 0.3)),
    ("LiF", (1, 1, 1), 2.325, 75.0, (0.6, 0.7)),
    ("LiF", (-1, 1, 1), 2.325, 5.0, (0.6, 0.7)),
    ("Li2CO3", (-3, 1, 1), 2.430, 62.0, (0.45, 0.45)),
    ("Li", (1, 1, 0), 2.482, -75.0, (0.8, 0.25)),
    (None, (0, 0, 0), 3.3, 41.0, (0.2, 0.8)),
    (None, (0, 0, 0), 1.9, 88.0, (0.2, 0.8)),
)


def make_scale(pixel: float = 0.37, source: ScaleSource = ScaleSource.HEADER) -> Scale:
    return Scale((pixel, pixel), 0.025, source)


def make_spots(planes=PLANES) -> Spots:
    n = len(planes)
    d, angle = np.array([p[2] for p in planes]), np.radians([p[3] for p in planes])
    g = 1 / d
    sigma = np.linspace(2e-4, 6e-4, n)
    flags = np.zeros(n, dtype=np.int64)
    if n:
        flags[-1] = Flag.ON_RING | Flag.FEW_PERIODS
    return Spots(
        gx=g * np.cos(angle),
        gy=g * np.sin(angle),
        covariance=np.eye(2)[None] * (sigma**2)[:, None, None],
        amplitude=np.linspace(20.0, 5.0, n),
        amplitude_sigma=np.full(n, 0.5),
        snr=np.linspace(40.0, 6.0, n),
        width=np.full(n, 0.01),
        score=np.linspace(90.0, 2.0, n),
        position=np.tile([300.0, 400.0], (n, 1)),
        extent=np.tile([80.0, 80.0], (n, 1)),
        flags=flags,
    )


def make_match(planes=PLANES) -> Match:
    spots = []
    for phase, hkl, d, _, _ in planes:
        if phase is None:
            spots.append(SpotMatch(None, remark="nothing within 3 sigma"))
            continue
        rivals = ()
        if phase == "Li":
            rivals = (
                Candidate("Li2CO3", (0, 2, 0), 2.4863, -0.17, -0.1),
                Candidate("Cu2O", (1, 1, 1), 2.465, 0.69, 0.4),
            )
        flags = Flag.AMBIGUOUS if rivals else Flag.NONE
        spots.append(SpotMatch(Candidate(phase, hkl, d * 1.001, -0.1, -0.3, 0.9), rivals, 0.9, flags))
    return Match(tuple(spots), tuple(_evidence(planes)))


def _evidence(planes):
    names = list(dict.fromkeys(p[0] for p in planes if p[0]))
    for k, name in enumerate(names):
        rows = tuple(i for i, p in enumerate(planes) if p[0] == name)
        yield PhaseEvidence(
            name,
            rows,
            d_mean_angstrom=float(np.mean([planes[i][2] for i in rows])),
            match_percent=99.9,
            zone_axis=(1, 0, -1) if len(rows) > 1 else None,
            zone_probability=0.7 if len(rows) > 1 else float("nan"),
            rival_zones=((0, 0, 1), (1, 1, 2)) if len(rows) > 1 else (),
            probability=0.998 - 0.1 * k,
            q_value=0.001 * (k + 1),
            flags=Flag.SINGLE_SPOT | Flag.AMBIGUOUS if name == "Li" else Flag.NONE,
        )
    unknown = tuple(i for i, p in enumerate(planes) if p[0] is None)
    if unknown:
        yield PhaseEvidence(UNKNOWN, unknown)


def _grain(shape, centre, radius):
    rows = (np.arange(shape[0]) + 0.5) / shape[0] - centre[0]
    cols = (np.arange(shape[1]) + 0.5) / shape[1] - centre[1]
    aspect = shape[1] / shape[0]
    wave = 1 + 0.25 * np.sin(3 * np.arctan2(rows[:, None], cols[None] * aspect))
    return np.hypot(rows[:, None], cols[None] * aspect) < radius * wave


def make_maps(frame_shape, scale, planes=PLANES, step=4):
    shape = tuple(max(n // step, 1) for n in frame_shape)
    names = list(dict.fromkeys(p[0] or UNKNOWN for p in planes))
    for k, name in enumerate(names):
        rows = tuple(i for i, p in enumerate(planes) if (p[0] or UNKNOWN) == name)
        mask = _grain(shape, planes[rows[0]][4], 0.2 - 0.02 * k)
        yield PhaseMap(
            phase=name,
            amplitude=(10.0 * mask + 0.5).astype(np.float32),
            mask=mask,
            pixel_size_angstrom=tuple(step * p for p in scale.pixel_size_angstrom),
            origin_px=((step - 1) / 2, (step - 1) / 2),
            resolution_angstrom=20.0,
            intensity=50.0 - k,
            intensity_sigma=1.5,
            area_fraction=float(mask.mean()),
            area_sigma=0.011,
            spots=rows,
        )


def _draw_frame(shape, scale, planes, rng):
    py, px = scale.pixel_size_angstrom
    y, x = py * np.arange(shape[0])[:, None], px * np.arange(shape[1])[None]
    image = 1000.0 + 30.0 * rng.standard_normal(shape)
    for _, _, d, angle, centre in planes:
        a = np.radians(angle)
        wave = np.cos(2 * np.pi * (np.cos(a) * x + np.sin(a) * y) / d)
        image += 14 * wave * _grain(shape, centre, 0.2)
    return image.astype(np.float32)


def _show_spectrum(image):
    power = np.fft.fftshift(np.abs(np.fft.fft2(image - image.mean())) ** 2)
    return np.log10(power / np.median(power) + 1e-3).astype(np.float32)


def make_profile(scale, planes=PLANES) -> Profile:
    g_max = 0.5 / max(scale.pixel_size_angstrom)
    g = np.linspace(0.0, g_max, 400)
    background = 1e6 * np.exp(-2 * g) + 1e5
    peaks = np.unique([1 / p[2] for p in planes]) if planes else np.zeros(0)
    masked = sum((np.exp(-(((g - p) / 0.006) ** 2)) for p in peaks), np.zeros_like(g)) * 20
    intensity = background * (1 + 0.15 * np.exp(-(((g - 0.48) / 0.03) ** 2)) + masked / 30)
    return Profile(g, intensity, background, masked, peaks, np.full(len(peaks), 20.0))


def make_rings(g=(0.48, 0.83)) -> Rings:
    n = len(g)
    return Rings(
        np.array(g, dtype=float),
        np.full(n, 0.004),
        np.full(n, 0.06),
        np.full(n, 0.15),
        np.full(n, 9.0),
        np.zeros(n, dtype=np.int64),
    )


def make_result(shape=(600, 800), *, planes=PLANES, scale=None, rings=None, index=0, time_s=None, seed=1, **changes):
    """Make the result of a frame with four phases, a rival, two unknown spots and two rings."""
    rng = np.random.default_rng(seed)
    scale = scale or make_scale()
    image = _draw_frame(shape, scale, planes, rng)
    result = FrameResult(
        name="SEI_0001",
        index=index,
        time_s=time_s,
        frame_shape=shape,
        scale=scale,
        spots=make_spots(planes),
        rings=make_rings() if rings is None else rings,
        profile=make_profile(scale, planes),
        match=make_match(planes),
        maps=tuple(make_maps(shape, scale, planes)),
        thumbnail=image,
        shown_spectrum=_show_spectrum(image),
        shown_g_max=tuple(0.5 / p for p in scale.pixel_size_angstrom),
        seconds={"read": 0.02, "spectrum": 0.11, "spots": 0.05},
        warnings=("12 hot pixels were replaced by their neighbours",),
        flags=Flag.HOT_PIXELS,
    )
    return dataclasses.replace(result, **changes)


def make_empty(shape=(64, 96), **changes):
    """Make the result of a frame in which nothing was found."""
    return make_result(shape, planes=(), rings=make_rings(()), flags=Flag.NONE, warnings=(), **changes)


def make_truth(shape=(600, 800), *, planes=PLANES, scale=None) -> Truth:
    """Make the truth of `make_result`: its grains a little larger than found, one phase more, one spot too faint."""
    scale = scale or make_scale()
    names = [*dict.fromkeys(p[0] or "Cu2O" for p in planes), "Li3N"]
    centres = {p[0] or "Cu2O": p[4] for p in planes} | {"Li3N": (0.15, 0.5)}
    masks = np.stack([_grain(shape, centres[name], 0.19 if name != "Li3N" else 0.06) for name in names])
    d = np.array([*(p[2] for p in planes), 3.159, 1.824])
    angle = np.radians([*(p[3] for p in planes), -20.0, 33.0])
    phase = (*(p[0] or "Cu2O" for p in planes), "Li3N", "Li3N")
    n = len(d)
    spots = TrueSpots(
        gx=np.cos(angle) / d,
        gy=np.sin(angle) / d,
        hkl=np.zeros((n, 3), dtype=np.int64),
        phase=phase,
        grain=np.array([names.index(p) for p in phase]),
        amplitude=np.full(n, 10.0),
        width=np.full(n, 0.01),
        snr=np.array([20.0] * (n - 2) + [12.0, 3.0]),
    )
    return Truth(tuple(names), masks, spots, scale)
