"""The work of `leopart label`: names for what a run has found, and label masks from part and object masks.

OUT/  labels.yaml      the labels, see `leopart.labels.file`
      labels/…png      label ids, at each photo's own size
      labels.html      the labels, their shares of the area, and photos with them
      classes.txt      `id<TAB>name`: with photos.jsonl, OUT is a labelled set of the `folder:` layout
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from leopart.data.masks import read_index_mask
from leopart.data.photo_list import PhotoEntry, read_photo_list
from leopart.documents import read_json
from leopart.drawing.masks import save_mask
from leopart.errors import LeopartError
from leopart.features.failure import Failure
from leopart.files import write_text
from leopart.labels import edits
from leopart.labels.file import LABELS, made_for, read_labels, starter, starter_name, write_labels
from leopart.labels.rules import Claim, Labels, union
from leopart.labels.votes import Ballot, majority_vote
from leopart.parallel import ordered_map, workers
from leopart.progress import Track, silent
from leopart.segment import saved_splits
from leopart.segment.areas import recount_areas
from leopart.segment.report.label_page import LABEL_PAGE, write_label_page
from leopart.segment.report.names import show_names

if TYPE_CHECKING:
    from leopart.data.labelled import LabelledPhotos
    from leopart.segment.segmenter import Segmenter

MASKS = "labels"
"""Folder of label masks."""
CLASSES = "classes.txt"
_CARD = "segmenter.json"
_REMEDY = "give the OUT folder of `leopart segment`"
_USED = "labels used for names"


@dataclass(frozen=True)
class Ids:
    """Which ids a segmenter gives."""

    fingerprint: str
    """Tells one segmenter from another: the same ids of another one mean something else."""
    n_parts: int
    n_objects: int
    before: tuple[str, ...] = ()
    """Its fingerprints before each of the parts that were split, the earliest first."""
    splits: tuple[tuple[int, ...], ...] = ()
    """Ids of the pieces of each of these parts, the part's own first."""


@dataclass(frozen=True)
class LabelTable:
    """Labels ready to be applied to masks of one segmenter."""

    labels: Labels
    ids: Ids

    table: NDArray[np.uint16] = field(init=False, repr=False, compare=False)
    """See `Labels.table`."""

    def __post_init__(self) -> None:
        table = self.labels.table(self.ids.n_objects, self.ids.n_parts)
        object.__setattr__(self, "table", table)

    def of(self, parts: NDArray[np.integer], objects: NDArray[np.integer]) -> NDArray[np.int32]:
        """Label ids of a photo from its part and object ids, all [H, W].

        Raises:
            LeopartError: the two differ in size, or an id is above those of the segmenter.
        """
        if parts.shape != objects.shape:
            raise LeopartError("its part and object mask differ in size; run `leopart segment` again")
        if parts.max(initial=0) >= self.table.shape[1] or objects.max(initial=0) >= self.table.shape[0]:
            raise LeopartError("its masks hold ids that the segmenter lacks; run `leopart segment` again")
        found: NDArray[np.int32] = self.table[objects, parts].astype(np.int32)
        return found

    def write(self, out: Path, mask: str, parts: NDArray[np.integer], objects: NDArray[np.integer]) -> None:
        """Write the label mask of a photo; see `PhotoEntry.mask`."""
        save_mask(out / MASKS / f"{mask}.png", self.of(parts, objects), self.labels.palette)


@dataclass(frozen=True)
class Applied:
    """What came of applying labels.

    Attributes:
        pixels: of each label id, in all photos.
        photos: photos that show it.
        written: number of label masks.
        failures: photos whose masks could not be read, and why.
    """

    pixels: dict[int, int]
    photos: dict[int, int]
    written: int
    failures: list[Failure]


def ids_of(out: Path) -> Ids:
    """Ids of the segmenter in a run's folder.

    Raises:
        LeopartError: there is none, or it is damaged.
    """
    folder = out / "segmenter" if (out / "segmenter").is_dir() else out
    card = read_json(folder / _CARD, dict[str, Any], _REMEDY)
    arrays, parts, objects = (card.get(key) for key in ("arrays sha256", "parts", "objects"))
    if not (isinstance(arrays, str) and isinstance(parts, int) and isinstance(objects, list)):
        raise LeopartError(f"{folder / _CARD} does not describe a segmenter; {_REMEDY}")
    try:
        splits = tuple(saved_splits.pieces(card))
    except ValueError as error:
        raise LeopartError(f"{folder / _CARD} was altered ({error}); {_REMEDY}") from error
    *before, fingerprint = saved_splits.fingerprints(card)
    return Ids(fingerprint, parts, len(objects), tuple(before), splits)


