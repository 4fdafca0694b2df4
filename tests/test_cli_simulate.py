"""The command ``simulate``: a set on disk, the same for the same seed, and clear errors."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from fringemap.cli import app
from fringemap.errors import SettingsError
from fringemap.training.sets import open_set


def run(*arguments):
    return CliRunner().invoke(app, ["simulate", *map(str, arguments)])


def test_a_set_is_written_and_named(tmp_path):
    done = run("-o", tmp_path / "set", "--n", 3, "--size", 256, "--seed", 7)
    assert done.exit_code == 0
    assert "3 samples (train, seed 7)" in done.stdout
    found = open_set(tmp_path / "set")
    assert len(found) == 3
    assert found[2].meta["frame_shape"] == [256, 256]


def test_programs_get_json_and_a_finished_set_stays(tmp_path):
    arguments = ("-o", tmp_path / "set", "--n", 2, "--size", 256, "--kind", "test", "--json")
    first = json.loads(run(*arguments).stdout)
    assert (first["n_samples"], first["kind"]) == (2, "test")
    written = (tmp_path / "set" / "shard-00000.npz").stat().st_mtime_ns
    assert json.loads(run(*arguments).stdout) == first
    assert (tmp_path / "set" / "shard-00000.npz").stat().st_mtime_ns == written
    assert len(open_set(tmp_path / "set").split("test")) == 2


def test_another_set_in_the_folder_is_refused(tmp_path):
    assert run("-o", tmp_path / "set", "--n", 1, "--size", 256).exit_code == 0
    with pytest.raises(SettingsError, match="another folder"):
        CliRunner().invoke(
            app, ["simulate", "-o", str(tmp_path / "set"), "--n", "2", "--size", "256"], catch_exceptions=False
        )


@pytest.mark.parametrize("wrong", [("--n", 0), ("--size", 64), ("--kind", "other"), ("--workers", 0), ("--seed", -1)])
def test_wrong_use_ends_with_2(tmp_path, wrong):
    assert run("-o", tmp_path / "set", *wrong).exit_code == 2
