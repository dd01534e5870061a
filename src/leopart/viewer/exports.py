"""Masks for other programs, from the page: what `leopart export` does, into OUT/export, and a zip of it."""

from __future__ import annotations

import io
import os
import secrets
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from leopart.config import ExportConfig
from leopart.config.export import mask_formats
from leopart.data.own_output import mark_as_output
from leopart.documents import checked
from leopart.errors import LeopartError
from leopart.export.masks.export import export_masks
from leopart.export.masks.folder import MARKER, files_of_export
from leopart.export.masks.formats import FORMATS
from leopart.export.masks.writer import MaskOptions
from leopart.locks import locked
from leopart.paths import inside, shown
from leopart.progress import Track
from leopart.viewer.run import Run

FOLDER = "export"
"""Folder in OUT for what the page exports, one folder a format."""
_PIECE = 1 << 18
"""Bytes of a file that are in memory at a time."""
_SHOWN = 20
"""Notes that are shown; a run of 10,000 photos may have one for each."""


def formats() -> dict[str, list[str]]:
    """Every format for masks, with the options of `leopart export` that the page offers for it."""
    offered = {form: [name for name in names if name != "stuff"] for form, names in mask_formats().items()}
    return {
        form: names + (["photos"] if FORMATS[form].PHOTOS == "placed" else [])
        for form, names in offered.items()
    }


def export_config(run: Run, values: dict[str, Any]) -> ExportConfig:
    """Options of `leopart export`, from a request.

    Args:
        run: whose masks.
        values: `format`, and options by the names that they have in a YAML file.

    Raises:
        LeopartError: there is no such format or option, or one does not fit.
    """
    form, known = values.get("format"), formats()
    if not isinstance(form, str) or form not in known:
        raise LeopartError(f"there is no format {str(form)[:40]!r}; choose {', '.join(known)}")
    if strange := sorted(set(values) - {"format", *known[form]}):
        raise LeopartError(f"{form} has no option {strange[0][:40]!r}; leave it out")
    try:
        config = checked(values | {"model": run.out, "out": run.out}, ExportConfig)
    except ValueError as error:
        raise LeopartError(f"{error}; choose another value") from error
    config.check()
    return replace(config, out=_folder(run, form))


def export(run: Run, config: ExportConfig, track: Track) -> tuple[str, tuple[str, ...]]:
    """Write the masks of a run for another program.

    Returns:
        What was done, and notes about what failed or may not be expected.

    Raises:
        LeopartError: see `export_masks`; another run writes into the same folder.
    """
    mark_as_output(run.out, FOLDER)
    options = MaskOptions.of(config)
    with locked(config.out, "export again when it has ended"):
        done = export_masks(run.out, config.format, config.out, options, track=track)
    notes = [*done.failures, *done.notes]
    more = [f"... and {len(notes) - _SHOWN} more"] if len(notes) > _SHOWN else []
    photos = "1 photo" if done.photos == 1 else f"{done.photos:,} photos"
    message = f"{options.what} of {photos} as {config.format}: {shown(config.out)}"
    return message, (*notes[:_SHOWN], *more)


class Tickets:
    """Secret addresses of exports: another page can neither guess one nor link to it."""

    _MOST = 64

    def __init__(self) -> None:
        self._formats: dict[str, str] = {}

    def issue(self, form: str) -> str:
        """A new ticket for the export in a format; the oldest ones go."""
        ticket = secrets.token_urlsafe(24)
        self._formats[ticket] = form
        while len(self._formats) > self._MOST:
            self._formats.pop(next(iter(self._formats)))
        return ticket

    def format_of(self, ticket: str) -> str | None:
        """What a ticket is for; None where it is none."""
        return self._formats.get(ticket)


def zipped(run: Run, form: str) -> Iterator[bytes]:
    """A zip of an export, piece by piece, with photos in place of links to them.

    Args:
        run: whose export.
        form: its format, checked.

    Returns:
        The bytes; the files are looked for at once, and read as the pieces are taken.

    Raises:
        LeopartError: there is no complete export, or it holds something that is neither of the export nor a
            photo of the run. While the pieces are taken: the export was written anew.
    """
    folder = _folder(run, form)
    names = files_of_export(folder)
    photos = {os.path.realpath(entry.path) for entry in run.entries if "\0" not in entry.path}
    for name in names:
        path = Path(os.path.realpath(inside(folder, name, MARKER)))
        if not (path.is_relative_to(folder) or str(path) in photos):
            raise LeopartError(f"{folder / name} leads out of {shown(folder)}; export again")
        if not path.is_file():
            raise LeopartError(f"{shown(folder / name)} is missing; export again")
    return _pieces(folder, names)


def _pieces(folder: Path, names: list[str]) -> Iterator[bytes]:
    pipe, begun = _Pipe(), (folder / MARKER).stat().st_mtime_ns
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in names:
            if (folder / MARKER).stat().st_mtime_ns != begun:
                raise LeopartError(f"{shown(folder)} was written anew meanwhile; fetch it again")
            entry = zipfile.ZipInfo.from_file(folder / name, name, strict_timestamps=False)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with (folder / name).open("rb") as source, archive.open(entry, "w") as target:
                while piece := source.read(_PIECE):
                    target.write(piece)
                    yield pipe.taken()
    yield pipe.taken()


class _Pipe(io.RawIOBase):
    """Takes what is written; whoever reads takes it away."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._written += data
        return len(data)

    def taken(self) -> bytes:
        """What was written since the last call."""
        written, self._written = bytes(self._written), bytearray()
        return written


def _folder(run: Run, form: str) -> Path:
    """Where the page writes an export.

    Raises:
        LeopartError: a link leads elsewhere.
    """
    folder = run.out / FOLDER / form
    if Path(os.path.realpath(folder)) != folder:
        raise LeopartError(f"{shown(folder)} leads out of the folder; remove the link")
    return folder
