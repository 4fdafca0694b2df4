"""Bayesian search for the settings of a network and its training: resumable, with a report of its trials."""

from __future__ import annotations

import csv
import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import optuna

from fringemap.errors import OutputError, SettingsError
from fringemap.report.atomic import atomic_write
from fringemap.report.training_curves import write_trials
from fringemap.settings import NetworkSettings
from fringemap.training.joined import open_sets
from fringemap.training.train import train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from optuna.trial import FrozenTrial, Trial

    from fringemap.settings import TrainSettings, TuneSettings
    from fringemap.training.checkpoint import Round
    from fringemap.training.joined import OpenedSets

    Tell = Callable[[str, int, int], None]

STUDY = "study.db"
# Filters double from level to level: those of the last level above the bottom are eight times those of the first.
_LAST_OVER_FIRST = 8
_PAPER_FILTERS = (256, 512, 1024)
_FINISHED = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)


@dataclass(frozen=True)
class Tuned:
    """How a search ended."""

    dice: float
    """Of the best trial, on validation patterns."""
    best: Mapping[str, Any]
    """Its settings."""
    n_trials: int


def tune(
    sets: Sequence[Path], out: Path, *, settings: TuneSettings, base: TrainSettings, tell: Tell | None = None
) -> Tuned:
    """Train networks with settings that a tree of Parzen estimators chooses from how earlier ones did.

    Parameters
    ----------
    out
        Gets ``study.db`` (each trial is in it as soon as it is done; the same call again goes on), ``trials.csv``,
        ``trials.png``, ``report.md``, and what each trial's training left in ``trials/``.
    base
        Of the trainings, where the search leaves it alone.

    Raises
    ------
    SettingsError
        The study in ``out`` searched another space or had other sets or rounds, there is nothing to train on or to
        validate with, or no trial could be done in the time.
    """
    opened = open_sets(sets)
    study = _open_study(out, settings, base, opened.fingerprint)
    _take_up_broken_trials(study)
    base = replace(base, epochs=settings.epochs, patience=settings.patience, seed=settings.seed)
    deadline = time.monotonic() + 60 * settings.minutes if settings.minutes is not None else float("inf")
    while _n_finished(study) < settings.trials and time.monotonic() < deadline:
        trial = study.ask()
        network, chosen = suggest(trial, settings, base)
        if tell is not None:
            tell("trials", _n_finished(study), settings.trials)
        dice = _do_trial(trial, opened, network, chosen, out / "trials" / f"{trial.number:03d}", tell)
        study.tell(trial, dice)
        write_report(study, out, settings)
    if _n_finished(study) == 0:
        raise SettingsError(f"not one trial was done in {settings.minutes} minutes; give more time")
    write_report(study, out, settings)
    return Tuned(float(study.best_value), study.best_params, _n_finished(study))


