"""The command line: parse, call one plain function, say how it ended.

Options are made from the settings classes. Whatever is slow to import is imported by the command that needs it, so that
``fringemap --help`` answers at once.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
import sys
import types
import typing
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fringemap import settings as knobs
from fringemap.errors import FringemapError, OutputError, SettingsError, StructureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.progress import Progress

    from fringemap.batch import InputResult
    from fringemap.records import Structure

app = typer.Typer(
    name="fringemap",
    help="From high-resolution TEM frames to phase maps: spots, phases and where they are, with error bars.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
phases_app = typer.Typer(help="The structure library.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(phases_app, name="phases")

_METAVARS = {"nm/px": "NM", "nm": "NM", "s": "SECONDS", "Å": "ANGSTROM", "%": "PERCENT", "e/Å²/s": "RATE"}
_KIND_METAVARS = {int: "N", float: "X", str: "TEXT"}


def main() -> None:
    """Run the command line; an error becomes one sentence and the exit status 1 (failed) or 2 (wrong use)."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        app()
    except (SettingsError, StructureError) as error:
        _fail(str(error), 2)
    except FringemapError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("stopped; what was finished is on disk, and --resume does the rest", 130)


def _fail(message: str, status: int) -> None:
    typer.echo(f"fringemap: {message}", err=True)
    sys.exit(status)


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each setting, and hand it the finished settings as ``settings``."""
    sections = {f.name: getattr(knobs, str(f.type)) for f in dataclasses.fields(knobs.AnalysisSettings)}
    options = {f.name: (section, f) for section, cls in sections.items() for f in dataclasses.fields(cls)}

    def call(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in options}
        base = knobs.read_settings(given["settings"]) if given["settings"] else knobs.AnalysisSettings()
        given["settings"] = _override(base, {options[n][0]: {} for n in options}, chosen, options)
        command(**given)

    own = list(inspect.signature(command, eval_str=True).parameters.values())
    file_option = typer.Option("--settings", metavar="FILE.toml", help="Read settings from a file; options override it")
    parameters = [p for p in own if p.name != "settings"]
    parameters.append(_parameter("settings", Path | None, file_option))
    parameters += [_parameter(name, *_option(f, sections[section])) for name, (section, f) in options.items()]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    call.__doc__ = command.__doc__
    call.__name__ = command.__name__
    return call


def _parameter(name: str, kind: Any, option: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])


def _option(setting: dataclasses.Field[Any], section: type) -> tuple[Any, Any]:
    """Type and declaration of the option for one setting; its default is None, so that a settings file can speak."""
    kind = typing.get_type_hints(section)[setting.name]
    flag = knobs.flag_of(setting.name)
    unit, metavar = setting.metadata["unit"], _METAVARS.get(setting.metadata["unit"])
    text = setting.metadata["help"] + (f" [{unit}]" if unit else "")
    if setting.default not in (None, (), ""):
        text += f" (default: {setting.default})"
    if typing.get_origin(kind) is tuple:
        return list[str] | None, typer.Option(flag, metavar="LIST", help=text + "; separated by commas, or repeated")
    if kind is bool:
        text = text.replace("(default: True)", "(default: yes)").replace("(default: False)", "(default: no)")
        return bool | None, typer.Option(f"{flag}/--no-{flag[2:]}", help=text, show_default=False)
    if typing.get_origin(kind) is Literal:
        metavar, kind = "|".join(typing.get_args(kind)), str
    inner = [a for a in typing.get_args(kind) if a is not types.NoneType] if typing.get_args(kind) else [kind]
    metavar = metavar or _KIND_METAVARS[inner[0]]
    return inner[0] | None, typer.Option(flag, metavar=metavar, help=text, show_default=False)


def _override(
    base: knobs.AnalysisSettings,
    sections: dict[str, dict[str, Any]],
    chosen: Mapping[str, Any],
    options: Mapping[str, Any],
) -> knobs.AnalysisSettings:
    """Settings with what was given on the command line in place of what the file, or the default, says."""
    for name, value in chosen.items():
        if value is not None:
            section, field = options[name]
            many = isinstance(field.default, tuple)
            sections[section][name] = _split(value) if many else value
    whole = {s: {**_given(getattr(base, s)), **values} for s, values in sections.items()}
    return knobs.settings_from_mapping(whole, origin="the command line")


def _given(section: knobs.Settings) -> dict[str, Any]:
    return {f.name: getattr(section, f.name) for f in dataclasses.fields(section)}


def _split(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def _tell_version(wanted: bool) -> None:
    if wanted:
        from fringemap import __version__

        typer.echo(f"fringemap {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave", callback=_tell_version, is_eager=True)
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more about what happens")] = False,
) -> None:
    if verbose:
        logging.getLogger("fringemap").setLevel(logging.INFO)


@app.command("analyze")
@_with_settings
def analyze_command(
    inputs: Annotated[list[str], typer.Argument(help="Files, stacks, folders or globs", metavar="INPUT")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results", metavar="OUT")],
    settings: knobs.AnalysisSettings,
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

    with _progress() as tell:
        results = analyze_inputs(
            inputs, out, settings=settings, workers=workers, scheduler=scheduler, resume=resume, progress=tell
        )
    _tell_results(results, out, as_json=as_json)


def _tell_results(results: Sequence[InputResult], out: Path, *, as_json: bool = False) -> None:
    """Say how each input ended; leave with 1 if anything failed."""
    failures = [failure for result in results for failure in result.failures]
    if as_json:
        _print_json([_as_json(result) for result in results])
    else:
        for result in results:
            _tell_result(result)
        typer.echo(f"Overview: {out / 'index.html'}")
    if failures:
        typer.echo(f"Failed: {len(failures)}; see {out / 'errors.csv'}", err=True)
        raise typer.Exit(1)


def _print_json(value: Any) -> None:
    """Print what a program reads: a number that is not finite becomes null, which JSON knows."""
    from fringemap.report.run import to_plain

    typer.echo(json.dumps(to_plain(value), indent=1, ensure_ascii=False, allow_nan=False))


def _tell_result(result: InputResult) -> None:
    name = result.path.name
    for warning in result.warnings:
        typer.echo(f"{name}: warning: {warning}", err=True)
    for failure in result.failures:
        frame = "" if failure.frame is None else f", frame {failure.frame}"
        said = failure.message.startswith((f"{name} ", f"{name}:", failure.input)) and not frame
        typer.echo(failure.message if said else f"{name}{frame}: {failure.message}", err=True)
    if result.folder is not None:
        named = str(result.summary["phases"]).replace("; ", ", ") or "no phase"
        spots = f"{result.summary['n_spots']} spots, {result.summary['n_unknown_spots']} without a name"
        typer.echo(f"{name}: {named} ({spots}): {result.page or result.folder}")


def _as_json(result: InputResult) -> dict[str, Any]:
    return {
        "path": result.path,
        "folder": result.folder,
        "page": result.page,
        "summary": result.summary,
        "warnings": result.warnings,
        "failures": [dataclasses.asdict(failure) for failure in result.failures],
    }


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
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


@app.command("watch")
@_with_settings
def watch_command(
    folder: Annotated[Path, typer.Argument(help="Folder that the frames are written to", metavar="FOLDER")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results", metavar="OUT")],
    settings: knobs.AnalysisSettings,
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
    typer.echo(f"Watching {folder}; Ctrl-C ends it. Page: {out / 'live.html'}")
    results = watch_folder(
        folder, out, settings=settings, rules=rules, calls=calls, poll_s=poll, workers=workers, tell=typer.echo
    )
    _tell_results(results, out)


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

    with _progress() as tell:
        replay = replay_run(record, out, workers=workers, progress=tell)
    if as_json:
        outcome = {"same": not replay.differences, "differences": replay.differences, "remarks": replay.remarks}
        _print_json({**outcome, **_as_json(replay.result)})
    else:
        for remark in replay.remarks:
            typer.echo(f"made in another way: {remark}", err=True)
        for difference in replay.differences:
            typer.echo(difference)
        typer.echo("Different." if replay.differences else "The same: all tables, maps and the record, but for times.")
    if replay.differences:
        raise typer.Exit(1)


@app.command("info")
def info_command(
    file: Annotated[Path, typer.Argument(help="File, stack or folder", metavar="FILE")],
    pixel_size: Annotated[float | None, typer.Option(metavar="NM", help="Pixel size to use instead [nm/px]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs")] = False,
) -> None:
    """Show what the reader understands of a file: shape, pixel size and its source, times, warnings."""
    from fringemap.io import describe, read

    with read(file, settings=knobs.ReadSettings(pixel_size_nm=pixel_size)) as series:
        described = describe(series)
    if as_json:
        _print_json(described)
        return
    for name, value in described.items():
        if value not in (None, [], {}):
            typer.echo(f"{name:22} {_readable(value)}")


def _readable(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return "".join(f"\n  {key:20} {_readable(item)}" for key, item in value.items())
    if isinstance(value, list):
        joiner = "\n" + " " * 23 if value and isinstance(value[0], str) else " x "
        return joiner.join(_readable(item) for item in value)
    return str(value)


@app.command("settings")
@_with_settings
def settings_command(
    settings: knobs.AnalysisSettings,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File to write", metavar="FILE.toml")] = None,
) -> None:
    """Print all settings, or write them to a file that `analyze --settings` takes."""
    text = knobs.settings_to_toml(settings)
    if out is None:
        typer.echo(text)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}; choose another file with -o") from error


@app.command("demo")
def demo_command(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results", metavar="OUT")] = Path(
        "fringemap-demo"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the random generator", metavar="N")] = 1,
    size: Annotated[int, typer.Option(help="Side of the frame [px]", min=512, max=8192, metavar="N")] = 2048,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser")] = False,
) -> None:
    """Draw a piece of a battery's interphase with a known answer, analyse it, and set found beside true."""
    from fringemap.demo import run_demo

    page = run_demo(out, seed=seed, size=size, tell=typer.echo)
    typer.echo(f"Page: {page.resolve()}")
    if open_page:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