def labels_in(out: Path, ids: Ids) -> Labels:
    """Labels of a run: those of its file, or the starter's.

    Raises:
        LeopartError: the file cannot be used.
    """
    path = out / LABELS
    labels = _read(path, ids) if path.is_file() else starter(ids.n_objects)
    labels.table(ids.n_objects, ids.n_parts)
    return labels


def _read(path: Path, ids: Ids) -> Labels:
    """Labels of a file that may be of a time before parts were split: their pieces then have their label."""
    if not ids.before or (segmenter := made_for(path)) not in ids.before:
        return read_labels(path, ids.fingerprint)
    labels = read_labels(path, segmenter)
    for pieces in ids.splits[ids.before.index(segmenter) :]:
        labels = edits.with_pieces(labels, pieces)
    return labels


def start_labels(out: Path) -> list[str]:
    """Write a starter after a run has learned; labels of the same segmenter stay.

    Returns:
        A sentence where labels of another segmenter were put aside.
    """
    ids = ids_of(out)
    notes = []
    if (out / LABELS).is_file():
        try:
            labels_in(out, ids)
        except LeopartError:
            notes.append(
                f"{out / LABELS} did not fit the new parts: it is kept under another name beside it."
            )
        else:
            return []
    write_labels(out, starter(ids.n_objects), ids.fingerprint)
    shutil.rmtree(out / MASKS, ignore_errors=True)  # their ids meant something else
    for name in (CLASSES, LABEL_PAGE):
        (out / name).unlink(missing_ok=True)
    return notes


def apply_labels(out: Path, labels: Labels, *, track: Track = silent) -> Applied:
    """Write label masks of all photos of a run, `classes.txt`, and `labels.yaml` and `labels.html`.

    The version of `labels.yaml` before is kept.

    Args:
        out: folder of `leopart segment`.
        labels: to apply.
        track: progress.

    Raises:
        LeopartError: the run has no list of photos, labels name ids it does not have, or `out` cannot be
            written.
    """
    ids = ids_of(out)
    table, entries = LabelTable(labels, ids), read_photo_list(out)

    def write(entry: PhotoEntry) -> dict[str, NDArray[np.int64]] | Failure:
        try:
            parts, objects = (read_index_mask(entry.mask_path(out, kind)) for kind in ("parts", "objects"))
            found = table.of(parts, objects)
        except LeopartError as error:
            return Failure(entry.name, f"{entry.name}: {error}")
        save_mask(out / MASKS / f"{entry.mask}.png", found, labels.palette)
        kinds = {"part": parts, "object": objects, "label": found}
        return {kind: np.bincount(mask.ravel()) for kind, mask in kinds.items()}

    pixels, photos, failures = dict.fromkeys(labels.classes, 0), dict.fromkeys(labels.classes, 0), []
    counted: list[tuple[PhotoEntry, dict[str, NDArray[np.int64]]]] = []
    results = ordered_map(write, entries, workers=workers())
    for entry, item in zip(entries, track(results, len(entries), "labels"), strict=True):
        if isinstance(item, Failure):
            failures.append(item)
            continue
        counted.append((entry, item))
        of_labels = item["label"]
        for number in np.flatnonzero(of_labels):
            pixels[int(number)] += int(of_labels[number])
            photos[int(number)] += 1
    write_classes(out, labels)
    write_labels(out, labels, ids.fingerprint)
    write_label_page(out, labels, entries, pixels, photos)
    recount_areas(out, counted, labels.classes)
    show_names(out, _names_of(labels, ids))
    return Applied(pixels, photos, len(entries) - len(failures), failures)


def _names_of(labels: Labels, ids: Ids) -> dict[str, str]:
    """Names that people gave, by `part P`, `object O` and `part P of object O`."""
    given = {label.id: label.name for label in labels if not is_starter(label.name, labels)}
    table = labels.table(ids.n_objects, ids.n_parts)
    names: dict[str, str] = {}
    for obj, part in zip(*np.nonzero(np.isin(table, list(given))), strict=True):
        if obj and part:
            names[f"part {part} of object {obj}"] = given[int(table[obj, part])]
    for label in labels:
        if label.id in given:
            names |= {f"object {obj}": label.name for obj in sorted(label.claim.objects)}
            names |= {f"part {part}": label.name for part in sorted(label.claim.parts)}
    return names


def write_classes(out: Path, labels: Labels) -> None:
    """Write `classes.txt`, one `id<TAB>name` a line."""
    write_text(out / CLASSES, "".join(f"{number}\t{name}\n" for number, name in labels.classes.items()))


