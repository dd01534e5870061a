from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from leopart.parallel import ordered_map


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
