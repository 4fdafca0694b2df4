"""The same frames in different formats give the same tables and maps, byte for byte."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

import io_samples
from drawn_inputs import PIXEL_ANGSTROM, QUICK, draw_lif
from fringemap.batch import analyze_inputs
from fringemap.settings import ReadSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fringemap.records import Array

FILES = ("spots.csv", "phases.csv", "profile.csv", "evolution.csv", "events.csv", "tracks.csv", "drift.csv")
MAPS = ("maps.ome.tif", "masks.ome.tif")
SAID = ReadSettings(pixel_size_nm=PIXEL_ANGSTROM / 10, frame_time_s=2.0)


def write_bare_mrc(path: Path, stack: Array) -> None:
    """Write an MRC as programs do that know no pixel size: a cell of as many Å as pixels."""
    header = np.zeros(256, "<i4")
    n, rows, cols = stack.shape
    header[:3], header[3], header[7:10] = (cols, rows, n), 6, (cols, rows, n)
    header[10:13] = np.array([cols, rows, n], "<f4").view("<i4")
    header[52] = int.from_bytes(b"MAP ", "little")
    header[53] = 0x00004444
    path.write_bytes(header.tobytes() + stack.astype("<u2").tobytes())


def write_singles(path: Path, stack: Array) -> None:
    path.mkdir()
    for number, frame in enumerate(stack):
        tifffile.imwrite(path / f"frame_{number}.tif", frame, photometric="minisblack")


WRITERS: dict[str, Callable[[Path, Array], object]] = {
    "bare.mrc": write_bare_mrc,
    "velox.emd": io_samples.write_velox,
    "ncem.emd": io_samples.write_ncem,
    "tia_1.ser": lambda path, stack: io_samples.write_ser(path, stack.astype(np.float32), step_m=(2e-11, 2e-11)),
    "dm.dm4": lambda path, stack: io_samples.write_dm(path, stack, sizes=((0.02, "nm"), (0.02, "nm"), (0.5, "s"))),
    "singles": write_singles,
}


@pytest.fixture(scope="module")
def frames() -> Array:
    return np.stack([np.rint(draw_lif(seed, side=160).image) for seed in range(4)]).astype(np.uint16)


def contents(path: Path, out: Path, settings: ReadSettings = SAID) -> dict[str, bytes]:
    (result,) = analyze_inputs([path], out, settings=replace(QUICK, read=settings), workers=1)
    assert result.failures == ()
    assert result.folder is not None
    return {name: (result.folder / name).read_bytes() for name in (*FILES, *MAPS)}


@pytest.fixture(scope="module")
def expected(frames: Array, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("npy")
    np.save(folder / "plain.npy", frames)
    return contents(folder / "plain.npy", folder / "out")


def test_there_is_something_to_compare(expected: dict[str, bytes]) -> None:
    assert all(len(expected[name].splitlines()) > 4 for name in ("spots.csv", "phases.csv", "evolution.csv"))


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_bytes(
    name: str, frames: Array, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A user's pixel size keeps the ratio of the sides that a file states: here, square.
    monkeypatch.setattr(io_samples, "ROWS_NM", io_samples.COLS_NM)
    WRITERS[name](tmp_path / name, frames)
    found = contents(tmp_path / name, tmp_path / "out")
    assert [file for file in expected if found[file] != expected[file]] == []


def test_an_mrc_without_a_pixel_size_is_refused_until_one_is_given(frames: Array, tmp_path: Path) -> None:
    write_bare_mrc(tmp_path / "bare.mrc", frames)
    (result,) = analyze_inputs([tmp_path / "bare.mrc"], tmp_path / "out", settings=QUICK, workers=1)
    assert [failure.kind for failure in result.failures] == ["CalibrationError"]
    assert "--pixel-size" in result.failures[0].message


def test_two_hundred_single_files_are_one_series(frames: Array, tmp_path: Path) -> None:
    many = np.concatenate([frames] * 50)
    write_singles(tmp_path / "singles", many)
    np.save(tmp_path / "plain.npy", many)
    chosen = replace(SAID, frames="7:200:64")
    single, whole = (contents(tmp_path / name, tmp_path / f"out {name}", chosen) for name in ("singles", "plain.npy"))
    assert single == whole
    rows = single["spots.csv"].decode().splitlines()[1:]
    assert {row.split(",")[0] for row in rows} == {"7", "71", "135", "199"}
