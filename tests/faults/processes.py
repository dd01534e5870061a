"""Commands in processes of their own that begin in an instant, to be killed, starved and set on each other.

Python takes seconds to import torch; a fork server does it once, and each command is a fork of it.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "leopart.cli.main",
        "leopart.evaluation.tables",
        "leopart.evaluation.evaluate",
        "leopart.export",
        "leopart.figures.draw",
        "leopart.segment.photos_to_masks",
        "leopart.training.train",
        "torch.utils.tensorboard",
        "faults.processes",
    ]
)
#: Seconds in which a command of these tests ends, on a machine that is busy with other things.
PATIENCE = 240.0


@dataclass
class Run:
    """A command under way.

    Attributes:
        process: it.
        log: what it writes to standard output and error.
    """

    process: ForkServerProcess
    log: Path

    def wait(self) -> int:
        """The exit status; minus the signal that killed it."""
        self.process.join(PATIENCE)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise AssertionError(f"did not end: {self.log.read_text()}")
        return self.process.exitcode

    @property
    def said(self) -> str:
        """What it wrote."""
        return self.log.read_text(errors="replace")


def start(words: Sequence[object], log: Path, largest_file: int | None = None) -> Run:
    """Begin `leopart WORDS`.

    Args:
        words: after the program's name.
        log: file for what it writes.
        largest_file: bytes; writing beyond them fails as on a full disk.
    """
    process = _CONTEXT.Process(target=_command, args=([str(word) for word in words], log, largest_file))
    process.start()
    return Run(process, log)


def run(words: Sequence[object], log: Path) -> Run:
    """`start`, and wait for the end; the exit status must be 0."""
    done = start(words, log)
    assert done.wait() == 0, done.said
    return done


def wait_for(path: Path, running: Run) -> None:
    """Wait until a file is there; the command must not have ended before."""
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert running.process.exitcode is None, running.said
        assert time.monotonic() < end
        time.sleep(0.002)


def _command(words: list[str], log: Path, largest_file: int | None) -> None:
    _redirect(log)
    if largest_file is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, hard))
    sys.exit(_main(words))


def _main(words: list[str]) -> int:
    import torch

    from leopart.__main__ import command

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["leopart", *words]
    try:
        command()
    except SystemExit as ended:
        return int(ended.code or 0)
    raise AssertionError("a command ends with an exit status")


def _redirect(log: Path) -> None:
    """To a pipe that another process copies into the log: a limit on files must not stop it."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.close(write)
        with log.open("wb", buffering=0) as file, suppress(KeyboardInterrupt):
            while piece := os.read(read, 1 << 16):
                file.write(piece)
        os._exit(0)
    os.close(read)
    os.dup2(write, 1)
    os.dup2(write, 2)
    os.close(write)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115


# --- a small disk ---------------------------------------------------------------------------------------

_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000
_REMOUNT = 32
_LIBC = ctypes.CDLL(None, use_errno=True)


def start_on_small_disk(words: Sequence[object], disk: Path, size: int, log: Path, results: Path) -> Run:
    """Run a command on a disk of `size` bytes at `disk`, then again with room enough, and copy the disk.

    The exit status is that of the second run; 77 where the system allows no disks of one's own. The first
    one's is in `results/status`.
    """
    process = _CONTEXT.Process(
        target=_on_small_disk, args=([str(word) for word in words], disk, size, log, results)
    )
    process.start()
    return Run(process, log)


def _on_small_disk(words: list[str], disk: Path, size: int, log: Path, results: Path) -> None:
    import shutil

    user, group = os.getuid(), os.getgid()
    if _LIBC.unshare(_NEW_USER | _NEW_MOUNTS):
        os._exit(77)
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    except OSError:
        os._exit(77)
    if not _mounted(disk, size, 0):
        os._exit(77)
    _redirect(log)
    first = _main(words)
    assert _mounted(disk, 1 << 28, _REMOUNT)
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(2, b"--- with room enough\n")
    status = _main(words)
    results.mkdir()
    (results / "status").write_text(str(first))
    shutil.copytree(disk, results / "disk")
    sys.exit(status)


def _mounted(disk: Path, size: int, flags: int) -> bool:
    options = f"size={size}".encode()
    return _LIBC.mount(b"tmpfs", bytes(disk), b"tmpfs", flags, options) == 0
