"""The front door: everything that one input leaves on disk, written while its frames stream past."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fringemap.records import UNKNOWN, FrameResult, Scale
from fringemap.report.atomic import writing
from fringemap.report.drawn import FIGURES_NAME, remove_figures_folder
from fringemap.report.identified import IDENTIFIED_NAME, write_identified
from fringemap.report.lines import (
    FrameLine,
    Shown,
    all_statuses,
    distinct_warnings,
    line_of,
    name_probabilities,
    summarise,
)
from fringemap.report.maps import write_maps
from fringemap.report.run import RUN_NAME, version_of, write_run_json
from fringemap.report.series_results import SeriesWriter
from fringemap.report.tables import Cell, Failure, write_phases_csv, write_profile_csv, write_spots_csv
from fringemap.settings import SeriesSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fringemap.records import Match, Spots, Truth
    from fringemap.settings import ReportSettings

PAGE_NAME = "report.html"
PDF_NAME = "report.pdf"


@dataclass(frozen=True)
class Written:
    """What `write_results` left behind."""

    folder: Path
    page: Path | None
    """The page to open; None if figures are switched off or no frame was analysed."""
    summary: Mapping[str, Cell]
    """This input's row of ``summary.csv``; also in ``run.json``."""
    failures: tuple[Failure, ...]
    """This input's rows of ``errors.csv``."""
    probabilities: tuple[float, ...] = ()
    """Of the names of all its frames."""


@dataclass
class _Seen:
    """What is remembered of the frames that streamed past; grows by a few numbers a frame."""

    lines: list[FrameLine] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    telling: FrameResult | None = None
    """The frame with the most phases and spots, of those that have pictures: the one that figures show."""
    scale: Scale | None = None

    def add(self, result: FrameResult) -> None:
        self.lines.append(line_of(result))
        self.scale = self.scale or result.scale
        telling = self.telling
        if result.shown_spectrum.size and (
            telling is None or richness(result.match, result.spots) > richness(telling.match, telling.spots)
        ):
            self.telling = result


def richness(match: Match, spots: Spots) -> tuple[int, int]:
    """How much there is to see in a frame: named phases, then spots. Figures show the first frame with the most."""
    return sum(evidence.phase != UNKNOWN for evidence in match.phases), len(spots)


class ResultsWriter:
    """Takes the frames of one input one by one; made by `open_results`."""

    def __init__(
        self,
        folder: Path,
        settings: ReportSettings,
        follower: SeriesWriter,
        tables: ExitStack,
        appends: Sequence[Callable[[FrameResult], None]],
    ) -> None:
        self._folder, self._settings, self._follower = folder, settings, follower
        self._tables, self._appends = tables, appends
        self._seen = _Seen()

    def add(self, result: FrameResult | Failure) -> None:
        """Take the next frame, analysed or failed.

        Raises
        ------
        OutputError
            If a file cannot be written.
        """
        if isinstance(result, Failure):
            self._seen.failures.append(result)
            return
        for append in self._appends:
            append(result)
        self._follower.add(result)
        self._seen.add(result)

    def finish(self, provenance: Mapping[str, Any], *, truth: Truth | None = None) -> Written:
        """Give the tables and maps their names, follow the series, and draw; parameters as of `write_results`.

        Raises
        ------
        OutputError
            If a file cannot be written.
        """
        self._tables.close()
        run = _record(self._seen, self._folder, provenance, self._follower)
        page = _draw(self._seen, run, self._folder, self._settings, truth, self._follower)
        write_run_json(self._folder / RUN_NAME, run)
        failures, probabilities = tuple(self._seen.failures), name_probabilities(run["frames"])
        return Written(self._folder, page, run["summary"], failures, probabilities)


