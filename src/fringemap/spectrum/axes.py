"""Where each bin of a half spectrum lies in reciprocal space, and how a half becomes a whole for showing.

Half spectra have the shape and order of ``scipy.fft.rfft2``: (n_rows, n_cols // 2 + 1), zero frequency at [0, 0].
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from fringemap.records import Array, FloatArray, Image, IntArray, Scale

_BLOCK_ROWS = 64
_RIM = 16

Number = TypeVar("Number", np.float32, np.complex64)
Piece = TypeVar("Piece")


@dataclass(frozen=True)
class Part:
    """The bins of a half spectrum that are evaluated: a rectangle around zero frequency."""

    n_rows: int
    """Of the whole half spectrum."""
    last_row: int
    """Rows -last_row ... last_row belong to the part; all rows if this is n_rows // 2."""
    n_cols: int
    """Columns 0 ... n_cols - 1 belong to it."""

    def rows(self) -> NDArray[np.int64]:
        """Rows of the part, in the order in which a half spectrum stores them."""
        row = np.arange(self.n_rows)
        inside: NDArray[np.int64] = row[np.minimum(row, self.n_rows - row) <= self.last_row]
        return inside

    def blocks(self, n_rows: int = _BLOCK_ROWS) -> Iterator[tuple[slice, slice]]:
        """Pieces small enough for the processor's cache: a pass over a large spectrum is quicker piece by piece."""
        upper, lower = self.last_row + 1, max(self.n_rows - self.last_row, self.last_row + 1)
        for first, end in ((0, min(upper, self.n_rows)), (lower, self.n_rows)):
            for start in range(first, end, n_rows):
                yield slice(start, min(start + n_rows, end)), slice(self.n_cols)

    def fill_outside(self, image: NDArray[np.float32], value: float, *, workers: int = 1) -> None:
        """Give the bins outside the part a value, in place."""
        between = slice(self.last_row + 1, max(self.n_rows - self.last_row, self.last_row + 1))
        outside = (image[: between.start, self.n_cols :], image[between], image[between.stop :, self.n_cols :])
        do_each(lambda piece: piece.fill(value), outside, workers=workers)

    def each(self, work: Callable[[slice, slice], None], *, workers: int = 1) -> None:
        """Do something to every block, in several threads.

        Threads get larger blocks: with every call of numpy they wait for the interpreter.
        """
        do_each(lambda block: work(*block), self.blocks(_BLOCK_ROWS * workers), workers=workers)


def do_each(work: Callable[[Piece], None], pieces: Iterable[Piece], *, workers: int = 1) -> None:
    """Do something to every piece of a large array, in several threads; numpy lets go of the interpreter meanwhile.

    This thread is one of them. Each takes the next piece when it is ready for one: to hand them out would take longer.
    """
    waiting = iter(list(pieces))

    def take_turns() -> None:
        for piece in waiting:
            work(piece)

    if workers == 1:
        take_turns()
        return
    with ThreadPoolExecutor(workers - 1) as pool:
        others = [pool.submit(take_turns) for _ in range(workers - 1)]
        take_turns()
        for other in others:
            # Raises what the thread has raised.
            other.result()


