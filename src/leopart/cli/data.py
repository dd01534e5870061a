"""`leopart data`: data sets that are known, whether a folder on disk is one of them, masks made ready."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from leopart.cli.display import counted, printable, tracker

if TYPE_CHECKING:
    from leopart.data.datasets.checking import SplitFound
    from leopart.data.datasets.mask_checks import MaskFindings

_SAMPLE = 200


@dataclass(frozen=True)
class ListSets:
    """List the data sets: their purpose, classes, splits and numbers of photos."""


@dataclass(frozen=True)
class Check:
    """Check which photos and masks of a data set are in a folder, what is missing, and where to get it.

    Masks are read: their sizes, their ids and the share of each class. Exit status 0: complete; 1: something
    is missing or wrong; 2: wrong usage.
    """

    data: Annotated[str, tyro.conf.Positional]
    """NAME:PATH, with a NAME from `leopart data list`; a bare path is read as folder:PATH."""
    masks: str = "masks"
    """Which masks of a folder: NAME for masks_NAME/ and classes_NAME.txt."""
    split: str | None = None
    """Check only this split; for a folder also the path of a list."""
    every: bool = False
    """Read every mask instead of 200 spread over the split."""


@dataclass(frozen=True)
class ConvertMasks:
    """Turn masks in PASCAL VOC's colours into index masks, or replace ids of index masks.

    Writes PNGs of the same names whose pixels are class ids, as every command takes them. No file is
    replaced.
    """

    masks: Annotated[Path, tyro.conf.Positional]
    """Folder of PNG masks, searched at any depth."""
    out: Path
    """Another folder for the new masks."""
    ids: tuple[str, ...] = ()
    """The masks hold ids, not colours: replace these, OLD=NEW; 255=1 makes class 1 of a mask of 0 and 255."""


Command = (
    Annotated[ListSets, tyro.conf.subcommand("list")]
    | Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[ConvertMasks, tyro.conf.subcommand("convert")]
)


def main(argv: list[str]) -> int:
    """Run `leopart data ARGV`.

    Args:
        argv: what follows the word `data`.

    Returns:
        The exit status: 1 where a data set is not complete.

    Raises:
        LeopartError: there is no such data set or folder; the dispatcher prints the message.
        SystemExit: with 0 after `--help`, with 2 on wrong usage.
    """
    command = tyro.cli(
        Command,
        args=argv or ["--help"],
        prog="leopart data",
        description="Data sets: list them, check whether a folder on disk is complete, convert masks.",
    )
    if isinstance(command, ListSets):
        return _list()
    return _convert(command) if isinstance(command, ConvertMasks) else _check(command)


def _list() -> int:
    from leopart.data.datasets.catalogue import CATALOGUE

    rows = []
    for name, known in CATALOGUE.items():
        splits = [f"{split} {count:,}" for split, count in known.splits.items()]
        rows.append((f"{name}:PATH", known.use, known.labels, "\n".join(splits) or "all, or a list"))
    _table(("data", "for", "labels", "splits and photos"), rows)
    _say("\n`leopart data check NAME:PATH` says what is missing of a data set, and where to get it.")
    return 0


def _check(command: Check) -> int:
    from leopart.data.datasets.checking import check_splits
    from leopart.data.datasets.mask_checks import check_masks
    from leopart.data.photos import shown

    name, path = _named(command.data)
    found = check_splits(name, path, command.masks, command.split)
    _say(f"{name} in {shown(path)}\n")
    _show_splits(found)
    good = all(split.complete for split in found)
    labelled = next(((split.name, split.labelled) for split in found if split.labelled and split.masks), None)
    if labelled is not None:
        split, photos = labelled
        findings = check_masks(photos, None if command.every else _SAMPLE, track=tracker(quiet=False))
        _show_masks(split, findings)
        good = good and findings.good
    if not good:
        _show_sources(name)
    return 0 if good else 1


def _convert(command: ConvertMasks) -> int:
    from leopart.data.conversion import convert_masks
    from leopart.paths import shown

    ids = dict(map(_renumbering, command.ids)) or None
    count = convert_masks(command.masks, command.out, ids, track=tracker(quiet=False))
    _say(f"{counted(count, 'mask')}: {shown(command.out)}")
    return 0


def _renumbering(text: str) -> tuple[int, int]:
    from leopart.errors import LeopartError

    old, _, new = text.partition("=")
    if not all(number.isascii() and number.isdecimal() and int(number[:9]) < 2**16 for number in (old, new)):
        raise LeopartError(f"--ids {text} is no pair OLD=NEW of ids; write for example --ids 255=1")
    return int(old), int(new)


def _named(data: str) -> tuple[str, Path]:
    """Name and path in `NAME:PATH`; a path alone is a folder."""
    from leopart.data.datasets.catalogue import CATALOGUE
    from leopart.errors import LeopartError
    from leopart.paths import expanded

    name, colon, rest = data.partition(":")
    if colon and name in CATALOGUE:
        return name, expanded(rest)
    path = expanded(data)
    if not os.path.lexists(path):
        known = ", ".join(f"{known}:PATH" for known in CATALOGUE)
        raise LeopartError(f"{data} is neither a folder nor one of {known}; write one of them")
    return "folder", path


def _show_splits(found: Sequence[SplitFound]) -> None:
    rows = []
    for split in found:
        wanted = max(split.listed, split.expected or 0)
        photos = f"{split.photos:,} of {wanted:,}" if wanted else "-"
        masks = "-" if split.masks is None else f"{split.masks:,} of {split.listed:,}"
        rows.append((split.name, photos, masks, "complete" if split.complete else "not complete"))
    _table(("split", "photos", "masks", ""), rows)
    told: dict[str, list[str]] = {}  # what holds for several splits is said once
    for split in found:
        for text in _remarks(split):
            told.setdefault(text, []).append(split.name)
    for text, splits in told.items():
        _say(f"{', '.join(splits)}: {text}")


def _remarks(split: SplitFound) -> Iterator[str]:
    if split.missing is not None:
        yield f"the first missing is {split.missing}"
    if split.problem:
        yield split.problem
    yield from split.notes
    if split.labelled is not None:
        yield from split.labelled.notes


def _show_masks(split: str, findings: MaskFindings) -> None:
    spread = "" if findings.read == findings.total else f" of {findings.total:,}, spread over the split"
    _say(f"\n{counted(findings.read, 'mask')} read{spread} (split {split})")
    for kind, (count, first) in findings.problems.items():
        _say(f"{kind}: {counted(count, 'mask')}, first: {first}")
    rows = [(name, _percent(share), f"{findings.photos[name]:,}") for name, share in findings.shares.items()]
    for note in findings.notes:
        _say(note)
    _table(("class", "pixels", "photos"), [*rows, ("without a label", _percent(findings.unlabelled), "")])
    if findings.unlisted:
        largest = sorted(findings.unlisted, key=lambda key: -findings.unlisted[key])[:5]
        more = f", ... ({len(findings.unlisted)} ids)" if len(findings.unlisted) > len(largest) else ""
        without = f"{sum(findings.unlisted.values()):,} of the pixels without a label"
        _say(f"{without} have ids of no class: {', '.join(map(str, largest))}{more}")


def _show_sources(name: str) -> None:
    from leopart.data.datasets.catalogue import CATALOGUE

    known = CATALOGUE[name]
    _say("")
    for part in known.parts:
        _say(f"get    {part}")
    _say(f"lay as {known.place}")


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(cell if "\n" in cell else printable(cell) for cell in row))
    Console(markup=False, highlight=False).print(table)


def _say(text: str) -> None:
    """A line of the answer, never wrapped: paths stay whole for copying."""
    sys.stdout.write("\n".join(map(printable, text.split("\n"))) + "\n")
