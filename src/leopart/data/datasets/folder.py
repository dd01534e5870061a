"""Labelled photos in the `folder:` layout.

PATH/  images/              photos, at any depth
       masks/               index PNGs: same path as the photo, suffix .png; 255 is ignored
       classes.txt          one `id<TAB>name` a line
       masks_NAME/          other masks of the same photos,
       classes_NAME.txt     and their classes
       train.txt, val.txt   optional splits: one photo a line, path below images/ without suffix
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from leopart.data.datasets.lists import read_lines, read_list
from leopart.data.datasets.places import check_folder, not_here
from leopart.data.datasets.presence import require_files
from leopart.data.labelled import LabelledPhotos
from leopart.data.masks import IGNORE
from leopart.data.photos import Photo, find_photos, shown
from leopart.errors import LeopartError

_LARGEST_ID = 2**16 - 1


def open_folder(path: Path, masks: str = "masks", split: str | None = None) -> LabelledPhotos:
    """Look at the folder and check that it is complete; no photo or mask is read yet.

    Args:
        path: the folder that holds `images/`.
        masks: "masks" for `masks/` and `classes.txt`; "NAME" or "masks_NAME" for `masks_NAME/` and
            `classes_NAME.txt`.
        split: name of a list of photos, such as "val" for `val.txt`; or the path of a list anywhere, with a
            slash in it or `.txt` at its end. None: all photos.

    Raises:
        LeopartError: anything is missing, or a list does not fit; says what was found in its place.
    """
    return require_files(list_folder(path, masks, split))


def list_folder(path: Path, masks: str = "masks", split: str | None = None) -> LabelledPhotos:
    """As `open_folder`, but masks may be missing."""
    images = _images_folder(path)
    suffix = "" if masks == "masks" else f"_{masks.removeprefix('masks_')}"
    mask_folder = _mask_folder(path, suffix)
    classes = read_classes(path / f"classes{suffix}.txt")
    photos = _by_stem(find_photos([images]))
    if split is not None:
        photos = {stem: photos[stem] for stem in _read_split(path, split, photos)}
    pairs = [(photo, mask_folder / f"{stem}.png") for stem, photo in photos.items()]
    return LabelledPhotos(path, classes, pairs)


def splits_of(path: Path) -> list[str]:
    """Names of the lists that lie beside `images/`."""
    return sorted(other.stem for other in path.glob("*.txt") if not other.name.startswith("classes"))


def read_classes(path: Path) -> dict[int, str]:
    """Read `id<TAB>name` lines into names by id, ids ascending.

    Raises:
        LeopartError: the file is missing, lists no or more than 255 classes, a line is something else, an id
            is used twice, is 255 or does not fit a 16-bit PNG.
    """
    classes: dict[int, str] = {}
    for number, line in enumerate(read_lines(path, "id<TAB>name"), start=1):
        if not line.strip():
            continue
        key, tab, name = line.partition("\t")
        where = f"line {number} of {shown(path)}"
        if not (key.strip().isdecimal() and tab and name.strip()):
            raise LeopartError(f"{where} is {line!r}; write an id, a tab and a name")
        if int(key) in classes or int(key) == IGNORE or int(key) > _LARGEST_ID:
            problem = "is there already" if int(key) in classes else "cannot be a class"
            advice = f"ids are 0 to {_LARGEST_ID} without {IGNORE}, which means no label"
            raise LeopartError(f"{where}: the id {int(key)} {problem}; {advice}")
        classes[int(key)] = name.strip()
    if not 0 < len(classes) <= IGNORE:
        count = f"lists {len(classes)} classes, and 1 to {IGNORE} can be scored"
        raise LeopartError(f"{shown(path)} {count}; write one id, a tab and a name on each line")
    return dict(sorted(classes.items()))


def _images_folder(path: Path) -> Path:
    check_folder(path)
    images = path / "images"
    if not images.is_dir():
        otherwise = "a labelled set has images/, masks/ and classes.txt"
        raise not_here(path, "has no folder images/", lambda other: (other / "images").is_dir(), otherwise)
    return images


def _mask_folder(path: Path, suffix: str) -> Path:
    folder = path / f"masks{suffix}"
    if not folder.is_dir():
        others = sorted(other.name for other in path.glob("masks*") if other.is_dir())
        advice = f"choose one of: {', '.join(map(shown, others))}" if others else "masks are index PNGs"
        raise LeopartError(f"{shown(path)} has no folder {shown(folder.name)}/; {advice}")
    return folder


def _by_stem(photos: Sequence[Photo]) -> dict[str, Photo]:
    stems: dict[str, Photo] = {}
    for photo in photos:
        stem = PurePosixPath(photo.name).with_suffix("").as_posix()
        if stem in stems:
            both = f"{stems[stem].name} and {photo.name}"
            raise LeopartError(f"{both} would share the mask {stem}.png; rename one of them and its mask")
        stems[stem] = photo
    return stems


def _read_split(path: Path, split: str, photos: dict[str, Photo]) -> list[str]:
    anywhere = "/" in split or split.endswith(".txt")
    file = Path(split).expanduser() if anywhere else path / f"{split}.txt"
    if not file.is_file():
        lists = ", ".join(map(shown, splits_of(path)))
        advice = f"choose one of: {lists}" if lists else "the set is not split"
        where = "there is" if anywhere else f"{shown(path)} has"
        what = f"{where} no list {shown(file if anywhere else file.name)}"
        raise LeopartError(f"{what}; {advice}, or give the path of a list")
    stems = read_list(file)
    strangers = [stem for stem in stems if stem not in photos]
    if strangers:
        which = f"{len(strangers)} names without a photo in images/, the first is {strangers[0]!r}"
        raise LeopartError(f"{shown(file)} lists {which}; write paths below images/ without suffix")
    return stems