@contextmanager
def open_results(
    folder: Path, *, settings: ReportSettings, series: SeriesSettings | None = None, dose_rate: float | None = None
) -> Iterator[ResultsWriter]:
    """Open everything that one input leaves on disk, to be written while its frames come one by one.

    Parameters
    ----------
    folder, settings, series, dose_rate
        As of `write_results`.

    Yields
    ------
    ResultsWriter
        To be finished within the block. If the block fails, no table and no record is left of what was added.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RUN_NAME).unlink(missing_ok=True)
    follower = SeriesWriter(folder, settings=series or SeriesSettings(), dose_rate=dose_rate, pictures=settings.figures)
    with follower, ExitStack() as tables:
        appends = [
            tables.enter_context(write_spots_csv(folder / "spots.csv")),
            tables.enter_context(write_phases_csv(folder / "phases.csv")),
            tables.enter_context(write_profile_csv(folder / "profile.csv")),
            tables.enter_context(write_identified(folder / IDENTIFIED_NAME)),
            tables.enter_context(write_maps(folder, shifts=follower.shifts_angstrom)),
        ]
        yield ResultsWriter(folder, settings, follower, tables, appends)


def write_results(
    results: Iterable[FrameResult | Failure],
    *,
    folder: Path,
    settings: ReportSettings,
    provenance: Mapping[str, Any],
    truth: Truth | None = None,
    series: SeriesSettings | None = None,
    dose_rate: float | None = None,
) -> Written:
    """Write tables, maps, figures, page and record of one input.

    Parameters
    ----------
    results
        The frames of one file or stack in their order, each either analysed or failed. They are read one by one and
        not kept.
    folder
        Where the files go; made if missing. Those of an earlier run are replaced.
    settings
        Whether figures and the page are drawn, whether a PDF too, and the resolution of PNG figures.
    provenance
        What goes into ``run.json`` beside the results: ``input`` (name shown to users), ``inputs`` (list of path and
        sha256), ``settings``, ``model``, ``seconds`` and anything else. It is read after the last frame, so its
        values may grow meanwhile.
    truth
        Of a simulated frame: adds a section "found beside true" to the page.
    series
        How spots and phases are followed where there are several frames, and whether a video is made of them.
    dose_rate
        [e/Å²/s]: gives a series a dose beside its time.

    Returns
    -------
    Written
        With the rows for ``summary.csv`` and ``errors.csv``.

    Raises
    ------
    OutputError
        If a file cannot be written. ``run.json`` is removed first and written last: where it lies, all is whole.

    Notes
    -----
    Of a series, the tables and maps hold all frames; figures show the frame with the most phases and spots, and the
    evolution over the frames. A series also gets ``evolution.csv``, ``events.csv``, ``tracks.csv``, ``drift.csv`` and,
    with the figures, ``evolution.mp4``.
    """
    with open_results(folder, settings=settings, series=series, dose_rate=dose_rate) as writer:
        for result in results:
            writer.add(result)
        return writer.finish(provenance, truth=truth)


def _record(seen: _Seen, folder: Path, provenance: Mapping[str, Any], follower: SeriesWriter) -> dict[str, Any]:
    name = str(provenance.get("input", folder.name))
    summary = summarise(name, seen.lines, seen.failures, seen.scale)
    made = {
        "fringemap": version_of("fringemap"),
        "status": summary["status"],
        "summary": summary,
        "frames": all_statuses(seen.lines, seen.failures),
        "warnings": [*distinct_warnings(seen.lines), *follower.warnings()],
        "seconds": summary["seconds"],
    }
    return made | dict(provenance)


def _draw(
    seen: _Seen,
    run: Mapping[str, Any],
    folder: Path,
    settings: ReportSettings,
    truth: Truth | None,
    follower: SeriesWriter,
) -> Path | None:
    """Finish the series, and draw figures, video and page."""
    series = follower.finish()
    if not settings.figures or seen.telling is None:
        _remove_drawn(folder)
        return None
    # matplotlib takes longer to import than the tables take to write.
    from fringemap.report.page import page_styles, write_page

    styles = page_styles(seen.telling, seen.lines, truth)
    video = follower.write_video(series, styles=styles, title=str(run["summary"]["input"]))
    shown = Shown(seen.telling, tuple(seen.lines), truth, series, video)
    return write_page(shown, run, folder=folder, settings=settings, styles=styles)


def _remove_drawn(folder: Path) -> None:
    # A page of an earlier run would contradict the new tables.
    with writing(folder):
        (folder / PAGE_NAME).unlink(missing_ok=True)
        (folder / PDF_NAME).unlink(missing_ok=True)
    remove_figures_folder(folder / FIGURES_NAME)
