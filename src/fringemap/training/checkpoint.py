"""State of a training on disk, whole or not at all."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from fringemap.errors import OutputError, ReadError, SettingsError
from fringemap.report.atomic import atomic_write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor
    from torch.optim import Optimizer

    from fringemap.settings import NetworkSettings, TrainSettings
    from fringemap.training.networks import UNet

# These may differ when a training goes on: they change when it ends and how fast it is, not what it computes.
_FREE = ("minutes", "threads", "patience", "empty_frames")


@dataclass(frozen=True)
class Round:
    """What one round of training came to."""

    epoch: int
    """From 1."""
    loss: float
    """Mean over the round's batches."""
    validation_loss: float
    dice: float
    """Of the running average of the weights, on validation patterns."""
    learning_rate: float
    seconds: float


@dataclass
class Progress:
    """Where a training stands."""

    epoch: int
    """Rounds that are done."""
    step: int
    history: list[Round]

    @property
    def best(self) -> Round | None:
        """The round that ``rank`` puts first."""
        return max(self.history, key=rank, default=None)


def rank(one: Round) -> tuple[float, float]:
    """By this rounds are compared: the Dice; of equals, as at the start, the smaller loss."""
    return one.dice, -one.validation_loss


def save_checkpoint(
    path: Path,
    *,
    network: UNet,
    average: Mapping[str, Tensor],
    optimizer: Optimizer,
    progress: Progress,
    recipe: Mapping[str, Any],
) -> None:
    """Write everything that the next round depends on. Random numbers need no state: each round draws its own."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
    history = [dataclasses.asdict(r) for r in progress.history]
    about = {"epoch": progress.epoch, "step": progress.step, "history": history, "recipe": dict(recipe)}
    write_tensors(path, tensors, about)


def load_checkpoint(
    path: Path, *, network: UNet, average: dict[str, Tensor], optimizer: Optimizer, recipe: Mapping[str, Any]
) -> Progress:
    """Put a saved state into a network, its average and its optimizer, in place.

    Raises
    ------
    SettingsError
        The checkpoint is of a training with other settings.
    ReadError
        It is missing or damaged.
    """
    tensors, about = read_tensors(path)
    _check_recipe(path, about["recipe"], recipe)
    network.load_state_dict(_part(tensors, "network."))
    for name, value in _part(tensors, "average.").items():
        average[name].copy_(value)  # in place: it may be on a GPU
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(tensors, "optimizer.").items():
        number, key = name.split(".", 1)
        states.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    return Progress(about["epoch"], about["step"], [Round(**r) for r in about["history"]])


def make_recipe(
    network: NetworkSettings, settings: TrainSettings, n_samples: Sequence[int], fingerprint: str
) -> dict[str, Any]:
    """What a training's result depends on, as JSON holds it; ``fingerprint`` tells its samples from others."""
    training = {name: value for name, value in dataclasses.asdict(settings).items() if name not in _FREE}
    samples = {"number of samples": list(n_samples), "sets of samples": fingerprint}
    return {"network": dataclasses.asdict(network), "training": training, "samples": samples}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors under their names, with a description; the file is whole or the one that was there."""
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    try:
        with atomic_write(path) as beside:
            save_file(whole, beside, metadata={"fringemap": json.dumps(about)})
    except SafetensorError as error:
        raise OutputError(f"{path} cannot be written: {error}; check the disk and the folder's rights") from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and description that ``write_tensors`` wrote."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["fringemap"])
        return load_file(path), about
    except FileNotFoundError as error:
        raise ReadError(f"{path} is not there; without it a training starts anew") from error
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ReadError(f"{path} is damaged ({error}); delete it to start the training anew") from error


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _check_recipe(path: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    differing = []
    for part, values in json.loads(json.dumps(wanted)).items():
        known = stored.get(part, {})
        differing += [name for name in {**values, **known} if known.get(name) != values.get(name)]
    if differing:
        raise SettingsError(
            f"{path} belongs to a training that differs in {', '.join(differing)}; give the same, or start in another "
            "folder"
        )
