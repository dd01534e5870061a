"""What a run tells about itself: counts, failures, settings, versions, seconds and memory."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import leopart
from leopart.data.photos import shown
from leopart.features.extract import Failure
from leopart.files import write_text

_LIBRARIES = ("torch", "torchvision", "timm", "numpy", "scipy", "pillow", "networkx", "infomap")


class Stopwatch:
    """Seconds of each stage, in the order they were begun."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as stage `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class Summary:
    """One run, as it is written to `summary.json`.

    Attributes:
        command: `segment` or `predict`.
        counts: photos, failed, parts, objects.
        failures: photos that could not be used, and why.
        warnings: what the user should know before trusting the masks.
        results: what was chosen: threshold, engine and the like.
        settings: the resolved configuration.
        seconds: per stage.
        labels: labels used anywhere, the backbone's own training included.
    """

    command: str
    counts: Mapping[str, int]
    failures: Sequence[Failure]
    warnings: Sequence[str]
    results: Mapping[str, Any]
    settings: Mapping[str, Any]
    seconds: Mapping[str, float]
    labels: str = "none"

    def write(self, path: Path) -> None:
        """Write the summary as JSON.

        Raises:
            LeopartError: the file cannot be written.
        """
        content = {
            **asdict(self),
            "labels used": self.labels,
            "versions": versions(),
            "peak memory MiB": peak_memory(),
        }
        del content["labels"]
        content["seconds"] = {stage: round(seconds, 3) for stage, seconds in self.seconds.items()}
        # Paths may hold bytes that are not UTF-8; JSON cannot.
        write_text(path, shown(json.dumps(content, indent=2, default=str, ensure_ascii=False)) + "\n")


def versions() -> dict[str, str]:
    """Versions of Leopart, Python and the libraries that decide what comes out."""
    libraries = {name: _version(name) for name in _LIBRARIES}
    found = {name: number for name, number in libraries.items() if number}
    return {"leopart": leopart.__version__, "python": platform.python_version(), **found}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # an extra, or a fork under another name
        return None


def peak_memory() -> int | None:
    """Largest resident memory of this process so far in MiB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20 if sys.platform == "darwin" else peak / 2**10)
