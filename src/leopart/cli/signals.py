"""Ctrl-C and SIGTERM, remembered: a library may take what they raise for a failure of its own."""

from __future__ import annotations

import signal
from types import FrameType

from leopart.errors import interruption

HEARD: list[int] = []
"""Numbers of the signals that have asked this process to end, in their order."""


def listen() -> None:
    """Raise and remember; a second SIGTERM ends the process at once, a Ctrl-C that is ignored stays so."""
    signal.signal(signal.SIGTERM, _hear)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _hear)


def _hear(number: int, frame: FrameType | None) -> None:
    del frame
    HEARD.append(number)
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_DFL)
    raise interruption(number)
