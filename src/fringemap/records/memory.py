"""Memory of large arrays that is used again, frame after frame.

Fresh memory comes from the system, which clears it first: that takes as long as a pass over the array.
"""

from __future__ import annotations

import math
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)

# Smaller arrays come from memory that a process keeps anyway.
_LEAST_BYTES = 1 << 24
# As many as one frame needs at a time: results that are let go together must not fill the memory for good.
_MOST_SPARE = 6
# Just below the largest block from which glibc learns.
_LESSON_BYTES = 31 << 20

_spare: list[NDArray[np.uint8]] = []
_choosing = Lock()


class _Loan:
    """Holds the memory of an array and of all views of it; with the last of these it goes back to what is spare."""

    def __init__(self, memory: NDArray[np.uint8]) -> None:
        self._memory = memory
        self.__array_interface__: dict[str, Any] = memory.__array_interface__

    def __del__(self, spare: list[NDArray[np.uint8]] = _spare, most: int = _MOST_SPARE) -> None:
        if len(spare) < most:
            spare.append(self._memory)


def lend_array(shape: tuple[int, ...], dtype: type[Number]) -> NDArray[Number]:
    """An array as of ``numpy.empty``, on memory that was used before where there is some of its size.

    What is spare is kept for frames of the same size; the first array of another size lets all of it go.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes < _LEAST_BYTES:
        return np.empty(shape, dtype)
    _keep_freed_memory()
    with _choosing:
        fitting = [k for k, memory in enumerate(_spare) if memory.nbytes == n_bytes]
        if not fitting:
            _spare.clear()
        memory = _spare.pop(fitting[-1]) if fitting else np.empty(n_bytes, np.uint8)
    return np.asarray(_Loan(memory)).view(dtype).reshape(shape)


@cache
def _keep_freed_memory() -> None:
    """Let a process keep the memory that its smaller arrays leave free, for the next ones.

    glibc takes blocks of the size of the largest that it has ever freed as ordinary, up to 32 MB: it keeps twice as
    much at hand. Else what a step leaves free may go back to the system and come again, cleared, with the next frame.
    Other libraries of C have rules of their own, and this does nothing there.
    """
    np.empty(_LESSON_BYTES, np.uint8)


def let_spare_memory_go() -> None:
    """Give spare memory back to the system: no frame of its size comes next."""
    with _choosing:
        _spare.clear()
