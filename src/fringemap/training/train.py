"""The training loop: rounds of batches, a running average of the weights, checkpoints, an early end."""

from __future__ import annotations

import contextlib
import copy
import csv
import logging
import math
import time
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import torch

from fringemap.errors import SettingsError
from fringemap.report.atomic import atomic_write
from fringemap.report.training_curves import write_training_curves
from fringemap.training.batches import draw_batches, make_batch, stack_sample, steps_in_epoch
from fringemap.training.checkpoint import (
    Progress,
    Round,
    load_checkpoint,
    make_recipe,
    rank,
    read_tensors,
    save_checkpoint,
    write_tensors,
)
from fringemap.training.losses import compute_loss, count_overlap, dice_of
from fringemap.training.networks import make_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor
    from torch.optim import Optimizer

    from fringemap.settings import NetworkSettings, TrainSettings
    from fringemap.training.batches import Samples
    from fringemap.training.networks import UNet

    Tell = Callable[[str, int, int], None]

log = logging.getLogger(__name__)

CHECKPOINT, BEST, CUT_SHORT = "checkpoint.safetensors", "best.safetensors", "cut_short.safetensors"
# The step grows from nothing over this share of the training, then falls along a cosine to this share of its height.
_WARM_UP, _LAST_STEP = 0.05, 0.01
# Beyond this a gradient is one of a freak batch.
_LARGEST_GRADIENT = 5.0


@dataclass(frozen=True)
class Trained:
    """How a training ended."""

    network: UNet
    """With the averaged weights of the best round."""
    history: tuple[Round, ...]
    best: Round
    reason: str
    """Why it ended."""


@dataclass
class _Run:
    """A training at work."""

    network: UNet
    average: dict[str, Tensor]
    optimizer: Optimizer
    device: torch.device
    progress: Progress = field(default_factory=lambda: Progress(0, 0, []))
    cut_short: bool = False
    """The last round met the time limit: its weights count, but the training does not go on from them."""


def train(
    training: Samples,
    validation: Samples,
    *,
    network: NetworkSettings,
    settings: TrainSettings,
    folder: Path,
    resume: bool = False,
    fingerprint: str = "",
    weights: Mapping[str, Tensor] | None = None,
    augment: Callable[..., Any] | None = None,
    tell: Tell | None = None,
    go_on: Callable[[Sequence[Round]], bool] | None = None,
) -> Trained:
    """Train a network and keep the weights of its best round.

    Parameters
    ----------
    training, validation
        Labelled patterns; no source in both.
    folder
        Gets ``checkpoint.safetensors`` and ``best.safetensors`` (whole or not at all), ``history.csv`` and
        ``curves.png`` after each round.
    resume
        Go on from the checkpoint in ``folder``, if there is one. The result on a CPU is, bit for bit, that of a
        training which was never stopped: every round draws its random numbers from the seed and its own number.
    fingerprint
        Tells the samples from others: a training goes on with the same only.
    weights
        Of a trained network of the same shape, to begin with; fresh ones if None.
    tell
        Is called with a name, what is done, and of how much.
    go_on
        Is shown all rounds after each; False ends the training.

    Raises
    ------
    SettingsError
        The checkpoint is of other settings or samples, or there is no sample to train on or to validate with.
    """
    began = time.monotonic()
    if not len(training) or not len(validation):
        raise SettingsError("no sample to train on or to validate with: without, no Dice means anything")
    run = _start(network, settings, weights)
    recipe = make_recipe(network, settings, (len(training), len(validation)), fingerprint)
    if resume and (folder / CHECKPOINT).exists():
        run.progress = load_checkpoint(
            folder / CHECKPOINT, network=run.network, average=run.average, optimizer=run.optimizer, recipe=recipe
        )
    deadline = began + 60 * settings.minutes if settings.minutes is not None else math.inf
    reason = _why_end(run.progress, settings, deadline, go_on)
    while not (reason and run.progress.history):
        _do_round(run, training, validation, network, settings, deadline, augment, tell)
        _keep(run, folder, recipe)
        reason = _why_end(run.progress, settings, deadline, go_on)
    log.info("training ended: %s", reason)
    best = max(run.progress.history, key=rank)
    cut_short = run.cut_short and best is run.progress.history[-1]
    run.network.load_state_dict(read_tensors(folder / (CUT_SHORT if cut_short else BEST))[0])
    return Trained(run.network.eval(), tuple(run.progress.history), best, reason)


def evaluate_dice(
    network: UNet, samples: Samples, *, network_settings: NetworkSettings, settings: TrainSettings
) -> tuple[float, float]:
    """Loss and Dice over the first ``validation_samples`` whole patterns, all pixels of all patterns in one count."""
    device = next(network.parameters()).device
    counts, losses = torch.zeros(3, dtype=torch.int64), []
    network.eval()
    with torch.inference_mode():
        for index in range(min(len(samples), settings.validation_samples)):
            stacked = stack_sample(samples[index], network_settings)
            batch = make_batch([stacked], network.stride).to(device)
            logit = network(batch.image)
            losses.append(float(compute_loss(logit, batch.label, batch.weight, settings=settings)))
            counts += count_overlap(logit, batch.label, batch.weight).cpu()
    return sum(losses) / max(len(losses), 1), dice_of(counts)


