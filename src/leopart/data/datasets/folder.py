"""Labelled photos in the `folder:` layout.

PATH/  images/              photos, at any depth
       masks/               index PNGs: same path as the photo, suffix .png; 255 is ignored
       classes.txt          one `id<TAB>name` a line
       masks_NAME/          other masks of the same photos,
       classes_NAME.txt     and their classes
       train.txt, val.txt   optional splits: one photo a line, path below images/ without suffix

A folder that `leopart segment` wrote and `leopart label` has put names to is such a set, too: its photos are
where `photos.jsonl` says, its masks are `labels/`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from leopart.data.datasets.lists import read_lines, read_list
from leopart.data.datasets.places import check_folder, not_here
from leopart.data.datasets.presence import nfc, require_files, spelled
from leopart.data.labelled import LabelledPhotos
from leopart.data.masks import IGNORE
from leopart.data.photo_list import PHOTO_LIST, read_photo_list
from leopart.data.photos import Photo, find_photos, shown
from leopart.errors import LeopartError
from leopart.paths import expanded, is_file, is_folder

_LARGEST_ID = 2**16 - 1
_LONGEST_NAME = 200
_NUMBER = re.compile("[0-9]{1,9}")


def open_folder(path: Path, masks: str = "masks", split: str | None = None) -> LabelledPhotos:
    """List a labelled folder and check that it is complete. No photo or mask is read yet.

    Args:
        path: the folder that holds `images/`.
        masks: "masks" for `masks/` and `classes.txt`; "NAME" or "masks_NAME" for `masks_NAME/` and
            `classes_NAME.txt`.
        split: name of a list of photos, such as "val" for `val.txt`; or the path of a list anywhere, with a
            slash in it or `.txt` at its end. None: all photos.

    Raises:
        LeopartError: something is missing, or a list does not fit; the message says what was found instead.
    """
    return require_files(list_folder(path, masks, split))


def list_folder(path: Path, masks: str = "masks", split: str | None = None) -> LabelledPhotos:
    """Like `open_folder`, but masks may be missing."""
    if is_file(path / PHOTO_LIST) and not is_folder(path / "images"):
        return _run(path, masks, split)
    images = _images_folder(path)
    suffix = "" if masks == "masks" else f"_{masks.removeprefix('masks_')}"
    mask_folder = _mask_folder(path, suffix)
    classes = read_classes(path / f"classes{suffix}.txt")
    photos = _by_stem(find_photos([images]))
    if split is not None:
        photos = {stem: photos[stem] for stem in _read_split(path, split, photos)}
    masks_of = spelled(mask_folder, [_mask_name(photo, images) for photo in photos.values()])
    return LabelledPhotos(path, classes, list(zip(photos.values(), masks_of, strict=True)))


def _run(path: Path, masks: str, split: str | None) -> LabelledPhotos:
    """Photos of a run of `leopart segment` with its label masks."""
    if masks != "masks" or not is_folder(path / "labels"):
        what = f"{shown(path)} is a run of leopart segment"
        raise LeopartError(f"{what}, whose masks are labels/; write them with `leopart label {shown(path)}`")
    entries = {entry.mask: entry for entry in read_photo_list(path)}
    photos = {stem: Photo(Path(entry.path), entry.name) for stem, entry in entries.items()}
    stems = list(photos) if split is None else _read_split(path, split, photos)
    pairs = [(photos[stem], entries[stem].mask_path(path, "labels")) for stem in stems]
    return LabelledPhotos(path, read_classes(path / "classes.txt"), pairs)


def splits_of(path: Path) -> list[str]:
    """Names of the lists that lie beside `images/`."""
    return sorted(other.stem for other in path.glob("*.txt") if not other.name.startswith("classes"))


def read_classes(path: Path, most: int = IGNORE) -> dict[int, str]:
    """Read `id<TAB>name` lines into names by id, ids ascending.

    Args:
        path: the file.
        most: how many classes it may list.

    Raises:
        LeopartError: the file is missing, lists no or too many classes, a line is something else, an id or a
            name is used twice, an id is 255 or does not fit a 16-bit PNG.
    """
    classes: dict[int, str] = {}
    for number, line in enumerate(read_lines(path, "id<TAB>name"), start=1):
        if not line.strip():
            continue
        key, tab, name = line.partition("\t")
        key = key.strip()  # of more characters than `int` passes over
        where = f"line {number} of {shown(path)}"
        if not (_NUMBER.fullmatch(key) and tab and 0 < len(name.strip()) <= _LONGEST_NAME):
            raise LeopartError(
                f"{where} is {line[:80]!r}; write an id, a tab and a name of at most 200 characters"
            )
        same = [other for other, known in classes.items() if known.casefold() == name.strip().casefold()]
        if same:
            what = f"{where}: the name {name.strip()!r} is that of id {same[0]} already"
            raise LeopartError(f"{what}; give each class a name of its own")
        if int(key) in classes or int(key) == IGNORE or int(key) > _LARGEST_ID:
            problem = "is there already" if int(key) in classes else "cannot be a class"
            advice = f"ids are 0 to {_LARGEST_ID} without {IGNORE}, which means no label"
            raise LeopartError(f"{where}: the id {int(key)} {problem}; {advice}")
        classes[int(key)] = name.strip()
    if not 0 < len(classes) <= most:
        count = f"lists {len(classes)} classes, and 1 to {most} can be used"
        raise LeopartError(f"{shown(path)} {count}; write one id, a tab and a name on each line")
    return dict(sorted(classes.items()))


def _images_folder(path: Path) -> Path:
    check_folder(path)
    images = path / "images"
    if not is_folder(images):
        otherwise = "a labelled set has images/, masks/ and classes.txt"
        raise not_here(path, "has no folder images/", lambda other: is_folder(other / "images"), otherwise)
    return images


def _mask_folder(path: Path, suffix: str) -> Path:
    folder = path / f"masks{suffix}"
    if not is_folder(folder):
        others = sorted(other.name for other in path.glob("masks*") if is_folder(other))
        advice = f"choose one of: {', '.join(map(shown, others))}" if others else "masks are index PNGs"
        raise LeopartError(f"{shown(path)} has no folder {shown(folder.name)}/; {advice}")
    return folder


def _mask_name(photo: Photo, images: Path) -> str:
    """Path of a mask below the folder of masks; by the photo's path, whose bytes need not be UTF-8."""
    root = os.path.abspath(images)  # noqa: PTH100 - as the photos were found
    return photo.path.relative_to(root).with_suffix(".png").as_posix()


