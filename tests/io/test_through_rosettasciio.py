"""Formats that RosettaSciIO reads: long stacks frame by frame, odd kinds of pixels, and bounds on damaged headers."""

from __future__ import annotations

import struct
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from fringemap.errors import ReadError
from fringemap.io import read
from io_samples import write_dm, write_hspy, write_ncem, write_ser, write_velox

resource = pytest.importorskip("resource", reason="measures memory as Unix does")

N_FRAMES, SIDE = 320, 4096
MOST_MEGABYTES = 350
"""A frame as stored and as float32 are 100 MB; what a block of frames may keep, 128."""


def peak_megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_sparse_dm(path):
    """Write a .dm4 of 10.7 GB whose pixels are a hole in the file, but for one in the last frame."""
    small = np.full((2, 3, 5), 0x5A5B, np.int16)
    head, tail = write_dm(path, small, thumbnail=False).read_bytes().split(small.tobytes())
    n = N_FRAMES * SIDE * SIDE
    head = head[:-8] + struct.pack(">q", n)
    for old, new in ((5, SIDE), (3, SIDE), (2, N_FRAMES)):
        mark = b"%%%%" + struct.pack(">2q", 1, 5)
        tail = tail.replace(mark + struct.pack("<I", old), mark + struct.pack("<I", new), 1)
    with path.open("wb") as file:
        file.write(head)
        file.seek(2 * n - 2, 1)
        file.write(struct.pack("<h", 7))
        file.write(tail)


def write_sparse_ser(path):
    """Write a .ser of 21 GB whose pixels are holes, but for the top row's last in the last frame."""
    small = write_ser(path, np.zeros((N_FRAMES, 1, 1), np.float32)).read_bytes()
    first = len(small) - N_FRAMES * (50 + 4 + 8)
    table, header = first - 16 * N_FRAMES, small[first : first + 42]
    step = 50 + 4 * SIDE * SIDE
    with path.open("wb") as file:
        file.write(small[:table])
        file.write(struct.pack(f"<{N_FRAMES}q", *(first + k * step for k in range(N_FRAMES))))
        file.write(struct.pack(f"<{N_FRAMES}q", *(first + N_FRAMES * step + 8 * k for k in range(N_FRAMES))))
        for k in range(N_FRAMES):
            file.seek(first + k * step)
            file.write(header + struct.pack("<ii", SIDE, SIDE))
        file.seek(first + N_FRAMES * step - 4)
        file.write(struct.pack("<f", 7.0) + small[-8 * N_FRAMES :])


def write_sparse_velox(path):
    """Write a Velox .emd of 10.7 GB whose chunks are holes, but for the last frame's."""
    write_velox(path, np.zeros((N_FRAMES, 4, 4), np.int16))
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    early.set_chunk((SIDE, SIDE, 1))
    with h5py.File(path, "r+") as file:
        group = file["Data/Image/0123456789abcdef"]
        del group["Data"]
        space = h5py.h5s.create_simple((SIDE, SIDE, N_FRAMES))
        data = h5py.Dataset(h5py.h5d.create(group.id, b"Data", h5py.h5t.NATIVE_INT16, space, early))
        data[SIDE - 1, SIDE - 1, N_FRAMES - 1] = 7


@pytest.mark.parametrize(
    ("ending", "write", "brightest"),
    [
        (".dm4", write_sparse_dm, (SIDE - 1, SIDE - 1)),
        ("_1.ser", write_sparse_ser, (0, SIDE - 1)),
        (".emd", write_sparse_velox, (SIDE - 1, SIDE - 1)),
    ],
)
def test_a_stack_larger_than_the_memory_opens_at_once_and_gives_its_last_frame(ending, write, brightest, tmp_path):
    path = tmp_path / f"big{ending}"
    write(path)
    assert path.stat().st_size > 10e9
    read(write_dm(tmp_path / "first.dm4", np.zeros((40, 40), np.int16))).close()
    before, start = peak_megabytes(), time.perf_counter()
    with read(path) as series:
        opened = time.perf_counter() - start
        assert (len(series), series.frame_shape) == (N_FRAMES, (SIDE, SIDE))
        for i in (5, 100, N_FRAMES - 1):
            image = series[i].image
    assert np.unravel_index(image.argmax(), image.shape) == brightest
    assert image.max() == 7
    assert opened < 3.0
    assert peak_megabytes() - before < MOST_MEGABYTES


