"""What the figures of an input are called, so that those of an earlier run can be told from files of others."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from fringemap.report.atomic import writing

if TYPE_CHECKING:
    from pathlib import Path

FIGURES_NAME = "figures"
THUMBNAIL_NAME = "thumbnail.jpg"
_FIGURE_NAMES = ("overview", "frame", "diffractogram", "profile", "overlay", "evolution", "waterfall", "truth")


def remove_figures(folder: Path) -> None:
    """Remove the figures of an earlier run; what others put among them stays.

    Raises
    ------
    OutputError
        One of them cannot be removed.
    """
    with writing(folder):
        for name in (*_FIGURE_NAMES, "overlay_*"):
            for suffix in (".png", ".svg"):
                for path in folder.glob(name + suffix):
                    path.unlink()


def remove_figures_folder(folder: Path) -> None:
    """Remove all that fringemap left among the figures, and their folder if nothing else is in it.

    Raises
    ------
    OutputError
        One of the files cannot be removed.
    """
    remove_figures(folder)
    with writing(folder):
        for path in (*folder.glob(THUMBNAIL_NAME), *folder.glob(".partial-*")):
            path.unlink()
    with suppress(OSError):
        folder.rmdir()
