"""What a command says while it works and when it ends."""

from __future__ import annotations

import dataclasses
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from rich.progress import Progress

    from fringemap.batch import InputResult
    from fringemap.report.tables import Failure


def tell_results(results: Sequence[InputResult], out: Path, *, as_json: bool = False) -> None:
    """Say how each input ended; leave with 1 if anything failed."""
    failures = [failure for result in results for failure in result.failures]
    if as_json:
        print_json([result_as_json(result) for result in results])
    else:
        for result in results:
            _tell_result(result)
        typer.echo(f"Overview: {out / 'index.html'}")
    if failures:
        typer.echo(f"Failed: {len(failures)}; see {out / 'errors.csv'}", err=True)
        raise typer.Exit(1)


def print_json(value: Any) -> None:
    """Print what a program reads: a number that is not finite becomes null, which JSON knows."""
    from fringemap.report.run import to_plain

    typer.echo(json.dumps(to_plain(value), indent=1, ensure_ascii=False, allow_nan=False))


def _tell_result(result: InputResult) -> None:
    name = result.path.name
    for warning in result.warnings:
        typer.echo(f"{name}: warning: {warning}", err=True)
    by_message: dict[str, list[Failure]] = {}
    for failure in result.failures:
        by_message.setdefault(failure.message, []).append(failure)
    for message, alike in by_message.items():
        frames = _frames_in_words([failure.frame for failure in alike if failure.frame is not None])
        said = message.startswith((f"{name} ", f"{name}:", alike[0].input)) and not frames
        typer.echo(message if said else f"{name}{frames}: {message}", err=True)
    # Of frames that all failed nothing is known, not that they show nothing.
    if result.folder is not None and result.summary["n_frames"]:
        _tell_findings(result)


def _tell_findings(result: InputResult) -> None:
    from fringemap.report.words import count_spots

    name, summary = result.path.name, result.summary
    if summary["scale_source"] == "ratios":
        size = f"{summary['pixel_size_x_nm']:.3g} nm per pixel"
        typer.echo(f"{name}: {size} fits the ratios and angles of the phases: all d and names hang on it", err=True)
    named = str(summary["phases"]).replace("; ", ", ") or "no phase"
    spots = count_spots(summary["n_spots"], summary["n_unknown_spots"])
    typer.echo(f"{name}: {named} ({spots}): {result.page or result.folder}")


def _frames_in_words(frames: Sequence[int]) -> str:
    """Frames that failed alike, in one phrase: a fault of a stack seldom spares its other frames."""
    if len(frames) < 2:
        return f", frame {frames[0]}" if frames else ""
    if len(frames) < 6:
        return f", frames {', '.join(map(str, frames))}"
    return f", {len(frames)} frames from {min(frames)} to {max(frames)}"


def result_as_json(result: InputResult) -> dict[str, Any]:
    """How one input ended, for ``print_json``."""
    return {
        "path": result.path,
        "folder": result.folder,
        "page": result.page,
        "summary": result.summary,
        "warnings": result.warnings,
        "failures": [dataclasses.asdict(failure) for failure in result.failures],
    }


@contextmanager
def show_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on the terminal, or nothing where there is none."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield _Teller(bar)


class _Teller:
    """Turns reports of progress into bars, one a name."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, Any] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        task = self._tasks.setdefault(name, None)
        if task is None:
            task = self._tasks[name] = self._bar.add_task(name, total=total)
        self._bar.update(task, completed=done, visible=done < total)
