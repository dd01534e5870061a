"""Help pages: a short one with what most people need, and one with everything."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Sequence
from dataclasses import MISSING, field, fields, is_dataclass, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar, get_type_hints

import tyro

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")

ALL = "--help-all"
"""The option that shows everything."""
_ASKING = ("-h", "--help", ALL)
_WORDS = {"": "", "None": "(default: not set)", "True": "(default: on)", "False": "(default: off)"}


class Short(NamedTuple):
    """What a short page shows.

    Attributes:
        options: by name, besides those that are required and positional ones.
        examples: command lines, after `leopart `.
    """

    options: tuple[str, ...]
    examples: tuple[str, ...]


_LEARNING = ("out", "parts", "objects", "foreground", "refine", "adapt", "size", "backbone", "device", "seed")
SHORT = {
    "demo": Short(_LEARNING, ("demo", "demo --out demo --parts 60")),
    "segment": Short(
        _LEARNING, ("segment PHOTOS --out OUT", "segment PHOTOS --out OUT --objects 12 --refine")
    ),
    "predict": Short(
        ("out", "overlays", "overwrite", "device", "quiet"),
        ("predict OUT MORE --out OUT2", "predict OUT cat.jpg dog.jpg --out OUT2"),
    ),
    "label": Short(
        ("from_", "masks", "name", "merge", "rename", "ignore", "undo", "dry_run"),
        ("label OUT --name shirt=parts:3,7 --ignore objects:2", "label OUT --from folder:FEW"),
    ),
    "view": Short(("port", "browser"), ("view OUT", "view OUT --no-browser --port 8000")),
    "train": Short(
        (
            "data",
            "out",
            "backbone",
            "epochs",
            "steps",
            "batch_size",
            "train_blocks",
            "resume",
            "validate",
            "device",
        ),
        (
            "train quick --data folder:PHOTOS --out RUN",
            "train single-gpu --data folder:PHOTOS --out RUN --epochs 20 --resume",
        ),
    ),
    "evaluate": Short(
        (
            "data",
            "out",
            "backbone",
            "split",
            "masks",
            "size",
            "k",
            "seeds",
            "train_split",
            "preset",
            "device",
        ),
        (
            "evaluate {0} --data folder:LABELLED --out scores.json",
            "evaluate {0} --data voc:VOC --backbone RUN",
        ),
    ),
    "reproduce": Short(
        ("out", "data_root", "data", "row", "dry_run", "released_weights", "mini", "device"),
        ("reproduce table2a --data-root DATA --dry-run", "reproduce table2a --mini --data folder:LABELLED"),
    ),
    "figure": Short(
        ("out", "data", "masks", "number", "seed", "labels", "originals", "k", "preset"),
        ("figure {0} SEGMENTER PHOTOS --out FIGURES", "figure {0} --help-all"),
    ),
    "export": Short(
        ("format", "out", "photos", "what", "min_area"),
        ("export OUT --format coco --out coco", "export OUT --format onnx --out onnx"),
    ),
}
"""By the first word of a command."""


def asks_for_help(argv: Sequence[str]) -> bool:
    """Whether a help page is wanted instead of work."""
    return any(word in _ASKING for word in argv)


def show_help(command: str, default: DataclassInstance, argv: Sequence[str]) -> None:
    """Print the page of a command and end.

    Args:
        command: its words, such as `evaluate linear`.
        default: its options with the values that are shown.
        argv: says whether everything is to be shown.

    Raises:
        SystemExit: with status 0.
    """
    first, _, rest = command.partition(" ")
    short = SHORT.get(first)
    everything = short is None or ALL in argv
    hidden = set() if short is None or everything else _hidden(type(default), short.options)
    shown = _with_words(type(default), hidden)
    values = {one.name: getattr(default, one.name) for one in fields(default)}
    try:
        tyro.cli(
            shown,
            prog=f"leopart {command}",
            args=["--help"],
            default=shown(**values),
            config=(tyro.conf.PositionalMetavarFromFieldName,),
        )
    finally:
        if short is not None:
            lines = "".join(f"  leopart {example.format(rest)}\n" for example in short.examples)
            sys.stdout.write(f"\nexamples:\n{lines}")
        if hidden:
            words = shlex.join([first, *(word for word in argv if word not in _ASKING), ALL])
            sys.stdout.write(f"\nall options: leopart {words}\n")


def _hidden(config: type[Any], wanted: Collection[str]) -> set[str]:
    """Options that the short page leaves out."""
    types = get_type_hints(config, include_extras=True)
    positional = {
        name for name, hint in types.items() if tyro.conf.Positional in getattr(hint, "__metadata__", ())
    }
    return {
        one.name
        for one in fields(config)
        if one.name not in wanted
        and one.name not in positional
        and not (one.default is MISSING and one.default_factory is MISSING)
    } | {one.name for one in fields(config) if is_dataclass(one.default_factory)}


def _with_words(config: type[Config], hidden: Collection[str]) -> type[Config]:
    """The same options, some hidden, and the defaults of the others in plain words."""
    hints = get_type_hints(config, include_extras=True)
    changed = [
        (
            one.name,
            Annotated[hints[one.name], tyro.conf.Suppress]
            if one.name in hidden
            else Annotated[hints[one.name], tyro.conf.arg(help_behavior_hint=_in_words)],
            field(default=one.default, default_factory=one.default_factory),
        )
        for one in fields(config)
    ]
    made: type[Config] = make_dataclass(
        config.__name__,
        changed,
        bases=(config,),
        namespace={"__doc__": config.__doc__},
        frozen=True,
        kw_only=True,
    )
    return made


def _in_words(default: str) -> str:
    return _WORDS.get(default, f"(default: {default})")
