"""Files with flipped bits and missing ends: an image, or one clear sentence; never a traceback, a hang, or a flood."""

from __future__ import annotations

import time

import numpy as np
import pytest

from fringemap.errors import FringemapError
from fringemap.io import read
from io_samples import SAMPLES

resource = pytest.importorskip("resource", reason="measures memory as Unix does")

MUTATIONS = 25
SECONDS_EACH = 5.0
MEGABYTES_MORE = 300

REAL = [
    "edge/rsciio_multi_signal.dm3",
    "edge/ncem_dmTest_nonSquare_diffPixelSize.dm4",
    "edge/rsciio_TEM_preview5_1.ser",
    "edge/rsciio_olympus_SIS_m_units.tif",
    "edge/rsciio_imageJ_stack.tif",
    "edge/rsciio_rgba16.tif",
    "edge/rsciio_velox_FFTComplexEven.emd",
    "edge/ncem_temp.mrc",
    "hrtem/SL_Bornite_011.png",
]


def mutate(whole, rng):
    """Change one to five bytes, most often near the beginning where headers are; cut off the end of one in ten."""
    damaged = bytearray(whole)
    for _ in range(rng.integers(1, 6)):
        reach = len(damaged) if rng.random() < 0.3 else min(len(damaged), int(rng.choice([64, 400, 2000, 6000])))
        place = int(rng.integers(reach))
        if rng.random() < 0.5:
            damaged[place] ^= 1 << int(rng.integers(8))
        else:
            damaged[place] = int(rng.choice([0, 127, 128, 255]))
    return damaged[: int(rng.integers(len(damaged)))] if rng.random() < 0.1 else damaged


def peak_megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def complaint(path):
    """The sentence in which a file is refused; empty if it is read, with finite pixels."""
    try:
        with read(path) as series:
            finite = all(np.isfinite(series[i].image).all() for i in {0, len(series) - 1})
    except FringemapError as error:
        return str(error)
    return "" if finite else "pixels are not finite"


def survive(path, whole, rng):
    for _ in range(MUTATIONS):
        path.write_bytes(mutate(whole, rng))
        before, start = peak_megabytes(), time.perf_counter()
        sentence = complaint(path)
        assert sentence == "" or path.name in sentence
        assert "\n" not in sentence
        assert len(sentence) < 500
        assert time.perf_counter() - start < SECONDS_EACH
        assert peak_megabytes() - before < MEGABYTES_MORE


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_a_damaged_sample_of_each_format_is_survived(kind, tmp_path, rng):
    path = tmp_path / f"damaged{SAMPLES[kind].ending}"
    SAMPLES[kind].write(path, rng.integers(0, 250, (5, 40, 48)).astype(np.float32))
    survive(path, path.read_bytes(), rng)


@pytest.mark.parametrize("name", REAL)
def test_a_damaged_real_file_is_survived(name, shared_data, tmp_path, rng):
    whole = shared_data(name).read_bytes()
    survive(tmp_path / f"damaged_{name.rsplit('/', 1)[-1]}", whole, rng)
