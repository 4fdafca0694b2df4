from __future__ import annotations

import subprocess
import sys

import pytest

import fringemap

SLOW = ("numpy", "scipy", "gemmi", "matplotlib", "pydantic", "h5py", "PIL", "skimage", "rich")


@pytest.mark.parametrize("name", fringemap.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(fringemap, name) is not None
    assert name in dir(fringemap)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'frobnicate'"):
        _ = fringemap.frobnicate


@pytest.mark.parametrize("module", ["fringemap", "fringemap.cli"])
def test_nothing_slow_is_imported_before_it_is_needed(module: str) -> None:
    code = f"import sys, {module}; print(*(name for name in {SLOW} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