def part_within(frame_shape: tuple[int, int], scale: Scale, *, d_min_angstrom: float | None) -> Part:
    """Bins whose frequency along each axis is at most 1 / d_min; the whole half spectrum if that is None."""
    rows, cols = half_shape(frame_shape)
    if d_min_angstrom is None:
        return Part(rows, rows // 2, cols)
    step_y, step_x = bin_size(frame_shape, scale)
    # A few bins more, so that a spot at the limit has its surroundings.
    last_row, last_col = (int(np.ceil(1.0 / (d_min_angstrom * step))) + _RIM for step in (step_y, step_x))
    return Part(rows, min(last_row, rows // 2), min(last_col + 1, cols))


def half_shape(frame_shape: tuple[int, int]) -> tuple[int, int]:
    """Shape of the half spectrum of a frame."""
    return frame_shape[0], frame_shape[1] // 2 + 1


def bin_size(frame_shape: tuple[int, int], scale: Scale) -> tuple[float, float]:
    """Distance of neighbouring bins along (gy, gx) [1/Å]."""
    (rows, cols), (size_y, size_x) = frame_shape, scale.pixel_size_angstrom
    return 1.0 / (rows * size_y), 1.0 / (cols * size_x)


def frequency_axes(frame_shape: tuple[int, int], scale: Scale) -> tuple[Array, Array]:
    """Frequencies gy of the rows and gx of the columns of a half spectrum [1/Å].

    Returns
    -------
    gy, gx
        Shapes (n_rows,) and (n_cols // 2 + 1,). The row of the Nyquist frequency of an even frame counts as negative.
    """
    (rows, cols), (size_y, size_x) = frame_shape, scale.pixel_size_angstrom
    return np.fft.fftfreq(rows, size_y), np.fft.rfftfreq(cols, size_x)


def nyquist(scale: Scale) -> tuple[float, float]:
    """Largest frequency along (gy, gx) that the pixels can carry [1/Å]."""
    size_y, size_x = scale.pixel_size_angstrom
    return 0.5 / size_y, 0.5 / size_x


def to_bins(
    gx: FloatArray, gy: FloatArray, *, frame_shape: tuple[int, int], scale: Scale
) -> tuple[FloatArray, FloatArray]:
    """Signed, fractional (row, column) bins of reciprocal vectors; rows may be negative."""
    step_y, step_x = bin_size(frame_shape, scale)
    return gy / step_y, gx / step_x


def whole_spectrum(half: Image, frame_shape: tuple[int, int]) -> Image:
    """Complete a real half spectrum by Friedel symmetry and centre it for showing.

    Parameters
    ----------
    half
        Any real quantity with P(-g) = P(g), half order.

    Returns
    -------
    Image
        Shape ``frame_shape``; zero frequency at (n_rows // 2, n_cols // 2).
    """
    rows, cols = frame_shape
    n_right = (cols + 1) // 2
    # Column -l of row k is the mate of column l of row -k.
    mates = half[-np.arange(rows) % rows, 1 : cols // 2 + 1][:, ::-1]
    whole = np.concatenate([mates, half[:, :n_right]], axis=1)
    return np.fft.fftshift(whole, axes=0)


def read_block(
    half: NDArray[Number], n_cols: int, *, start: tuple[int, int], shape: tuple[int, int]
) -> NDArray[Number]:
    """Rectangle of the whole periodic spectrum, read from its half by Friedel symmetry.

    Parameters
    ----------
    half
        Complex spectrum, or a real quantity such as power; (n_rows, n_cols // 2 + 1).
    n_cols
        Columns of the frame.
    start
        First (row, column) bin, signed: negative bins and those beyond Nyquist are mates of stored ones.
    shape
        Of the rectangle.

    Returns
    -------
    array
        Where the rectangle lies in one piece in the half spectrum, a view of it: not to be written to.
    """
    rows = (start[0] + np.arange(shape[0])) % half.shape[0]
    cols = (start[1] + np.arange(shape[1])) % n_cols
    stored = cols < half.shape[1]
    if stored.all() and cols[-1] - cols[0] == len(cols) - 1:
        together = rows[-1] - rows[0] == len(rows) - 1
        return half[slice(rows[0], rows[-1] + 1) if together else rows, cols[0] : cols[-1] + 1]
    block = np.empty(shape, half.dtype)
    block[:, stored] = half[np.ix_(rows, cols[stored])]
    block[:, ~stored] = np.conj(half[np.ix_(-rows % half.shape[0], n_cols - cols[~stored])])
    return block


def read_blocks(half: NDArray[Number], n_cols: int, *, start: IntArray, shape: tuple[int, int]) -> NDArray[Number]:
    """Rectangles of one shape, as ``read_block`` reads each of them; (n, n_rows, n_cols).

    Parameters
    ----------
    start
        First (row, column) bin of each; (n, 2).
    """
    rows, cols = ((start[:, k, None] + np.arange(shape[k])) % n for k, n in enumerate((half.shape[0], n_cols)))
    stored = cols < half.shape[1]
    near = np.where(stored, cols, n_cols - cols)[:, None, :]
    mate = ~stored[:, None, :]
    flat = np.where(mate, (-rows % half.shape[0])[:, :, None], rows[:, :, None]) * half.shape[1] + near
    blocks: NDArray[Number] = half.ravel()[flat]
    if mate.any():
        np.conjugate(blocks, out=blocks, where=mate)
    return blocks
