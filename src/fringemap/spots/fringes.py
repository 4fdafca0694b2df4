"""Complex images of the fringes of many spots at once, with first guesses of their waves.

A block of bins around a spot is transformed back to a small complex image of its fringe, of which the surroundings of
the grain are kept. Blocks of similar size are padded to one size, so that a frame costs a few calls, however many spots
it has.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import scipy.fft
import scipy.ndimage

from fringemap.spectrum import read_blocks, read_raw_blocks

if TYPE_CHECKING:
    from fringemap.records import Array, Diffractogram, IntArray
    from fringemap.spots.candidates import Candidates

# Half the side of a block, in widths of its spot, and its least value in bins.
_BLOCK_WIDTHS = 3.0
_LEAST_HALF = 6
# The fit sees at most this many samples along each axis, around the grain.
_MOST_SAMPLES = 24
# The wave is drawn on this many places along each axis before it is seen through the block.
_FINE = 80
# Bins from both axes from which the jumps of the edges are weaker than the smooth part of a wave.
_CLEAR_OF_AXES = 8
# Standard deviation of the kernel that smooths the energy of a fringe for a first guess [samples].
_SMOOTHING = 1.0
_TAIL = 6.0
# Bins of blocks that are worked out together: what is made of them must not fill the memory.
_MOST_BINS = 2**19

Record = TypeVar("Record")


@dataclass(frozen=True)
class Fringes:
    """Complex images of n fringes, padded to one size; rows and columns share arrays, on an axis of two."""

    values: Array
    """(n, k, k) complex [counts]."""
    weights: Array
    """1 for a sample, 0 for padding; (n, k, k)."""
    x: Array
    """Places in the frame on a fine grid, on which the wave is drawn [px]; (n, 2, j)."""
    band: Array
    """What the fine grid becomes at the samples once all but the bins of the block is left out; (n, 2, k, j)."""
    energy: Array
    """Sum of |values|² [counts²]; (n,)."""
    noise: Array
    """Variance of a complex sample [counts²]; (n,)."""
    bin_noise: Array
    """Expected noise power of a bin [counts²]; (n,)."""
    side: IntArray
    """Bins along each side of the block; (n,)."""
    centre: Array
    """Bin that has become zero frequency (row, col); (n, 2)."""
    starts: Array
    """First guesses of the parameters of ``wave_fit``: from the brightest patch of the frame and from the crest of the
    power; (n, 2, 8)."""


def take(record: Record, rows: Array) -> Record:
    """Some rows of each array of a record."""
    fields = dataclasses.fields(record)  # type: ignore[arg-type]
    return type(record)(*(getattr(record, f.name)[rows] for f in fields))


def sample_fringes(diffractogram: Diffractogram, candidates: Candidates, *, windowed: bool) -> Fringes:
    """Fringes of n candidates, in the same order.

    Parameters
    ----------
    windowed
        Put a Hann window over the frame.
    """
    most = (min(diffractogram.frame_shape) - 1) // 4
    half = np.minimum(np.maximum(np.ceil(_BLOCK_WIDTHS * candidates.width), _LEAST_HALF), most).astype(int)
    side = 2 * half + 1
    groups = _groups_of_like_size(side)
    parts = [_sample_group(diffractogram, candidates.take(group), side[group], windowed) for group in groups]
    names = [f.name for f in dataclasses.fields(Fringes)]
    joined = Fringes(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    return take(joined, np.argsort(np.concatenate(groups)))


def _groups_of_like_size(side: IntArray) -> list[IntArray]:
    """Blocks whose sides differ by less than a factor of two, and no more of them than may be worked out together."""
    octave = np.ceil(np.log2(side)).astype(int)
    groups = []
    for size in np.unique(octave):
        group = np.flatnonzero(octave == size)
        most = max(1, _MOST_BINS // int(side[group].max()) ** 2)
        groups += np.split(group, range(most, len(group), most))
    return groups


def _sample_group(diffractogram: Diffractogram, candidates: Candidates, side: IntArray, windowed: bool) -> Fringes:
    shape, size = np.array(diffractogram.frame_shape), int(side.max())
    centre = np.rint([candidates.row, candidates.col]).astype(int).T
    corner = centre - side[:, None] // 2
    blocks = _read(diffractogram, candidates, corner, size, windowed)
    background = read_blocks(diffractogram.background, int(shape[1]), start=corner, shape=(size, size))
    inside = (np.arange(size) < side[:, None]).astype(np.float32)
    bin_noise = (inside[:, None] @ background @ inside[:, :, None])[:, 0, 0] / side**2
    noise = (2.0 * side / shape.prod()) ** 2 * bin_noise

    blocks *= np.float32(2.0 / shape.prod()) * inside[:, :, None] * inside[:, None, :]
    fades = _fades_around_crest(np.abs(blocks) ** 2, candidates.width, side)
    first = _first_samples(blocks, fades, side)
    samples = first[:, :, None] + np.arange(_MOST_SAMPLES)
    there = (samples < side[:, None, None]).astype(np.float32)
    inverse = _inverse(samples, side, size) * there[..., None]
    fringe, crest = (
        (matrix[:, 0] @ blocks @ matrix[:, 1].swapaxes(1, 2)).astype(np.complex128)
        for matrix in (inverse, inverse * fades[:, :, None])
    )
    x = samples * (shape / side[:, None])[:, :, None]
    fine, band = _bands(first, x, side, shape, windowed)
    return Fringes(
        values=fringe,
        weights=there[:, 0, :, None] * there[:, 1, None, :],
        x=fine,
        band=band * there[..., None],
        energy=np.sum(np.abs(fringe) ** 2, axis=(1, 2)),
        noise=noise,
        bin_noise=bin_noise,
        side=side,
        centre=centre.astype(float),
        starts=_first_guesses(np.stack([fringe, crest], axis=1), x, np.minimum(side, _MOST_SAMPLES), noise),
    )


def _read(diffractogram: Diffractogram, candidates: Candidates, corner: IntArray, size: int, windowed: bool) -> Array:
    """Blocks of bins with their smooth part, but without it beside an axis, where the edges' jumps are strong.

    Under a window each block is a convolution with (-1/4, 1/2, -1/4) along each axis, over the root of the window's
    mean square.
    """
    rim = int(windowed)
    shape = (size + 2 * rim, size + 2 * rim)
    blocks = read_raw_blocks(diffractogram, start=corner - rim, shape=shape)
    beside = np.minimum(np.abs(candidates.row), np.abs(candidates.col)) < _CLEAR_OF_AXES
    blocks[beside] = read_blocks(
        diffractogram.spectrum, diffractogram.frame_shape[1], start=corner[beside] - rim, shape=shape
    )
    if windowed:
        for axis in (1, 2):
            low, middle, high = (np.take(blocks, range(k, size + k), axis) for k in range(3))
            blocks = (np.float32(0.5) * middle - np.float32(0.25) * (low + high)) / np.float32(math.sqrt(3 / 8))
    return blocks


def _inverse(samples: IntArray, side: IntArray, size: int) -> Array:
    """What takes the bins of a block, the middle one of zero frequency, to some samples; (n, 2, k, size).

    Parameters
    ----------
    samples
        Their numbers along rows and columns, of as many as the block has bins; (n, 2, k).
    """
    away = np.arange(size) - side[:, None] // 2
    turns = samples[..., None] * away[:, None, None] % side[:, None, None, None]
    first = np.cumsum(side) - side
    roots = np.concatenate([_roots(int(n)) for n in side])
    inverse: Array = roots[turns + first[:, None, None, None]]
    return inverse


# The same sizes come again in all frames of a series.
@lru_cache(maxsize=256)
def _roots(n: int) -> Array:
    """The n-th roots of 1, in turn; (n,)."""
    roots: Array = np.exp(2j * np.pi / n * np.arange(n)).astype(np.complex64)
    return roots


@lru_cache(maxsize=64)
def _smoother(side: int, size: int) -> Array:
    """Gaussian smoothing of ``side`` samples, as a matrix; the rest of it is 0."""
    smoother = np.zeros((size, size), np.float32)
    smoother[:side, :side] = scipy.ndimage.gaussian_filter1d(np.eye(side), _SMOOTHING, axis=0, mode="nearest")
    return smoother


def _smooth(energy: Array, side: IntArray) -> Array:
    smoother = np.stack([_smoother(int(n), energy.shape[1]) for n in side])
    smooth: Array = smoother @ energy @ smoother.transpose(0, 2, 1)
    return smooth


def _brightest(images: Array) -> IntArray:
    """Row and column of the largest value of each image; (n, 2)."""
    flat = images.reshape(len(images), -1).argmax(axis=1)
    return np.stack(np.divmod(flat, images.shape[2]), axis=1)


def _fades_around_crest(power: Array, width: Array, side: IntArray) -> Array:
    """Factors along rows and along columns that fade out all but the surroundings of a block's brightest place.

    Parameters
    ----------
    power
        Of the bins of blocks, 0 beyond their sides; (n, k, k).

    Returns
    -------
    Array
        (n, 2, k).
    """
    sigma = np.maximum(1.0, 0.35 * width)[:, None, None]
    away = np.arange(power.shape[1]) - side[:, None] // 2
    kernel = _gaussian((away[:, :, None] - away[:, None, :]) / (0.5 * sigma))
    near = (away**2)[:, :, None] + (away**2)[:, None, :] <= (1.5 * np.maximum(width, 1.0)[:, None, None]) ** 2
    top = _brightest(np.where(near, kernel @ power @ kernel, -1.0))
    fades: Array = _gaussian((np.arange(power.shape[1]) - top[..., None]) / sigma)
    return fades


def _gaussian(x: Array) -> Array:
    """Without its far tail: 32-bit numbers that are nearly zero are very slow."""
    return np.where(np.abs(x) < _TAIL, np.exp(-0.5 * x**2), 0.0).astype(np.float32)


def _first_samples(blocks: Array, fades: Array, side: IntArray) -> IntArray:
    """First row and column of the samples that are kept, around the brightest place of the faded block; (n, 2)."""
    first = np.zeros((len(side), 2), int)
    faded = blocks * fades[:, 0, :, None] * fades[:, 1, None, :]
    for n in np.unique(side[side > _MOST_SAMPLES]).tolist():
        same = side == n
        # Where a block lies among the frequencies turns its argument, and leaves its energy alone.
        image = scipy.fft.ifft2(faded[same, :n, :n])
        smoother = _smoother(n, n)
        middle = _brightest(smoother @ (image.real**2 + image.imag**2) @ smoother.T)
        first[same] = np.clip(middle - _MOST_SAMPLES // 2, 0, n - _MOST_SAMPLES)
    return first


def _bands(first: IntArray, x: Array, side: IntArray, shape: IntArray, windowed: bool) -> tuple[Array, Array]:
    """Fine grids around the samples, and the matrices that take waves on them to the samples through the block's band.

    A block of ``side`` bins is the sum of side plane waves: each place spreads as the Dirichlet kernel of that order.
    The frame ends at -1/2 and n - 1/2; there is no wave beyond.

    Parameters
    ----------
    first
        Number of the first sample along each axis; (n, 2).
    x
        Places of the samples in the frame [px]; (n, 2, k).
    """
    side, n = side[:, None], shape.astype(float)
    step = n / side
    last = (first + np.minimum(side, _MOST_SAMPLES) - 1) * step
    low, high = np.maximum(x[:, :, 0] - 2 * step, -0.5), np.minimum(last + 2 * step, n - 0.5)
    fine = low[..., None] + (np.arange(_FINE) + 0.5) * ((high - low) / _FINE)[..., None]
    # Sines of differences from those of samples and of places: there are far fewer of these.
    sample, place = np.pi * x / n[:, None], np.pi * fine / n[:, None]
    denominator = np.sin(sample)[..., None] * np.cos(place)[:, :, None, :]
    denominator -= np.cos(sample)[..., None] * np.sin(place)[:, :, None, :]
    order = side[..., None]
    turned = np.where((first[..., None] + np.arange(x.shape[2])) % 2 == 0, -1.0, 1.0)
    numerator = turned[..., None] * np.sin(order * place)[:, :, None, :]
    near = np.abs(denominator) < 1e-7
    band = np.where(near, order[..., None], numerator / np.where(near, 1.0, denominator))
    band *= ((high - low) / _FINE / n)[..., None, None]
    if windowed:
        band *= (np.sin(np.pi * fine / n[:, None]) ** 2 / math.sqrt(3 / 8))[:, :, None]
    return fine, band


def _first_guesses(images: Array, x: Array, n_samples: IntArray, noise: Array) -> Array:
    """Parameters from the brightest patch of each image: its centre, size and mean advance of the argument.

    Parameters
    ----------
    images
        Two of each fringe; (n, 2, k, k).
    x
        Places of the samples [px]; (n, 2, k).
    n_samples, noise
        Samples along each side, and the variance of one of them; (n,).

    Returns
    -------
    Array
        (n, 2, 8).
    """
    n_fringes, x, noise = len(images), np.repeat(x, 2, axis=0), np.repeat(noise, 2)
    fringe = images.reshape(-1, *images.shape[2:])
    energy = _smooth(np.abs(fringe) ** 2, np.repeat(n_samples, 2))
    highest = energy.max(axis=(1, 2))
    inside = _patches(energy, np.maximum(0.35 * highest, np.minimum(noise, 0.9 * highest)))
    weight = np.where(inside, energy, 0.0)
    weight /= weight.sum(axis=(1, 2), keepdims=True)
    masked = np.where(inside, fringe, 0.0)
    step = x[:, :, 1] - x[:, :, 0]
    shares = np.stack([weight.sum(axis=2), weight.sum(axis=1)], axis=1)
    centre = np.sum(shares * x, axis=2)
    spread = np.sqrt(np.sum(shares * (x - centre[..., None]) ** 2, axis=2))
    advance = [np.sum(image[:, 1:] * np.conj(image[:, :-1]), axis=(1, 2)) for image in (masked, masked.swapaxes(1, 2))]
    turn = np.angle(np.stack(advance, axis=1)) / (2 * np.pi * step)
    back = np.exp(-2j * np.pi * turn[..., None] * (x - centre[..., None]))
    mean = (back[:, :1] @ (weight * fringe) @ back[:, 1, :, None])[:, 0]
    size = np.log(np.maximum(1.8 * spread, 0.7 * step))
    return np.concatenate([mean.real, mean.imag, centre, size, turn], axis=1).reshape(n_fringes, 2, 8)


def _patches(energy: Array, level: Array) -> Array:
    """Which samples are joined to the brightest one of their image by samples above its level; (n, k, k)."""
    within_images = np.zeros((3, 3, 3), bool)
    within_images[1] = scipy.ndimage.generate_binary_structure(2, 1)
    patch, _ = scipy.ndimage.label(energy > level[:, None, None], within_images)
    top = _brightest(energy)
    inside: Array = patch == patch[np.arange(len(energy)), top[:, 0], top[:, 1]][:, None, None]
    return inside
