"""`areas.csv`: how much of each photo every part, object and label covers, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from leopart.data.photo_list import PhotoEntry
from leopart.errors import LeopartError
from leopart.files import whole_file
from leopart.paths import shown

if TYPE_CHECKING:
    from leopart.segment.outputs import Written

AREAS = "areas.csv"
_HEAD = ("photo", "kind", "id", "name", "pixels", "share", "confidence")

Row = Sequence[object]


def write_areas(out: Path, written: Iterable[Written]) -> None:
    """Write a row for each photo and part or object in it, id 0 (background) included.

    Args:
        out: folder of the run.
        written: its photos, in the order of the rows.

    Raises:
        LeopartError: the folder cannot be written.
    """
    _write(out, (row for item in written for row in _rows(item)))


def recount_areas(
    out: Path,
    counted: Iterable[tuple[PhotoEntry, Mapping[str, NDArray[np.integer]]]],
    names: Mapping[int, str],
) -> None:
    """Write the rows of photos whose masks have changed, rows of labels included; confidences stay.

    Args:
        out: folder of the run; without `areas.csv`, which earlier versions did not write, nothing is done.
        counted: photos, and for each kind the pixels of each id in them.
        names: of label ids.

    Raises:
        LeopartError: the file cannot be read or written.
    """
    path = out / AREAS
    if not path.is_file():
        return
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            sure = {tuple(row[:3]): row[-1] for row in csv.reader(file) if len(row) == len(_HEAD)}
    except (OSError, csv.Error) as error:
        raise LeopartError(f"{shown(path)} cannot be read ({error}); delete it, then label again") from error
    _write(
        out,
        (
            (entry.name, kind, number, name, *_area(int(pixels[number]), entry), confidence)
            for entry, kinds in counted
            for kind, pixels in kinds.items()
            for number in np.flatnonzero(pixels).tolist()
            for name in [names.get(number, "") if kind == "label" else ""]
            for confidence in [sure.get((entry.name, kind, str(number)), "")]
        ),
    )


def _rows(item: Written) -> Iterable[Row]:
    size = item.entry.width * item.entry.height
    for kind, shares in (("part", item.part_shares), ("object", item.object_shares)):
        for number in np.flatnonzero(shares).tolist():
            sure = item.confidence.get(number) if kind == "object" else None
            area = _area(round(shares[number] * size), item.entry)
            yield (item.entry.name, kind, number, "", *area, "" if sure is None else f"{sure:.3f}")


def _area(pixels: int, entry: PhotoEntry) -> tuple[int, str]:
    return pixels, f"{pixels / (entry.width * entry.height):.6f}"


def _write(out: Path, rows: Iterable[Row]) -> None:
    with whole_file(out / AREAS) as file:
        text = io.TextIOWrapper(file, "utf-8", errors="surrogateescape", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_HEAD)
        writer.writerows(rows)
        text.flush()
        text.detach()
