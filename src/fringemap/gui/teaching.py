"""Models of a folder's user, and the one fine-tuning that may be under way."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fringemap.errors import ModelError, SettingsError
from fringemap.gui import labels
from fringemap.gui.jobs import Job
from fringemap.training import registry

if TYPE_CHECKING:
    from pathlib import Path

    from fringemap.settings import AnalysisSettings
    from fringemap.training.registry import Card

NAMES = ("epochs", "minutes", "empty_frames")
"""Settings of the training that the page may give."""
_LEAST_SOURCES = 2


@dataclass(frozen=True)
class Standing:
    """How the fine-tuning stands."""

    status: str = "none"
    """none, running, done, failed or cancelled."""
    model: str = ""
    """Name of what is made."""
    step: str = ""
    """What is done now."""
    done: int = 0
    total: int = 0
    message: str = ""
    """How it ended."""
    taken: bool = False
    """Whether the new model is in use."""
    started: float = field(default_factory=time.time)
    ended: float | None = None


class Teaching:
    """Labels, models and the fine-tuning of one folder; its methods may be called from any thread.

    Parameters
    ----------
    state
        Folder for what is kept: labels in ``labels``, models in ``models``.
    """

    def __init__(self, state: Path) -> None:
        self.labels = state / "labels"
        self.models = state / "models"
        self._lock = threading.RLock()
        self._job: Job | None = None
        self._standing = Standing()
        self._sweep()

    @property
    def standing(self) -> Standing:
        """How the fine-tuning stands."""
        return self._standing

    def close(self) -> None:
        """End what is under way; the model that it would have made is lost."""
        with self._lock:
            job, self._job = self._job, None
        if job is not None:
            job.kill()
            self._sweep()

    def start(self, settings: dict[str, Any], *, n_drawn: int | None = None) -> Standing:
        """Begin to train the model in use on, with all labels of the folder.

        Raises
        ------
        SettingsError
            Something is missing: a library, labels, a model that holds its weights; or one is under way.
        """
        with self._lock:
            if self._standing.status == "running":
                raise SettingsError("a fine-tuning is under way; wait for it or cancel it")
            registry.require_libraries("fine-tuning")
            base = self._base()
            self._require_labels()
            name = registry.free_name(self.models, _stem(base))
            order = {"base": self.package_of(base.name), "labels": self.labels, "out": self.models / name}
            chosen = {key: value for key, value in settings.items() if key in NAMES}
            order |= {"settings": chosen, "n_drawn": n_drawn}
            if self._job is not None:
                self._job.kill()
            self._standing = Standing("running", name, "start")
            self._job = Job("fringemap.gui.teacher", order, lambda message: self._hear(name, message))
            return self._standing

    def cancel(self) -> None:
        """End the fine-tuning; the model in use stays."""
        with self._lock:
            job, self._job = self._job, None
            if self._standing.status == "running":
                self._standing = replace(self._standing, status="cancelled", ended=time.time())
        if job is not None:
            job.kill()
            self._sweep()

    def missing(self) -> list[str]:
        """Libraries that fine-tuning needs and that are not installed."""
        return registry.missing_libraries()

    def current_card(self) -> Card | None:
        """Card of the model in use; None if there is none."""
        name = registry.current(self.models)
        return None if name is None else registry.read_card(self.models, name)

    def package_of(self, name: str) -> str:
        """What the setting ``model`` calls a model."""
        return registry.package_of(self.models, name)

    def resolve(self, settings: AnalysisSettings) -> AnalysisSettings:
        """Put the package in place of the name, where settings name a model of this user."""
        name = settings.spots.model
        if not name or not (self.models / name / "model.json").is_file():
            return settings
        return replace(settings, spots=replace(settings.spots, model=self.package_of(name)))

    def describe(self) -> dict[str, Any]:
        """All that the page shows of labels and models."""
        labelled = labels.overview(self.labels)
        current = self.current_card()
        cards = registry.list_cards(self.models)
        return {
            "labelled": labelled,
            "n_sources": len({row["source"] for row in labelled if "problem" not in row}),
            "missing": self.missing(),
            "how_to_install": registry.HOW_TO_INSTALL,
            "current": None if current is None else current.name,
            "can_roll_back": registry.can_roll_back(self.models),
            "models": [
                {**asdict(card), "current": current is not None and card.name == current.name} for card in cards
            ],
            "standing": asdict(self._standing),
        }

    def _base(self) -> Card:
        card = self.current_card()
        if card is None:
            raise SettingsError("there is no model to begin with; add the package of one that fringemap train made")
        if not card.trainable:
            raise ModelError(
                f"the model {card.title} cannot be trained further: its package holds no weights.safetensors; "
                "use one that fringemap train made"
            )
        return card

    def _require_labels(self) -> None:
        n_sources = len({row["source"] for row in labels.overview(self.labels) if "problem" not in row})
        if n_sources < _LEAST_SOURCES:
            raise SettingsError(
                f"{n_sources} {'file is' if n_sources == 1 else 'files are'} labelled, and two or more are needed: "
                "one is held out to see what is gained"
            )

    def _hear(self, name: str, message: dict[str, Any]) -> None:
        with self._lock:
            if self._standing.status != "running" or self._standing.model != name:
                return
            if message["event"] == "progress":
                told = {key: message[key] for key in ("step", "done", "total")}
                self._standing = replace(self._standing, **told)
            elif message["event"] == "died":
                self._end("failed", "the process that trained ended; is there memory enough?")
            elif message["event"] == "ended":
                better = bool(message.get("better"))
                if better:
                    registry.choose(self.models, name)
                self._end(message["status"], message["message"], taken=better)

    def _end(self, status: str, message: str, *, taken: bool = False) -> None:
        self._standing = replace(self._standing, status=status, message=message, taken=taken, ended=time.time())

    def _sweep(self) -> None:
        """Remove what a killed process left half done."""
        for path in self.models.glob(".unfinished-*"):
            shutil.rmtree(path, ignore_errors=True)


def _stem(base: Card) -> str:
    """Name of the first model of a line of fine-tuned ones."""
    return f"{(base.title or 'model').split('-tuned')[0]}-tuned"
