"""Train a model on with labels of a user's own frames, and see whether that made it better.

The frames are shared out by their source. The held-out ones are never trained on, now or in an earlier lesson, and
choose no round: they say what the model was worth before, and what it is worth after. Drawn patterns are mixed in, so
that a handful of labels does not make a network forget all other specimens; a few more of them say whether it did.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from fringemap.errors import ModelError, ReadError, SettingsError
from fringemap.report.atomic import write_text, writing
from fringemap.settings import NetworkSettings, SpotSettings, TrainSettings
from fringemap.spots.model import load_model
from fringemap.training.augment import make_augmentation
from fringemap.training.checkpoint import read_tensors
from fringemap.training.drawing import draw_samples
from fringemap.training.label_scores import LabelScores, score_labels
from fringemap.training.make_model import WORK, draw_empty
from fringemap.training.package import PackageInfo, write_package
from fringemap.training.recipes import find_recipe
from fringemap.training.registry import CARD, weights_of
from fringemap.training.shards import rank_sources
from fringemap.training.train import train

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from fringemap.spots.model import Model
    from fringemap.training.joined import SourcedSamples
    from fringemap.training.samples import Sample
    from fringemap.training.train import Trained

    Tell = Callable[[str, int, int], None]

Item = TypeVar("Item")

FINE_TUNING = TrainSettings(
    augmentation="physical",
    epochs=12,
    patience=4,
    batch=8,
    learning_rate=5e-4,
    averaging=0.98,
    minutes=15.0,
    empty_frames=60,
)
"""Small steps, since the network knows most of it; false spots are counted on fewer frames than the first time."""
LEAST_DRAWN = 24
"""Drawn patterns that are mixed in; as many as there are labels to train on where these are more."""
_CHECKED = 16
# Of the patterns that are mixed in, and of those that say what is forgotten: these no lesson sees.
_DRAWN_SEED, _CHECK_SEED = 520_114_007, 520_114_009
_HELD_OUT_SHARE = 0.25
# From so many sources on some are spared to choose the best round with.
_FEW_SOURCES = 5
# Labels and drawn patterns have about equal weight in a round, but no label comes more often than this.
_MOST_REPEATS = 8
# What F1 may lose on drawn patterns before a model counts as worse: that of a few patterns scatters by as much. Dice
# says less of them: it falls already when people draw their circles wider than half maximum.
_LOSS_ALLOWED = 0.05
_LICENCE = "as its labels and the model that it was trained from"


@dataclass(frozen=True)
class Sides:
    """How labelled frames are shared out; numbers of samples."""

    training: tuple[int, ...]
    choosing: tuple[int, ...]
    """The best round is chosen on them: those of the training where there are few sources."""
    held_out: tuple[int, ...]


@dataclass(frozen=True)
class Lesson:
    """What a model is taught with, and judged by."""

    training: Sequence[Sample]
    """Labelled patterns."""
    choosing: Sequence[Sample]
    drawn: Sequence[Sample]
    """Patterns that are mixed in."""
    checks: Mapping[str, Sequence[Sample]]
    """Held-out ``labels`` and more ``drawn`` patterns."""
    sources: tuple[str, ...]
    """Of what the training sees."""
    held_out: tuple[str, ...]


@dataclass(frozen=True)
class FineTuned:
    """A model that was trained on, beside the one that it was trained from."""

    model: Model
    before: Mapping[str, LabelScores]
    """On ``labels`` (held out) and ``drawn`` patterns."""
    after: Mapping[str, LabelScores]
    better: bool
    reason: str
    """Why it counts as better or not, in words."""
    trained: Trained


def fine_tune(
    base: str | Path,
    labels: SourcedSamples,
    out: Path,
    *,
    settings: TrainSettings = FINE_TUNING,
    n_drawn: int | None = None,
    name: str | None = None,
    tell: Tell | None = None,
) -> FineTuned:
    """Train a model on with labels and write it as a package of its own; the one given stays as it is.

    Parameters
    ----------
    base
        Package that holds its weights.
    labels
        Of two sources or more, such as ``load_labelled`` gives them.
    out
        Folder of the new package; appears when it is whole. ``model.json`` gains ``fine_tuned``: base, sources,
        held-out sources, scores before and after.
    settings
        Of the training; as many ``empty_frames`` are drawn to count false spots on.
    n_drawn
        Drawn patterns that are mixed in, as many as labels but ``LEAST_DRAWN`` at least if None; 0 mixes in none and
        does not look whether others are forgotten.
    name
        Of the package; the folder's if None.
    tell
        Is called with a name, what is done, and of how much.

    Raises
    ------
    SettingsError
        Fewer than two frames are labelled, the model was trained on all of them, the training or the held-out ones show
        no spot, or ``out`` is taken.
    ModelError
        The package cannot be trained further.
    """
    out = out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "holds a model already" if (out / "model.json").exists() else "is taken"
        raise SettingsError(f"{out} {what}; choose another folder")
    model = load_model(str(base))
    network, weights = read_weights(model)
    lesson = _prepare(model, labels, n_drawn, tell)
    before = _scores(model, lesson.checks, tell, "the model as it was")
    unfinished = out.with_name(f".unfinished-{out.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        trained = _train(lesson, network, weights, settings, unfinished / WORK, tell)
        info = _info(name or out.name, model, lesson, settings, trained)
        made = _pack(trained, lesson, unfinished, network, info, settings.empty_frames, tell)
        after = _scores(made, lesson.checks, tell, "the new model")
        better, reason = compare(before, after)
        _add_card(unfinished / "model.json", model, lesson, before, after)
        shutil.rmtree(unfinished / WORK, ignore_errors=True)
        with writing(out):
            if out.exists():
                out.rmdir()
            unfinished.replace(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return FineTuned(load_model(str(out)), before, after, better, reason, trained)


def share_out(sources: Sequence[str], *, trained_on: Collection[str] = (), held_out: Collection[str] = ()) -> Sides:
    """Share samples out by their sources, a quarter of them held out, so that no source is on two sides.

    Parameters
    ----------
    sources
        Of each sample.
    trained_on, held_out
        Sources that the model knows already, none of which is held out now; and those by which it was judged, which
        stay held out.

    Raises
    ------
    SettingsError
        There are fewer than two sources, or the model knows all of them.
    """
    names = rank_sources(sources)
    if len(names) < 2:
        raise SettingsError(
            f"labels of {len(names)} {'frame' if len(names) == 1 else 'frames'} are too few: one is held out to see "
            "what is gained; label frames of at least two files"
        )
    unknown = [name for name in names if name not in trained_on]
    if not unknown:
        raise SettingsError(
            f"the model was trained on all {len(names)} labelled files: none is left to see what is gained; label "
            "frames of another file"
        )
    n_kept = sum(name in held_out for name in unknown)
    n_held = min(max(1, n_kept, round(_HELD_OUT_SHARE * len(names))), len(names) - 1)
    held = sorted(unknown, key=lambda name: name not in held_out)[:n_held]
    rest = [name for name in names if name not in held]
    spared = rest[:1] if len(names) >= _FEW_SOURCES and len(rest) > 1 else []

    def numbers(chosen: Collection[str]) -> tuple[int, ...]:
        return tuple(i for i, source in enumerate(sources) if source in chosen)

    training = numbers(rest[len(spared) :])
    return Sides(training, numbers(spared) or training, numbers(held))


def read_weights(model: Model) -> tuple[NetworkSettings, dict[str, Tensor]]:
    """Shape and weights of a package's network.

    Raises
    ------
    ModelError
        It holds none, or they do not belong to the shape that it states.
    """
    path = weights_of(model.folder)
    if path is None:
        raise ModelError(
            f"the model {model.name} cannot be trained further: its package holds no weights.safetensors; take one "
            "that fringemap train made"
        )
    try:
        shape = NetworkSettings(**model.about["network"])
    except (KeyError, TypeError, SettingsError) as error:
        raise ModelError(f"the model {model.name} does not state the shape of its network ({error})") from error
    try:
        return shape, read_tensors(path)[0]
    except ReadError as error:
        raise ModelError(f"{path} is damaged; fetch the model {model.name} again, or take another") from error


def compare(before: Mapping[str, LabelScores], after: Mapping[str, LabelScores]) -> tuple[bool, str]:
    """Whether a model became better, and why: on held-out labels neither Dice nor F1 may fall, and one must rise."""
    old, new = before["labels"], after["labels"]
    said = f"on held-out labels Dice {old.dice:.3f} → {new.dice:.3f}, F1 of spots {old.f1:.3f} → {new.f1:.3f}"
    if before["drawn"].n_patterns and after["drawn"].f1 < before["drawn"].f1 - _LOSS_ALLOWED:
        lost = f"F1 {before['drawn'].f1:.3f} → {after['drawn'].f1:.3f}"
        return False, f"worse: it forgets other specimens ({lost} on drawn patterns); {said}"
    if new.dice < old.dice or new.f1 < old.f1:
        return False, f"worse: {said}"
    if new.dice == old.dice and new.f1 == old.f1:
        return False, f"no better: {said}"
    return True, f"better: {said}"


def describe(scores: LabelScores) -> dict[str, Any]:
    """Scores as JSON holds them."""
    return {**asdict(scores), "dice": round(scores.dice, 5), "f1": round(scores.f1, 5)}


def _known_sources(model: Model) -> set[str]:
    """Labelled files of all lessons that a model had."""
    sets = model.about.get("training", {}).get("sets", [])
    return {str(source) for one in sets for source in one.get("sources", ())}


def _prepare(model: Model, labels: SourcedSamples, n_drawn: int | None, tell: Tell | None) -> Lesson:
    """Share labels out, read them once, and draw what is mixed in."""
    sides = share_out(
        [labels.source(i) for i in range(len(labels))],
        trained_on=_known_sources(model),
        held_out=model.about.get(CARD, {}).get("held_out", ()),
    )
    samples = _listed((labels[i] for i in range(len(labels))), len(labels), "read labelled frames", tell)
    _require_spots(samples, sides)
    n = max(LEAST_DRAWN, len(sides.training)) if n_drawn is None else n_drawn
    drawn = _draw(n, _DRAWN_SEED, tell)
    checked = _draw(_CHECKED, _CHECK_SEED, tell) if n else []
    return Lesson(
        training=[samples[i] for i in sides.training],
        choosing=[samples[i] for i in sides.choosing],
        drawn=drawn,
        checks={"labels": [samples[i] for i in sides.held_out], "drawn": checked},
        sources=tuple(sorted({labels.source(i) for i in sides.training + sides.choosing})),
        held_out=tuple(sorted({labels.source(i) for i in sides.held_out})),
    )


def _train(
    lesson: Lesson,
    network: NetworkSettings,
    weights: Mapping[str, Tensor],
    settings: TrainSettings,
    folder: Path,
    tell: Tell | None,
) -> Trained:
    repeats = min(max(len(lesson.drawn) // len(lesson.training), 1), _MOST_REPEATS)
    augment = None
    if settings.augmentation != "none":
        augment = make_augmentation(settings.augmentation, half=network.half)
    try:
        return train(
            [*list(lesson.training) * repeats, *lesson.drawn],
            lesson.choosing,
            network=network,
            settings=replace(settings, validation_samples=max(settings.validation_samples, len(lesson.choosing))),
            folder=folder,
            weights=weights,
            augment=augment,
            tell=tell,
        )
    except RuntimeError as error:
        if "state_dict" not in str(error):
            raise
        raise ModelError("the model cannot be trained further: its weights do not fit the shape it states") from error


def _pack(
    trained: Trained,
    lesson: Lesson,
    folder: Path,
    network: NetworkSettings,
    info: PackageInfo,
    n_empty: int,
    tell: Tell | None,
) -> Model:
    """Write the package; its threshold is tuned on what the training saw."""
    empty = _listed(draw_empty(n_empty), n_empty, "draw empty frames", tell)
    if tell is not None:
        tell("write the new model", 0, 1)
    seen = [*lesson.choosing, *lesson.drawn]
    return write_package(trained.network, folder, settings=network, validation=seen, empty=empty, info=info, tell=tell)


def _require_spots(samples: Sequence[Sample], sides: Sides) -> None:
    for numbers, words in ((sides.training, "the frames to train on"), (sides.held_out, "the held-out frames")):
        if not any(samples[i].spots.visible.any() for i in numbers):
            raise SettingsError(f"no spot is labelled in {words}; label spots in more frames")


def _scores(
    model: Model, checks: Mapping[str, Sequence[Sample]], tell: Tell | None, name: str
) -> dict[str, LabelScores]:
    rate = SpotSettings().false_spots
    return {key: score_labels(model, part, false_spots=rate, tell=tell, name=name) for key, part in checks.items()}


def _draw(n: int, seed: int, tell: Tell | None) -> list[Sample]:
    return _listed(draw_samples(find_recipe("train"), seed=seed, n=n), n, "draw patterns", tell)


def _listed(samples: Iterable[Item], n: int, name: str, tell: Tell | None) -> list[Item]:
    """Gather samples and tell how far it is."""
    listed: list[Item] = []
    for sample in samples:
        listed.append(sample)
        if tell is not None:
            tell(name, len(listed), n)
    return listed


def _info(name: str, base: Model, lesson: Lesson, settings: TrainSettings, trained: Trained) -> PackageInfo:
    n_own = len({id(one) for one in (*lesson.training, *lesson.choosing)})
    own = {"name": "labels", "n_samples": n_own, "sources": lesson.sources, "licence": _LICENCE}
    earlier = base.about.get("training", {}).get("sets", [])
    return PackageInfo(
        name=name,
        version="1",
        sets=(*earlier, own),
        licence=_LICENCE,
        recipe={**asdict(settings), "from": base.name, "rounds": len(trained.history), "ended": trained.reason},
        metrics={"best_round": trained.best.epoch, "dice_in_training": round(trained.best.dice, 5)},
    )


def _add_card(
    path: Path,
    base: Model,
    lesson: Lesson,
    before: Mapping[str, LabelScores],
    after: Mapping[str, LabelScores],
) -> None:
    """Say in ``model.json`` what the model was made of and what it came to."""
    better, reason = compare(before, after)
    card = {
        "base": base.name,
        "base_sha256": base.sha256,
        "sources": lesson.sources,
        "held_out": lesson.held_out,
        "before": {key: describe(scores) for key, scores in before.items()},
        "after": {key: describe(scores) for key, scores in after.items()},
        "better": better,
        "reason": reason,
    }
    about = json.loads(path.read_text(encoding="utf-8"))
    write_text(path, json.dumps({**about, CARD: card}, indent=1, ensure_ascii=False) + "\n")
