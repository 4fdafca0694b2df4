"""Draw the training sets and train the network that comes with fringemap, from their seeds.

    python benchmarks/train_shipped_model.py WORK_FOLDER [--workers N] [--resume]
    python benchmarks/train_shipped_model.py WORK_FOLDER --usual 8000 --rare 1200 --rounds 36

The sets take 26 minutes of one core and 7 GB, the training forty, the false spots of 2000 empty frames six; the second
line makes a network of more patterns, in twice the time. The same release of torch on the same sort of processor gives
the same weights bit for bit. ``WORK_FOLDER/compact-1`` then holds the package, whose ``model.onnx``, ``model.json`` and
``weights.safetensors`` belong into ``src/fringemap/spots/models/compact-1``.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from fringemap.cli.telling import show_progress
from fringemap.settings import NetworkSettings, TrainSettings
from fringemap.training.make_model import make_model
from fringemap.training.recipes import find_recipe
from fringemap.training.sets import write_set

SET_SEED = 1
SETTINGS = TrainSettings(samples_per_epoch=4800, crops_per_sample=1, seed=2, threads=1, empty_frames=2000)


def main() -> None:
    """Draw, train, pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw the sets")
    parser.add_argument("--usual", type=int, default=6000, help="samples of the usual kind")
    parser.add_argument("--rare", type=int, default=900, help="samples of the rare kind")
    parser.add_argument("--rounds", type=int, default=24, help="rounds of 4800 crops")
    parser.add_argument("--resume", action="store_true", help="go on with a training that was stopped")
    given = parser.parse_args()
    sets = {"train": given.usual, "rare": given.rare}
    with show_progress() as tell:
        for kind, n in sets.items():
            write_set(given.work / kind, find_recipe(kind), n=n, seed=SET_SEED, workers=given.workers, progress=tell)
        model, trained = make_model(
            [given.work / kind for kind in sets],
            given.work / "compact-1",
            network=NetworkSettings(),
            settings=replace(SETTINGS, epochs=given.rounds, patience=given.rounds),
            resume=given.resume,
            tell=tell,
        )
    print(f"{trained.reason}; best round {trained.best.epoch}, Dice {model.about['metrics']['dice']}: {model.folder}")


if __name__ == "__main__":
    main()
