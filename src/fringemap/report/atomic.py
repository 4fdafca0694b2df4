"""Files that appear whole or not at all, and failures to write them said in one sentence."""

from __future__ import annotations

import errno
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from fringemap.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EACCES: "permission is denied; close programs that hold the file open, or choose another folder",
    errno.EPERM: "permission is denied; close programs that hold the file open, or choose another folder",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.ENAMETOOLONG: "the name is too long for this disk; choose a shorter folder name",
    errno.ENOTDIR: "a file is in the place of one of its folders; choose another folder",
    errno.EEXIST: "a file is in the place of its folder; choose another folder",
    errno.EISDIR: "a folder is in its place; remove that folder or choose another one",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure of the system while ``path`` is written into one sentence.

    Raises
    ------
    OutputError
        With the path, the reason and the way out.
    """
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, f"{error.strerror or error}; choose another folder")
        raise OutputError(f"{path} cannot be written: {reason}") from error


def temporary_name(path: Path) -> Path:
    """Name a file in the same folder that is not there yet; it keeps the suffix, by which writers know the format."""
    return path.with_name(f".partial-{secrets.token_hex(4)}-{path.name}")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write ``path`` under a temporary name and rename it when the block ends well.

    Missing folders are made. If the block fails, nothing is left behind and an earlier ``path`` stays as it was.

    Yields
    ------
    Path
        The temporary path to write to, in the same folder.

    Raises
    ------
    OutputError
        If the system refuses: full disk, no permission, read-only folder.
    """
    temporary = temporary_name(path)
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.replace(path)
    finally:
        with writing(path):
            _remove(temporary)


@contextmanager
def growing_text(path: Path, *, newline: str) -> Iterator[TextIO]:
    """Open a text file that grows under a temporary name, and gets its own when the block ends well.

    Errors of the block pass as they are, since the block may do more than write: ``writing`` is for its own lines.

    Raises
    ------
    OutputError
        If the system refuses to make, close or rename the file.
    """
    temporary = temporary_name(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = temporary.open("x", encoding="utf-8", newline=newline)
    try:
        yield stream
        with writing(path):
            stream.close()
            temporary.replace(path)
    finally:
        with suppress(OSError):
            stream.close()
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _remove(path: Path) -> None:
    # A folder that is missing, or is a file, holds no leftovers.
    try:
        path.unlink(missing_ok=True)
    except NotADirectoryError:
        return