def _start(network: NetworkSettings, settings: TrainSettings, weights: Mapping[str, Tensor] | None) -> _Run:
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Channels beside each other in memory: a fifth less time on a CPU.
    made = make_network(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if weights is not None:
        made.load_state_dict(weights)
    optimizer = torch.optim.AdamW(made.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    return _Run(made, copy.deepcopy(made.state_dict()), optimizer, device)


def _why_end(
    progress: Progress, settings: TrainSettings, deadline: float, go_on: Callable[[Sequence[Round]], bool] | None
) -> str:
    """Why no further round begins; empty if one does."""
    best = progress.best
    if time.monotonic() >= deadline:
        return f"{settings.minutes:g} minutes are over"
    if progress.epoch >= settings.epochs:
        return f"all {settings.epochs} rounds are done"
    if best is not None and progress.epoch - best.epoch >= settings.patience:
        return f"no better Dice in {settings.patience} rounds"
    if go_on is not None and progress.history and not go_on(progress.history):
        return "it was told to"
    return ""


def _do_round(
    run: _Run,
    training: Samples,
    validation: Samples,
    network: NetworkSettings,
    settings: TrainSettings,
    deadline: float,
    augment: Callable[..., Any] | None,
    tell: Tell | None,
) -> None:
    began, epoch = time.monotonic(), run.progress.epoch
    # Dropout draws from torch's own generator.
    torch.manual_seed(settings.seed + 1_000_003 * (epoch + 1))
    n_steps = steps_in_epoch(len(training), settings)
    batches = draw_batches(
        training, epoch=epoch, settings=settings, network=network, stride=run.network.stride, augment=augment
    )
    losses = []
    for number, batch in enumerate(batches):
        rate = learning_rate(run.progress.step, settings.epochs * n_steps, settings)
        losses.append(_step(run, batch, rate, settings))
        if tell is not None:
            tell(f"round {epoch + 1} of {settings.epochs}", number + 1, n_steps)
        if time.monotonic() >= deadline and number + 1 < n_steps:
            run.cut_short = True
            break
    with _averaged(run):
        validation_loss, dice = evaluate_dice(run.network, validation, network_settings=network, settings=settings)
    done = Round(epoch + 1, sum(losses) / len(losses), validation_loss, dice, rate, time.monotonic() - began)
    run.progress.epoch += 1
    run.progress.history.append(done)
    log.info(
        "round %d: loss %.4f, validation %.4f, Dice %.4f, %.0f s",
        done.epoch,
        done.loss,
        done.validation_loss,
        done.dice,
        done.seconds,
    )


def _step(run: _Run, batch: Any, rate: float, settings: TrainSettings) -> float:
    """Take one step down the gradient of one batch, and move the average along."""
    run.network.train()
    batch = batch.to(run.device)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    with _precision(run.device, settings):
        logit = run.network(batch.image.contiguous(memory_format=torch.channels_last))
    loss = compute_loss(logit.float(), batch.label, batch.weight, settings=settings)
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), _LARGEST_GRADIENT)
    run.optimizer.step()
    run.progress.step += 1
    _move_average(run, settings.averaging)
    return float(loss.detach())


def _precision(device: torch.device, settings: TrainSettings) -> Any:
    if device.type == "cuda" and settings.mixed_precision:
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def _move_average(run: _Run, stays: float) -> None:
    """Move the running average towards the weights; in the first steps it follows them closely."""
    stays = min(stays, (1 + run.progress.step) / (10 + run.progress.step))
    with torch.no_grad():
        for name, value in run.network.state_dict().items():
            if value.dtype.is_floating_point:
                run.average[name].lerp_(value, 1 - stays)
            else:
                run.average[name].copy_(value)


@contextlib.contextmanager
def _averaged(run: _Run) -> Iterator[None]:
    """The network with its averaged weights, for a while."""
    own = copy.deepcopy(run.network.state_dict())
    run.network.load_state_dict(run.average)
    try:
        yield
    finally:
        run.network.load_state_dict(own)


def learning_rate(step: int, n_steps: int, settings: TrainSettings) -> float:
    """Step length of AdamW: a short rise, then a cosine."""
    warm = max(1, round(_WARM_UP * n_steps))
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    share = (step - warm) / max(n_steps - warm, 1)
    return settings.learning_rate * (_LAST_STEP + (1 - _LAST_STEP) * 0.5 * (1 + math.cos(math.pi * share)))


def _keep(run: _Run, folder: Path, recipe: dict[str, Any]) -> None:
    """Write the best weights, then the state: a kill between the two only repeats a round."""
    if run.progress.best is run.progress.history[-1]:
        path = folder / (CUT_SHORT if run.cut_short else BEST)
        write_tensors(path, run.average, {"recipe": recipe, "round": asdict(run.progress.history[-1])})
    if not run.cut_short:
        save_checkpoint(
            folder / CHECKPOINT,
            network=run.network,
            average=run.average,
            optimizer=run.optimizer,
            progress=run.progress,
            recipe=recipe,
        )
    write_history(run.progress.history, folder / "history.csv")
    history = run.progress.history
    write_training_curves(
        [r.epoch for r in history],
        [r.loss for r in history],
        [r.validation_loss for r in history],
        [r.dice for r in history],
        folder / "curves",
    )


def write_history(history: Sequence[Round], path: Path) -> None:
    """Write one line a round, whole or not at all."""
    with atomic_write(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Round)])
        writer.writeheader()
        writer.writerows(asdict(r) for r in history)
