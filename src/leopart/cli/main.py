"""`leopart COMMAND …`: find the command, run it, turn a user's mistake into one sentence.

Nothing heavy is imported here: `leopart --help` must not wait for torch.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from leopart import __version__
from leopart.cli.display import say
from leopart.cli.signals import HEARD
from leopart.errors import LeopartError, Terminated
from leopart.files import cannot_use

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)
COMMANDS = {
    "demo": "the main job on sample photos: a report to look at, in a minute",
    "segment": "folder of photos -> part masks, object masks, report and a saved segmenter",
    "predict": "more photos -> masks with the ids of a saved segmenter",
    "label": "names for parts and objects, by hand or from a few labelled photos -> label masks",
    "view": "a page in the browser: look through the masks, name parts and objects, save labels",
    "train": "photos -> a backbone fine-tuned to them, without labels; resumable",
    "evaluate": "a backbone and labelled photos -> scores",
    "reproduce": "a table of the paper, row by row, published number beside ours",
    "figure": "photos with what the methods make of them, for print; a training run",
    "export": "a backbone, a segmenter or masks for other programs: timm, ONNX, COCO, CVAT and more",
    "data": "data sets: list those known, check a folder on disk, convert masks",
    "weights": "pretrained backbones: list, fetch, info, convert",
    "doctor": "what is installed, which device, where files go; for bug reports",
    "completion": "a script that completes commands and options in bash, zsh or fish",
}

_HELP = """\
usage: leopart COMMAND …

Learn object parts without labels, and turn them into segmentation masks without labels.

commands:
{commands}

Start with:
  leopart demo
  leopart segment PHOTOS --out OUT

`leopart COMMAND --help` tells about a command. Exit status: 0 done; 1 done, but some photos failed (each is
named); 2 wrong usage or input; 130 interrupted, 143 ended by SIGTERM (run the same command again to finish).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # who reads our output has gone, as `head` does when it has enough
        _close_stdout()
        return 128 + 13
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _close_stdout()
        where = error.filename or "standard output or a temporary file"
        return _complain(f"cannot write {where}: {error.strerror}; free some space")


def _close_stdout() -> None:
    """What waits to be written to standard output goes nowhere, so that it does not fail again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        rows = "\n".join(f"  {name:<12}{text}" for name, text in COMMANDS.items())
        sys.stdout.write(_HELP.format(commands=rows))
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        sys.stdout.write(f"leopart {__version__}\n")
        return 0
    if words[0] not in COMMANDS:
        return _complain(f"there is no command {words[0]!r}: choose {', '.join(COMMANDS)}")
    return _command(words[0], words[1:])


def _command(name: str, words: list[str]) -> int:
    try:
        status: int = import_module(f"leopart.cli.{name}").main(words)
    except KeyboardInterrupt as error:
        return _ended(isinstance(error, Terminated))
    except Exception as error:  # noqa: BLE001 - what is not explained is raised again
        if HEARD:  # a library took what the signal raised for a failure of its own
            return _ended(HEARD[-1] == signal.SIGTERM)
        return _explained(error)
    return status


def _ended(by_sigterm: bool) -> int:
    if by_sigterm:
        return _complain("ended by SIGTERM; run the same command again to finish", 128 + signal.SIGTERM)
    sys.stderr.write("\nleopart: interrupted; run the same command again to finish\n")
    return 128 + signal.SIGINT


def _explained(error: Exception) -> int:
    """Tell what the user can do something about; raise the rest."""
    if isinstance(error, LeopartError):
        return _complain(str(error))
    if isinstance(error, OSError) and error.filename is not None:  # without: it is about standard output
        return _complain(str(cannot_use(error)))
    if isinstance(error, UnicodeEncodeError):
        letters = ascii(error.object[error.start : error.end])
        what = f"{letters} cannot be written in this terminal's encoding ({error.encoding})"
        return _complain(f"{what}: set PYTHONUTF8=1, or a UTF-8 locale such as LC_ALL=C.UTF-8")
    raise error


def _complain(message: str, status: int = 2) -> int:
    for line in f"leopart: {message}".split("\n"):
        say(line)
    return status
