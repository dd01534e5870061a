"""Labelled photos in the `folder:` layout.

PATH/  images/              photos, at any depth
       masks/               index PNGs: same path as the photo, suffix .png; 255 is ignored
       classes.txt          one `id<TAB>name` a line
       masks_NAME/          other masks of the same photos,
       classes_NAME.txt     and their classes
       train.txt, val.txt   optional splits: one photo a line, path below images/ without suffix
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from leopart.data.masks import IGNORE, IndexMask, check_mask_size, read_index_mask
from leopart.data.photos import Photo, find_photos, shown
from leopart.errors import LeopartError

_LARGEST_ID = 2**16 - 1


@dataclass(frozen=True)
class LabelledFolder:
    """Photos, where their masks are, and what the ids mean. Made by `LabelledFolder.open`."""

    path: Path
    """The folder that holds `images/`."""
    classes: dict[int, str]
    """Names by id, ids ascending; they need not be consecutive."""
    pairs: list[tuple[Photo, Path]]
    """Each photo (its name is the path below `images/`) and its mask."""
    ignored: dict[int, str] = field(default_factory=dict)
    """Names by id of classes that masks hold and nobody counts: their pixels are without a label."""

    @classmethod
    def open(cls, path: Path, masks: str = "masks", split: str | None = None) -> LabelledFolder:
        """Look at the folder and check that it is complete; no photo or mask is read yet.

        Args:
            path: the folder that holds `images/`.
            masks: "masks" for `masks/` and `classes.txt`; "NAME" or "masks_NAME" for `masks_NAME/` and
                `classes_NAME.txt`.
            split: name of a list of photos, such as "val" for `val.txt`. None: all photos.

        Raises:
            LeopartError: anything is missing, or a list does not fit; says what was found in its place.
        """
        images = _images_folder(path)
        suffix = "" if masks == "masks" else f"_{masks.removeprefix('masks_')}"
        mask_folder = _mask_folder(path, suffix)
        classes = read_classes(path / f"classes{suffix}.txt")
        photos = _by_stem(find_photos([images]))
        if split is not None:
            photos = {stem: photos[stem] for stem in _read_split(path, split, photos)}
        pairs = [(photo, mask_folder / f"{stem}.png") for stem, photo in photos.items()]
        _check_masks_exist(pairs)
        return cls(path, classes, pairs)

    def without(self, names: Iterable[str]) -> LabelledFolder:
        """The same set with some classes left out; their pixels count as without a label.

        Args:
            names: of classes, upper and lower case alike.

        Raises:
            LeopartError: there is no such class, or none would be left.
        """
        by_name = {name.casefold(): name for name in self.classes.values()}
        for name in (wanted := [name.strip() for name in names]):
            if name.casefold() not in by_name:
                near = difflib.get_close_matches(name.casefold(), by_name, n=1)
                known = ", ".join(map(shown, self.classes.values()))
                advice = f"did you mean {shown(by_name[near[0]])}?" if near else f"the classes are: {known}"
                raise LeopartError(f"there is no class {name!r} to ignore; {advice}")
        left_out = {name.casefold() for name in wanted}
        ignored = {key: name for key, name in self.classes.items() if name.casefold() in left_out}
        classes = {key: name for key, name in self.classes.items() if key not in ignored}
        if not classes:
            raise LeopartError("every class is ignored; leave at least one to score")
        return replace(self, classes=classes, ignored=self.ignored | ignored)

    @property
    def background(self) -> int | None:
        """Row of the class named background (usually 0), or None: not every set of labels has one."""
        names = [name.strip("_ ").casefold() for name in self.classes.values()]
        return names.index("background") if "background" in names else None

    def read_mask(self, photo: Photo, mask: Path) -> IndexMask:
        """Read a mask [H, W] of class ids and check it against the photo's size and the classes.

        Raises:
            LeopartError: the mask cannot be read, has another size than the photo, or holds other ids.
        """
        ids = read_index_mask(mask, self.classes | self.ignored)
        check_mask_size(ids, mask, photo.path)
        return ids

    def rows(self, ids: IndexMask) -> npt.NDArray[np.uint8]:
        """Replace class ids by their row in `classes` (0, 1, ...), as scores count them; the rest is 255.

        Args:
            ids: [H, W] from `read_mask`.

        Returns:
            [H, W] uint8.
        """
        table = np.full(max(*self.classes, *self.ignored, IGNORE) + 1, IGNORE, dtype=np.uint8)
        table[list(self.classes)] = np.arange(len(self.classes))
        return table[ids]


def read_classes(path: Path) -> dict[int, str]:
    """Read `id<TAB>name` lines into names by id, ids ascending.

    Raises:
        LeopartError: the file is missing, lists no or more than 255 classes, a line is something else, an id
            is used twice, is 255 or does not fit a 16-bit PNG.
    """
    classes: dict[int, str] = {}
    for number, line in enumerate(_lines(path, "id<TAB>name"), start=1):
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
    if not path.is_dir():
        raise LeopartError(f"there is no folder {shown(path)}; check the path")
    images = path / "images"
    if images.is_dir():
        return images
    above = [parent for parent in path.absolute().parents[:2] if (parent / "images").is_dir()]
    below = sorted(child for child in path.iterdir() if (child / "images").is_dir())
    if above:
        advice = f"it is one too deep: give {shown(above[0])}"
    elif below:
        advice = f"it is one too high: give {' or '.join(map(shown, below[:5]))}"
    else:
        advice = "a labelled set has images/, masks/ and classes.txt"
    raise LeopartError(f"{shown(path)} has no folder images/; {advice}")


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
    file = path / f"{split}.txt"
    if not file.is_file():
        lists = sorted(other.stem for other in path.glob("*.txt") if not other.name.startswith("classes"))
        advice = f"choose one of: {', '.join(map(shown, lists))}" if lists else "the set is not split"
        raise LeopartError(f"{shown(path)} has no list {shown(file.name)}; {advice}")
    stems = [line.strip() for line in _lines(file, "one photo a line") if line.strip()]
    if not stems:
        raise LeopartError(f"{shown(file)} is empty; write the path of one photo below images/ on each line")
    strangers = [stem for stem in stems if stem not in photos]
    if strangers:
        which = f"{len(strangers)} names without a photo in images/, the first is {strangers[0]!r}"
        raise LeopartError(f"{shown(file)} lists {which}; write paths below images/ without suffix")
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise LeopartError(f"{shown(file)} lists {twice!r} twice, which would count twice; remove one")
    return stems


def _check_masks_exist(pairs: list[tuple[Photo, Path]]) -> None:
    missing = [mask for _, mask in pairs if not mask.is_file()]
    if missing:
        count = (
            f"{len(missing)} of {len(pairs)} photos have no mask, the first missing is {shown(missing[0])}"
        )
        raise LeopartError(f"{count}; masks have the photo's name and the suffix .png")


def _lines(path: Path, form: str) -> list[str]:
    try:
        return path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise LeopartError(f"there is no {shown(path)}; write {form} into it") from error
    except (OSError, UnicodeDecodeError) as error:
        raise LeopartError(f"cannot read {shown(path)} as UTF-8 text: {error}; check the file") from error
