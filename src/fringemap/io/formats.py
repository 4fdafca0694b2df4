"""Which reader opens which file: by what the file begins with, then by its ending."""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import TYPE_CHECKING

from fringemap.errors import FringemapError, ReadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fringemap.io.signals import Content

_log = logging.getLogger(__name__)

_FAMILY_OF_ENDING = {
    ".dm3": "dm",
    ".dm4": "dm",
    ".mrc": "mrc",
    ".mrcs": "mrc",
    ".ser": "tia",
    ".emi": "tia",
    ".emd": "emd",
    ".hspy": "hspy",
    ".tif": "tif",
    ".tiff": "tif",
    ".png": "picture",
    ".jpg": "picture",
    ".jpeg": "picture",
    ".bmp": "picture",
    ".npy": "npy",
}
ENDINGS = frozenset(_FAMILY_OF_ENDING)
"""File endings that can be read, lower case."""

_FAMILY_OF_BEGINNING = (
    (b"\x89PNG\r\n", "picture"),
    (b"\xff\xd8\xff", "picture"),
    (b"BM", "picture"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
    (b"II+\0", "tif"),
    (b"MM\0+", "tif"),
    (b"\x93NUMPY", "npy"),
    (b"\x89HDF\r\n", "hdf5"),
    (b"II\x97\x01", "tia"),
    (b"\0\0\0\x03", "dm"),
    (b"\0\0\0\x04", "dm"),
)


def open_file(path: Path) -> Content:
    """Open one file with the reader that its content asks for.

    Raises
    ------
    ReadError
        If the file is missing, empty, of an unknown kind, damaged, or not what its ending says.
    """
    reader = _reader(family_of(path))
    with foreign_code(path):
        return reader(path)


def family_of(path: Path) -> str:
    """Name of the module that reads a file."""
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise ReadError(
            f"{path.name} has the unknown ending '{path.suffix}'; fringemap reads {', '.join(sorted(ENDINGS))}"
        )
    by_ending = _FAMILY_OF_ENDING[ending]
    try:
        with path.open("rb") as file:
            beginning = file.read(16)
    except OSError as error:
        raise ReadError(
            f"{path} cannot be opened ({error.strerror or error}); check the name and your rights"
        ) from error
    if not beginning:
        raise ReadError(f"{path.name} is empty (0 bytes); copy the file again")
    return _by_content(path, beginning, by_ending)


def _by_content(path: Path, beginning: bytes, by_ending: str) -> str:
    seen = next((family for start, family in _FAMILY_OF_BEGINNING if beginning.startswith(start)), None)
    # An MRC header begins with a number of columns and an .emi file with a few bytes of its own: they prove nothing.
    if by_ending == "mrc" or path.suffix.lower() == ".emi":
        return by_ending
    if seen == "hdf5":
        return by_ending if by_ending in ("emd", "hspy") else "emd"
    if seen is None:
        raise ReadError(
            f"{path.name} is not what its ending '{path.suffix}' says (it lacks the first bytes of that format); "
            "it is renamed or damaged"
        )
    return seen


def _reader(family: str) -> Callable[[Path], Content]:
    """Import a reader only when it is needed: each brings its library."""
    if family == "dm":
        from fringemap.io.dm import open_dm as reader
    elif family == "mrc":
        from fringemap.io.mrc import open_mrc as reader
    elif family == "tia":
        from fringemap.io.tia import open_tia as reader
    elif family == "emd":
        from fringemap.io.emd import open_emd as reader
    elif family == "hspy":
        from fringemap.io.hspy import open_hspy as reader
    elif family == "tif":
        from fringemap.io.tif import open_tif as reader
    elif family == "picture":
        from fringemap.io.picture import open_picture as reader
    else:
        from fringemap.io.npy import open_npy as reader
    return reader


@contextlib.contextmanager
def foreign_code(path: Path) -> Iterator[None]:
    """Turn whatever a reading library raises on a bad file into one ReadError; its warnings go to the log."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except FringemapError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise ReadError(
                f"{path.name} cannot be read, it is cut off, damaged or of an unknown variant ({reason})"
            ) from error
        finally:
            for warning in caught:
                _log.debug("%s: %s", path.name, warning.message)
