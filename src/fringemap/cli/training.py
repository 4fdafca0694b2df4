"""Commands of the detector that learns: ``train``, ``tune`` and ``model``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fringemap.cli.app import app
from fringemap.cli.telling import print_json, show_progress
from fringemap.errors import SettingsError

if TYPE_CHECKING:
    from fringemap.spots.model import Model

model_app = typer.Typer(help="Model packages.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(model_app, name="model")

Sets = Annotated[list[Path], typer.Argument(help="Sets that fringemap simulate made", metavar="SET...")]


@app.command("train")
def train_command(
    context: typer.Context,
    sets: Sets,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the model package", metavar="MODEL")],
    start: Annotated[
        str | None,
        typer.Option("--from", help="Train this model on, with labels of your frames as SETs", metavar="MODEL"),
    ] = None,
    network: Annotated[
        Literal["compact", "paper"], typer.Option(help="Shape of the network: made for CPUs, or the published one")
    ] = "compact",
    base_width: Annotated[
        int | None, typer.Option(help="Filters of the first level: 16 (compact), 128 (paper)", metavar="N")
    ] = None,
    loss: Annotated[
        Literal["entropy", "dice", "both"], typer.Option(help="Cross-entropy, soft Dice, or their sum")
    ] = "both",
    positive_weight: Annotated[float, typer.Option(help="Weight of the spots' pixels in the cross-entropy")] = 4.0,
    augmentation: Annotated[
        Literal["none", "physical", "paper"], typer.Option(help="Changes of the patterns while they are shown")
    ] = "none",
    epochs: Annotated[int, typer.Option(help="Rounds at most", metavar="N")] = 40,
    samples_per_epoch: Annotated[
        int | None, typer.Option(help="Patterns drawn for one round; the whole set if left out", metavar="N")
    ] = None,
    crops_per_sample: Annotated[
        int, typer.Option(help="Crops from each pattern; 1 is best where there are thousands", metavar="N")
    ] = 4,
    batch: Annotated[int, typer.Option(help="Crops in one step, of as many patterns", metavar="N")] = 16,
    learning_rate: Annotated[float, typer.Option(help="Largest step of AdamW", metavar="X")] = 6e-3,
    patience: Annotated[int, typer.Option(help="End after so many rounds without a better Dice", metavar="N")] = 10,
    minutes: Annotated[
        float | None, typer.Option(help="End after this time with the best model so far [min]", metavar="X")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training that is in MODEL")] = False,
    threads: Annotated[int, typer.Option(help="CPU threads", metavar="N")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn", metavar="N")] = 0,
    int8: Annotated[bool, typer.Option("--int8", help="Store the network in 8-bit integers; the loss is said")] = False,
    name: Annotated[str | None, typer.Option(help="Of the package; the folder's if left out", metavar="TEXT")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result for programs")] = False,
) -> None:
    """Train a network on sets, tune its threshold, count its false spots, and write a model package."""
    _need_libraries()
    from fringemap.settings import NetworkSettings, TrainSettings
    from fringemap.training.make_model import make_model

    if start is not None:
        _train_on(start, sets, out, _given(context), as_json=as_json)
        return
    settings = TrainSettings(
        loss=loss,
        positive_weight=positive_weight,
        augmentation=augmentation,
        epochs=epochs,
        samples_per_epoch=samples_per_epoch,
        crops_per_sample=crops_per_sample,
        batch=batch,
        learning_rate=learning_rate,
        patience=patience,
        minutes=minutes,
        threads=threads,
        seed=seed,
    )
    shape = NetworkSettings(network=network, base_width=base_width)
    with show_progress() as tell:
        model, trained = make_model(
            sets, out, network=shape, settings=settings, name=name, resume=resume, int8=int8, tell=tell
        )
    if as_json:
        print_json({"folder": model.folder, "name": model.name, "ended": trained.reason, **model.about["metrics"]})
        return
    typer.echo(f"Ended: {trained.reason}; best round {trained.best.epoch} of {len(trained.history)}")
    _tell_model(model)


def _train_on(start: str, labels: list[Path], out: Path, given: dict[str, Any], *, as_json: bool) -> None:
    """Fine-tune a model and say what it gained."""
    from dataclasses import replace

    from fringemap.training.fine_tune import FINE_TUNING, describe, fine_tune
    from fringemap.training.joined import Joined
    from fringemap.training.labelled import load_labelled

    name = given.pop("name", None)
    if own := [f"--{key.replace('_', '-')}" for key in ("network", "base_width", "resume", "int8") if key in given]:
        raise SettingsError(f"{', '.join(own)} cannot be given with --from: the network is that of the model")
    gathered = Joined(tuple(load_labelled(path) for path in labels))
    with show_progress() as tell:
        made = fine_tune(start, gathered, out, settings=replace(FINE_TUNING, **given), name=name, tell=tell)
    if as_json:
        scores = {"before": made.before["labels"], "after": made.after["labels"]}
        compared = {key: describe(one) for key, one in scores.items()}
        print_json({"folder": made.model.folder, "name": made.model.name, "better": made.better, **compared})
        return
    typer.echo(made.reason[0].upper() + made.reason[1:])
    _tell_model(made.model)


def _given(context: typer.Context) -> dict[str, Any]:
    """Options of a training that the user wrote; the others are those that fine-tuning has for itself."""
    outside = ("context", "sets", "out", "start", "as_json")
    typed = [name for name in context.params if getattr(context.get_parameter_source(name), "name", "") != "DEFAULT"]
    return {name: context.params[name] for name in typed if name not in outside}


@app.command("tune")
def tune_command(
    sets: Sets,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for trials and report", metavar="FOLDER")],
    space: Annotated[
        Literal["paper", "own"], typer.Option(help="What is searched: the published space, or that of compact networks")
    ] = "paper",
    trials: Annotated[int, typer.Option(help="Trials, those of earlier runs in FOLDER included", metavar="N")] = 15,
    epochs: Annotated[int, typer.Option(help="Rounds of a trial at most", metavar="N")] = 20,
    patience: Annotated[int, typer.Option(help="End a trial after so many rounds without a better Dice")] = 3,
    filters: Annotated[
        str, typer.Option(help="Filters to choose from in the paper's space", metavar="LIST")
    ] = "256,512,1024",
    samples_per_epoch: Annotated[
        int | None, typer.Option(help="Patterns drawn for one round; the whole set if left out", metavar="N")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Begin no trial after this time [min]", metavar="X")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads", metavar="N")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the search and of each training", metavar="N")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result for programs")] = False,
) -> None:
    """Search for good settings of network and training; the same line again goes on."""
    _need_libraries("optuna")
    from fringemap.settings import TrainSettings, TuneSettings
    from fringemap.training.tune import tune

    settings = TuneSettings(
        space=space,
        trials=trials,
        epochs=epochs,
        patience=patience,
        filters=_numbers(filters),
        minutes=minutes,
        seed=seed,
    )
    base = TrainSettings(samples_per_epoch=samples_per_epoch, threads=threads, seed=seed)
    with show_progress() as tell:
        tuned = tune(sets, out, settings=settings, base=base, tell=tell)
    if as_json:
        print_json({"folder": out, "dice": tuned.dice, "n_trials": tuned.n_trials, "best": dict(tuned.best)})
        return
    typer.echo(f"Best Dice {tuned.dice:.4f} in {tuned.n_trials} trials: {_in_words(tuned.best)}")
    typer.echo(f"Report: {out / 'report.md'}")


@model_app.command("check")
def model_check_command(
    model: Annotated[str, typer.Argument(help="Folder of a model package; the shipped one if empty")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs")] = False,
) -> None:
    """Read a model package, compute its test vectors, and say what it is."""
    from fringemap.spots.model import check_model, load_model

    loaded = load_model(model)
    difference = check_model(loaded)
    if as_json:
        about = {key: value for key, value in loaded.about.items() if key != "test_vectors"}
        print_json({**about, "folder": loaded.folder, "test_difference_logit": difference})
        return
    _tell_model(loaded)
    typer.echo(f"test vectors {difference:.1e} logit from what they should be")


def _tell_model(model: Model) -> None:
    metrics, table = model.about["metrics"], model.about["calibration"]
    typer.echo(
        f"model        {model.name}, {model.about['n_weights']} weights, made {model.about['made']}: {model.folder}"
    )
    typer.echo(f"Dice         {metrics['dice']:.4f} on validation patterns, above logit {model.threshold:.2f}")
    if "dice_float32" in metrics:
        typer.echo(f"int8         costs {metrics['dice_float32'] - metrics['dice']:.4f} of Dice")
    typer.echo(
        f"false spots  {table['n_false']} in {table['n_patterns']} empty frames ({table['n_megapixels']} megapixels); "
        f"0.05 a frame of 0.4 megapixels above logit {model.calibration.logit_at(0.05, 400_000):.2f}"
    )


def _need_libraries(*more: str) -> None:
    from fringemap.training.registry import require_libraries

    require_libraries("training", *more)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(f"--filters {text} is no list of whole numbers, such as 256,512") from error


def _in_words(chosen: Any) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in chosen.items()
    )
