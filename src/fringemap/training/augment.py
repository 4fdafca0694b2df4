"""Change samples while training: as other specimens and microscopes would, or by the paper's recipe.

What turning does to noise and to spots of one pixel says how a pattern may be turned. Interpolation averages
neighbours: noise loses a third of its spread and a spot of one pixel more than half its height, so a network would
learn what never comes. Nearest neighbours keep the law of noise, but drop some pixels and show others twice. So mirrors
and quarter turns, which are exact, come always. For other angles and sizes the first channel is taken from nearest
neighbours, but each bright pixel is moved to its own nearest place, and is shown at no other. The others are
means of 5 x 5 bins, smooth enough to be interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fringemap.errors import SettingsError
from fringemap.spots.model import MARGIN

Augmentation = Callable[[Tensor, Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor, Tensor]]
"""From image (channels, rows, cols), label and weight (1, rows, cols), with mates left of gx = 0, to changed ones."""

# What is brighter than this score may be a spot: it gets its one place. Below it, nearest neighbours are good enough.
_BRIGHT = 2.0


@dataclass(frozen=True)
class Physical:
    """How far patterns are changed."""

    turned_share: float = 0.5
    """Of patterns turned by any angle and scaled, on top of mirrors and quarter turns."""
    scale: float = 0.15
    """Most that |g| is scaled, up or down, relative."""
    contrast: float = 0.1
    """Most that scores are scaled, relative."""
    offset: float = 0.15
    """Most that scores are shifted: a background that is wrong."""
    noise: float = 0.3
    """Most noise that is added; all is scaled down again so that noise keeps its spread."""


@dataclass(frozen=True)
class Paper:
    """The paper's augmentation."""

    rotation_deg: float = 0.2
    shift: float = 0.05
    """Of the side."""
    shear_deg: float = 0.05
    zoom: float = 0.05


def make_augmentation(name: str, *, half: bool = True) -> Augmentation:
    """Augmentation of a name: "physical" or "paper".

    Parameters
    ----------
    half
        Images are half patterns with ``MARGIN`` columns of mates, or as many as there are; else whole ones.

    Raises
    ------
    SettingsError
        There is no such augmentation.
    """
    if name == "physical":
        return lambda image, label, weight, generator: augment_physically(
            image, label, weight, generator, margin=_margin_of(image, half), how=Physical()
        )
    if name == "paper":
        return lambda image, label, weight, generator: augment_as_paper(image, label, weight, generator, how=Paper())
    raise SettingsError(f"There is no augmentation called {name!r}; choose physical, paper or none.")


