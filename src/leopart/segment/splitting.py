"""Split a part that holds two things: cluster its tokens alone, and give the pieces ids of their own.

The segmenter is written first, in one file; then the masks of the photos that show the part, and
`labels.yaml` last. As long as that is of the segmenter before the split, `finish_split` has work to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leopart.clustering.kmeans import kmeans
from leopart.clustering.sampling import draw_rows, take_rows
from leopart.data.masks import read_index_mask
from leopart.data.photo_list import PhotoEntry, read_photo_list
from leopart.drawing.masks import save_mask
from leopart.errors import LeopartError
from leopart.features.store import FeatureStore
from leopart.labels.file import LABELS, made_for, write_labels
from leopart.parallel import ordered_map, workers
from leopart.progress import Track, silent
from leopart.segment import saved
from leopart.segment.labelling import ids_of, labels_in
from leopart.segment.outputs import part_palette, redraw_overlay
from leopart.segment.part_model import PartModel, divide
from leopart.segment.pieces import Split, split_of
from leopart.segment.segmenter import Segmenter
from leopart.segment.stored_tokens import stored_tokens
from leopart.segment.summary import update_summary

#: Cells of the part that are clustered, at most.
_SAMPLE = 50_000


@dataclass(frozen=True)
class Pieces:
    """What a part was split into.

    Attributes:
        shares: of the part's cells by the id of each piece, the part's own id first; they add up to 1.
        photos: number of photos whose masks show the part.
    """

    shares: dict[int, float]
    photos: int


def split(
    out: Path, part: int, into: int = 2, *, device: str = "auto", dry_run: bool = False, track: Track = silent
) -> Pieces:
    """Split a part of a run: its segmenter, masks and labels know the pieces afterwards.

    The piece nearest to the part's old centroid keeps the part's id; the others get new ids at the end. All
    stay in the part's object and have its label. No pixel of another part changes. The caller holds the lock
    of `out`.

    Args:
        out: folder of `leopart segment`.
        part: id of the part.
        into: number of pieces, at least 2.
        device: where tokens are computed that no feature store holds.
        dry_run: find the pieces, write nothing but features for the time being.
        track: progress.

    Raises:
        LeopartError: there is no such part, its photos have gone or were changed, or its cells are all alike.
    """
    finish_split(out, device=device, track=track)
    ids = ids_of(out)
    if not 1 <= part <= ids.n_parts:
        raise LeopartError(f"there is no part {part} to split; parts are 1 to {ids.n_parts}")
    segmenter = Segmenter.load(out, device=device)
    entries = _showing(out, part, track)
    if not entries:
        raise LeopartError(f"no photo shows part {part}, so it cannot be split; choose another part")
    with stored_tokens(out, segmenter.extractor, entries, track) as (store, index_of):
        found, shares = _pieces(segmenter, store, sorted(index_of.values()), part, into)
        if not dry_run:
            if not (out / LABELS).is_file():
                write_labels(out, labels_in(out, ids), ids.fingerprint)
            saved.write_splits(saved.folder_of(out), segmenter.model_.with_split(found))
            _finish(out, entries, store, index_of, track)
    return Pieces(dict(zip(found.ids.tolist(), shares, strict=True)), len(entries))


def finish_split(out: Path, *, device: str = "auto", track: Track = silent) -> None:
    """Finish a split that was interrupted after the segmenter was written; otherwise do nothing.

    Raises:
        LeopartError: as `split`.
    """
    ids = ids_of(out)
    if not (out / LABELS).is_file() or made_for(out / LABELS) not in ids.before:
        return
    segmenter = Segmenter.load(out, device=device)
    entries = _showing(out, segmenter.model_.splits[-1].part, track)
    with stored_tokens(out, segmenter.extractor, entries, track) as (store, index_of):
        _finish(out, entries, store, index_of, track)


def undo_split(out: Path, *, track: Track = silent) -> None:
    """Take back the last split of a run: its pieces are one part again in masks and segmenter.

    Labels stay as they are; the caller holds the lock of `out`.

    Raises:
        LeopartError: the segmenter or a mask cannot be read or written.
    """
    folder = saved.folder_of(out)
    _, model = saved.read(folder)
    last, before = model.splits[-1], model.before_split()
    palette = part_palette(before)

    def rewrite(entry: PhotoEntry) -> None:
        path = entry.mask_path(out, "parts")
        ids = read_index_mask(path)
        if np.isin(ids, last.ids[1:]).any():
            _write(out, entry, last.joined(ids), palette)

    entries = read_photo_list(out)
    for _ in track(ordered_map(rewrite, entries, workers=workers()), len(entries), "masks"):
        pass
    saved.write_splits(folder, before)
    update_summary(out, _facts(before))


def _finish(
    out: Path, entries: Sequence[PhotoEntry], store: FeatureStore, index_of: dict[str, int], track: Track
) -> None:
    """Write what knows of a split besides the segmenter; doing it again changes nothing."""
    _, model = saved.read(saved.folder_of(out))
    last, palette = model.splits[-1], part_palette(model)

    def rewrite(entry: PhotoEntry) -> None:
        ids = read_index_mask(entry.mask_path(out, "parts")).astype(np.int32)
        divide(ids, last, model.embed(store.tokens_of(index_of[entry.name])))
        _write(out, entry, ids, palette)

    for _ in track(ordered_map(rewrite, entries, workers=workers()), len(entries), "masks"):
        pass
    update_summary(out, _facts(model))
    ids = ids_of(out)
    write_labels(out, labels_in(out, ids), ids.fingerprint)


def _write(out: Path, entry: PhotoEntry, ids: NDArray[np.int32], palette: NDArray[np.uint8]) -> None:
    save_mask(entry.mask_path(out, "parts"), ids, palette)
    redraw_overlay(out, entry, ids, palette)


def _showing(out: Path, part: int, track: Track) -> list[PhotoEntry]:
    """Photos whose masks show a part.

    Raises:
        LeopartError: one of them has gone or was changed, so that its tokens are not known.
    """
    entries = read_photo_list(out)

    def shows(entry: PhotoEntry) -> bool:
        return bool((read_index_mask(entry.mask_path(out, "parts")) == part).any())

    found = track(ordered_map(shows, entries, workers=workers()), len(entries), "looking for the part")
    chosen = [entry for entry, is_there in zip(entries, found, strict=True) if is_there]
    if changed := [entry for entry in chosen if entry.changed]:
        what = f"{changed[0].path}, which shows part {part}, has gone or was changed since `leopart segment`"
        raise LeopartError(f"{what}; bring it back as it was, or run `leopart segment` again")
    return chosen


def _pieces(
    segmenter: Segmenter, store: FeatureStore, photos: Sequence[int], part: int, into: int
) -> tuple[Split, list[float]]:
    """Cluster the cells of a part, and the share of them in each piece."""
    model = segmenter.model_

    def cells(photo: int) -> Tensor:
        tokens = store.tokens_of(photo)
        return model.embed(tokens)[torch.from_numpy(model.label(tokens) == part)]

    counts = [int((model.label(store.tokens_of(photo)) == part).sum()) for photo in photos]
    seed = segmenter.settings_.seed
    chosen = draw_rows(counts, _SAMPLE, seed)
    points = torch.cat(list(take_rows(lambda index: cells(photos[index]), chosen)))
    fitted = kmeans(points, into, seed=seed, max_points_per_centroid=None)
    found = split_of(part, model.centroids[part - 1], points, fitted, model.n_parts + 1)
    if found is None or len(found.ids) < into:
        raise LeopartError(f"part {part} has fewer than {into} kinds of cells; split it into fewer pieces")
    sizes = np.bincount(found.pieces.assign(points).numpy(), minlength=into)
    return found, (sizes / len(points)).tolist()


def _facts(model: PartModel) -> dict[str, Any]:
    """What `summary.json` says of the number of parts."""
    objects = {str(part): int(number) for part, number in enumerate(model.object_of_part) if part}
    splits = [split.ids.tolist() for split in model.splits]
    return {
        "counts": {"parts": model.n_parts},
        "results": {"object of part": objects, "splits": splits or None},
    }
