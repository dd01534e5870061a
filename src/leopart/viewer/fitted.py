"""A run's folder for the page, from a fitted `Segmenter` in Python."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from leopart.data.photo_list import PHOTO_LIST, PhotoEntry, write_photo_list
from leopart.data.photos import find_photos, output_stems
from leopart.drawing.masks import save_mask
from leopart.drawing.palette import colours
from leopart.errors import LeopartError, PhotoError
from leopart.features.failure import Failure
from leopart.locks import locked
from leopart.paths import is_file, shown
from leopart.progress import Track, silent
from leopart.segment.learning import require_some
from leopart.segment.outputs import part_palette
from leopart.segment.segmenter import Segmenter
from leopart.segment.summary import Summary


def run_of(
    segmenter: Segmenter, photos: Sequence[Path] = (), out: Path | None = None, *, track: Track = silent
) -> Path:
    """Folder of the run that a segmenter is of; if it is of none, one that is written now.

    Args:
        segmenter: fitted.
        photos: folders or files to show; none = those it was fitted on.
        out: folder for masks and labels, new or empty; None = a new one below the system's folder for
            temporary files, which nobody deletes at the end.
        track: reports progress.

    Raises:
        LeopartError: there are no photos, or the folder cannot be used.
    """
    opened, _ = segmenter.opened_from_, segmenter.extractor  # refuses one that has learned nothing
    if opened is not None and not photos and out is None and is_file(opened.parent / PHOTO_LIST):
        return opened.parent
    wanted = list(photos) or segmenter.photos_
    if not wanted:
        raise LeopartError("the segmenter knows no files of photos; give them with photos=")
    folder = out or Path(tempfile.mkdtemp(prefix="leopart-view-"))
    if any(folder.glob("*")):
        raise LeopartError(f"{shown(folder)} is not empty; give a new folder, or view that one itself")
    with locked(folder):
        _write(segmenter, wanted, folder, track)
    return folder


def _write(segmenter: Segmenter, wanted: Sequence[Path], out: Path, track: Track) -> None:
    photos, model = find_photos(wanted), segmenter.model_
    segmenter.save(out / "segmenter")
    palettes = part_palette(model), colours(model.n_objects + 1)
    entries, failures = list[PhotoEntry](), list[Failure]()
    stems = output_stems(photos)
    for photo, stem in track(zip(photos, stems, strict=True), len(photos), "masks"):
        try:
            masks = segmenter.predict(photo.path)
        except PhotoError as error:
            failures.append(Failure(photo.name, str(error)))
            continue
        for kind, ids, palette in zip(
            ("parts", "objects"), (masks.parts, masks.objects), palettes, strict=True
        ):
            save_mask(out / kind / f"{stem}.png", ids, palette)
        entries.append(PhotoEntry.of(photo.name, photo.path, stem, masks.parts.shape))
    require_some(photos, failures, out)
    write_photo_list(out, entries)
    counts = {"photos": len(photos), "failed": len(failures)}
    counts |= {"parts": model.n_parts, "objects": model.n_objects}
    summary = Summary("segment", counts, failures, [], {}, {}, {}, segmenter.labels_used_)
    summary.write(out / "summary.json")
