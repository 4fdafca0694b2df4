"""The process that watches a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fringemap.errors import FringemapError
from fringemap.gui.jobs import take_job
from fringemap.settings import settings_from_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fringemap.report.lines import FrameLine


def main() -> None:
    """Do the one job that comes in, until it hears anything more."""
    order, heard, tell = take_job()
    tell(do_job(order, tell, stop=lambda: not heard.empty()))


def do_job(
    order: Mapping[str, Any], tell: Callable[[dict[str, Any]], None], *, stop: Callable[[], bool]
) -> dict[str, Any]:
    """Watch until told to stop, then write all results, and say how it ended."""
    from fringemap.batch import watch_folder  # slow to import
    from fringemap.batch.rules import parse_rule

    def call(words: str, line: FrameLine) -> None:
        tell({"event": "call", "words": words, "frame": line.name})

    def asked() -> bool:
        if stop():
            tell({"event": "stopping"})
            return True
        return False

    try:
        results = watch_folder(
            Path(order["folder"]),
            Path(order["out"]),
            settings=settings_from_mapping(order["settings"]),
            rules=[parse_rule(text) for text in order["rules"]],
            calls=[call],
            poll_s=float(order["poll_s"]),
            workers=1,
            stop=asked,
            tell=lambda words: tell({"event": "said", "words": words}),
            seen=lambda path, line: tell({"event": "frame", "path": path, "line": describe_line(line)}),
        )
    except FringemapError as error:
        return {"event": "ended", "status": "failed", "message": str(error)}
    failed = [failure.message for result in results for failure in result.failures]
    return {"event": "ended", "status": "done", "message": failed[0] if failed else ""}


def describe_line(line: FrameLine) -> dict[str, Any]:
    """What the page shows of a frame."""
    phases = [
        {"phase": p.phase, "area_percent": 100.0 * p.area_fraction, "probability": p.probability} for p in line.phases
    ]
    told = {
        "name": line.name,
        "frame": line.frame,
        "time_s": line.time_s,
        "n_spots": line.n_spots,
        "n_unknown": line.n_unknown_spots,
    }
    return {**told, "phases": phases, "warnings": list(line.warnings), "seconds": line.seconds}


if __name__ == "__main__":
    main()
