"""Where tasks are done: in this process, in processes of this machine, or on a Dask cluster. One small interface.

An executor takes tasks and hands them back when they are done, in whatever order. A task that fails or whose process
dies comes back as well, with its error, and never ends the others. `run_tasks` feeds an executor so that few tasks
are under way at any time, however many there are.
"""

from __future__ import annotations

import heapq
import itertools
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from fringemap.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**29)}
"""Under Linux, memory that one frame leaves free stays for the next: clearing new pages took 4 % of the time."""
_MOST_ON_WINDOWS = 61
AHEAD = 2
"""Tasks under way for each worker: one being done, one waiting, so that nobody idles."""


@dataclass(frozen=True)
class Done:
    """A task that came back."""

    task: Any
    value: Any = None
    """What the work returned; None if it failed."""
    error: Exception | None = None
    """What the work raised; ``WorkerError`` if its process died."""


class Executor(Protocol):
    """Does tasks; a context manager, which at its end drops what has not begun."""

    @property
    def n_workers(self) -> int:
        """How many tasks can be done at a time."""

    @property
    def ahead(self) -> int:
        """Tasks to be kept under way."""

    def start(self, work: Callable[[Any], Any], task: Any) -> None:
        """Take a task; ``work`` and ``task`` must be picklable unless all is done in this process."""

    def next_done(self) -> Done:
        """Wait for any task that was started and is done; only to be called while there is one."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class InlineExecutor:
    """Does each task in this process, when its result is asked for."""

    n_workers = 1
    ahead = 1

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[[Any], Any], Any]] = deque()

    def start(self, work: Callable[[Any], Any], task: Any) -> None:
        """Take a task."""
        self._waiting.append((work, task))

    def next_done(self) -> Done:
        """Wait for the next task that is done."""
        work, task = self._waiting.popleft()
        try:
            return Done(task, work(task))
        except Exception as error:  # whatever it is, it belongs to this task alone
            return Done(task, error=error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.clear()


class ProcessExecutor:
    """Does tasks in processes of this machine, each with a single thread for its arithmetic.

    Parameters
    ----------
    n_workers
        How many processes; on Windows at most 61.
    work
        Functions whose modules all processes load at once, not each with its first task.

    Notes
    -----
    A process that dies takes its pool along, and nobody knows on whose account. What was under way is then done
    again, one task at a time in a process of its own; a task that ends that process too is given up.
    """

    def __init__(self, n_workers: int, *work: Callable[[Any], Any]) -> None:
        self.n_workers = possible_workers(n_workers)
        self.ahead = AHEAD * self.n_workers
        self._work = work
        self._pool = _new_pool(self.n_workers, work)
        self._under_way: dict[Future[Any], tuple[Callable[[Any], Any], Any]] = {}
        self._cell: ProcessPoolExecutor | None = None
        self._finished: deque[Done] = deque()
        self._suspects: deque[tuple[Callable[[Any], Any], Any]] = deque()

    def start(self, work: Callable[[Any], Any], task: Any) -> None:
        """Take a task."""
        try:
            self._under_way[_submit(self._pool, work, task)] = (work, task)
        except BrokenProcessPool:
            self._replace_pool()
            self._suspects.append((work, task))

    def next_done(self) -> Done:
        """Wait for the next task that is done."""
        while True:
            if self._finished:
                return self._finished.popleft()
            if self._suspects:
                return self._try_alone(*self._suspects.popleft())
            future = next(iter(wait(self._under_way, return_when=FIRST_COMPLETED).done))
            if isinstance(future.exception(), BrokenProcessPool):
                self._replace_pool()
            else:
                return _as_done(self._under_way.pop(future)[1], future)

    def _replace_pool(self) -> None:
        """Sort what was under way in a broken pool, where nothing goes on, into finished and suspect."""
        for future in wait(self._under_way).done:
            work, task = self._under_way.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                self._suspects.append((work, task))
            else:
                self._finished.append(_as_done(task, future))
        self._pool.shutdown(wait=True)
        self._pool = _new_pool(self.n_workers, self._work)

    def _try_alone(self, work: Callable[[Any], Any], task: Any) -> Done:
        if self._cell is None:
            self._cell = _new_pool(1, self._work)
        future = _submit(self._cell, work, task)
        if not isinstance(future.exception(), BrokenProcessPool):
            return _as_done(task, future)
        self._cell.shutdown(wait=True)
        self._cell = None
        return Done(task, error=WorkerError(_LOST))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in (self._pool, self._cell):
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)


def possible_workers(wanted: int, system: str = sys.platform) -> int:
    """Processes that the system lets one process wait for, at most those wanted."""
    return min(wanted, _MOST_ON_WINDOWS) if system == "win32" else wanted


_LOST = "its process ended without a word, twice; was there enough memory?"


def _new_pool(n_workers: int, work: tuple[Callable[[Any], Any], ...]) -> ProcessPoolExecutor:
    # A fresh interpreter for each worker: forking a process that has threads can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_workers, mp_context=context, initializer=_prepare_process)
    # A pool starts a process when a task finds none idle; here all load their libraries while the first task is done.
    for _ in range(n_workers):
        _submit(pool, _wake_up, work)
    return pool


def _wake_up(_: Any) -> None:
    """Do nothing: to find what it is called with, a process loads the modules of that."""


def _submit(pool: ProcessPoolExecutor, work: Callable[[Any], Any], task: Any) -> Future[Any]:
    # Submitting starts processes. Numerical libraries read these variables once, when they are loaded.
    with _environment(dict.fromkeys(THREAD_VARIABLES, "1") | _MEMORY):
        return pool.submit(work, task)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _prepare_process() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it: a killed parent cannot say that the work is over."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _as_done(task: Any, future: Any) -> Done:
    error = future.exception()
    if error is None:
        return Done(task, future.result())
    if isinstance(error, Exception):
        return Done(task, error=error)
    raise error


class DaskExecutor:
    """Does tasks on the workers of a running Dask cluster, which must see the same folders as this process.

    Parameters
    ----------
    address
        Of the scheduler, such as ``tcp://10.0.0.1:8786``.

    Raises
    ------
    WorkerError
        Dask is not installed, no scheduler answers, it has no worker, or a worker has another version of fringemap.
    """

    def __init__(self, address: str, *, timeout_s: float = 10.0) -> None:
        self._client = _connect(address, timeout_s)
        self._address = address
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._under_way: dict[Any, Any] = {}

    @property
    def n_workers(self) -> int:
        """Threads of all workers at this moment; a cluster may grow and shrink."""
        threads: dict[str, int] = self._client.nthreads()
        return max(sum(threads.values()), 1)

    @property
    def ahead(self) -> int:
        """Tasks to be kept under way."""
        return AHEAD * self.n_workers

    def start(self, work: Callable[[Any], Any], task: Any) -> None:
        """Take a task."""
        # Not pure: the same task, done again, writes again.
        future = self._client.submit(work, task, pure=False)
        self._under_way[future] = task
        future.add_done_callback(self._done.put)

    def next_done(self) -> Done:
        """Wait for the next task that is done."""
        while True:
            try:
                future = self._done.get(timeout=1.0)
            except queue.Empty:
                if self._client.status not in ("running", "connecting"):
                    raise WorkerError(_NO_SCHEDULER.format(self._address)) from None
                continue
            return self._taken(future)

    def _taken(self, future: Any) -> Done:
        task = self._under_way.pop(future)
        try:
            if future.status == "cancelled":
                raise WorkerError(_NO_SCHEDULER.format(self._address))
            error = future.exception()
            if type(error).__name__ == "KilledWorker":
                return Done(task, error=WorkerError(_LOST))
            return _as_done(task, future)
        finally:
            future.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        futures = list(self._under_way)
        self._under_way.clear()
        if futures and self._client.status == "running":
            self._client.cancel(futures)
        self._client.close()


_NO_SCHEDULER = "the Dask scheduler {} does not answer; start it again and repeat the run with --resume"


def _connect(address: str, timeout_s: float) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise WorkerError("--scheduler needs Dask, which is not installed; install fringemap[dask]") from error
    try:
        client: Any = Client(address, timeout=timeout_s, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise WorkerError(f"no Dask scheduler answers at {address}; check the address, or start one") from error
    try:
        _check_cluster(client, address, timeout_s)
    except BaseException:
        client.close()
        raise
    return client


def _check_cluster(client: Any, address: str, timeout_s: float) -> None:
    try:
        client.wait_for_workers(1, timeout=timeout_s)
    except TimeoutError as error:
        raise WorkerError(f"the Dask scheduler {address} has no worker; start some") from error
    here = installed_version()
    for worker, there in client.run(installed_version).items():
        if there != here:
            raise WorkerError(f"the worker {worker} has fringemap {there}, this is {here}; install the same everywhere")


def installed_version() -> str:
    """Version of fringemap in this process."""
    from fringemap import __version__

    return __version__


def run_tasks(
    executor: Executor,
    work: Callable[[Any], Any],
    tasks: Iterable[Any],
    *,
    then: Callable[[Done], Iterable[Any]] | None = None,
    rank: Callable[[Any], float] | None = None,
) -> Iterator[Done]:
    """Do tasks, and those that follow from them, with few under way at a time.

    Parameters
    ----------
    executor
        Where.
    work
        What is done with each task; a function that can be pickled.
    tasks
        Read one by one, when there is room.
    then
        Gives the tasks that follow from one that is done; they come before those that nobody has asked for yet.
    rank
        Of a task that follows: smaller ones first. First come, first served if left out.

    Yields
    ------
    Done
        Each task as it comes back, in no particular order.
    """
    agenda = _Agenda(tasks)
    under_way = 0
    while True:
        while under_way < executor.ahead and (task := agenda.take()) is not None:
            executor.start(work, task)
            under_way += 1
        if not under_way:
            return
        done = executor.next_done()
        under_way -= 1
        for more in [iter(then(done))] if then else []:
            agenda.add(more, rank)
        yield done


class _Agenda:
    """Tasks to come, from several iterators; none is read before its turn."""

    def __init__(self, tasks: Iterable[Any]) -> None:
        self._last = iter(tasks)
        self._first: list[tuple[float, int, Any, Iterator[Any]]] = []
        self._count = itertools.count()

    def add(self, tasks: Iterator[Any], rank: Callable[[Any], float] | None) -> None:
        head = next(tasks, None)
        if head is not None:
            heapq.heappush(self._first, (rank(head) if rank else 0.0, next(self._count), head, tasks))

    def take(self) -> Any:
        if not self._first:
            return next(self._last, None)
        position, number, task, rest = self._first[0]
        head = next(rest, None)
        if head is None:
            heapq.heappop(self._first)
        else:
            heapq.heapreplace(self._first, (position, number, head, rest))
        return task
