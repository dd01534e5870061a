"""Names and merges that people made in an annotation tool, as labels of a run.

A region's name goes to what most of its pixels are: a part, or a part within an object. What a tool can hold
and labels cannot, such as half a part under another name, is counted.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leopart.data.annotations.annotated import UNKNOWN, Annotated, Rows
from leopart.data.annotations.coco import CocoRegions
from leopart.data.annotations.colour_masks import ColourMasks, line_name
from leopart.data.annotations.label_studio import LabelStudioTasks
from leopart.data.masks import read_index_mask
from leopart.data.photo_list import PhotoEntry, read_photo_list
from leopart.errors import LeopartError
from leopart.labels import edits
from leopart.labels.rules import BACKGROUND, Claim, Labels, check_name, union
from leopart.paths import shown
from leopart.progress import Track
from leopart.segment.labelling import Ids

READERS: dict[str, type[CocoRegions] | type[ColourMasks] | type[LabelStudioTasks]] = {
    "cvat": ColourMasks,
    "label-studio": LabelStudioTasks,
    "coco": CocoRegions,
    "voc": ColourMasks,
}
_MOST_LINES = 10


@dataclass(frozen=True)
class Cells:
    """Pixels of one photo by object, part and class in the tool.

    Attributes:
        name: of the photo.
        keys: object (0 = none), part (0 = background) and row of the class, [n, 3].
        pixels: how many of each, [n].
    """

    name: str
    keys: NDArray[np.int64]
    pixels: NDArray[np.int64]


@dataclass(frozen=True)
class Imported:
    """Labels after an import.

    Attributes:
        labels: with the names and merges that people made.
        photos: number of photos that the file had.
        notes: sentences on what could not be expressed.
    """

    labels: Labels
    photos: int
    notes: list[str]


def imported(out: Path, path: Path, form: str, ids: Ids, labels: Labels, track: Track) -> Imported:
    """Take over what people made in a tool.

    Args:
        out: folder of the run.
        path: what the tool exported.
        form: a key of `READERS`.
        ids: of the run.
        labels: of the run so far.
        track: progress.

    Raises:
        LeopartError: the file cannot be used, or has none of the run's photos.
    """
    entries = read_photo_list(out)
    source = READERS[form](path, entries)
    for name in source.classes[1:]:
        check_name(name)
    photos = [_cells(out, entry, source) for entry in track(entries, len(entries), "photos")]
    found = [cells for cells in photos if cells is not None]
    if not found:
        what = f"{shown(path)} has none of the photos of {shown(out)}"
        raise LeopartError(f"{what}; check --import and --format")
    counts = np.zeros((ids.n_objects + 1, ids.n_parts + 1, len(source.classes)), np.int64)
    for cells in found:
        if (cells.keys.max(0) >= counts.shape).any():
            raise LeopartError(f"the masks of {cells.name} are of another run; run `leopart segment` again")
        np.add.at(counts, tuple(cells.keys.T), cells.pixels)
    classes = _own_names(source.classes, labels)
    after = relabelled(labels, classes, counts)
    notes = [f"{len(found)} of {len(entries)} photos are in {shown(path)}"]
    notes += _differences(after, classes, (ids.n_objects, ids.n_parts), found)
    return Imported(after, len(found), notes)


def _own_names(classes: Sequence[str], labels: Labels) -> list[str]:
    """Names as the run has them, where the tool's format could not hold them as they are."""
    changed = {line_name(one.name): one.name for one in labels if line_name(one.name) != one.name}
    return [name if labels.named(name) else changed.get(name, name) for name in classes]


def relabelled(labels: Labels, classes: Sequence[str], counts: NDArray[np.int64]) -> Labels:
    """Labels with as few changes as give every part within an object the class of most of its pixels.

    A label that has another name there, or was merged, keeps its id where that can be.

    Args:
        labels: so far.
        classes: names by row; row 0 is the background.
        counts: pixels by object, part and row, [M + 1, K + 1, C].
    """
    size = (counts.shape[0] - 1, counts.shape[1] - 1)
    wanted = np.where(counts.any(2), counts.argmax(2), UNKNOWN)
    wanted[:, 0] = UNKNOWN
    labels = _renamed(labels, classes, counts, wanted)
    table = _rows(labels, classes, size)
    for part in range(1, size[1] + 1):
        changed = (wanted[:, part] != UNKNOWN) & (wanted[:, part] != table[:, part])
        seen = np.unique(wanted[wanted[:, part] != UNKNOWN, part])
        if changed.any() and len(seen) == 1:
            within = Claim(parts_of_objects=_special(labels, part))
            labels = _called(labels, classes[seen[0]], Claim(parts=frozenset([part])) | within)
            continue
        for obj in np.flatnonzero(changed[1:]) + 1:
            cell = Claim(parts_of_objects=frozenset([(int(obj), part)]))
            labels = _called(labels, classes[wanted[obj, part]], cell)
    return labels


