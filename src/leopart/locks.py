"""One run at a time in a folder: a file there says who is at work.

The file is made with O_EXCL, which every file system offers, network drives without locks too, and says
which process of which machine holds it. As long as the process lives it touches the file now and then. A lock
is taken over when its process is known to be dead (same machine, same start of the system), or, where that
cannot be known, when it has not been touched for two minutes by the clock of the drive itself. Whoever takes
it over first makes a second file with O_EXCL, so that two cannot do so at once.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated

from annotated_types import MaxLen

from leopart.documents import read_json
from leopart.errors import LeopartError
from leopart.files import cannot_write, remove_unfinished
from leopart.paths import shown

#: Seconds between two touches, and after which a lock that is not touched is that of a dead process.
_TOUCH, _STALE = 15.0, 120.0
LOCK = ".leopart.lock"
"""Name of the file in a folder."""

_Word = Annotated[str, MaxLen(255)]


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
        host: name of the machine.
        system: changes when the machine starts anew, and in another container.
        process: number of the process there.
        born: when the process began, to tell it from a later one of the same number; None where unknown.
        since: when it took the lock, for people.
        token: of this lock alone.
    """

    host: _Word
    system: _Word
    process: int
    born: _Word | None
    since: _Word
    token: _Word

    @classmethod
    def me(cls) -> Holder:
        """This process."""
        now = datetime.now().astimezone().isoformat(" ", "seconds")
        me = os.getpid()
        return cls(platform.node(), _system(), me, _born(me), now, secrets.token_hex(8))

    def is_dead(self) -> bool:
        """Whether the process is known to have ended."""
        here = self.born is not None and (self.host, self.system) == (platform.node(), _system())
        return here and _born(self.process) != self.born


@contextmanager
def locked(folder: Path, remedy: str = "wait for it to end, or choose another --out") -> Iterator[None]:
    """Hold the lock of a folder while the block runs.

    What a run that was killed has left half-written there is deleted.

    Args:
        folder: one run at a time writes into it.
        remedy: what to do while another run is at work there.

    Raises:
        LeopartError: another run is at work there, the folder cannot be written, or, at the end, somebody
            has removed it in the meantime.
    """
    with locked_file(folder / LOCK, folder, remedy) as taken_over:
        if taken_over:
            remove_unfinished(folder)
        yield


@contextmanager
def locked_file(lock: Path, what: Path, remedy: str) -> Iterator[bool]:
    """Hold a lock while the block runs.

    Its folder is made if need be, and removed again if the block has left nothing in it.

    Args:
        lock: the file that stands for it.
        what: is locked; for messages.
        remedy: what to do while somebody else holds it.

    Yields:
        Whether it was taken over from a run that was killed.

    Raises:
        LeopartError: see `locked`.
    """
    held, made = _Lock(lock, what, remedy), not lock.parent.exists()
    taken_over = held.take()
    beat = threading.Thread(target=held.keep, name=f"lock of {what}", daemon=True)
    beat.start()
    try:
        yield taken_over
        held.check()
    finally:
        held.over.set()
        beat.join()
        held.release()
        if made:
            with suppress(OSError):  # it is not empty
                lock.parent.rmdir()


class _Lock:
    """A file that is there while a run is at work.

    Attributes:
        over: set when the lock is no longer needed.
    """

    def __init__(self, path: Path, what: Path, remedy: str) -> None:
        self.path, self.what, self.remedy = path, what, remedy
        self.holder = Holder.me()
        self.over = threading.Event()

    def take(self) -> bool:
        """Make the file; whether that of a run that was killed was there before."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if _created(self.path, json.dumps(asdict(self.holder))):
                return False
            guard = self.path.with_name(f"{self.path.name}.takeover")
            if _age(guard) > _STALE:  # its maker was killed, too
                guard.unlink(missing_ok=True)
            if not self._is_stale() or not _created(guard, ""):
                raise self._refusal()
            try:
                if not self._is_stale():  # somebody was quicker
                    raise self._refusal()
                self.path.unlink(missing_ok=True)
                if not _created(self.path, json.dumps(asdict(self.holder))):
                    raise self._refusal()
            finally:
                guard.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(self.path.parent, error) from error
        return True

    def keep(self) -> None:
        """Touch the file until the lock is no longer needed."""
        while not self.over.wait(_TOUCH):
            with suppress(OSError):  # `check` tells in the end
                if self._is_mine():
                    os.utime(self.path)

    def check(self) -> None:
        """See that the file is still ours.

        Raises:
            LeopartError: it is not.
        """
        if not self._is_mine():
            message = (
                f"{shown(self.what)} was removed or taken over by another run while this one was at work"
            )
            raise LeopartError(f"{message}: run the same command again")

    def release(self) -> None:
        """Delete the file."""
        if self._is_mine():
            with suppress(OSError):
                self.path.unlink()

    def _is_mine(self) -> bool:
        holder = _holder(self.path)
        return holder is not None and holder.token == self.holder.token

    def _is_stale(self) -> bool:
        holder = _holder(self.path)
        return (holder is not None and holder.is_dead()) or _age(self.path) > _STALE

    def _refusal(self) -> LeopartError:
        holder = _holder(self.path)
        who = "" if holder is None else f" (process {holder.process} on {holder.host}, since {holder.since})"
        message = f"{shown(self.what)} is in use by another run{who}: {self.remedy}"
        return LeopartError(f"{message}; if there is no such run, delete {shown(self.path)}")


def _holder(path: Path) -> Holder | None:
    """Who holds the lock; None where that cannot be read, as in the moment in which it is made."""
    with suppress(LeopartError):
        return read_json(path, Holder, "", limit=2**16)
    return None


def _created(path: Path, text: str) -> bool:
    """Make a file with this text; False where there is one already."""
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        with os.fdopen(file, "w", encoding="utf-8") as opened:
            opened.write(text)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _age(path: Path) -> float:
    """Seconds since a file was touched, by the clock of its own drive; 0 where there is none."""
    probe = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        touched = path.lstat().st_mtime
        _created(probe, "")
        return probe.stat().st_mtime - touched
    except OSError:
        return 0.0
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


@cache
def _system() -> str:
    """This start of this machine, and this container of it; empty where the system does not say."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - no path
    return ""


def _born(process: int) -> str | None:
    """When a process began, in ticks since the start of the system; None where there is none."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else fields[18]  # Z: it was killed, and nobody has asked how it ended
