from __future__ import annotations

import platform
import subprocess
import sys

import numpy as np
import pytest

from fringemap.io.pixels import as_frame_image
from fringemap.records import lend_array, let_spare_memory_go
from fringemap.records.memory import _MOST_SPARE, _spare

SHAPE = (2048, 2060)


@pytest.fixture(autouse=True)
def _nothing_spare():
    _spare.clear()
    yield
    _spare.clear()


def address(array):
    return array.__array_interface__["data"][0]


def test_an_array_stands_on_the_memory_of_one_that_is_gone():
    first = lend_array(SHAPE, np.float32)
    place = address(first)
    first[...] = 1.0
    del first
    again = lend_array((SHAPE[1], SHAPE[0] // 2), np.complex64)
    assert address(again) == place
    assert again.dtype == np.complex64
    assert again.flags.writeable
    assert again.flags.c_contiguous


def test_memory_is_not_lent_twice_as_long_as_a_view_of_it_is_left():
    first = lend_array(SHAPE, np.float32)
    first[...] = 3.0
    view = first[::2, 5:].T
    del first
    second = lend_array(SHAPE, np.float32)
    second[...] = 4.0
    assert not np.may_share_memory(view, second)
    place = address(second)
    del second
    assert address(lend_array(SHAPE, np.float32)) == place
    assert (view == 3.0).all()


def test_arrays_of_another_size_let_spare_memory_go():
    lend_array(SHAPE, np.float32)
    assert len(_spare) == 1
    other = lend_array((SHAPE[0] + 1, SHAPE[1]), np.float32)
    assert other.shape == (SHAPE[0] + 1, SHAPE[1])
    assert not _spare


def test_small_arrays_are_not_lent():
    small = lend_array((100, 100), np.float32)
    assert small.flags.owndata
    del small
    assert not _spare


def test_a_frame_that_is_kept_is_not_written_over_by_the_next(rng):
    kept, _ = as_frame_image(rng.integers(0, 100, SHAPE, dtype=np.int16))
    before = kept.copy()
    for _ in range(3):
        as_frame_image(rng.integers(0, 100, SHAPE, dtype=np.int16))
    np.testing.assert_array_equal(kept, before)


def test_arrays_that_are_let_go_together_do_not_fill_the_memory():
    together = [lend_array(SHAPE, np.float32) for _ in range(_MOST_SPARE + 3)]
    del together
    assert len(_spare) == _MOST_SPARE


def test_spare_memory_can_be_let_go():
    lend_array(SHAPE, np.float32)
    let_spare_memory_go()
    assert not _spare


_FAULTS = """
import resource
import numpy as np
from fringemap.records import lend_array

def arrays():
    return [np.ones(2**17) for _ in range(16)]

np.ones(2**17)
lend_array((4096, 4096), np.float32)
arrays()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    arrays()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="tells of glibc")
def test_smaller_arrays_find_the_memory_that_others_left():
    printed = subprocess.run([sys.executable, "-c", _FAULTS], check=True, capture_output=True, text=True).stdout
    # Each time 16 MB of fresh memory would make 4096 faults.
    assert int(printed) < 4096