def count_votes(
    segmenter: Segmenter, ids: Ids, labelled: LabelledPhotos, *, track: Track = silent
) -> NDArray[np.int64]:
    """Segment labelled photos and count classes under every part within every object.

    Args:
        segmenter: fitted.
        ids: that it gives.
        labelled: a few photos with masks.
        track: progress.

    Returns:
        int64 [M + 1, K + 1, C]: pixels of each object (0 = none), part (0 = background) and class, by row.

    Raises:
        LeopartError: a photo or mask cannot be read.
    """
    classes = len(labelled.classes)
    shape = (ids.n_objects + 1, ids.n_parts + 1, classes)
    counts = np.zeros(shape, np.int64)
    for photo, mask in track(labelled.pairs, len(labelled.pairs), "labelled photos"):
        rows = labelled.rows(labelled.read_mask(photo, mask)).astype(np.int64)
        found = segmenter.predict(photo.path)
        keep = rows < classes
        cell = (found.objects.astype(np.int64) * shape[1] + found.parts) * classes + rows
        counts += np.bincount(cell[keep], minlength=counts.size).reshape(shape)
    return counts


def named_by_votes(
    labels: Labels, labelled: LabelledPhotos, counts: NDArray[np.int64], least: float
) -> tuple[Labels, Ballot]:
    """Labels with the names that labelled photos give; what a person has named keeps its name.

    Args:
        labels: as they are; the starter's names give way.
        labelled: gives names of classes; what is its background becomes background.
        counts: see `count_votes`.
        least: share of its pixels that must agree on a part's name, 0 to 1.
    """
    ballot = majority_vote(counts, least)
    own = replace(labels, labels=tuple(one for one in labels if not is_starter(one.name, labels)))
    made = own
    taken = union([own.ignored, *(one.claim for one in own)])
    claims = ballot.claims(len(labelled.classes))
    for row, (text, claim) in enumerate(zip(labelled.classes.values(), claims, strict=True)):
        free = claim - taken
        if row == labelled.background:
            made = replace(made, ignored=made.ignored | free)
        elif free:
            made, _ = edits.name(made, text, free)
    return _kept(own, made, (counts.shape[0] - 1, counts.shape[1] - 1)), ballot


def _kept(own: Labels, made: Labels, size: tuple[int, int]) -> Labels:
    """Labels with more special claims, so that no new name hides a name that a person gave.

    Args:
        own: what a person gave.
        made: the same with new names.
        size: numbers of objects and parts.
    """
    before, after = own.table(*size), made.table(*size)
    ignored = own.ignored_table(*size)
    for obj, part in zip(*np.nonzero(((before > 0) | ignored) & (before != after)), strict=True):
        cell = Claim(parts_of_objects=frozenset([(int(obj), int(part))]))
        if not obj:
            continue  # a part outside of objects cannot be named alone
        made = made.moved(cell)
        if ignored[obj, part]:
            made = replace(made, ignored=made.ignored | cell)
        else:
            made, _ = edits.name(made, own.classes[int(before[obj, part])], cell)
    return made


def is_starter(name: str, labels: Labels) -> bool:
    """Whether a label is as the starter wrote it: one object that nobody has named."""
    label = labels.named(name)
    return label is not None and any(name == starter_name(obj) for obj in label.claim.objects)


def record_names(out: Path, source: str, photos: int) -> None:
    """Say in `summary.json` which labelled photos gave names."""
    path = out / "summary.json"
    if not path.is_file():
        return
    summary = read_json(path, dict[str, Any], "run `leopart segment` again")
    summary[_USED] = f"{source} ({photos} photos)"
    write_text(path, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")


def labels_beside(folder: Path) -> LabelTable | None:
    """Labels that were applied to the run in which a segmenter's folder lies; None without any.

    Raises:
        LeopartError: they cannot be used.
    """
    run = folder.parent
    if not _is_labelled(run):
        return None
    ids = ids_of(run)
    return LabelTable(labels_in(run, ids), ids)


def copied_to(out: Path, run: Path) -> LabelTable | None:
    """Labels of a run for the folder of more photos: its `labels.yaml` and `classes.txt`, copied there.

    Args:
        out: folder of `leopart predict`.
        run: folder of `leopart segment`.

    Returns:
        Labels to write; None where the run has none that were applied.
    """
    if not _is_labelled(run):
        return None
    ids = ids_of(run)
    labels = labels_in(run, ids)
    write_classes(out, labels)
    shutil.copyfile(run / LABELS, out / LABELS)
    return LabelTable(labels, ids)


def _is_labelled(run: Path) -> bool:
    """Whether `leopart label` was run; `segment` alone leaves the starter, which says what objects say."""
    return (run / LABELS).is_file() and (run / CLASSES).is_file()
