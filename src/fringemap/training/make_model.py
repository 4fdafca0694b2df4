"""From sets of samples to a model package: what ``fringemap train`` does."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from fringemap.errors import SettingsError
from fringemap.training.augment import make_augmentation
from fringemap.training.drawing import draw_sample
from fringemap.training.joined import open_sets
from fringemap.training.package import PackageInfo, write_package
from fringemap.training.recipes import find_recipe
from fringemap.training.train import CHECKPOINT, train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from fringemap.settings import NetworkSettings, TrainSettings
    from fringemap.spots.model import Model
    from fringemap.training.batches import Sample
    from fringemap.training.recipes import SetRecipe
    from fringemap.training.train import Trained

    Tell = Callable[[str, int, int], None]

WORK = "training"
"""Folder inside a package where its training is kept; nobody needs it who only uses the model."""
# Of the frames without a crystal on which false spots are counted: no training set is drawn from it.
_EMPTY_SEED = 911_382_323
_LICENCE = "GPL-3.0-or-later"


def make_model(
    sets: Sequence[Path],
    out: Path,
    *,
    network: NetworkSettings,
    settings: TrainSettings,
    name: str | None = None,
    resume: bool = False,
    int8: bool = False,
    tell: Tell | None = None,
) -> tuple[Model, Trained]:
    """Train a network on sets and write it as a model package.

    Parameters
    ----------
    sets
        Folders that ``fringemap simulate`` or ``write_samples`` made; all are split by their sources, and trained on
        together.
    out
        The package: ``model.onnx``, ``model.json``, and what the training left in ``training/``.
    name
        Of the package; the folder's if None.
    resume
        Go on with the training that is in ``out``.

    Raises
    ------
    ReadError
        A set is missing or not finished.
    SettingsError
        Nothing to train on or to validate with, a source on both sides, ``out`` holds another model, or the training in
        it had other settings or sets.
    """
    if not resume and ((out / "model.json").exists() or (out / WORK / CHECKPOINT).exists()):
        raise SettingsError(f"{out} holds a model or a training already; go on with --resume, or choose another folder")
    opened = open_sets(sets)
    augment = None
    if settings.augmentation != "none":
        augment = make_augmentation(settings.augmentation, half=network.half)
    trained = train(
        opened.training,
        opened.validation,
        network=network,
        settings=settings,
        folder=out / WORK,
        resume=resume,
        fingerprint=opened.fingerprint,
        augment=augment,
        tell=tell,
    )
    info = PackageInfo(
        name=name or out.name,
        version="1",
        sets=tuple(_describe(one.folder.name, one.record) for one in opened.sets),
        licence=_LICENCE,
        recipe={**asdict(settings), "rounds": len(trained.history), "ended": trained.reason},
        metrics={"best_round": trained.best.epoch, "dice_in_training": round(trained.best.dice, 5)},
    )
    # Drawn while they are counted: thousands would fill the memory.
    empty = _told(draw_empty(settings.empty_frames), settings.empty_frames, tell)
    model = write_package(
        trained.network,
        out,
        settings=network,
        validation=opened.validation,
        empty=empty,
        info=info,
        int8=int8,
        tell=tell,
    )
    return model, trained


def draw_empty(n: int, *, seed: int = _EMPTY_SEED) -> Iterator[Sample]:
    """Patterns of frames without any crystal, with all the carbon, rings, edges and faults of the training's frames.

    Every fifth is one of the rare frames, many of which have very uneven layers.
    """
    usual, rare = _without_crystals(find_recipe("train")), _without_crystals(find_recipe("rare"))
    for index in range(n):
        yield draw_sample(rare if index % 5 == 4 else usual, seed=seed, index=index)


def _without_crystals(recipe: SetRecipe) -> SetRecipe:
    regimes = (replace(regime, scenes=replace(regime.scenes, empty_share=1.0)) for regime in recipe.regimes)
    return replace(recipe, regimes=tuple(regimes))


def _told(samples: Iterator[Sample], n: int, tell: Tell | None) -> Iterator[Sample]:
    for number, sample in enumerate(samples, start=1):
        yield sample
        if tell is not None:
            tell("count false spots in empty frames", number, n)


def _describe(name: str, record: Any) -> dict[str, Any]:
    known = ("n_samples", "seed", "licence", "about", "fringemap", "split")
    about = {key: record[key] for key in known if key in record}
    if "recipe" in record:
        about |= {"kind": record["recipe"]["kind"], "recipe_version": record["recipe"]["version"]}
    return {"name": name, **about}
