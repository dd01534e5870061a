"""Finding photos in folders, and naming what is made of them."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from leopart.data.own_output import pictures_that_are_no_photos
from leopart.errors import LeopartError
from leopart.paths import is_folder, shown

__all__ = [
    "HEIF_SUFFIXES",
    "READ_SUFFIXES",
    "Photo",
    "PhotoSearch",
    "find_photos",
    "output_stems",
    "search_photos",
    "shown",
]

READ_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("avif", "bmp", "gif", "j2k", "jfif", "jp2", "jpe", "jpeg", "jpg"),
        *("pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp"),
    )
)
"""In a folder, files with these suffixes are photos, in upper or lower case."""
HEIF_SUFFIXES = frozenset((".heic", ".heif"))
"""Phones write these and Pillow cannot read them: they are found all the same, to be refused by name."""
_LONGEST_NAME = 255 - len(".png")
"""Bytes of an output's name without its suffix: file systems take 255."""
_LONGEST_PATH, _MOST_LEVELS = 2000, 200
"""Of an output below its folder: paths end at 4,096 bytes, and folders are made one inside the other."""


@dataclass(frozen=True)
class Photo:
    """A photo on disk."""

    path: Path
    """Where the file is."""
    name: str
    """Its path below the input folder, with `/` and suffix, always valid Unicode; outputs are named so."""


@dataclass(frozen=True)
class PhotoSearch:
    """What was found in folders and among files."""

    photos: list[Photo]
    """In natural order of their names (`img2` before `img10`), each file once."""
    left_out: list[Path]
    """Folders whose pictures are no photos, see `pictures_that_are_no_photos`."""
    remarks: tuple[str, ...] = ()
    """What else there is to say of them, in sentences."""

    @property
    def notes(self) -> list[str]:
        """What was left out, and all remarks, in sentences."""
        return [*self._left_out(), *self.remarks]

    def _left_out(self) -> list[str]:
        if not self.left_out:
            return []
        places = sorted({shown(folder.parent) for folder in self.left_out})
        some = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
        what = f"left out folders of masks and of pictures that Leopart wrote, in {some}"
        return [f"{what}; to use the pictures of one, name it."]


def find_photos(inputs: Sequence[Path]) -> list[Photo]:
    """The photos of `search_photos`."""
    return search_photos(inputs).photos


def search_photos(inputs: Sequence[Path]) -> PhotoSearch:
    """Find the photos in folders (at any depth) and among single files.

    In folders, files are chosen by their suffix (`READ_SUFFIXES`); hidden files and folders are left out, and
    so are folders that Leopart wrote and masks. Links to folders are followed, no folder is entered twice. A
    single file is taken whatever its suffix. A folder further down that may not be listed is returned in
    place of its photos, so that it fails by name like a photo that cannot be read. With several input folders
    (a file counts for its parent) names start with as many trailing parts of the folders' paths as keep them
    apart: `a/1.jpg`, `b/1.jpg`; `x/photos/1.jpg`, `y/photos/1.jpg`.

    Raises:
        LeopartError: an input does not exist or cannot be listed, or no photo is in any of them.
    """
    seen: Counter[bool] = Counter()
    found: list[tuple[Path, Path]] = []  # (input folder, photo)
    left_out: list[Path] = []
    for given in inputs:
        path = Path(os.path.abspath(given))  # noqa: PTH100 - Path.resolve would follow links, and change names
        if is_folder(path):
            found += [(path, file) for file in _walk(path, left_out) if _is_photo(file, seen)]
        elif os.path.lexists(path):
            found.append((path.parent, path))
        else:
            raise LeopartError(f"there is no file or folder {_brief(shown(given))}; check the path")
    search = PhotoSearch(_named(found), left_out)
    if not found:
        places = ", ".join(shown(given) for given in inputs) or "no input"
        files = f"{seen.total()} files seen, none with a suffix that is read"
        suffixes = " ".join(sorted(READ_SUFFIXES))
        advice = " ".join(["check the path or convert the photos", *search.notes])
        raise LeopartError(f"no photos in {places}: {files} ({suffixes}); {advice}")
    return search


def _brief(text: str) -> str:
    """A path as a message can hold it: one beyond the system's limits is cut."""
    return text if len(text) <= 500 else f"{text[:500]}..."


def _is_photo(file: Path, seen: Counter[bool]) -> bool:
    photo = file.suffix.lower() in READ_SUFFIXES | HEIF_SUFFIXES or is_folder(file)
    seen[photo] += 1
    return photo