def _renamed(labels: Labels, classes: Sequence[str], counts: NDArray[np.int64], wanted: Rows) -> Labels:
    """Rename or merge labels of whose name no pixel is left; see `relabelled`."""
    table = labels.table(counts.shape[0] - 1, counts.shape[1] - 1)
    left = {_key(classes[int(row)]) for row in np.flatnonzero(counts.sum((0, 1)))}
    for one in labels:
        own = table == one.id
        rows = np.unique(wanted[own & (wanted != UNKNOWN)])
        if _key(one.name) in left or not rows.any():
            continue
        fresh = [row for row in rows if row and labels.named(classes[row]) is None]
        other = labels.named(classes[rows[0]])
        if fresh:
            most = fresh[int(np.argmax([counts[own, row].sum() for row in fresh]))]
            labels = edits.rename(labels, one.name, classes[most])
        elif len(rows) == 1 and other is not None:
            labels, _ = edits.merge(labels, other.name, [other.name, one.name])
    return labels


def _rows(labels: Labels, classes: Sequence[str], size: tuple[int, int]) -> NDArray[np.int64]:
    """Row of every part within every object by its label, [M + 1, K + 1]; -2 where no class has the name."""
    row_of = {_key(name): row for row, name in reversed(list(enumerate(classes)))}
    names = labels.classes
    table = np.full(max(names) + 1, -2, np.int64)
    for number, name in names.items():
        table[number] = row_of.get(_key(name), -2)
    return np.asarray(table[labels.table(*size)], np.int64)


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _special(labels: Labels, part: int) -> frozenset[tuple[int, int]]:
    """Claims to a part within single objects."""
    every = union([labels.ignored, *(one.claim for one in labels)]).parts_of_objects
    return frozenset(pair for pair in every if pair[1] == part)


def _called(labels: Labels, name: str, claim: Claim) -> Labels:
    return (edits.ignore(labels, claim) if name == BACKGROUND else edits.name(labels, name, claim))[0]


def _cells(out: Path, entry: PhotoEntry, source: Annotated) -> Cells | None:
    rows = source.read(entry)
    if rows is None:
        return None
    parts, objects = (
        read_index_mask(entry.mask_path(out, kind)).astype(np.int64) for kind in ("parts", "objects")
    )
    if not rows.shape == parts.shape == objects.shape:
        raise LeopartError(f"the masks of {entry.name} differ in size; run `leopart segment` again")
    known = rows != UNKNOWN
    triples = np.stack([objects[known], parts[known], rows[known]], axis=1)
    keys, pixels = np.unique(triples, axis=0, return_counts=True)
    return Cells(entry.name, keys, pixels)


def _differences(
    labels: Labels, classes: Sequence[str], size: tuple[int, int], photos: Sequence[Cells]
) -> list[str]:
    """Sentences on the pixels that have another name in the tool than after the import."""
    table, differ, total = _rows(labels, classes, size), Counter[tuple[int, int, int]](), 0
    shares = {}
    for cells in photos:
        objects, parts, rows = cells.keys.T
        wrong = table[objects, parts] != rows
        total += int(cells.pixels.sum())
        shares[cells.name] = float(cells.pixels[wrong].sum() / max(1, cells.pixels.sum()))
        for key, pixels in zip(cells.keys[wrong].tolist(), cells.pixels[wrong].tolist(), strict=True):
            differ[tuple(key)] += pixels
    if not differ:
        return ["every pixel has the name that it has there"]
    worst = max(shares, key=lambda name: shares[name])
    number = differ.total()
    what = f"{number:,} pixels ({number / total:.2%}) have another name there"
    why = "a part within an object has one name only"
    notes = [f"{what}, as {why}; {worst} has the largest share of them ({shares[worst]:.2%})"]
    named = labels.table(*size)
    for (obj, part, row), pixels in differ.most_common(_MOST_LINES):
        what = f"part {part}{f' within object {obj}' if obj else ''}" if part else "background"
        here = labels.classes[int(named[obj, part])]
        notes.append(f"{what} is {here} here; {pixels:,} pixels of it are {classes[row]} there")
    return notes