def _by_stem(photos: Sequence[Photo]) -> dict[str, Photo]:
    """Photos by their names without suffix, in the composed spelling."""
    stems: dict[str, Photo] = {}
    for photo in photos:
        stem = nfc(PurePosixPath(photo.name).with_suffix("").as_posix())
        if stem in stems:
            both = f"{stems[stem].name} and {photo.name}"
            raise LeopartError(f"{both} would share the mask {stem}.png; rename one of them and its mask")
        stems[stem] = photo
    return stems


def _read_split(path: Path, split: str, photos: dict[str, Photo]) -> list[str]:
    anywhere = "/" in split or split.endswith(".txt")
    file = expanded(split) if anywhere else path / f"{split}.txt"
    if not is_file(file):
        lists = ", ".join(map(shown, splits_of(path)))
        advice = f"choose one of: {lists}" if lists else "the set is not split"
        where = "there is" if anywhere else f"{shown(path)} has"
        what = f"{where} no list {shown(file if anywhere else file.name)}"
        raise LeopartError(f"{what}; {advice}, or give the path of a list")
    stems = [nfc(name) for name in read_list(file)]
    strangers = [stem for stem in stems if stem not in photos]
    if strangers:
        which = f"{len(strangers)} names without a photo in images/, the first is {strangers[0][:200]!r}"
        raise LeopartError(f"{shown(file)} lists {which}; write paths below images/ without suffix")
    return stems
