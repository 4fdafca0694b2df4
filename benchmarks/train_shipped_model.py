"""Draw the training sets and train the network that comes with fringemap, from their seeds.

    python benchmarks/train_shipped_model.py WORK_FOLDER [--workers N] [--resume]

The sets take forty minutes of one core and 7 GB, the training an hour, the false spots of 2000 empty frames ten. The
same release of torch on the same sort of processor gives the same weights bit for bit. ``WORK_FOLDER/compact-1`` then
holds the package, whose ``model.onnx``, ``model.json`` and ``weights.safetensors`` belong into
``src/fringemap/spots/models/compact-1``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fringemap.cli.telling import show_progress
from fringemap.settings import NetworkSettings, TrainSettings
from fringemap.training.make_model import make_model
from fringemap.training.recipes import find_recipe
from fringemap.training.sets import write_set

N_SAMPLES, SET_SEED = {"train": 8000, "rare": 1200}, 1
SETTINGS = TrainSettings(
    epochs=36, samples_per_epoch=1200, patience=36, validation_samples=96, seed=1, threads=1, empty_frames=2000
)


def main() -> None:
    """Draw, train, pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw the sets")
    parser.add_argument("--resume", action="store_true", help="go on with a training that was stopped")
    given = parser.parse_args()
    folders = [given.work / kind for kind in N_SAMPLES]
    with show_progress() as tell:
        for kind, folder in zip(N_SAMPLES, folders, strict=True):
            recipe = find_recipe(kind)
            write_set(folder, recipe, n=N_SAMPLES[kind], seed=SET_SEED, workers=given.workers, progress=tell)
        model, trained = make_model(
            folders,
            given.work / "compact-1",
            network=NetworkSettings(),
            settings=SETTINGS,
            resume=given.resume,
            tell=tell,
        )
    print(f"{trained.reason}; best round {trained.best.epoch}, Dice {model.about['metrics']['dice']}: {model.folder}")


if __name__ == "__main__":
    main()