def _walk(root: Path, left_out: list[Path]) -> Iterator[Path]:
    """Yield files below `root`, and folders that cannot be listed. Real folders come before linked ones.

    Folders whose pictures are no photos are added to `left_out`.
    """
    real, linked, entered = [root], list[Path](), set[object]()
    while real or linked:
        folder = real.pop() if real else linked.pop(0)
        identity = _identity(folder)
        if identity in entered:  # a link back into the tree: already done, or an endless loop
            continue
        entered.add(identity)
        try:
            children = sorted(child for child in folder.iterdir() if not child.name.startswith("."))
        except OSError as error:
            if folder == root:
                reason = error.strerror or str(error)
                raise LeopartError(f"cannot list {shown(root)}: {reason}; check its permissions") from error
            yield folder
            continue
        no_photos = pictures_that_are_no_photos(folder)
        for child in children:
            if not is_folder(child):
                yield child
            elif child.name in no_photos:
                left_out.append(child)
            else:
                (linked if child.is_symlink() else real).append(child)


def _identity(folder: Path) -> object:
    """What is equal for all paths to a folder; its real path takes long to find deep down."""
    try:
        status = folder.stat()
    except OSError:
        return os.path.realpath(folder)
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(folder)


def _named(found: list[tuple[Path, Path]]) -> list[Photo]:
    prefixes = _prefixes({root for root, _ in found})
    names: dict[Path, str] = {}
    for root, path in found:
        name = (prefixes[root] / path.relative_to(root).as_posix()).as_posix()
        names.setdefault(path, shown(name))
    ordered = sorted(names.items(), key=lambda item: (_natural(item[1]), item[1], item[0]))
    taken: set[str] = set()
    return [Photo(path, _unique(name, taken)) for path, name in ordered]


def _unique(name: str, taken: set[str]) -> str:
    """`name`, numbered where names that differ on disk look the same (bytes that are not UTF-8)."""
    path, number, unique = PurePosixPath(name), 1, name
    while unique in taken:
        number += 1
        unique = path.with_name(f"{path.stem} ({number}){path.suffix}").as_posix()
    taken.add(unique)
    return unique


def _prefixes(roots: set[Path]) -> dict[Path, PurePosixPath]:
    """Shortest equally long endings of the folders' paths that differ; nothing for a single folder."""
    parts = {root: (re.sub(r"\W", "", root.drive), *root.parts[1:]) for root in roots}
    length = 0
    longest = max(map(len, parts.values()), default=0)
    while length < longest and len({names[max(0, len(names) - length) :] for names in parts.values()}) < len(
        roots
    ):
        length += 1
    return {root: PurePosixPath(*names[max(0, len(names) - length) :]) for root, names in parts.items()}


def _natural(name: str) -> list[list[tuple[int, int, str]]]:
    """Sort key by path part, digits by their value."""
    runs = [re.findall(r"[0-9]+|[^0-9]+", part.casefold()) for part in name.split("/")]
    return [[(0, int(run), "") if run[0] in "0123456789" else (1, 0, run) for run in part] for part in runs]


def output_stems(photos: Sequence[Photo]) -> list[str]:
    """Relative output paths without suffix, one a photo, that differ on every file system.

    `a/cat.jpg` -> `a/cat`. Photos that would share a stem (`cat.jpg`, `cat.png`; also `Cat.jpg`, since some
    file systems ignore case) keep their suffix, `cat_jpg`, and get a number where that is not enough,
    `cat_jpg_2`. What is too long for a file name is cut, with a hash of the whole in place of the rest. The
    result depends on all photos and their order.
    """
    stems = [_fitting(PurePosixPath(photo.name).with_suffix("").as_posix()) for photo in photos]
    shared = Counter(map(_file_key, stems))
    # An output `a.png` cannot stand beside a folder `a.png/` of outputs.
    folders = {parent for stem in stems for parent in PurePosixPath(stem).parents}
    likely = {folder for folder in folders if folder.suffix.lower() in (".png", ".jpg")}
    taken = {_file_key(folder.with_suffix("").as_posix()) for folder in likely}
    keep = [shared[_file_key(stem)] == 1 and _file_key(stem) not in taken for stem in stems]
    taken |= {_file_key(stem) for stem, kept in zip(stems, keep, strict=True) if kept}
    result = []
    for photo, stem, kept in zip(photos, stems, keep, strict=True):
        suffix = PurePosixPath(photo.name).suffix[1:]
        wanted = stem if kept or not suffix else f"{stem}_{suffix}"
        candidate = _fitting(wanted)
        number = 1
        while not kept and _file_key(candidate) in taken:
            number += 1
            candidate = _fitting(f"{wanted}_{number}")
        taken.add(_file_key(candidate))
        result.append(candidate)
    return result


def _fitting(stem: str) -> str:
    """The stem itself, if a mask can be called so; else its beginning and a hash of it."""
    parts = stem.split("/")
    if len(stem.encode()) > _LONGEST_PATH or len(parts) > _MOST_LEVELS:
        parts = [f"{parts[-1]}~{_hash(stem)}"]
    return "/".join(_shortened(part) for part in parts)


def _shortened(part: str) -> str:
    if len(part.encode()) <= _LONGEST_NAME:
        return part
    kept = part.encode()[: _LONGEST_NAME - 9].decode(errors="ignore")
    return f"{kept}~{_hash(part)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _file_key(name: str) -> str:
    """Two names with the same key are the same file on some file system (case, Unicode composition)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
