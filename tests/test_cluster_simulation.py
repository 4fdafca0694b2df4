"""The simulation of many workers against answers that can be worked out by hand."""

from __future__ import annotations

import pytest

from cluster_simulation import Costs, Load, Shared, simulate

COSTS = Costs(analyse_s=1.0, gather_s=0.0, schedule_s=0.0, frame_bytes=0.0, result_bytes=0.0, files_bytes=0.0)


def seconds(load: Load, workers: int, **changes: float) -> float:
    return simulate(load, Costs(**{**vars(COSTS), **changes}), workers=workers, bytes_per_s=1.0, start_s=0.0)


@pytest.mark.parametrize(("workers", "expected"), [(1, 12.0), (2, 6.0), (5, 3.0), (12, 1.0), (100, 1.0)])
def test_work_without_any_overhead_is_shared_out_evenly(workers: int, expected: float) -> None:
    assert seconds(Load(3, 4), workers) == expected


def test_a_shared_storage_limits_what_many_workers_do() -> None:
    assert seconds(Load(1, 50), 50, frame_bytes=0.5) == pytest.approx(50 * 0.5 + 1.0)


def test_the_scheduler_serves_one_after_the_other() -> None:
    # Fifty frames and the files of their input.
    assert seconds(Load(1, 50), 1000, schedule_s=0.1) == pytest.approx(50 * 0.1 + 1.0 + 0.1)


def test_one_worker_gathers_the_files_of_an_input_but_several_those_of_several() -> None:
    assert seconds(Load(1, 10), 10, gather_s=0.2) == pytest.approx(1.0 + 10 * 0.2)
    assert seconds(Load(2, 10), 20, gather_s=0.2) == pytest.approx(1.0 + 10 * 0.2)
    assert seconds(Load(2, 10), 1, gather_s=0.2) == pytest.approx(20 * 1.0 + 20 * 0.2)


def test_everything_counts_for_one_worker() -> None:
    costs = {"gather_s": 0.25, "schedule_s": 0.125, "frame_bytes": 2.0, "result_bytes": 1.0, "files_bytes": 0.5}
    each = 0.125 + 2.0 + 1.0 + 1.0
    files = 0.125 + 4 * (1.0 + 0.25 + 0.5)
    assert seconds(Load(3, 4), 1, **costs) == pytest.approx(12 * each + 3 * files)


def test_requests_wait_for_their_turn() -> None:
    shared = Shared()
    assert [shared.serve(now, 2.0) for now in (0.0, 1.0, 10.0)] == [2.0, 4.0, 12.0]
