"""What a series leaves on disk beyond its single frames: four tables and a video."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fringemap.report.atomic import writing
from fringemap.report.series_tables import TABLE_NAMES, write_series_tables
from fringemap.report.words import count
from fringemap.series import SeriesFollower, summarise_frame

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from fringemap.records import FloatArray, FrameResult, Series
    from fringemap.report.spool import PictureSpool
    from fringemap.report.style import PhaseStyle
    from fringemap.settings import SeriesSettings


MP4_NAME, GIF_NAME = "evolution.mp4", "evolution.gif"
VIDEO_NAMES = (MP4_NAME, GIF_NAME)
_NOT_SHIFTED = "their maps were not shifted (empty rows of drift.csv)"


class SeriesWriter:
    """Follows frames while they stream past, and writes what they tell together.

    Parameters
    ----------
    folder
        Where the files go.
    settings
        Of tracking and of the video.
    dose_rate
        [e/Å²/s]; None leaves the dose out.
    pictures
        Whether pictures of the frames are kept on disk meanwhile, for a video.

    Notes
    -----
    A single frame is no series and costs nothing: it is kept until a second one comes.
    """

    def __init__(self, folder: Path, *, settings: SeriesSettings, dose_rate: float | None, pictures: bool) -> None:
        self._folder = folder
        self._settings = settings
        self._dose_rate = dose_rate
        self._pictures = pictures and settings.video
        self._first: FrameResult | None = None
        self._follower: SeriesFollower | None = None
        self._spool: PictureSpool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._spool is not None:
            self._spool.close()

    def add(self, result: FrameResult) -> None:
        """Take the next frame."""
        if self._follower is None and self._first is None:
            self._first = result
            return
        if self._follower is None:
            self._begin()
        self._take(result)

    def _begin(self) -> None:
        self._follower = SeriesFollower(self._settings)
        if self._pictures:
            # matplotlib is slow to import, and a run without figures does without.
            from fringemap.report.spool import PictureSpool
            from fringemap.report.video_frame import SIDE

            self._spool = PictureSpool(self._folder, side=SIDE)
        if self._first is not None:
            self._take(self._first)
            self._first = None

    def _take(self, result: FrameResult) -> None:
        if self._follower is not None:
            self._follower.add(summarise_frame(result))
        if self._spool is not None:
            self._spool.add(result)

    def shifts_angstrom(self) -> FloatArray | None:
        """Where the specimen lies in each frame so far, (n, 2); None where maps stay where the frames were taken."""
        if self._follower is None or self._settings.frame_of_reference == "camera":
            return None
        return self._follower.shifts_angstrom()

    def warnings(self) -> list[str]:
        """Say which frames could not be shifted."""
        shifts = self.shifts_angstrom()
        unknown = 0 if shifts is None else int(np.isnan(shifts).any(axis=1).sum())
        return [f"the drift of {count(unknown, 'frame')} is unknown; {_NOT_SHIFTED}"] if unknown else []

    def finish(self) -> Series | None:
        """Write the tables; None, and no tables, where there were fewer than two frames.

        Raises
        ------
        OutputError
            If a file cannot be written.
        """
        # Those of an earlier run would contradict the new tables.
        for name in (*TABLE_NAMES, *VIDEO_NAMES):
            with writing(self._folder / name):
                (self._folder / name).unlink(missing_ok=True)
        if self._follower is None:
            return None
        series = self._follower.finish(dose_rate=self._dose_rate)
        write_series_tables(series, self._folder)
        return series

    def write_video(self, series: Series | None, *, styles: Mapping[str, PhaseStyle], title: str) -> Path | None:
        """Write the video; None where no pictures were kept.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        if self._spool is None or series is None:
            return None
        from fringemap.report.video import has_encoder, write_video

        path = self._folder / (MP4_NAME if has_encoder() else GIF_NAME)
        steady = self._settings.frame_of_reference == "specimen"
        write_video(series, self._spool, path, styles=styles, title=title, fps=self._settings.fps, steady=steady)
        return path
