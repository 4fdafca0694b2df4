"""The folder that the page may see: nothing outside it can be reached, by any name."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath

from fringemap.errors import OutputError, ReadError

STATE_NAME = ".fringemap"
UPLOADS_NAME = "uploads"


class Root:
    """A folder, and names of what lies in it: relative, with slashes, on every system.

    Parameters
    ----------
    folder
        Must exist.

    Raises
    ------
    ReadError
        It does not, or is no folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser().resolve()
        if not self.folder.is_dir():
            raise ReadError(f"{folder} is no folder; name one that holds your frames")

    def find(self, name: str) -> Path:
        """Path of something in the folder; links are followed first, then judged.

        Raises
        ------
        ReadError
            It is not there, hidden, or lies outside; which of these is not said.
        """
        refusal = ReadError(f"{name[:200]!r} is not in the folder that this page may show")
        parts = PurePosixPath(name).parts
        if "\0" in name or "\\" in name or any(part.startswith(".") for part in parts):
            raise refusal
        try:
            path = (self.folder / name).resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise refusal from error
        if not path.is_relative_to(self.folder):
            raise refusal
        return path

    def name_of(self, path: Path) -> str:
        """Name of a path under the folder; the folder itself is the empty name."""
        name = path.relative_to(self.folder).as_posix()
        return "" if name == "." else name


def state_folder(root: Path) -> Path:
    """Folder for what the page keeps: hidden in the root, or beside the user's other state if that is read-only.

    Raises
    ------
    OutputError
        Neither can be written.
    """
    digest = hashlib.sha256(str(root).encode()).hexdigest()[:16]
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    for folder in (root / STATE_NAME, home / "fringemap" / digest):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / ".probe"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError:
            continue
        return folder
    raise OutputError(f"neither {root / STATE_NAME} nor {home} can be written; choose another folder")


def free_path(folder: Path, name: str) -> Path:
    """Path for an upload: what is left of its name without folders and odd characters, not yet taken."""
    base = PurePosixPath(name.replace("\\", "/")).name
    kept = "".join(c if c.isalnum() or c in " ._-+()" else "_" for c in base).strip(" .")[-120:] or "upload"
    path, number = folder / kept, 2
    while path.exists():
        path, number = folder / f"{Path(kept).stem}-{number}{Path(kept).suffix}", number + 1
    return path
