"""Draw the training set and train the network that comes with fringemap, from their seeds.

    python benchmarks/train_shipped_model.py WORK_FOLDER [--workers N] [--resume]

The set takes ten minutes of one core and 1.5 GB; the training half an hour of one core. The same release of torch on
the same sort of processor gives the same weights bit for bit. ``WORK_FOLDER/compact-1`` then holds the package, whose
``model.onnx``, ``model.json`` and ``weights.safetensors`` belong into ``src/fringemap/spots/models/compact-1``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fringemap.cli.telling import show_progress
from fringemap.settings import NetworkSettings, TrainSettings
from fringemap.training.make_model import make_model
from fringemap.training.recipes import find_recipe
from fringemap.training.sets import write_set

N_SAMPLES, SET_SEED = 3000, 1
SETTINGS = TrainSettings(epochs=30, samples_per_epoch=600, patience=30, seed=1, threads=1)


def main() -> None:
    """Draw, train, pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw the set")
    parser.add_argument("--resume", action="store_true", help="go on with a training that was stopped")
    given = parser.parse_args()
    folder = given.work / "train"
    with show_progress() as tell:
        write_set(folder, find_recipe("train"), n=N_SAMPLES, seed=SET_SEED, workers=given.workers, progress=tell)
        model, trained = make_model(
            [folder],
            given.work / "compact-1",
            network=NetworkSettings(),
            settings=SETTINGS,
            resume=given.resume,
            tell=tell,
        )
    print(f"{trained.reason}; best round {trained.best.epoch}, Dice {model.about['metrics']['dice']}: {model.folder}")


if __name__ == "__main__":
    main()
