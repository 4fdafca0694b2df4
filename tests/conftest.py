"""What tests share: real data from beside the repository, and seeded randomness."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

# A busy machine makes any example slow now and then: that is no fault of the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

DATA = Path(os.environ.get("FRINGEMAP_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """Path of a real file, or skip the test and say why."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"needs {name} in {DATA}; set FRINGEMAP_TEST_DATA to the folder of test data")
        return path

    return find


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240611)


@pytest.fixture(autouse=True, scope="session")
def _no_phases_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Phases that whoever runs the tests has imported must not change an answer."""
    os.environ["FRINGEMAP_PHASES"] = str(tmp_path_factory.mktemp("phases") / "none")
