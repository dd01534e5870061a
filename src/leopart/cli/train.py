"""`leopart train`: fine-tune a backbone on photos, without labels."""

from __future__ import annotations

import inspect
import shlex
import signal
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from leopart.cli.display import counted, say, training_watcher
from leopart.cli.options import given_in_file, parse
from leopart.config import TrainConfig
from leopart.errors import LeopartError, Terminated
from leopart.presets import PRESETS, for_densecl, preset
from leopart.recipe import recipe_of

if TYPE_CHECKING:
    from leopart.training.run import Trained


def main(argv: Sequence[str]) -> int:
    """Run the command; exit status 1 when some photos failed, 130 when it was interrupted, 143 by SIGTERM."""
    if argv and argv[0] == "--presets":
        list_presets()
        return 0
    config = parse_train(argv)
    from leopart.processes import is_first_process
    from leopart.training.pipeline import train

    try:
        with training_watcher(config.quiet) as watcher:
            result = train(config, watcher=watcher)
    except KeyboardInterrupt as error:
        ended = "ended by SIGTERM" if isinstance(error, Terminated) else "interrupted"
        say(f"leopart: {ended}; go on with: {_again(argv)}")
        return 143 if isinstance(error, Terminated) else 130
    # A launcher takes another status of one process for a crash, and ends the others.
    return finish(config, result, argv) if is_first_process() else 0


def parse_train(argv: Sequence[str]) -> TrainConfig:
    """The configuration, with the preset's values where neither command line nor file gives one.

    Raises:
        LeopartError: nothing is asked for, or a value makes no sense.
        SystemExit: see `parse`.
    """
    if not argv:
        message = (
            "nothing to do: `leopart train PRESET --data folder:PHOTOS --out RUN`; `leopart train --presets` "
            "lists the presets, --help tells about the options"
        )
        raise LeopartError(message)
    # A preset that does not come first is known only when everything has been read.
    name = parse(TrainConfig, "train", argv).preset if argv[0].startswith("-") else argv[0]
    recipe = preset(name)
    if "densecl" in (_given(argv, "--objective"), given_in_file(argv, "objective")):
        recipe = for_densecl(recipe)
    return parse(TrainConfig, "train", argv, defaults=recipe_of(recipe))


def _given(argv: Sequence[str], option: str) -> str | None:
    """The word behind an option."""
    for word, following in pairwise([*argv, ""]):
        if word == option or word.startswith(f"{option}="):
            return following if word == option else word.partition("=")[2]
    return None


def finish(config: TrainConfig, result: Trained, argv: Sequence[str]) -> int:
    """Tell what came out and what did not; the exit status."""
    if config.quiet:  # else they were named when they were found
        for failure in result.failures:
            say(f"leopart: {failure.reason}")
    done = f"step {result.step} of {result.total}"
    if result.failures:
        say(f"{done}; {counted(len(result.failures), 'photo')} left out", quiet=config.quiet)
    if result.step < result.total:
        say(f"stopped at {done}; go on with: {_again(argv)}", quiet=config.quiet)
    if result.interrupted:
        return 143 if result.signal == signal.SIGTERM else 130
    say(f"backbone: --backbone {config.out}", quiet=config.quiet)
    return 1 if result.failures else 0


def _again(argv: Sequence[str]) -> str:
    """The command that goes on, without the words that said how far to go this time."""
    words: list[str] = []
    skip = False
    for word in argv:
        if not (skip or word.split("=")[0] in ("--resume", "--no-resume", "--stop-at", "--stop_at")):
            words.append(word)
        skip = word in ("--stop-at", "--stop_at")
    return f"leopart train {shlex.join(words)} --resume"


def list_presets() -> None:
    """Print every preset with what it is for, its cost and what to expect."""
    from rich.console import Console
    from rich.table import Table

    table = Table("preset", "what it is", show_lines=True)
    for name, function in PRESETS.items():
        table.add_row(name, inspect.cleandoc(function.__doc__ or ""))
    Console().print(table)
