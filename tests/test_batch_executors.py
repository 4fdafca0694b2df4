"""One contract, kept by every executor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import deadly_work
from fringemap.batch import executors
from fringemap.batch.executors import DaskExecutor, Done, Executor, InlineExecutor, ProcessExecutor, run_tasks
from fringemap.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator

PARALLEL = ("processes", "dask")


@contextmanager
def local_cluster(folder: Path) -> Iterator[str]:
    """Start a scheduler and two workers as programs of their own, as on a cluster."""
    file = folder / "scheduler.json"
    words = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, "env": _environment()}
    started = [subprocess.Popen([*words, "--no-dashboard", "--scheduler-file", str(file)], **quiet)]  # type: ignore[call-overload]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file), "--no-dashboard"]
    worker += ["--host", "127.0.0.1", "--nthreads", "1", "--nworkers", "2", "--local-directory", str(folder)]
    started.append(subprocess.Popen(worker, **quiet))  # type: ignore[call-overload]
    try:
        while not file.exists():
            assert started[0].poll() is None, "the scheduler did not start"
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"]
    finally:
        # Workers first: without their scheduler they would wait for it.
        for process in reversed(started):
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("distributed", reason="needs Dask: install fringemap[dask]")
    with local_cluster(tmp_path_factory.mktemp("dask")) as address:
        yield address


@pytest.fixture(params=["inline", "processes", "dask"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    made: Executor
    if request.param == "inline":
        made = InlineExecutor()
    elif request.param == "processes":
        made = ProcessExecutor(2)
    else:
        made = DaskExecutor(request.getfixturevalue("scheduler"), timeout_s=30)
    with made:
        yield made


def kind_of(executor: Executor) -> str:
    return {"InlineExecutor": "inline", "ProcessExecutor": "processes"}.get(type(executor).__name__, "dask")


def test_every_task_comes_back_once_with_its_value(executor: Executor) -> None:
    done = list(run_tasks(executor, deadly_work.square, range(20)))
    assert sorted((d.task, d.value) for d in done) == [(n, n * n) for n in range(20)]
    assert all(d.error is None for d in done)


def test_no_task_is_no_work(executor: Executor) -> None:
    assert list(run_tasks(executor, deadly_work.square, [])) == []


def test_a_task_that_fails_comes_back_with_its_error_and_the_others_are_done(executor: Executor) -> None:
    done = {d.task: d for d in run_tasks(executor, deadly_work.refuse_odd, range(5))}
    assert {n: d.value for n, d in done.items()} == {0: 0, 1: None, 2: 2, 3: None, 4: 4}
    assert isinstance(done[3].error, ValueError)
    assert str(done[3].error) == "3 is odd"


def test_few_tasks_are_under_way_however_many_there_are(executor: Executor) -> None:
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        for number in range(200):
            taken += 1
            yield number

    most = max(taken - back for back, _ in enumerate(run_tasks(executor, deadly_work.square, tasks())))
    assert 1 <= most <= executor.ahead


def test_tasks_that_follow_are_done_before_those_that_nobody_began(executor: Executor) -> None:
    def follow(done: Done) -> list[int]:
        return [done.task + 1000] if done.task < 1000 else []

    order = [d.task for d in run_tasks(executor, deadly_work.square, range(50), then=follow, rank=float)]
    assert sorted(order) == sorted([*range(50), *range(1000, 1050)])
    # Counted from when its turn came: a worker may start late.
    assert order.index(1000) - order.index(0) < 3 * executor.ahead + 2


def test_workers_share_the_tasks_and_each_calculates_with_one_thread(executor: Executor) -> None:
    done = list(run_tasks(executor, deadly_work.process_and_threads, [0.2] * 6))
    processes = {d.value[0] for d in done}
    if kind_of(executor) in PARALLEL:
        assert len(processes) == executor.n_workers == 2
        assert {d.value[1] for d in done} == {"1"}
    else:
        assert len(processes) == 1


def test_a_task_that_kills_its_process_is_given_up_and_the_others_are_done(executor: Executor) -> None:
    if kind_of(executor) not in PARALLEL:
        pytest.skip("in this process it would end the test")
    names = ["a", "b", "deadly", "c", "d", "e"]
    done = {d.task: d for d in run_tasks(executor, deadly_work.kill_own_process, names)}
    assert {name: d.value for name, d in done.items()} == {n: n if n != "deadly" else None for n in names}
    assert isinstance(done["deadly"].error, WorkerError)


def test_a_task_whose_process_was_killed_by_another_is_done_again(executor: Executor, tmp_path: Path) -> None:
    if kind_of(executor) not in PARALLEL:
        pytest.skip("in this process it would end the test")
    names = [str(tmp_path / name) for name in ("a", "b.deadly", "c", "d")]
    done = list(run_tasks(executor, deadly_work.kill_own_process_once, names))
    assert sorted(d.value for d in done) == ["a", "b", "c", "d"]


def test_there_are_no_more_processes_than_the_system_can_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [executors.possible_workers(n, "win32") for n in (2, 61, 62, 128)] == [2, 61, 61, 61]
    assert executors.possible_workers(128, "linux") == 128
    monkeypatch.setattr(executors, "possible_workers", lambda _: 1)
    with ProcessExecutor(64) as executor:
        assert (executor.n_workers, executor.ahead) == (1, executors.AHEAD)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    code = (
        "import deadly_work\nfrom fringemap.batch.executors import ProcessExecutor\n"
        f"if __name__ == '__main__':\n    e = ProcessExecutor(1)\n"
        f"    e.start(deadly_work.note_and_wait, {str(marker)!r})\n    e.next_done()\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code, encoding="utf-8")
    parent = subprocess.Popen([sys.executable, str(script)], env=_environment())
    worker = int(_wait_for(marker))
    parent.kill()
    parent.wait(10)
    deadline = time.monotonic() + 10
    while _is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(worker)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(deadly_work.__file__).parent)}


def _wait_for(path: Path) -> str:
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)
    return path.read_text()


def _is_running(process: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def test_a_run_on_a_cluster_gives_the_bytes_of_a_local_one(scheduler: str, tmp_path: Path) -> None:
    from drawn_inputs import PIXEL_ANGSTROM, QUICK, draw_lif, write_lif
    from fringemap.batch import analyze_inputs
    from fringemap.batch.replay import compare_results
    from fringemap.io import write_mrc

    images = [draw_lif(seed).image for seed in range(4)]
    stack = write_mrc(tmp_path / "s.mrc", images, pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM))
    inputs = [stack, write_lif(tmp_path / "a.mrc"), tmp_path / "missing.mrc"]
    remote = analyze_inputs(inputs, tmp_path / "cluster", settings=QUICK, scheduler=scheduler)
    local = analyze_inputs(inputs, tmp_path / "local", settings=QUICK, workers=1)
    assert [r.summary["status"] for r in remote] == ["done", "done", "failed"]
    for one, other in zip(remote[:2], local[:2], strict=True):
        assert one.folder is not None
        assert other.folder is not None
        assert compare_results(one.folder, other.folder) == []
    assert (tmp_path / "cluster" / "errors.csv").read_bytes() == (tmp_path / "local" / "errors.csv").read_bytes()


def test_a_scheduler_that_is_not_there_is_named_with_the_way_out() -> None:
    pytest.importorskip("distributed", reason="needs Dask: install fringemap[dask]")
    with pytest.raises(WorkerError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        DaskExecutor("tcp://127.0.0.1:9", timeout_s=1)