def augment_physically(
    image: Tensor, label: Tensor, weight: Tensor, generator: torch.Generator, *, margin: int, how: Physical
) -> tuple[Tensor, Tensor, Tensor]:
    """Turn, mirror and scale about zero frequency, and change contrast, background and noise.

    Parameters
    ----------
    image, label, weight
        (c, rows, cols): ``margin`` columns of mates, then gx >= 0; an odd number of rows, centred.

    Returns
    -------
    Tensor, Tensor, Tensor
        As given; rows and columns change places in a quarter turn.
    """
    joined = whole_of(torch.cat([image, label, weight])[:, :, margin:])
    if _draw(generator) < 0.5:
        joined = joined.flip(1)
    if _draw(generator) < 0.5:
        joined = joined.rot90(1, (1, 2))
    if _draw(generator) < how.turned_share:
        angle, scale = 2 * math.pi * _draw(generator), math.exp(math.log1p(how.scale) * _between(generator))
        joined = turn(joined, angle=angle, scale=scale)
    half = joined[:, :, joined.shape[2] // 2 :]
    changed = _vary(half[:-2], generator, how)
    finished = _with_mates(torch.cat([changed, half[-2:]]), margin)
    return finished[:-2], finished[-2:-1], finished[-1:]


def turn(whole: Tensor, *, angle: float, scale: float) -> Tensor:
    """Turn a whole pattern about its middle and scale |g|, no bright pixel lost or doubled.

    Parameters
    ----------
    whole
        (c, rows, cols), both odd: brightest, mean, ..., label, weight.
    angle
        Clockwise as the pattern is shown [rad].

    Returns
    -------
    Tensor
        Of the same shape; what comes from outside is 0, its weight too.
    """
    rows, cols = whole.shape[1:]
    forward = scale * torch.tensor(
        [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], dtype=torch.float64
    )
    backward = torch.linalg.inv(forward)
    place = torch.arange(rows * cols)
    source = _move(place, backward, rows, cols)
    inside = source >= 0
    flat = whole.reshape(len(whole), -1)
    turned = torch.where(inside, flat[:, source.clamp(min=0)], 0.0)
    target = _move(place, forward, rows, cols)
    kept = inside & (target[source.clamp(min=0)] == place)
    brightest = torch.where(kept, turned[0], turned[0].clamp(max=_BRIGHT))
    moved = (target >= 0) & (flat[0] > _BRIGHT)
    turned[0] = brightest.scatter_reduce(0, target[moved], flat[0][moved], "amax") * inside
    turned = turned.reshape(whole.shape)
    if len(whole) > 3:
        turned[1:-2] = _interpolate(whole[1:-2], backward)
    return turned


def augment_as_paper(
    image: Tensor, label: Tensor, weight: Tensor, generator: torch.Generator, *, how: Paper
) -> tuple[Tensor, Tensor, Tensor]:
    """Turn, shift, shear and zoom as the paper does, about the middle of the picture; interpolated, labels nearest."""
    rows, cols = image.shape[1:]
    angle = math.radians(how.rotation_deg) * _between(generator)
    shear = math.tan(math.radians(how.shear_deg) * _between(generator))
    zoom = 1 + how.zoom * _between(generator)
    cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
    # grid_sample counts both axes from -1 to 1; pixels are square, whatever the picture's shape.
    matrix = torch.tensor(
        [
            [cos, (cos * shear - sin) * rows / cols, 2 * how.shift * _between(generator)],
            [sin * cols / rows, sin * shear + cos, 2 * how.shift * _between(generator)],
        ]
    )
    grid = functional.affine_grid(matrix[None], [1, 1, rows, cols], align_corners=False)
    moved = functional.grid_sample(image[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
    both = torch.cat([label, weight])[None]
    nearest = functional.grid_sample(both, grid, mode="nearest", padding_mode="zeros", align_corners=False)[0]
    return moved, nearest[:1], nearest[1:]


def prepare_as_paper(whole: Tensor, *, side: int, sigma_px: float = 3.0, half: bool = True) -> Tensor:
    """What the paper does to every picture before training: blur, resize to ``side`` x ``side``, keep the left half.

    Parameters
    ----------
    whole
        (c, rows, cols), zero frequency in the middle.
    sigma_px
        Of the Gaussian blur, before resizing.
    half
        Keep the columns left of the middle.
    """
    blurred = _blur(_blur(whole, sigma_px, axis=1), sigma_px, axis=2)
    resized = functional.interpolate(
        blurred[None], size=(side, side), mode="bilinear", align_corners=False, antialias=True
    )[0]
    return resized[:, :, : side // 2] if half else resized


def whole_of(half: Tensor) -> Tensor:
    """Complete half patterns (c, rows, cols) by point symmetry: (c, rows, 2 cols - 1)."""
    return torch.cat([half[:, :, 1:].flip(1, 2), half], dim=2)


def _with_mates(half: Tensor, margin: int) -> Tensor:
    """Put back as many columns of mates as there were, or as there are."""
    return torch.cat([half[:, :, 1 : margin + 1].flip(1, 2), half], dim=2)


def _margin_of(image: Tensor, half: bool) -> int:
    """Columns of mates: all of them in whole patterns, and in halves of up to ``MARGIN`` columns."""
    cols = image.shape[2]
    return MARGIN if half and cols > 2 * MARGIN else (cols - 1) // 2


def _move(place: Tensor, matrix: Tensor, rows: int, cols: int) -> Tensor:
    """Where pixels, numbered through, land when moved about the middle; -1 outside."""
    y, x = (place // cols - rows // 2).double(), (place % cols - cols // 2).double()
    row = torch.round(matrix[0, 0] * y + matrix[0, 1] * x).long() + rows // 2
    col = torch.round(matrix[1, 0] * y + matrix[1, 1] * x).long() + cols // 2
    inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
    return torch.where(inside, row * cols + col, -1)


def _interpolate(channels: Tensor, backward: Tensor) -> Tensor:
    """Bilinear values where pixels come from."""
    rows, cols = channels.shape[1:]
    matrix = torch.tensor(
        [
            [float(backward[1, 1]), float(backward[1, 0]) * (rows - 1) / (cols - 1), 0.0],
            [float(backward[0, 1]) * (cols - 1) / (rows - 1), float(backward[0, 0]), 0.0],
        ]
    )
    grid = functional.affine_grid(matrix[None], [1, 1, rows, cols], align_corners=True)
    return functional.grid_sample(channels[None], grid, mode="bilinear", padding_mode="zeros", align_corners=True)[0]


def _vary(scores: Tensor, generator: torch.Generator, how: Physical) -> Tensor:
    """Other contrast, background and noise; where no spot is looked for, 0 stays 0."""
    looked_at = (scores != 0).any(dim=0)
    gain, offset = 1 + how.contrast * _between(generator), how.offset * _between(generator)
    sigma = how.noise * _draw(generator)
    noise = torch.randn(scores.shape, generator=generator)
    if len(noise) > 1:
        # Means of 5 x 5 bins go along with their neighbours; so does their noise, the same over any background.
        noise[1:] = functional.avg_pool2d(noise[1:2], 5, stride=1, padding=2, count_include_pad=True) * 5
    # On the axis each pixel has its mate.
    middle = noise.shape[1] // 2
    noise[:, :middle, 0] = noise[:, middle + 1 :, 0].flip(1)
    return (gain * (scores + sigma * noise) / math.sqrt(1 + sigma**2) + offset) * looked_at


def _blur(images: Tensor, sigma: float, *, axis: int) -> Tensor:
    if sigma <= 0:
        return images
    reach = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).reshape(1, 1, -1)
    lines = images.movedim(axis, -1)
    padded = functional.pad(lines.reshape(-1, 1, lines.shape[-1]), (reach, reach), mode="replicate")
    return functional.conv1d(padded, kernel).reshape(lines.shape).movedim(-1, axis)


def _draw(generator: torch.Generator) -> float:
    """From 0 to 1."""
    return float(torch.rand((), generator=generator))


def _between(generator: torch.Generator) -> float:
    """From -1 to 1."""
    return 2 * _draw(generator) - 1
