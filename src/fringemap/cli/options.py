"""One option for each setting: type, unit, range and help come from the settings classes."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fringemap import settings as knobs
from fringemap.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_METAVARS = {
    "nm/px": "NM",
    "nm": "NM",
    "s": "SECONDS",
    "Å": "ANGSTROM",
    "%": "PERCENT",
    "e/Å²/s": "RATE",
    "K": "KELVIN",
}
_KIND_METAVARS = {int: "N", float: "X", str: "TEXT"}


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each setting, and hand it the finished settings as ``settings``.

    A command with a parameter ``files`` also gets the settings of single inputs that the settings file holds, without
    those that an option overrides; any other refuses such a file.
    """
    sections = {f.name: getattr(knobs, str(f.type)) for f in dataclasses.fields(knobs.AnalysisSettings)}
    options = {f.name: (section, f) for section, cls in sections.items() for f in dataclasses.fields(cls)}

    own = list(inspect.signature(command, eval_str=True).parameters.values())
    takes_files = any(parameter.name == "files" for parameter in own)

    def call(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in options}
        base = knobs.read_settings(given["settings"]) if given["settings"] else knobs.AnalysisSettings()
        files = knobs.read_file_settings(given["settings"]) if given["settings"] else ()
        if takes_files:
            chosen_names = {name for name, value in chosen.items() if value is not None}
            given["files"] = knobs.without_settings(files, chosen_names)
        elif files:
            raise SettingsError(
                f"{given['settings']} holds settings of single inputs ([{knobs.FILES}]), which this command does not "
                "take; use a settings file without them"
            )
        given["settings"] = _override(base, {options[n][0]: {} for n in options}, chosen, options)
        command(**given)

    file_option = typer.Option("--settings", metavar="FILE.toml", help="Read settings from a file; options override it")
    parameters = [p for p in own if p.name not in ("settings", "files")]
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
            sections[section][name] = split_list(value) if many else value
    whole = {s: {**_given(getattr(base, s)), **values} for s, values in sections.items()}
    return knobs.settings_from_mapping(whole, origin="the command line")


def _given(section: knobs.Settings) -> dict[str, Any]:
    return {f.name: getattr(section, f.name) for f in dataclasses.fields(section)}


def split_list(values: Sequence[str]) -> tuple[str, ...]:
    """Parts of lists separated by commas, without blanks."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())
