"""Open a file, a TIA pair or a folder of frames as a series whose frames come one by one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fringemap.errors import ReadError, SettingsError
from fringemap.io.calibration import compute_scale
from fringemap.io.choice import choose_signal
from fringemap.io.folder import open_folder
from fringemap.io.formats import foreign_code, open_file
from fringemap.io.names import expanded, looking_at
from fringemap.io.pixels import as_frame_image
from fringemap.records import Flag, Frame, Image, Scale
from fringemap.settings import ReadSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from fringemap.io.signals import Content, Signal


_DEFAULTS = ReadSettings()


def read(path: str | Path, *, settings: ReadSettings = _DEFAULTS, workers: int = 1) -> FrameSeries:
    """Open one input; a single image is a series of one frame.

    Parameters
    ----------
    path
        A file, either file of a TIA pair, or a folder of numbered frames.
    settings
        Which frames, at what pixel size; see ``ReadSettings``.
    workers
        Threads that convert the pixels of a frame.

    Returns
    -------
    FrameSeries
        Open: use it in a ``with`` statement, or call ``close``. Frames are read when asked for.

    Raises
    ------
    ReadError
        If the file is missing, damaged, or holds no real-space image of at least 32 x 32 pixels.
    SettingsError
        If ``settings.frames`` is no range, or leaves no frame.
    """
    path = expanded(path)
    with looking_at(path):
        if not path.exists():
            raise ReadError(f"{path} does not exist; check the name")
        content = open_folder(path) if path.is_dir() else open_file(path)
    try:
        signal, remarks = choose_signal(path, content)
        return FrameSeries(path, content, signal, settings, remarks, workers)
    except BaseException:
        content.close()
        raise


class FrameSeries:
    """Ordered frames of one input, read lazily: memory holds one frame, whatever the length of the series.

    Iterating yields :class:`~fringemap.records.Frame`; ``series[i]`` reads a single one. A series is a context manager.
    It is not safe to read one series from several threads; open it once in each.
    """

    def __init__(
        self, path: Path, content: Content, signal: Signal, settings: ReadSettings, remarks: list[str], workers: int
    ) -> None:
        self._content = content
        self._signal = signal
        self._workers = workers
        self._bins, dropped = _bins(settings, signal.n_frames)
        scale, scale_warnings, flags = compute_scale(signal, settings, name=path.name)
        self.path = path
        """As given to ``read``."""
        self.name = path.name if path.is_dir() else path.stem
        """What the results are called by."""
        self.format = content.format
        """Name of the file format."""
        self.n_frames_stored = signal.n_frames
        """Frames in the file, before a choice is made or frames are averaged."""
        self.n_frames = len(self._bins)
        """Frames that this series yields."""
        self.frame_shape = signal.frame_shape
        """(n_rows, n_cols)."""
        self.dtype = signal.dtype
        """Of the pixels in the file; frames are float32."""
        self.scale: Scale | None = scale
        """None: uncalibrated, and ``warnings`` says so."""
        self.times_s, self.times_source = self._times(settings)
        """Time of each frame [s], or None; and where it comes from: "user", "header" or "none"."""
        self.metadata: Mapping[str, str | float] = dict(signal.metadata)
        """What else the file says, in the words of ``fringemap.io.signals.METADATA_WORDS``."""
        self.warnings: tuple[str, ...] = (*scale_warnings, *remarks, *dropped)
        """Sentences for the user."""
        self.flags = flags
        """Of every frame; a single frame can have more."""

    def __len__(self) -> int:
        return self.n_frames

    @property
    def stored(self) -> tuple[range, ...]:
        """Which frames of the file each frame is, or averages."""
        return tuple(self._bins)

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def frames(self) -> Iterator[Frame]:
        """Yield the frames one by one."""
        for i in range(self.n_frames):
            yield self[i]

    def __getitem__(self, i: int) -> Frame:
        """Read frame i of the chosen ones, from 0; negative numbers count from the end.

        Raises
        ------
        IndexError
            If there is no such frame.
        ReadError
            If its part of the file is damaged.
        """
        if not -self.n_frames <= i < self.n_frames:
            raise IndexError(f"frame {i} of {self.n_frames}")
        i %= self.n_frames
        stored = self._bins[i]
        image, flags = self._average(stored)
        return Frame(
            image=image,
            scale=self.scale,
            name=self._frame_name(stored[0]),
            index=stored[0],
            time_s=None if self.times_s is None else float(self.times_s[i]),
            flags=self.flags | flags,
        )

    def close(self) -> None:
        """Close the file; frames already read stay valid."""
        self._content.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _average(self, stored: range) -> tuple[Image, Flag]:
        image, flags = self._load(stored[0])
        for k in stored[1:]:
            more, more_flags = self._load(k)
            image += more
            flags |= more_flags
        if len(stored) > 1:
            image /= np.float32(len(stored))
        return image, flags

    def _load(self, k: int) -> tuple[Image, Flag]:
        with foreign_code(self.path):
            raw: NDArray[Any] = self._signal.load(k)
            if raw.shape[:2] != self.frame_shape or raw.ndim not in (2, 3):
                raise ReadError(
                    f"{self.path.name} is damaged: its frame {k} has the shape {raw.shape}; copy the file again"
                )
            return as_frame_image(raw, workers=self._workers)

    def _frame_name(self, k: int) -> str:
        if self._signal.names is not None:
            return self._signal.names(k)
        digits = max(4, len(str(self.n_frames_stored - 1)))
        return self.name if self.n_frames_stored == 1 else f"{self.name}_{k:0{digits}d}"

    def _times(self, settings: ReadSettings) -> tuple[NDArray[np.float64] | None, str]:
        if settings.frame_time_s:
            times, source = np.arange(self.n_frames_stored) * float(settings.frame_time_s), "user"
        elif self._signal.times_s is not None and self.n_frames_stored > 1:
            times, source = self._signal.times_s, "header"
        else:
            return None, "none"
        return np.array([times[list(stored)].mean() for stored in self._bins]), source


def parse_frames(text: str, n_frames: int) -> range:
    """Frames that ``START:STOP:STEP`` names, as in Python; one number names one frame; nothing names all.

    Raises
    ------
    SettingsError
        If the text is no range, its step is not positive, or it leaves no frame.
    """
    if not re.fullmatch(r"\s*(-?\d+)?\s*(:\s*(-?\d+)?\s*(:\s*(-?\d+)?\s*)?)?", text):
        raise SettingsError(f"frames = '{text}' is no range; write START:STOP:STEP, such as 0:100:2")
    numbers = [int(part) if part.strip() else None for part in text.split(":")]
    step = numbers[2] if len(numbers) > 2 else None
    if step is not None and step < 1:
        raise SettingsError(f"frames = '{text}' has the step {step}; it must be 1 or more")
    everything = range(n_frames)
    if len(numbers) == 1 and numbers[0] is not None:
        chosen = everything[numbers[0] :][:1] if -n_frames <= numbers[0] < n_frames else range(0)
    else:
        chosen = everything[slice(*numbers)] if len(numbers) > 1 else everything
    if not chosen:
        raise SettingsError(
            f"frames = '{text}' leaves nothing of the {n_frames} frames; give a range within 0:{n_frames}"
        )
    return chosen


def _bins(settings: ReadSettings, n_frames: int) -> tuple[list[range], list[str]]:
    """Group the stored frames; an incomplete last group is left out, since its noise would differ."""
    chosen, n = parse_frames(settings.frames, n_frames), settings.bin_frames
    if n == 1 or len(chosen) < n:
        n = min(n, len(chosen))
    bins = [chosen[start : start + n] for start in range(0, len(chosen) - n + 1, n)]
    left = len(chosen) - n * len(bins)
    return bins, [f"the last {left} frames do not fill a group of {n} and were left out"] if left else []


def describe(series: FrameSeries) -> dict[str, Any]:
    """Say what was understood of an input, ready for JSON, with units in the names."""
    scale = series.scale
    size = None if scale is None else [s / 10.0 for s in scale.pixel_size_angstrom]
    times = series.times_s
    return {
        "path": str(series.path),
        "format": series.format,
        "frame_shape": list(series.frame_shape),
        "dtype": str(series.dtype),
        "n_frames": series.n_frames,
        "n_frames_stored": series.n_frames_stored,
        "pixel_size_nm": size,
        "pixel_size_source": "none" if scale is None else str(scale.source),
        "scale_sigma_percent": None if scale is None else 100.0 * scale.sigma,
        "nyquist_d_angstrom": None if scale is None else 2.0 * max(scale.pixel_size_angstrom),
        "field_of_view_nm": None if size is None else [n * s for n, s in zip(series.frame_shape, size, strict=True)],
        "times_source": series.times_source,
        "first_time_s": None if times is None else float(times[0]),
        "last_time_s": None if times is None else float(times[-1]),
        "metadata": dict(series.metadata),
        "flags": [name.lower() for name, flag in Flag.__members__.items() if flag and series.flags & flag],
        "warnings": list(series.warnings),
    }
