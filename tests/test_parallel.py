from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from leopart import parallel
from leopart.parallel import ordered_map, side_by_side, workers


def test_results_come_in_the_order_of_the_items_whatever_they_take():
    def slow_first(number: int) -> int:
        time.sleep(0.03 if number % 4 == 0 else 0)
        return 10 * number

    assert list(ordered_map(slow_first, range(12), workers=4)) == [10 * n for n in range(12)]


def test_as_many_calls_run_at_once_as_there_are_workers():
    meeting = threading.Barrier(3, timeout=10)
    places = list(ordered_map(lambda _: meeting.wait(), range(6), workers=3))  # breaks if any call is alone
    assert sorted(places) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_than_two_items_a_worker_are_taken_ahead(workers: int):
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = ordered_map(lambda n: n, items(), workers)
    assert taken == []
    for received in range(1, 20):
        next(results)
        assert len(taken) == received + 2 * workers
    results.close()


def test_an_exception_comes_where_its_result_would_have_been():
    def fussy(number: int) -> int:
        if number == 3:
            raise ValueError("not three")
        return number

    received = []
    with pytest.raises(ValueError, match="not three"):
        received.extend(ordered_map(fussy, range(100), workers=2))
    results = ordered_map(fussy, range(100), workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="not three"):
        next(results)
    assert next(results, "over") == "over"


def test_calls_not_yet_begun_are_dropped_after_an_exception():
    begun, gate = [], threading.Event()

    def call(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise ValueError("stop")
        gate.wait(10)

    # Number 1 waits until the calls behind it must have been dropped.
    threading.Timer(0.3, gate.set).start()
    with pytest.raises(ValueError, match="stop"):
        list(ordered_map(call, range(50), workers=1))
    assert begun in ([0], [0, 1])


def test_closing_early_waits_for_what_runs_and_drops_the_rest():
    begun, ended, gate = [], [], threading.Event()

    def call(number: int) -> int:
        begun.append(number)
        if number:
            gate.wait(10)
        ended.append(number)
        return number

    results = ordered_map(call, range(50), workers=1)
    assert next(results) == 0
    while begun != [0, 1]:
        time.sleep(0.001)
    threading.Timer(0.3, gate.set).start()
    results.close()

    assert begun == ended == [0, 1]


def test_threads_end_with_the_last_result():
    before = threading.active_count()
    assert list(ordered_map(str, range(5), workers=3)) == list("01234")
    assert threading.active_count() == before


def test_a_failing_source_is_told():
    def items() -> Iterator[int]:
        yield 1
        raise RuntimeError("source is gone")

    with pytest.raises(RuntimeError, match="source is gone"):
        list(ordered_map(str, items(), workers=2))


def test_nothing_gives_nothing():
    assert list(ordered_map(str, [], workers=2)) == []


def test_calls_side_by_side_share_the_threads_of_torch_and_leave_them_as_they_were():
    before = torch.get_num_threads()
    torch.set_num_threads(20)
    try:
        assert list(side_by_side(lambda n: (n, torch.get_num_threads()), range(9))) == [
            (n, 2) for n in range(9)
        ]
        assert torch.get_num_threads() == 20
        with pytest.raises(ZeroDivisionError):
            list(side_by_side(lambda n: 1 // n, [1, 0]))
        started: list[int] = []
        thread = threading.Thread(target=lambda: started.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert started == [20]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("files", "granted"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, [1.5]),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, []),
        (
            {
                "proc/self/cgroup": "0::/job/step\n",
                "sys/fs/cgroup/job/step/cpu.max": "max 100000\n",
                "sys/fs/cgroup/job/cpu.max": "400000 100000\n",
            },
            [4.0],
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/a\n4:cpu,cpuacct:/a\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            [2.0],
        ),
        ({}, []),
    ],
    ids=["version 2", "no limit", "of a group above", "version 1", "no groups"],
)
def test_quotas_of_containers_are_read(tmp_path: Path, files: dict[str, str], granted: list[float]):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert [quota for quota in parallel._quotas(tmp_path) if quota is not None] == granted


def test_a_quota_and_processes_beside_this_one_leave_fewer_workers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(parallel, "_cores_of_machine", lambda: 64)
    monkeypatch.setattr(parallel, "_quotas", lambda: iter([None, 6.5]))
    assert (parallel.cores(), workers()) == (6, 6)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert workers() == 1
    monkeypatch.setattr(parallel, "_quotas", lambda: iter([]))
    assert (parallel.cores(), workers()) == (64, 8)


def test_the_command_line_lets_threads_wait_asleep_unless_the_user_says_otherwise():
    code = "from leopart.parallel import be_a_good_neighbour as be; be(); import os; print(os.getenv('%s'))"

    def spins(**given: str) -> str:
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
        return subprocess.check_output(
            [sys.executable, "-c", code % "GOMP_SPINCOUNT"], env={**mine, **given}, text=True
        ).strip()

    assert spins() == "1000"
    assert spins(GOMP_SPINCOUNT="77") == "77"
    assert spins(OMP_WAIT_POLICY="ACTIVE") == "None"
