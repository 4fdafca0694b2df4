"""Patterns of many sizes -> batches of crops, the same ones for the same seed and round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from fringemap.errors import SettingsError
from fringemap.spots.model import MARGIN
from fringemap.spots.pattern import complete
from fringemap.training.networks import N_CHANNELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from fringemap.settings import NetworkSettings, TrainSettings


# Of the crops so many lie around a spot; on the others chance decides, so that nothing is seen as often as it is there.
_AROUND_SPOTS = 0.5


class Sample(Protocol):
    """A pattern with its labels."""

    @property
    def image(self) -> NDArray[Any]:
        """(3, n_rows, n_cols), or the channels that the network sees."""

    @property
    def label(self) -> NDArray[Any]:
        """1 on spots; (n_rows, n_cols)."""

    @property
    def weight(self) -> NDArray[Any]:
        """0 where a pixel counts for nothing; (n_rows, n_cols)."""


class Samples(Protocol):
    """Labelled patterns that are read one at a time."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@dataclass(frozen=True)
class Batch:
    """What a network is shown in one step."""

    image: Tensor
    """(n, channels, rows, cols), the sides multiples of the network's stride."""
    label: Tensor
    """(n, 1, rows, cols)."""
    weight: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(self.image.to(device), self.label.to(device), self.weight.to(device))


def draw_batches(
    samples: Samples,
    *,
    epoch: int,
    settings: TrainSettings,
    network: NetworkSettings,
    stride: int,
    augment: Callable[..., Any] | None = None,
) -> Iterator[Batch]:
    """Batches of one round; the crops of a batch are of as many patterns as there are.

    Parameters
    ----------
    samples
        At least one.
    epoch
        From 0. Successive rounds walk through all samples before one comes again.
    stride
        Sides are padded to multiples of it, with noise's mean and the weight 0.
    augment
        From (image, label, weight, generator), (c, rows, cols) each, to changed ones.
    """
    rng = np.random.default_rng([settings.seed, epoch, 1])
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    order = order_of(len(samples), epoch, settings)
    for first in range(0, len(order), settings.batch):
        crops: list[list[NDArray[np.float32]]] = []
        for index in order[first : first + settings.batch]:
            stacked = stack_sample(samples[index], network)
            if augment is not None:
                stacked = _augmented(stacked, augment, generator)
            crops.append([_draw_crop(stacked, settings.crop, rng) for _ in range(_crops_of_each(settings))])
        # One crop of each pattern, then another of each.
        shuffled = [crop for one_of_each in zip(*crops, strict=True) for crop in one_of_each]
        for start in range(0, len(shuffled), settings.batch):
            yield make_batch(shuffled[start : start + settings.batch], stride)


def steps_in_epoch(n_samples: int, settings: TrainSettings) -> int:
    """Batches of one round."""
    n = settings.samples_per_epoch or n_samples
    return -(-n * _crops_of_each(settings) // settings.batch)


def _crops_of_each(settings: TrainSettings) -> int:
    return settings.crops_per_sample if settings.crop else 1


def order_of(n_samples: int, epoch: int, settings: TrainSettings) -> list[int]:
    """Samples of one round: the next ones of an endless row of shuffles."""
    if n_samples == 0:
        raise SettingsError("the training set holds no sample; make one with fringemap simulate")
    n = settings.samples_per_epoch or n_samples
    order: list[int] = []
    for place in range(epoch * n, (epoch + 1) * n):
        shuffle, at = divmod(place, n_samples)
        if not order or at == 0:
            permutation = np.random.default_rng([settings.seed, shuffle, 2]).permutation(n_samples)
        order.append(int(permutation[at]))
    return order


def stack_sample(sample: Sample, network: NetworkSettings) -> NDArray[np.float32]:
    """Channels, label and weight of a pattern with the mates that the network sees; (channels + 2, rows, cols)."""
    n_channels = N_CHANNELS[network.channels]
    stacked = np.concatenate([sample.image[:n_channels], sample.label[None] > 0, sample.weight[None]], dtype=np.float32)
    most = stacked.shape[2] - 1
    return complete(stacked, min(MARGIN, most) if network.half else most)


def make_batch(crops: Sequence[NDArray[np.float32]], stride: int) -> Batch:
    """Stack crops, padded below and to the right to a common size; the padding has the weight 0."""
    rows, cols = (max(-(-crop.shape[axis] // stride) * stride for crop in crops) for axis in (1, 2))
    whole = np.zeros((len(crops), len(crops[0]), rows, cols), np.float32)
    for place, crop in zip(whole, crops, strict=True):
        place[:, : crop.shape[1], : crop.shape[2]] = crop
    tensor = torch.from_numpy(whole)
    return Batch(tensor[:, :-2], tensor[:, -2:-1], tensor[:, -1:])


def _augmented(
    stacked: NDArray[np.float32], augment: Callable[..., Any], generator: torch.Generator
) -> NDArray[np.float32]:
    tensor = torch.from_numpy(stacked)
    image, label, weight = augment(tensor[:-2], tensor[-2:-1], tensor[-1:], generator)
    changed: NDArray[np.float32] = torch.cat([image, label, weight]).numpy()
    return changed


def _draw_crop(stacked: NDArray[np.float32], side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A square, around a spot or anywhere, turned and mirrored; a whole pattern is mirrored only."""
    if not side:
        return stacked[:, ::-1] if rng.random() < 0.5 else stacked
    shape = stacked.shape[1:]
    middle = [rng.integers(n) for n in shape]
    if rng.random() < _AROUND_SPOTS:
        spots = np.flatnonzero((stacked[-2] > 0) & (stacked[-1] > 0))
        if len(spots):
            near = np.divmod(spots[rng.integers(len(spots))], shape[1])
            middle = [at + rng.integers(-(side // 3), side // 3 + 1) for at in near]
    # A crop leaves the pattern only where the pattern is smaller.
    starts = [int(np.clip(at - side // 2, 0, max(n - side, 0))) for at, n in zip(middle, shape, strict=True)]
    crop = np.zeros((len(stacked), side, side), np.float32)
    part = stacked[:, starts[0] : starts[0] + side, starts[1] : starts[1] + side]
    crop[:, : part.shape[1], : part.shape[2]] = part
    crop = np.rot90(crop, int(rng.integers(4)), axes=(1, 2))
    return crop[:, ::-1] if rng.random() < 0.5 else crop
