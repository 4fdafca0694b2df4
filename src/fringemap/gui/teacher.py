"""The process that trains a model on with the labels of a folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fringemap.errors import FringemapError
from fringemap.gui.jobs import take_job

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def main() -> None:
    """Do the one job that comes in."""
    order, _, tell = take_job()
    tell(do_job(order, tell))


def do_job(order: Mapping[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Fine-tune and say how it ended."""
    # Slow to import.
    from fringemap.training.fine_tune import FINE_TUNING, fine_tune
    from fringemap.training.labelled import load_labelled

    def progress(name: str, done: int, total: int) -> None:
        tell({"event": "progress", "step": name, "done": done, "total": total})

    try:
        made = fine_tune(
            order["base"],
            load_labelled(Path(order["labels"])),
            Path(order["out"]),
            # Half of the cores: the page and the analyses want some as well.
            settings=replace(FINE_TUNING, threads=max((os.cpu_count() or 1) // 2, 1), **order["settings"]),
            n_drawn=order["n_drawn"],
            tell=progress,
        )
    except FringemapError as error:
        return {"event": "ended", "status": "failed", "message": str(error)}
    return {"event": "ended", "status": "done", "message": made.reason, "better": made.better}


if __name__ == "__main__":
    main()
