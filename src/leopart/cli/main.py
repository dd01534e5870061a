"""`leopart COMMAND …`: find the command, run it, turn a user's mistake into one sentence.

Nothing heavy is imported here: `leopart --help` must not wait for torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from leopart import __version__
from leopart.cli.display import say
from leopart.errors import LeopartError

COMMANDS = {
    "demo": "the main job on sample photos: a report to look at, in a minute",
    "segment": "folder of photos -> part masks, object masks, report and a saved segmenter",
    "predict": "more photos -> masks with the ids of a saved segmenter",
    "label": "names for parts and objects, by hand or from a few labelled photos -> label masks",
    "train": "photos -> a backbone fine-tuned to them, without labels; resumable",
    "evaluate": "a backbone and labelled photos -> scores",
    "reproduce": "a table of the paper, row by row, published number beside ours",
    "figure": "photos with what the methods make of them, for print; a training run",
    "export": "a backbone or a segmenter for other programs: timm, safetensors, ONNX",
    "data": "data sets: list those known, check a folder on disk, convert masks",
    "weights": "pretrained backbones: list, fetch, info, convert",
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
named); 2 wrong usage or input; 130 interrupted (run the same command again to finish).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # who reads our output has gone, as `head` does when it has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        rows = "\n".join(f"  {name:<10}{text}" for name, text in COMMANDS.items())
        sys.stdout.write(_HELP.format(commands=rows))
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        sys.stdout.write(f"leopart {__version__}\n")
        return 0
    if words[0] not in COMMANDS:
        return _complain(f"there is no command {words[0]!r}: choose {', '.join(COMMANDS)}")
    try:
        status: int = import_module(f"leopart.cli.{words[0]}").main(words[1:])
    except LeopartError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("\nleopart: interrupted; run the same command again to finish\n")
        return 130
    return status


def _complain(message: str) -> int:
    for line in f"leopart: {message}".split("\n"):
        say(line)
    return 2
