"""Work spread over threads: how many there are, and results in the order of the work."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

#: More threads than this only cost memory: a decoded photo can be large.
_MOST_WORKERS = 8
#: How long a thread that shares an operation looks for the next one before it sleeps. GNU OpenMP looks for
#: 300,000 rounds otherwise, some ten milliseconds in which nobody else can use the core; 1,000 rounds are
#: about the 50 microseconds that waking up takes. OpenBLAS counts in powers of two of processor cycles.
_WAITING = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0", "OPENBLAS_THREAD_TIMEOUT": "14"}

T = TypeVar("T")
R = TypeVar("R")


def be_a_good_neighbour() -> None:
    """Make the threads of numerical libraries wait asleep, and count the cores of a container.

    Works only before these libraries are imported. Whatever the user has set stays as it is.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        for name, value in _WAITING.items():
            os.environ.setdefault(name, value)
    if cores() < _cores_of_machine():  # OpenMP knows of affinity, but not of quotas
        os.environ.setdefault("OMP_NUM_THREADS", str(cores()))


def cores() -> int:
    """Cores that this process may use, at least 1: by its affinity, and by the quota of its container."""
    quotas = [quota for quota in _quotas() if quota is not None]
    return max(1, int(min([_cores_of_machine(), *quotas])))


def workers() -> int:
    """Threads worth starting here: this process's share of the cores, at most 8.

    torchrun says how many processes it has started on the machine.
    """
    return max(1, min(_MOST_WORKERS, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def ordered_map(
    function: Callable[[T], R],
    items: Iterable[T],
    workers: int,
    begin_thread: Callable[[], object] = lambda: None,
) -> Iterator[R]:
    """Apply `function` to `items` in `workers` threads; yield the results in the order of the items.

    At most two calls per worker are under way or waiting to be taken, so memory does not grow with the
    number of items. An exception from a call is raised where its result would have been; calls not yet
    begun are then dropped.

    Args:
        function: called from several threads at once.
        items: taken in the thread of the caller.
        workers: number of threads.
        begin_thread: called once in each of them.
    """
    source = iter(items)
    pending: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers, initializer=begin_thread)
    try:
        pending.extend(pool.submit(function, item) for item in islice(source, 2 * workers))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(function, item) for item in islice(source, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def side_by_side(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`ordered_map` for calls that compute with torch: its threads are shared out among them.

    A small operation that is split over threads waits for the slowest of them, thousands of times a photo.
    Several photos at once, with one thread each, do the same work without waiting: as fast on a machine of
    their own, and with their full share of the cores on one that others use too.
    """
    import torch

    threads = torch.get_num_threads()
    at_once = min(_MOST_WORKERS, threads)
    try:
        yield from ordered_map(function, items, at_once, lambda: torch.set_num_threads(threads // at_once))
    finally:
        torch.set_num_threads(threads)  # new threads of this process start with the number set last


def _cores_of_machine() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(system: Path = Path("/")) -> Iterator[float | None]:
    """Cores that the control groups of this process grant, from its own group up; None = no limit."""
    for line in _text(system / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = system / "sys/fs/cgroup" / ("cpu" if controllers else "")
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            if folder.is_relative_to(root):
                yield _quota(folder)


def _quota(folder: Path) -> float | None:
    """Of one control group: in one file in version 2, in two in version 1."""
    words = _text(folder / "cpu.max").split() or [
        _text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")
    ]
    try:
        quota, period = (int(word) for word in words)
    except ValueError:  # "max", or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
