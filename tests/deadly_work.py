"""Work for other processes; imports nothing slow, since each process starts from nothing."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def square(number: int) -> int:
    return number * number


def process_and_threads(seconds: float) -> tuple[int, str]:
    time.sleep(seconds)
    return os.getpid(), os.environ.get("OMP_NUM_THREADS", "")


def refuse_odd(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def kill_own_process(name: str) -> str:
    """Die without a word at "deadly", as a process does that the system ends for its memory."""
    if name == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def kill_own_process_once(marker: str) -> str:
    """Die at the first time only."""
    path = Path(marker)
    if path.suffix == ".deadly" and not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path.stem


def note_and_wait(path: str) -> None:
    Path(path).write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(60)
