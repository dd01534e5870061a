"""Masks of a run in another format: every photo once, in order, to everything that is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from leopart.data.photo_list import PhotoEntry, read_photo_list
from leopart.errors import LeopartError, PhotoError
from leopart.export.masks.areas import Areas
from leopart.export.masks.classes import What, read_mask_classes
from leopart.export.masks.folder import ExportFolder
from leopart.export.masks.formats import FORMATS
from leopart.export.masks.photos import MaskedPhoto, mask_path, read_masked, what_happened
from leopart.export.masks.writer import ExportJob, MaskFormat, MaskOptions
from leopart.parallel import ordered_map, workers
from leopart.paths import is_folder, shown
from leopart.progress import Track, silent


@dataclass(frozen=True)
class ExportedMasks:
    """What an export of masks left behind."""

    folder: Path
    photos: int
    """How many are in it."""
    failures: list[str] = field(default_factory=list)
    """A sentence for each photo that is not."""
    notes: list[str] = field(default_factory=list)
    """Sentences for what somebody may not expect."""


def export_masks(
    out: Path, form: str, folder: Path, options: MaskOptions, *, track: Track = silent
) -> ExportedMasks:
    """Write the masks of a run in the format of another program.

        FOLDER/  README.md            what is in it, and how to import it
                 leopart-export.json  that it is an export, and its files
                 files of the format  see `FORMATS`

    The same masks and options give the same bytes. Files of an earlier export to the same folder that are not
    part of this one are removed.

    Args:
        out: folder that `leopart segment` or `predict` wrote.
        form: a key of `FORMATS`.
        folder: new, empty, or with an earlier export in the same format.
        options: what to export, and how.
        track: reports progress.

    Raises:
        LeopartError: there are no such masks, the format cannot hold them or needs a library that is not
            installed, no photo could be exported, or the folder cannot be written.
    """
    entries = _entries(out, options)
    classes = read_mask_classes(out, options.what, _masks(out, options.what, entries))
    if not classes:
        raise LeopartError(f"{shown(out)} has no {options.what}; choose others with --what")
    target = ExportFolder(folder, form)
    failures: list[str] = []
    with ExitStack() as opened:
        job = ExportJob(target, classes, options, opened)
        kinds: list[type[MaskFormat]] = [FORMATS[form], *([Areas] if options.areas and form != "csv" else [])]
        writers = [kind(job) for kind in kinds]
        read = partial(_read, out, options, {one.id for one in classes}, FORMATS[form])
        results = ordered_map(read, entries, workers())
        for item in track(results, len(entries), "photos"):
            failures += _add(item, writers, job)
        if len(failures) == len(entries):
            reasons = "\n".join(f"  {reason}" for reason in failures)
            raise LeopartError(f"no photo could be exported, of {len(entries)}:\n{reasons}")
        for writer in writers:
            writer.finish()
    target.write("README.md", _readme(form, writers))
    if gone := target.finish():
        job.notes.append(f"{gone} files of an earlier export to {folder} are not part of this one: removed")
    return ExportedMasks(folder, len(entries) - len(failures), failures, job.notes)


def _entries(out: Path, options: MaskOptions) -> Sequence[PhotoEntry]:
    entries = read_photo_list(out)
    if not is_folder(out / options.what):
        advice = "name them with `leopart label` first" if options.what == "labels" else "run segment again"
        raise LeopartError(f"{shown(out)} has no folder {options.what}/; {advice}")
    if not entries:
        raise LeopartError(f"the list of photos in {shown(out)} is empty; run the same segment command again")
    return entries


def _masks(out: Path, what: What, entries: Sequence[PhotoEntry]) -> Iterator[Path]:
    """Masks that can be looked for; `read_masked` names the others."""
    for entry in entries:
        with suppress(LeopartError):
            yield mask_path(out, what, entry)


def _read(
    out: Path, options: MaskOptions, ids: set[int], form: type[MaskFormat], entry: PhotoEntry
) -> tuple[MaskedPhoto, str | None] | PhotoError:
    """A photo with its mask, and a note about it; or why it cannot be exported."""
    try:
        trouble = what_happened(entry)
        needed = form.PHOTOS == "read" or (form.PHOTOS == "placed" and options.photos != "none")
        if trouble and needed:
            advice = "run the same segment command again"
            if form.PHOTOS == "placed":
                advice += ", or leave the photos out with --photos none"
            raise PhotoError(f"{trouble}; {advice}")
        photo = read_masked(
            out, options.what, entry, ids, min_area=options.min_area, by_class=options.by_class
        )
    except PhotoError as error:
        return error
    return photo, f"{trouble}; its mask is exported all the same" if trouble else None


def _add(
    item: tuple[MaskedPhoto, str | None] | PhotoError, writers: Sequence[MaskFormat], job: ExportJob
) -> list[str]:
    """Hand a photo to all writers; the reason if it cannot be exported."""
    try:
        if isinstance(item, PhotoError):
            raise item
        photo, note = item
        for writer in writers:
            writer.add(photo)
    except PhotoError as error:
        return [str(error)]
    job.notes.extend([note] if note else [])
    return []


def _readme(form: str, writers: Sequence[MaskFormat]) -> str:
    about = "\n".join(writer.ABOUT for writer in writers)
    return f"# Masks from Leopart as {form}\n\n{about}"