@phases_app.command("list")
def phases_list_command(
    elements: Annotated[str, typer.Option(help="Only phases of these elements, such as Li,C,O", metavar="LIST")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs")] = False,
) -> None:
    """List the built-in structures."""
    from fringemap.phases import list_structures, load_structure

    allowed = frozenset(_split([elements]))
    found = [load_structure(name) for name in list_structures()]
    kept = [s for s in found if not allowed or s.elements <= allowed]
    if as_json:
        _print_json([_structure_as_json(s) for s in kept])
        return
    typer.echo(
        f"{'name':14} {'formula':14} {'space group':16} {'a b c [Å], alpha beta gamma [degrees]':44} measured at"
    )
    for s in kept:
        cell = " ".join(f"{x:.5g}" for x in s.cell)
        at = f"{s.temperature_k:.0f} K" if s.temperature_k else "-"
        typer.echo(f"{s.name:14} {s.formula:14} {s.space_group:16} {cell:44} {at}")


def _structure_as_json(s: Structure) -> dict[str, Any]:
    return {
        "name": s.name,
        "formula": s.formula,
        "space_group": s.space_group,
        "cell": s.cell,
        "temperature_k": s.temperature_k,
        "source": s.source,
    }


@phases_app.command("show")
def phases_show_command(
    name: Annotated[str, typer.Argument(help="Name in the library, or a CIF", metavar="NAME")],
    d_min: Annotated[float, typer.Option(help="Smallest d-spacing [Å]", min=0.3, metavar="ANGSTROM")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs")] = False,
) -> None:
    """Show a structure: cell, source, and its reflections with d, multiplicity and intensity."""
    from fringemap.phases import compute_reflections, load_structure

    structure = load_structure(name)
    lines = compute_reflections(structure, d_min_angstrom=d_min)
    rows = zip(lines.hkl.tolist(), lines.d_spacing, lines.multiplicity, lines.intensity, strict=True)
    if as_json:
        listed = [{"hkl": h, "d_angstrom": d, "multiplicity": int(m), "intensity": i} for h, d, m, i in rows]
        _print_json({**_structure_as_json(structure), "reflections": listed})
        return
    typer.echo(f"{structure.name}  {structure.formula}  {structure.space_group}")
    typer.echo(f"cell         {' '.join(f'{x:g}' for x in structure.cell)}  [Å, degrees]")
    at = f"{structure.temperature_k:g} K" if structure.temperature_k else "not stated"
    typer.echo(f"measured at  {at}\nsource       {structure.source}")
    typer.echo(f"{'hkl':>12}  {'d [Å]':>8}  {'mult.':>5}  intensity")
    for hkl, d, multiplicity, intensity in rows:
        typer.echo(f"{' '.join(map(str, hkl)):>12}  {d:8.4f}  {multiplicity:5d}  {intensity:7.1f}")


@app.command("benchmark")
def benchmark_command(
    size: Annotated[int, typer.Option(help="Side of the frame [px]", min=256, metavar="N")] = 4096,
    repeats: Annotated[int, typer.Option(help="Runs of each step; the median counts", min=1, metavar="N")] = 5,
) -> None:
    """Time each step of the analysis of one frame, as a ratio to numpy's complex128 FFT of the same frame."""
    from fringemap.benchmark import run_benchmark

    run_benchmark(size=size, repeats=repeats, tell=typer.echo)
