"""A user's models: packages in one folder, which of them is in use, and the way back to the one before.

``models.json`` in that folder says which is in use, and which were before. The empty name stands for the package that
comes with fringemap. This module needs no torch.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fringemap.errors import ModelError, OutputError, SettingsError
from fringemap.report.atomic import temporary_name, write_text
from fringemap.spots.model import load_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RECORD = "models.json"
CARD = "fine_tuned"
"""Entry of ``model.json`` that says what a fine-tuned model was made of, and what it came to."""
SHIPPED = ""
"""Name of the package that comes with fringemap."""
NEEDED = ("torch", "onnx", "onnxscript", "safetensors")
"""Libraries that training needs, from its first step to the package."""
HOW_TO_INSTALL = "pip install 'fringemap[train]'"
WEIGHTS = ("weights.safetensors", "training/best.safetensors")
"""Files of a package that training on can begin with, the better one first."""
_MOST_STEPS_BACK = 50


@dataclass(frozen=True)
class Card:
    """What there is to say of a model."""

    name: str
    """In the folder of models; empty for the one that comes with fringemap."""
    title: str
    """What the package calls itself."""
    made: str
    """Date."""
    n_weights: int
    trainable: bool
    """Whether it holds the weights that training on begins with."""
    metrics: Mapping[str, Any]
    fine_tuned: Mapping[str, Any] | None
    """``base``, ``sources``, ``held_out``, ``before``, ``after``, ``better`` and ``reason``; None if it was not."""
    problem: str = ""
    """Why it cannot be used; empty if it can."""


def missing_libraries(*more: str) -> list[str]:
    """Those of ``NEEDED``, and of others that are named, that are not installed."""
    return [name for name in (*NEEDED, *more) if importlib.util.find_spec(name) is None]


def require_libraries(purpose: str, *more: str) -> None:
    """Make sure that ``NEEDED``, and others that are named, are installed.

    Raises
    ------
    SettingsError
        With those that are not, and how to install them.
    """
    if missing := missing_libraries(*more):
        raise SettingsError(f"{purpose} needs {', '.join(missing)}; install them with {HOW_TO_INSTALL}")


def list_cards(folder: Path) -> list[Card]:
    """Cards of all models, the newest first; that of the shipped one, if there is one, at the end."""
    packages = [path.parent for path in folder.glob("*/model.json") if not path.parent.name.startswith(".")]
    packages.sort(key=lambda path: (path / "model.json").stat().st_mtime, reverse=True)
    cards = [read_card(folder, package.name) for package in packages]
    shipped = read_card(folder, SHIPPED)
    return cards if shipped.problem else [*cards, shipped]


def read_card(folder: Path, name: str) -> Card:
    """Card of one model; one that cannot be used says why."""
    try:
        model = load_model(package_of(folder, name))
    except (ModelError, SettingsError) as error:
        return Card(name, name, "", 0, False, {}, None, str(error))
    about = model.about
    return Card(
        name=name,
        title=model.name,
        made=str(about.get("made", "")),
        n_weights=int(about.get("n_weights", 0)),
        trainable=weights_of(model.folder) is not None,
        metrics=dict(about.get("metrics", {})),
        fine_tuned=about.get(CARD),
    )


def package_of(folder: Path, name: str) -> str:
    """What ``load_model`` and the setting ``model`` call a model of the folder.

    Raises
    ------
    SettingsError
        There is none of this name.
    """
    if name == SHIPPED:
        return ""
    path = folder / name
    if path.parent != folder or name.startswith(".") or not (path / "model.json").is_file():
        raise SettingsError(f"there is no model {name[:80]!r}; choose one of the list")
    return str(path)


def weights_of(package: Path) -> Path | None:
    """File with the weights that training on begins with; None if the package holds none."""
    return next((package / part for part in WEIGHTS if (package / part).is_file()), None)


def current(folder: Path) -> str | None:
    """Name of the model in use; None if there is none at all.

    The last one chosen that still can be used; without any, the shipped one.
    """
    chosen = _read(folder)
    for name in reversed([*chosen["before"], chosen["current"]]):
        if not read_card(folder, name).problem:
            return str(name)
    return None


def choose(folder: Path, name: str) -> None:
    """Use a model from now on.

    Raises
    ------
    SettingsError
        There is none of this name.
    ModelError
        It is damaged or does not fit.
    """
    load_model(package_of(folder, name))
    chosen = _read(folder)
    if name != chosen["current"]:
        before = [*chosen["before"], chosen["current"]][-_MOST_STEPS_BACK:]
        _write(folder, {"current": name, "before": before})


def roll_back(folder: Path) -> str:
    """Go back to the model that was in use before, and give its name; the one left stays in the list.

    Raises
    ------
    SettingsError
        There was none before.
    """
    before = list(_read(folder)["before"])
    while before:
        name = str(before.pop())
        if not read_card(folder, name).problem:
            _write(folder, {"current": name, "before": before})
            return name
    raise SettingsError("no other model was in use before; there is nothing to go back to")


def can_roll_back(folder: Path) -> bool:
    """Whether a model that was in use before can still be used."""
    return any(not read_card(folder, name).problem for name in _read(folder)["before"])


def remove(folder: Path, name: str) -> None:
    """Delete a model that is not in use.

    Raises
    ------
    SettingsError
        It is in use, came with fringemap, or is not there.
    """
    if name == SHIPPED or name == current(folder):
        raise SettingsError("a model that is in use, or came with fringemap, is not deleted; choose another one first")
    shutil.rmtree(package_of(folder, name))
    chosen = _read(folder)
    _write(folder, {**chosen, "before": [one for one in chosen["before"] if one != name]})


def adopt(folder: Path, package: Path) -> str:
    """Copy a model package from elsewhere into the folder and give its name there.

    Raises
    ------
    ModelError
        It is no package, damaged, or does not fit.
    OutputError
        The copy cannot be written.
    """
    load_model(str(package))
    name = free_name(folder, package.name)
    beside = temporary_name(folder / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        beside.mkdir()
        for part in ("model.json", "model.onnx", *WEIGHTS):
            if (package / part).is_file():
                (beside / part).parent.mkdir(exist_ok=True)
                shutil.copy(package / part, beside / part)
        beside.replace(folder / name)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise OutputError(f"{folder / name} cannot be written: {error.strerror}; choose another folder") from error
    return name


def free_name(folder: Path, stem: str) -> str:
    """Name for a new model: the stem, with a number if it is taken."""
    stem = "".join(c if c.isalnum() or c in "._-+" else "-" for c in stem).strip(".-") or "model"
    name, number = stem, 2
    while (folder / name).exists():
        name, number = f"{stem}-{number}", number + 1
    return name


def _read(folder: Path) -> dict[str, Any]:
    """Which is in use; a record that is damaged counts as none."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return {"current": str(found["current"]), "before": [str(name) for name in found["before"]]}
    except (OSError, ValueError, KeyError, TypeError):
        return {"current": SHIPPED, "before": []}


def _write(folder: Path, chosen: Mapping[str, Any]) -> None:
    write_text(folder / RECORD, json.dumps(chosen, indent=1, ensure_ascii=False) + "\n")
