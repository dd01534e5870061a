"""What a user can do wrong, said in one sentence; and the signals that end a run."""

from __future__ import annotations

import signal


class LeopartError(Exception):
    """A problem the user can solve: the message names the thing, what is wrong and what to do.

    Commands print the message without a traceback and exit with status 2.
    """


class PhotoError(LeopartError):
    """One photo cannot be used; the rest of the folder goes on (exit status 1)."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came: what a Ctrl-C does, with exit status 143 instead of 130."""


def interruption(number: int) -> KeyboardInterrupt:
    """What to raise when the signal of this number has ended the work."""
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
