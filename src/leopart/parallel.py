"""Work done ahead in threads, results taken in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

#: More threads than this only cost memory: a decoded photo can be large.
_MOST_WORKERS = 8

T = TypeVar("T")
R = TypeVar("R")


def workers() -> int:
    """Threads worth starting here: the cores this process may use, at most 8."""
    if hasattr(os, "sched_getaffinity"):
        return min(_MOST_WORKERS, len(os.sched_getaffinity(0)))
    return min(_MOST_WORKERS, os.cpu_count() or 1)


def ordered_map(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Apply `function` to `items` in `workers` threads; yield the results in the order of the items.

    At most two calls per worker are under way or waiting to be taken, so memory does not grow with the
    number of items. An exception from a call is raised where its result would have been; calls not yet
    begun are then dropped.
    """
    source = iter(items)
    pending: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        pending.extend(pool.submit(function, item) for item in islice(source, 2 * workers))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(function, item) for item in islice(source, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