@pytest.mark.parametrize("write", [write_velox, write_ncem, write_hspy])
def test_closing_a_series_closes_its_hdf5_file(write, tmp_path, rng):
    path = write(tmp_path / f"a.{'hspy' if write is write_hspy else 'emd'}", rng.random((2, 40, 44), np.float32))
    with read(path) as series:
        assert series[0].image.shape == (40, 44)
    with h5py.File(path, "r+") as file:
        file.attrs["still"] = "writable"


def test_a_colour_image_of_digitalmicrograph_becomes_grey(tmp_path, rng):
    colours = rng.integers(0, 255, (40, 44, 4)).astype(np.uint8)
    path = write_dm(tmp_path / "colour.dm4", colours.view("<i4")[..., 0], thumbnail=False)
    mark = b"DataType" + struct.pack(">q", 24) + b"%%%%" + struct.pack(">2q", 1, 5)
    raw = path.read_bytes()
    assert raw.count(mark) == 1
    path.write_bytes(raw.replace(mark + struct.pack("<I", 7), mark + struct.pack("<I", 23)))
    with read(path) as series:
        assert (len(series), series.frame_shape) == (1, (40, 44))
        expected = colours[..., 2::-1] @ np.array([0.299, 0.587, 0.114])
        np.testing.assert_allclose(series[0].image, expected, atol=1e-3)


def test_a_digitalmicrograph_header_without_an_end_is_given_up_in_time(tmp_path):
    path = write_dm(tmp_path / "endless.dm4", np.zeros((2048, 2048), np.int16), thumbnail=False)
    raw = path.read_bytes()
    mark = b"%%%%" + struct.pack(">4q", 3, 20, 4, 2)
    assert mark in raw
    path.write_bytes(raw.replace(mark, b"%%%%" + struct.pack(">4q", 3, 20, 4, 1 << 40), 1))
    start = time.perf_counter()
    with pytest.raises(ReadError, match=r"endless\.dm4"):
        read(path)
    assert time.perf_counter() - start < 5.0


@pytest.mark.parametrize("where", ["dataset", "attribute"])
def test_an_hdf5_file_that_announces_more_than_it_holds_is_refused(where, tmp_path, rng):
    path = write_velox(tmp_path / "a.emd", rng.integers(0, 9, (2, 40, 44)).astype(np.uint16))
    with h5py.File(path, "r+", libver="latest") as file:
        if where == "dataset":
            file.create_dataset("Data/Image/0123456789abcdef/Extra", (1 << 30, 16), "u1", fillvalue=7)
        else:
            file.create_group("Features/new").attrs["long"] = np.zeros(1 << 21, "u1")
    with pytest.raises(ReadError, match="cut off or damaged") as caught:
        read(path)
    assert "a.emd" in str(caught.value)


def test_a_text_in_an_hdf5_file_that_says_it_is_a_gigabyte_long_is_refused(tmp_path, rng):
    path = write_velox(tmp_path / "a.emd", rng.integers(0, 9, (2, 40, 44)).astype(np.uint16))
    with h5py.File(path, "r") as file:
        place = file["Version"].id.get_offset()
    with path.open("r+b") as stream:
        stream.seek(place)
        stream.write(struct.pack("<I", 1 << 30))
    with pytest.raises(ReadError, match="/Version announces 1,073,741,824 bytes"):
        read(path)


def test_rosettasciio_is_imported_only_when_such_a_file_is_opened():
    code = (
        "import sys, fringemap.io, fringemap.cli; "
        "print([m for m in ('rsciio', 'dask', 'pint', 'h5py') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
