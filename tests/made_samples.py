"""Small patterns with spots at known places, and a small network that has learned them: stand-ins for real sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MadeSample:
    image: np.ndarray
    label: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class MadeSamples:
    """Scores of noise with bumps in it; the same for the same seed and index."""

    n: int
    seed: int = 0
    most_spots: int = 10
    sides: tuple[int, int] = (30, 60)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> MadeSample:
        rng = np.random.default_rng([self.seed, index])
        n_rows, n_cols = 2 * int(rng.integers(*self.sides)) + 1, int(rng.integers(*self.sides))
        image = rng.standard_normal((3, n_rows, n_cols)).astype(np.float32)
        label = np.zeros((n_rows, n_cols), np.uint8)
        rows, cols = np.mgrid[:n_rows, :n_cols]
        for _ in range(rng.integers(0, self.most_spots + 1)):
            row, col, width = rng.integers(2, n_rows - 2), rng.integers(2, n_cols - 2), rng.uniform(1.0, 3.0)
            distance = np.hypot(rows - row, cols - col) / width
            image += (rng.uniform(4.0, 8.0) * np.exp(-1.4 * distance**2)).astype(np.float32)
            label |= (distance <= 1).astype(np.uint8)
        return MadeSample(image.astype(np.float16), label, np.ones(label.shape, np.uint8))


def empty_samples(n: int, *, seed: int = 1) -> list[MadeSample]:
    """Noise alone."""
    samples = MadeSamples(n, seed=seed, most_spots=0)
    return [samples[index] for index in range(n)]
