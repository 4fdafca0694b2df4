"""Commands that analyse: ``analyze``, ``watch``, ``replay``, and the settings that they take."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from fringemap import settings as knobs
from fringemap.cli.app import app
from fringemap.cli.options import with_settings
from fringemap.cli.telling import print_json, result_as_json, show_progress, tell_results
from fringemap.errors import OutputError


@app.command("analyze")
@with_settings
def analyze_command(
    inputs: Annotated[list[str], typer.Argument(help="Files, stacks, folders or globs", metavar="INPUT")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results", metavar="OUT")],
    settings: knobs.AnalysisSettings,
    files: tuple[knobs.FileSettings, ...],
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes at most (default: all cores)")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Work on the Dask cluster of this scheduler instead")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what OUT holds already; do what is missing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary for programs")] = False,
) -> None:
    """Find spots, name phases and map them: tables, maps, figures and a page for each input."""
    from fringemap.batch import analyze_inputs

    with show_progress() as tell:
        results = analyze_inputs(
            inputs,
            out,
            settings=settings,
            files=files,
            workers=workers,
            scheduler=scheduler,
            resume=resume,
            progress=tell,
        )
    tell_results(results, out, as_json=as_json)


@app.command("watch")
@with_settings
def watch_command(
    folder: Annotated[Path, typer.Argument(help="Folder that the frames are written to", metavar="FOLDER")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results", metavar="OUT")],
    settings: knobs.AnalysisSettings,
    files: tuple[knobs.FileSettings, ...],
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE", help="Call out once: 'Li appears', 'LiF below half', 'Li covers 20 %'; repeatable"
        ),
    ] = None,
    webhook: Annotated[str | None, typer.Option(metavar="URL", help="Send calls to this address as JSON")] = None,
    command: Annotated[str | None, typer.Option(metavar="PROGRAM", help="Start this program with the words")] = None,
    poll: Annotated[float, typer.Option(min=0.05, metavar="SECONDS", help="Time between two looks")] = 2.0,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes at most (default: all cores)")
    ] = None,
) -> None:
    """Analyse frames as they arrive in a folder, until Ctrl-C; then write all results."""
    from fringemap.batch import watch_folder
    from fringemap.batch.rules import parse_rule
    from fringemap.batch.watch import post_to, run_program

    calls = [*([post_to(webhook)] if webhook else []), *([run_program(command)] if command else [])]
    rules = [parse_rule(text) for text in rule or ()]
    if folder.is_dir():  # else it is refused
        typer.echo(f"Watching {folder}; Ctrl-C ends it. Page: {out / 'live.html'}")
    results = watch_folder(
        folder,
        out,
        settings=settings,
        files=files,
        rules=rules,
        calls=calls,
        poll_s=poll,
        workers=workers,
        tell=typer.echo,
    )
    tell_results(results, out)


@app.command("replay")
def replay_command(
    record: Annotated[Path, typer.Argument(help="The run.json of an input", metavar="RUN.json")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the new results", metavar="OUT")],
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes at most (default: all cores)")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome for programs")] = False,
) -> None:
    """Repeat a run from its record and say whether anything differs."""
    from fringemap.batch import replay_run

    with show_progress() as tell:
        replay = replay_run(record, out, workers=workers, progress=tell)
    if as_json:
        outcome = {"same": not replay.differences, "differences": replay.differences, "remarks": replay.remarks}
        print_json({**outcome, **result_as_json(replay.result)})
    else:
        for remark in replay.remarks:
            typer.echo(f"made in another way: {remark}", err=True)
        for difference in replay.differences:
            typer.echo(difference)
        typer.echo("Different." if replay.differences else "The same: all tables, maps and the record, but for times.")
    if replay.differences:
        raise typer.Exit(1)


@app.command("settings")
@with_settings
def settings_command(
    settings: knobs.AnalysisSettings,
    files: tuple[knobs.FileSettings, ...],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File to write", metavar="FILE.toml")] = None,
) -> None:
    """Print all settings, or write them to a file that `analyze --settings` takes."""
    text = knobs.settings_to_toml(settings, files)
    if out is None:
        typer.echo(text)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}; choose another file with -o") from error
