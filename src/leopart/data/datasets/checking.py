"""What `leopart data check` counts: the photos and masks of a data set in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from leopart.data.datasets.catalogue import CATALOGUE
from leopart.data.datasets.folder import splits_of
from leopart.data.datasets.labelled import LAYOUTS, SPLITS, check_choice, listed_photos
from leopart.data.datasets.lists import read_lines
from leopart.data.datasets.places import check_folder
from leopart.data.datasets.presence import absent
from leopart.data.datasets.unlabelled import training_photos
from leopart.data.labelled import LabelledPhotos
from leopart.data.photos import search_photos
from leopart.errors import LeopartError
from leopart.paths import is_folder


@dataclass(frozen=True)
class SplitFound:
    """What was found of a split.

    Attributes:
        name: of the split.
        expected: published number of photos. None: unknown.
        listed: number of photos in its list, whether they exist or not.
        photos: how many of them exist.
        masks: how many of their masks exist. None: the set has no masks.
        missing: the first photo or mask that does not exist.
        problem: why nothing could be listed, or what is wrong with the list.
        labelled: the split itself, if it could be listed.
        notes: what to know of photos without labels, one sentence each.
    """

    name: str
    expected: int | None
    listed: int = 0
    photos: int = 0
    masks: int | None = None
    missing: Path | None = None
    problem: str = ""
    labelled: LabelledPhotos | None = None
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all its photos and masks exist."""
        return not self.problem and self.missing is None


def check_splits(name: str, path: Path, masks: str = "masks", split: str | None = None) -> list[SplitFound]:
    """Count the photos and masks of a set.

    Args:
        name: one of `CATALOGUE`.
        path: the folder.
        masks: which masks, of a `folder`.
        split: the only one to look at. None: all.

    Raises:
        LeopartError: the folder does not exist, or the set has no such split or masks.
    """
    check_choice(name, masks, split)
    check_folder(path)
    if name not in LAYOUTS or (name == "folder" and not _has_labels(path)):
        return [_training(name, path)]
    if name != "folder":
        names = list(SPLITS[name]) if split is None else [split]
        found = [_split(name, path, masks, known) for known in names]
        optional = CATALOGUE[name].optional if split is None else frozenset()
        return [row for row in found if row.listed or row.name not in optional]
    first = _split(name, path, masks, split)
    if split is not None or first.labelled is None:
        return [first]
    return [first, *(_split(name, path, masks, known) for known in _lists(first.labelled))]


def _lists(labelled: LabelledPhotos) -> list[str]:
    """Names of the text files beside `images/` that list photos; a README, for instance, does not."""
    stems = {PurePosixPath(photo.name).with_suffix("").as_posix() for photo, _ in labelled.pairs}
    return [name for name in splits_of(labelled.path) if _names_any(labelled.path / f"{name}.txt", stems)]


def _names_any(file: Path, stems: set[str]) -> bool:
    try:
        return any(line.strip() in stems for line in read_lines(file, "photos"))
    except LeopartError:  # binary, or not to be read: no list
        return False


def _has_labels(path: Path) -> bool:
    """Whether a folder is a labelled one, or right above or below one."""
    near = (*path.glob("masks*"), *path.glob("classes*.txt"), *path.glob("*/masks*/"))
    return bool(near) or any(is_folder(parent / "masks") for parent in path.absolute().parents[:2])


def _training(name: str, path: Path) -> SplitFound:
    split, expected = next(iter(CATALOGUE[name].splits.items()), ("photos", None))
    try:
        count = len(training_photos(f"{name}:{path}"))
        notes = search_photos([path]).notes if name == "folder" else []
    except LeopartError as error:
        return SplitFound(split, expected, problem=str(error))
    problem = _miscount(name, count, expected)
    return SplitFound(split, expected, count, count, problem=problem, notes=tuple(notes))


def _split(name: str, path: Path, masks: str, split: str | None) -> SplitFound:
    expected = SPLITS.get(name, {}).get(split or "")
    try:
        labelled = listed_photos(f"{name}:{path}", masks, split)
    except LeopartError as error:
        return SplitFound(split or "all", expected, problem=str(error))
    no_photos = absent(photo.path for photo, _ in labelled.pairs)
    no_masks = absent(mask for _, mask in labelled.pairs)
    listed = len(labelled.pairs)
    return SplitFound(
        name=split or "all",
        expected=expected,
        listed=listed,
        photos=listed - len(no_photos),
        masks=listed - len(no_masks),
        missing=next(iter([*no_photos, *no_masks]), None),
        problem=_miscount(name, listed, expected),
        labelled=labelled,
    )


def _miscount(name: str, count: int, expected: int | None) -> str:
    if not count:
        return "there are no photos"
    if expected in (None, count) or CATALOGUE[name].counts_vary:
        return ""
    return f"the paper's set has {expected:,} photos, this one {count:,}"
