"""`leopart train`: fine-tune a backbone on photos, without labels."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from leopart.cli.display import counted, say, training_progress
from leopart.cli.options import given_in_file, names_out, parse
from leopart.config import TrainConfig
from leopart.errors import LeopartError, Terminated
from leopart.presets import PRESETS, preset
from leopart.recipe import EARLIER, renamed
from leopart.settings import flat, option_word
from leopart.training.methods.registry import METHODS

if TYPE_CHECKING:
    from leopart.training.run import Trained


def main(argv: Sequence[str]) -> int:
    """Run the command; exit status 1 when some photos failed, 130 when it was interrupted, 143 by SIGTERM."""
    if argv and argv[0] == "--presets":
        list_presets()
        return 0
    config = parse_train(argv)
    from leopart.processes import is_first_process
    from leopart.training.train import train

    try:
        with training_progress(config.quiet) as progress:
            result = train(config, progress=progress)
    except KeyboardInterrupt as error:
        ended = "ended by SIGTERM" if isinstance(error, Terminated) else "interrupted"
        say(f"leopart: {ended}; continue with: {_again(argv, config)}")
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
            "lists the presets, --help the options"
        )
        raise LeopartError(message)
    argv = _todays(argv)
    # A preset that does not come first is known only when everything has been read.
    first = parse(TrainConfig, "train", argv, renamed=renamed) if argv[0].startswith("-") else None
    recipe = preset(argv[0] if first is None else first.preset)
    config = parse(TrainConfig, "train", argv, defaults=flat(recipe), renamed=renamed)
    _require_out(config, argv)
    _refuse_other_methods(config, argv)
    return config


def _require_out(config: TrainConfig, argv: Sequence[str]) -> None:
    """Processes of one run, and runs that continue another, must mean the same folder."""
    if names_out(argv) or given_in_file(argv, "out") is not None:
        return
    shared = config.devices > 1 or config.nodes > 1 or {"WORLD_SIZE", "SLURM_JOB_ID"} & os.environ.keys()
    if config.resume or shared:
        why = "a run that is resumed" if config.resume else "a run of several processes or of a cluster"
        raise LeopartError(f"{why} needs a folder by name: give --out RUN")


def _todays(argv: Sequence[str]) -> list[str]:
    """The words, with options of version 0.1 under today's names."""
    earlier: dict[str, str] = {}
    words: list[str] = []
    rest = iter(argv)
    for word in rest:
        option, _, value = word.partition("=")
        name = option.removeprefix("--").replace("-", "_")
        if option.startswith("--") and name in EARLIER:
            earlier[name] = value or next(rest, "")
        else:
            words.append(word)
    return words + [f"{option_word(name)}={value}" for name, value in renamed(earlier).items()]


def _refuse_other_methods(config: TrainConfig, argv: Sequence[str]) -> None:
    """An option of a method that is not used would change nothing."""
    given = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in argv if word[:2] == "--"}
    for method in METHODS:
        if method not in config.methods and (unused := given & flat(getattr(config, method)).keys()):
            option = option_word(min(unused))
            raise LeopartError(f"{option} belongs to --method {method}, not {config.method}: leave it out")


def finish(config: TrainConfig, result: Trained, argv: Sequence[str]) -> int:
    """Print the result and the photos that failed; returns the exit status."""
    if config.quiet:  # otherwise they were named when they were found
        for failure in result.failures:
            say(f"leopart: {failure.reason}")
    done = f"step {result.step} of {result.total}"
    if result.failures:
        say(f"{done}; {counted(len(result.failures), 'photo')} left out", quiet=config.quiet)
    if result.step < result.total:
        say(f"stopped at {done}; continue with: {_again(argv, config)}", quiet=config.quiet)
    if result.interrupted:
        return 143 if result.signal == signal.SIGTERM else 130
    say(f"backbone: --backbone {config.out}", quiet=config.quiet)
    return 1 if result.failures else 0


def _again(argv: Sequence[str], config: TrainConfig) -> str:
    """The command that continues the run, without the options that limited it this time."""
    words: list[str] = []
    skip = False
    for word in argv:
        if not (skip or word.split("=")[0] in ("--resume", "--no-resume", "--stop-at", "--stop_at")):
            words.append(word)
        skip = word in ("--stop-at", "--stop_at")
    if not names_out(argv):
        words += ["--out", str(config.out)]
    return f"leopart train {shlex.join(words)} --resume"


def list_presets() -> None:
    """Print every preset: its purpose, its cost and the scores to expect."""
    from rich.console import Console
    from rich.table import Table

    table = Table("preset", "what it is", show_lines=True)
    for name, found in PRESETS.items():
        table.add_row(name, found.about)
    Console().print(table)
