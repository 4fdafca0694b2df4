"""Work for other processes; imports nothing slow, since each process starts from nothing."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def work_that_can_kill(path: Path) -> SimpleNamespace:
    """Die without a word at a file called "deadly", as a process does that the system ends for its memory."""
    if path.stem == "deadly":
        os._exit(9)
    return SimpleNamespace(path=path, failures=())
