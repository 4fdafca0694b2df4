"""The files of a long input, written while its frames are still analysed, so that little is left to do at the end."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from fringemap.batch.work import finish_files, open_files, sign_input, stored_result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fringemap.batch.work import InputResult, Opened
    from fringemap.report import Failure, ResultsWriter

log = logging.getLogger(__name__)


class Gathering:
    """Takes the results of one input's frames from the journal in their order, each when those before it are there.

    Notes
    -----
    The journal stays until the files are whole: whatever happens here, no result is lost. What fails here is not told;
    all is given up, and the task ``Write`` begins anew at the end. It meets the fault again, and names it, if it lasts.
    """

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._done: dict[int, Failure | None] = dict.fromkeys({*range(opened.n_frames)} - {*opened.missing})
        self._next = 0
        self._files = ExitStack()
        self._writer: ResultsWriter | None = None
        self._given_up = False

    def note(self, position: int, failure: Failure | None) -> None:
        """Take note of a frame that is done, and take one result: others wait for this process to share out frames."""
        self._done[position] = failure
        if self._next in self._done and not self._given_up:
            with self._or_give_up():
                self._take()

    def finish(self, opened: Opened) -> InputResult | None:
        """Take what is left, and finish the files; None where this is left to the task ``Write``.

        Parameters
        ----------
        opened
            The same input, with its fingerprint if that is known.
        """
        if not self._given_up:
            with self._or_give_up():
                signed = sign_input(opened)
                while self._next < opened.n_frames:
                    self._take()
                result = finish_files(self._opened_files(), signed)
                self._files.close()
                return result
        return None

    def give_up(self) -> None:
        """Leave nothing of files that are not finished."""
        self._given_up, self._writer = True, None
        with suppress(_GivenUpError), self._files:
            raise _GivenUpError

    def _take(self) -> None:
        writer = self._opened_files()
        writer.add(self._done.pop(self._next) or stored_result(self._opened, self._next))
        self._next += 1

    def _opened_files(self) -> ResultsWriter:
        if self._writer is None:
            job = self._opened.job
            self._writer = self._files.enter_context(open_files(job))
            if job.settings.report.figures:
                # Loads matplotlib now, while nobody waits for it.
                import fringemap.report.page  # noqa: F401
        return self._writer

    @contextmanager
    def _or_give_up(self) -> Iterator[None]:
        try:
            yield
        except Exception:  # whatever it is: the task that writes the files tells of it
            log.info("%s is gathered anew at its end", self._opened.job.path, exc_info=True)
            self.give_up()


class _GivenUpError(Exception):
    """Ends the files that are open without their names."""
