"""`python -m leopart` is `leopart`."""

from __future__ import annotations

import atexit
import os
import sys
from typing import TextIO

from leopart.cli.main import main
from leopart.cli.signals import listen
from leopart.parallel import be_a_good_neighbour


def command() -> None:
    """Run the command line, and end the process with its exit status.

    One of several processes ends without taking its interpreter apart: threads of torch.distributed may
    still hold tensors then, and letting go of one aborts a process whose work is done and written
    (https://github.com/pytorch/pytorch/issues/190489). A launcher would take that for a failure.
    """
    status = 1
    be_a_good_neighbour()
    sys.stdout, sys.stderr = _open(sys.stdout), _open(sys.stderr)
    listen()

    def leave() -> None:
        if os.environ.get("WORLD_SIZE", "1") != "1" or "SLURM_STEP_ID" in os.environ:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    atexit.register(leave)  # before all others, so that it runs after them
    try:
        status = main()
    except SystemExit as asked:
        status = asked.code if isinstance(asked.code, int) else int(asked.code is not None)
        raise
    sys.exit(status)


def _open(stream: TextIO | None) -> TextIO:
    """Standard output or error that takes every letter; nowhere, where the caller has closed it."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - until the process ends
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    return stream


if __name__ == "__main__":
    command()
