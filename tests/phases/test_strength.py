"""Kinds of grains, and the plain lattices that they are weighed against."""

import numpy as np
import pytest
import scipy.ndimage

from fringemap.phases.prepared import prepare
from fringemap.phases.resemblance import smear, spread
from fringemap.phases.strength import LOG_SHARES, OFFSETS, log_hidden, log_misses
from fringemap.phases.unlisted import DIVISIONS
from fringemap.phases.zones import MISS_BIN
from made_crystals import make_references


def test_the_sum_over_kinds_of_grains_is_that_of_a_plain_loop(rng):
    shown = rng.uniform(0.05, 0.6, 8)
    seen = np.arange(8) < 3
    plain = 0.0
    for offset, share in zip(OFFSETS, np.exp(LOG_SHARES), strict=True):
        odds = shown / (1.0 - shown) * np.exp(offset)
        plain += share * np.prod(np.where(seen, odds, 1.0) / (1.0 + odds))
    odds = np.sum(np.log(shown[seen] / (1.0 - shown[seen])))
    found = odds + log_misses(log_hidden(shown).sum(axis=1)[:, None], np.array([3.0]))
    assert np.exp(found) == pytest.approx(plain)


def test_each_finer_lattice_on_a_pair_is_another_one():
    points = np.array([(0.5, 0.0), (0.0, 0.5), (0.5, 0.5)])
    on = {tuple(np.all(np.abs(p - np.rint(p)) < 1e-9, axis=1).tolist()) for p in points @ DIVISIONS}
    assert on == {(False, False, False), (False, True, False), (True, False, False), (False, False, True)}


def test_tables_are_smeared_as_by_a_convolution_along_each_axis(rng):
    table, sigmas = rng.random((2, 3, 9, 12, 7)).astype(np.float32), (1.0, 0.4, 2.0)
    slow = table.astype(float)
    for axis, sigma in enumerate(sigmas):
        reach = int(np.ceil(3.0 * sigma))
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        slow = scipy.ndimage.correlate1d(slow, kernel / kernel.sum(), axis=axis + 2, mode="constant")
    spreads = [spread(n, sigma) for n, sigma in zip(table.shape[2:], sigmas, strict=True)]
    np.testing.assert_allclose(smear(table, spreads), slow, rtol=1e-5)


def test_pairs_of_a_listed_structure_are_common():
    references = make_references("Li2CO3", "Si")
    known = prepare(references, n_decoys=2)
    index, table = known.index, known.resemblance
    seeds = np.stack([index.log_g, index.log_ratio, index.angle], axis=1)
    visible = np.ones(round(0.7 / MISS_BIN))
    common = table.log_density(seeds, visible).max(axis=(0, 1))
    assert np.isfinite(common[(seeds[:, 0] > -2.5) & (seeds[:, 0] < 0.1) & (seeds[:, 1] < 1.5)]).mean() > 0.95
    assert np.all(np.isneginf(table.log_density(np.array([[1.5, 0.1, 1.0]]), visible)))
