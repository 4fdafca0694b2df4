"""Pictures of how a network learned, and of a search for its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fringemap.report.rendering import house_style, write_figure
from fringemap.report.style import NEUTRAL, OKABE_ITO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

_NORMAL = 8.0
_SIZE = (7.0, 2.8)
_TRAINING, _VALIDATION, _BEST = OKABE_ITO[1], OKABE_ITO[4], OKABE_ITO[2]


def write_training_curves(
    epochs: Sequence[int],
    loss: Sequence[float],
    validation_loss: Sequence[float],
    dice: Sequence[float],
    stem: Path,
) -> bytes:
    """Draw loss and Dice over the rounds as ``stem.png`` and ``stem.svg``; the PNG is returned."""
    with house_style():
        figure = Figure(figsize=_SIZE, dpi=150, layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(epochs, loss, color=_TRAINING, label="training")
        left.plot(epochs, validation_loss, color=_VALIDATION, linestyle="--", label="validation")
        left.set_ylabel("loss", fontsize=_NORMAL)
        left.legend(fontsize=_NORMAL, frameon=False)
        right.plot(epochs, dice, color=_VALIDATION, linestyle="--")
        if dice:
            best = max(range(len(dice)), key=lambda k: dice[k])
            right.plot([epochs[best]], [dice[best]], "o", color=_BEST, label=f"best: {dice[best]:.4f}")
            right.legend(fontsize=_NORMAL, frameon=False, loc="lower right")
        right.set_ylabel("Dice, validation", fontsize=_NORMAL)
        for axes in (left, right):
            _finish(axes, "round")
    return write_figure(figure, stem)


def write_trials(scores: Sequence[float | None], choices: Mapping[str, Sequence[float | str]], stem: Path) -> bytes:
    """Draw the score of each trial, and the score over each setting that was searched.

    Parameters
    ----------
    scores
        Of each trial; None where it failed.
    choices
        Value of each setting in each trial.
    """
    done = [k for k, score in enumerate(scores) if score is not None]
    n_panels = 1 + len(choices)
    rows = -(-n_panels // 3)
    with house_style():
        figure = Figure(figsize=(7.0, 1.9 * rows), dpi=150, layout="constrained")
        panels = list(figure.subplots(rows, 3, squeeze=False).flat)
        _draw_trials(panels[0], [k + 1 for k in done], [float(scores[k] or 0.0) for k in done])
        for axes, (name, values) in zip(panels[1:], choices.items(), strict=False):
            _draw_choice(axes, name, [values[k] for k in done], [float(scores[k] or 0.0) for k in done])
        for axes in panels[n_panels:]:
            axes.set_axis_off()
    return write_figure(figure, stem)


def _draw_trials(axes: Axes, numbers: Sequence[int], scores: Sequence[float]) -> None:
    best = [max(scores[: k + 1]) for k in range(len(scores))]
    axes.plot(numbers, scores, "o", color=_VALIDATION, markersize=3)
    axes.step(numbers, best, where="post", color=_BEST)
    axes.set_ylabel("Dice", fontsize=_NORMAL)
    _finish(axes, "trial")


def _draw_choice(axes: Axes, name: str, values: Sequence[float | str], scores: Sequence[float]) -> None:
    """Score over one setting; settings are steps of a ladder, not distances."""
    words = sorted(set(values), key=lambda v: (isinstance(v, str), v))
    places = [words.index(value) for value in values]
    axes.plot(places, scores, "o", color=_VALIDATION, markersize=3)
    shown = range(0, len(words), max(1, -(-len(words) // 6)))
    axes.set_xticks(list(shown), [_short(words[k]) for k in shown])
    axes.set_xlim(-0.5, len(words) - 0.5)
    axes.tick_params(labelsize=_NORMAL - 1)
    axes.set_xlabel(name.replace("_", " "), fontsize=_NORMAL)
    axes.grid(color=NEUTRAL, linewidth=0.3)


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _finish(axes: Axes, label: str) -> None:
    axes.set_xlabel(label, fontsize=_NORMAL)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=_NORMAL - 1)
    axes.grid(color=NEUTRAL, linewidth=0.3)
