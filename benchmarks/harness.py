"""Two versions of the same work, timed in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Seconds of two versions, run A B A B …, and the ratio pair by pair."""

    name: str
    ours: float
    """Median seconds."""
    peer: float
    """Median seconds."""
    speedup: float
    """Median over pairs of peer / ours: above 1 we are faster."""
    least: float
    most: float
    note: str = ""

    def __str__(self) -> str:
        spread = f"{self.least:.2f} to {self.most:.2f}"
        times = f"{self.ours:9.4f} s  {self.peer:9.4f} s"
        return f"{self.name:<44} {times}  x{self.speedup:6.2f}  ({spread})  {self.note}"


def compare(
    name: str, ours: Callable[[], object], peer: Callable[[], object], *, runs: int = 5, note: str = ""
) -> Comparison:
    """Time both `runs` times in turn after one warm-up each."""
    ours(), peer()
    pairs = [(_seconds(ours), _seconds(peer)) for _ in range(runs)]
    ratios = [b / a for a, b in pairs]
    a, b = (statistics.median(times) for times in zip(*pairs, strict=True))
    return Comparison(name, a, b, statistics.median(ratios), min(ratios), max(ratios), note)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
