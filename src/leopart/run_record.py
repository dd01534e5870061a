"""What a run records about itself, whatever it did: seconds, memory, versions, commit, settings."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leopart.settings import flat

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_LIBRARIES = ("torch", "torchvision", "timm", "numpy", "scipy", "pillow", "infomap")
#: Options that say how to ask, not what to do.
_NOT_SETTINGS = ("config", "quiet", "overwrite")


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


def settings_of(config: DataclassInstance) -> dict[str, Any]:
    """A command's configuration in YAML's own types, as `--config` takes it back."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    return {name: plain(value) for name, value in flat(config).items() if name not in _NOT_SETTINGS}


def versions() -> dict[str, str]:
    """Versions of Leopart, Python and the libraries that decide what comes out."""
    libraries = {name: _version(name) for name in _LIBRARIES}
    found = {name: number for name, number in libraries.items() if number}
    # By name: what the package offers lies in higher layers, and an import statement would tie us to them.
    ours: str = sys.modules["leopart"].__version__
    return {"leopart": ours, "python": platform.python_version(), **found}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # an extra, or a fork under another name
        return None


def peak_memory() -> int | None:
    """Largest resident memory of this process so far in MiB; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20 if sys.platform == "darwin" else peak / 2**10)


def git_commit(source: Path = Path(__file__).parent) -> str | None:
    """Commit of the checkout that Leopart runs from, 40 hexadecimal digits; None for an installed package.

    `+changes` follows where files that git follows differ from it: then the commit alone does not give the
    same numbers.

    Args:
        source: folder of the package; it belongs to a checkout if it lies in its `src/`.
    """
    if not (source.parents[1] / ".git").exists():  # a checkout further up is somebody else's
        return None
    commit = _git(source, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git(source, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changes" if changed else commit


def _git(folder: Path, *words: str) -> str | None:
    """What git answers; None if it is not there or knows no answer."""
    git = shutil.which("git")
    if git is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - no word comes from outside
            [git, "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
