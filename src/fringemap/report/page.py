"""The page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fringemap.report.atomic import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fringemap.records import FrameResult
    from fringemap.report.lines import FrameLine
    from fringemap.settings import ReportSettings


def write_page(
    result: FrameResult,
    lines: Sequence[FrameLine],
    run: Mapping[str, Any],
    *,
    folder: Path,
    settings: ReportSettings,
) -> Path:
    """Write figures and page."""
    path = folder / "report.html"
    write_text(path, result.name)
    return path
