"""Names of files as users write them."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fringemap.errors import ReadError

if TYPE_CHECKING:
    from collections.abc import Iterator


def expanded(name: str | Path) -> Path:
    """Put the user's own folder in the place of ``~``; ``~x.npy`` is the name of a file."""
    path = Path(name)
    return path.expanduser() if path.parts[:1] == ("~",) else path


@contextmanager
def looking_at(path: str | Path) -> Iterator[None]:
    """Turn a refusal of the system, while it is asked for a file or folder, into one sentence.

    Raises
    ------
    ReadError
        With the path and the reason.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ReadError(f"{path} cannot be looked at ({reason}); check the name and your rights") from error
