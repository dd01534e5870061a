"""`leopart doctor`: what is installed, which device is used, where files go; and what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from leopart.wording import printable

#: The extras, and the packages of each that Leopart imports.
EXTRAS = {
    "view": ("starlette", "uvicorn"),
    "demo": ("matplotlib", "scikit-image", "scikit-learn"),
    "masks": ("pycocotools",),
    "export": ("onnxruntime",),
    "geo": ("rasterio",),
    "tune": ("optuna",),
    "infomap": ("infomap",),
}
_LIBRARIES = ("torch", "torchvision", "timm", "lightning", "numpy", "pillow", "huggingface-hub")
#: Variables that change what Leopart does; of secrets only whether they are set.
_VARIABLES = (
    "LEOPART_CACHE",
    "HF_HOME",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
)
_LEAST_FREE = 2 * 10**9
_HELP = """\
usage: leopart doctor

Show what is installed, which device is used, where weights are kept and how much room there is; and what to
do where something is missing. Paste it into a bug report: it holds no secrets, and the home folder is `~`.
Exit status: 0 all is well; 1 something that most commands need is missing.
"""


@dataclass(frozen=True)
class Finding:
    """A line of the answer.

    Attributes:
        name: what it is about.
        value: what was found.
        advice: what to do; empty where there is nothing to do.
        serious: whether most commands do not work as it is.
    """

    name: str
    value: str
    advice: str = ""
    serious: bool = False


def main(argv: Sequence[str]) -> int:
    """Print what was found, then what to do.

    Raises:
        SystemExit: with status 2 where there are words that are not understood.
    """
    if list(argv) in (["-h"], ["--help"], ["--help-all"]):
        sys.stdout.write(_HELP)
        return 0
    if argv:
        sys.stderr.write(f"leopart: doctor takes no words, got {printable(argv[0])}\n")
        return 2
    found = []
    for finding in findings():
        sys.stdout.write(f"{finding.name:<12}{printable(finding.value)}\n")
        sys.stdout.flush()  # the next line may take seconds
        found.append(finding)
    advised = [finding for finding in found if finding.advice]
    sys.stdout.write("\nwhat to do\n" if advised else "\nall is well\n")
    for finding in advised:
        sys.stdout.write(f"  {finding.name}: {printable(finding.advice)}\n")
    return int(any(finding.serious for finding in found))


def findings() -> Iterator[Finding]:
    """Everything that was found, line by line."""
    from leopart.run_record import git_commit, versions

    commit = git_commit()
    yield Finding("leopart", versions()["leopart"] + (f", commit {commit}" if commit else ""))
    yield Finding("python", f"{platform.python_version()} at {_home(sys.executable)}")
    yield Finding("system", f"{platform.platform()}, {os.cpu_count()} cores, {_memory()}")
    yield from _libraries()
    yield _device()
    yield from _extras()
    yield from _weights()
    yield _room("free here", Path.cwd(), "choose an --out on another disk")
    settings = [f"{name}={_home(os.environ[name])}" for name in _VARIABLES if name in os.environ]
    settings += ["HF_TOKEN is set"] if "HF_TOKEN" in os.environ else []
    yield Finding("settings", ", ".join(settings) or "none")


def _libraries() -> Iterator[Finding]:
    found = {name: _version(name) for name in _LIBRARIES}
    missing = [name for name, number in found.items() if number is None]
    shown = ", ".join(f"{name} {number or 'MISSING'}" for name, number in found.items())
    advice = f"{', '.join(missing)}: install Leopart again, pip install ." if missing else ""
    yield Finding("libraries", shown, advice, bool(missing))


def _device() -> Finding:
    try:
        import torch

        from leopart.features.extract import fast_precision
        from leopart.models.device import pick_device
    except (ImportError, OSError) as error:
        advice = f"torch cannot be loaded: {error}; install it again, see https://pytorch.org/get-started"
        return Finding("device", "none", advice, serious=True)
    device = pick_device()
    what = f"{device.type}, {fast_precision(device)}, {torch.get_num_threads()} threads"
    what += f", torch {torch.__version__}"
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        others = torch.cuda.device_count() - 1
        what += f", {facts.name} with {facts.total_memory / 2**30:.0f} GiB" + (
            f", {others} more" if others else ""
        )
    elif device.type == "cpu" and shutil.which("nvidia-smi"):
        advice = "there is a GPU, but this torch does not use it: install a CUDA build, see"
        return Finding("device", what, f"{advice} https://pytorch.org/get-started")
    return Finding("device", what)


def _extras() -> Iterator[Finding]:
    missing = {extra: [name for name in names if _version(name) is None] for extra, names in EXTRAS.items()}
    here = [extra for extra, names in missing.items() if not names]
    lacking = [extra for extra, names in missing.items() if names]
    shown = (", ".join(here) or "none") + (f" (not: {', '.join(lacking)})" if lacking else "")
    yield Finding(
        "extras", shown, f'pip install ".[{",".join(lacking)}]" if you need them' if lacking else ""
    )


def _weights() -> Iterator[Finding]:
    from leopart.models.weights.cards import cache_folder
    from leopart.models.weights.registry import BACKBONES, DEFAULT_BACKBONE
    from leopart.reproduction.setting import weights_are_here

    folder = cache_folder()
    here = [name for name, spec in BACKBONES.items() if spec.family != "random" and weights_are_here(name)]
    advice = "" if DEFAULT_BACKBONE in here else "run `leopart weights fetch`, or it is done at first use"
    yield Finding("weights", f"{', '.join(here) or 'none'} in {_home(str(folder))}", advice)
    yield _room("free there", folder, "free some space, or set LEOPART_CACHE to a folder on another disk")


def _room(name: str, folder: Path, advice: str) -> Finding:
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    writable = "" if os.access(place, os.W_OK) else ", not writable"
    short = free < _LEAST_FREE or bool(writable)
    return Finding(name, f"{free / 1e9:.1f} GB{writable}", advice if short else "", bool(writable))


def _memory() -> str:
    """Memory of the machine, where the system says it."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return "memory unknown"
    return f"{total / 2**30:.0f} GiB"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _home(path: str) -> str:
    """The path with `~` for the home folder: who pastes it need not say who they are."""
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home raises where there is none
    return "~" + path[len(home) :] if home not in ("", "/", "~") and path.startswith(home + os.sep) else path