def suggest(trial: Trial, settings: TuneSettings, base: TrainSettings) -> tuple[NetworkSettings, TrainSettings]:
    """Settings of one trial.

    Notes
    -----
    ``paper``: learning rate 1e-4, 1e-5 or 1e-6, kernel 3 or 5, transposed kernel 2 or 3, 256 to 1024 filters, ReLU, ELU
    or GELU, three dropouts from 0 to 0.5 in steps of 0.1 [1]_.

    References
    ----------
    .. [1] Deep learning assisted high resolution microscopy image processing for phase segmentation in functional
       composite materials; the section on hyperparameters.
    """
    if settings.space == "own":
        return _suggest_own(trial, base)
    filters = trial.suggest_categorical("filters", list(settings.filters or _PAPER_FILTERS))
    shape: dict[str, Any] = {
        "kernel": trial.suggest_categorical("kernel", [3, 5]),
        "transposed_kernel": trial.suggest_categorical("transposed_kernel", [2, 3]),
        "activation": trial.suggest_categorical("activation", ["relu", "elu", "gelu"]),
    }
    for place in ("outer", "middle", "bottom"):
        shape[f"dropout_{place}"] = trial.suggest_float(f"dropout_{place}", 0.0, 0.5, step=0.1)
    network = NetworkSettings(network="paper", base_width=max(1, filters // _LAST_OVER_FIRST), **shape)
    return network, replace(base, learning_rate=trial.suggest_categorical("learning_rate", [1e-4, 1e-5, 1e-6]))


def _suggest_own(trial: Trial, base: TrainSettings) -> tuple[NetworkSettings, TrainSettings]:
    shape: dict[str, Any] = {
        "base_width": trial.suggest_categorical("base_width", [8, 12, 16, 24]),
        "activation": trial.suggest_categorical("activation", ["relu", "gelu"]),
        "dropout_bottom": trial.suggest_float("dropout_bottom", 0.0, 0.3, step=0.1),
    }
    training: dict[str, Any] = {
        "learning_rate": trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True),
        "loss": trial.suggest_categorical("loss", ["entropy", "dice", "both"]),
        "positive_weight": trial.suggest_categorical("positive_weight", [1.0, 2.0, 4.0]),
        "crop": trial.suggest_categorical("crop", [128, 192, 256]),
        "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
    }
    return NetworkSettings(**shape), replace(base, **training)


def write_report(study: optuna.Study, out: Path, settings: TuneSettings) -> None:
    """Write the trials as a table, a picture and a page, each whole or not at all."""
    trials = study.get_trials(deepcopy=False, states=_FINISHED)
    names = list(trials[0].params) if trials else []
    with atomic_write(out / "trials.csv") as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "dice", "rounds", "seconds", *names])
        writer.writerows(_row(trial, names) for trial in trials)
    write_trials([t.value for t in trials], {name: [t.params[name] for t in trials] for name in names}, out / "trials")
    ranked = sorted(trials, key=lambda t: -(t.value or 0.0))
    head = ["trial", "Dice", "rounds", "seconds", *names]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(_row(trial, names))} |" for trial in ranked]
    text = (
        f"# Search over the space `{settings.space}`\n\n{len(trials)} trials, the best first; Dice on validation "
        f"patterns.\n\n![Trials](trials.png)\n\n" + "\n".join(lines) + "\n"
    )
    with atomic_write(out / "report.md") as beside:
        beside.write_text(text, encoding="utf-8")


def _row(trial: FrozenTrial, names: Sequence[str]) -> list[str]:
    chosen = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in (trial.params[n] for n in names))
    seconds = trial.duration.total_seconds() if trial.duration else 0.0
    return [str(trial.number), f"{trial.value:.4f}", str(len(trial.intermediate_values)), f"{seconds:.0f}", *chosen]


def _do_trial(
    trial: Trial,
    sets: OpenedSets,
    network: NetworkSettings,
    settings: TrainSettings,
    folder: Path,
    tell: Tell | None,
) -> float:
    def report(history: Sequence[Round]) -> bool:
        trial.report(history[-1].dice, history[-1].epoch)
        return True

    trained = train(
        sets.training, sets.validation, network=network, settings=settings, folder=folder, tell=tell, go_on=report
    )
    return trained.best.dice


def _open_study(out: Path, settings: TuneSettings, base: TrainSettings, fingerprint: str) -> optuna.Study:
    optuna.logging.set_verbosity(logging.WARNING)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made: {error.strerror}; choose another folder") from error
    study = optuna.create_study(
        study_name="fringemap",
        storage=f"sqlite:///{(out / STUDY).resolve()}",
        direction="maximize",
        load_if_exists=True,
    )
    # A search that goes on draws other numbers than it began with, and the same ones each time it is told to go on.
    study.sampler = optuna.samplers.TPESampler(seed=settings.seed + len(study.get_trials(deepcopy=False)))
    searched = {
        "space": settings.space,
        "filters": list(settings.filters or _PAPER_FILTERS),
        "epochs": settings.epochs,
        "patience": settings.patience,
        "samples_per_epoch": base.samples_per_epoch,
        "sets": fingerprint,
    }
    known = study.user_attrs.get("searched", {})
    differing = [name for name, value in known.items() if value != searched.get(name)]
    if differing:
        raise SettingsError(
            f"{out} holds a search that differs in {', '.join(differing)}: its trials cannot be ranked with others; "
            "give the same, or choose another folder"
        )
    study.set_user_attr("searched", searched)
    return study


def _take_up_broken_trials(study: optuna.Study) -> None:
    """Trials that were at work when the search was stopped are done again."""
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)


def _n_finished(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=_FINISHED))
