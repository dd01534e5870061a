"""Photos and masks as Python programs hold them: paths, arrays, tensors and PIL images, one or several."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from leopart.data.images import upright_rgb
from leopart.data.labelled import LabelledPhotos
from leopart.data.photos import Photo, find_photos
from leopart.errors import LeopartError, PhotoError

Pixels = npt.NDArray[np.uint8]
PhotoLike: TypeAlias = str | Path | npt.NDArray[Any] | torch.Tensor | Image.Image
"""One photo: a file; an array [H, W, 3] or [H, W]; a tensor [3, H, W] or [1, H, W]; or a PIL image. Numbers
are uint8, or floating point from 0 to 1."""
MaskLike: TypeAlias = str | Path | npt.NDArray[np.integer[Any]] | torch.Tensor | Image.Image
"""Class ids of one photo: an index PNG, or integers [H, W], 255 where there is no label."""


def is_one_photo(given: object) -> bool:
    """Whether this is a single photo; folders, batches, lists and other iterables are several."""
    if isinstance(given, str | Path):
        return not os.path.isdir(given)  # noqa: PTH112 - of a name that may be too long, too
    if isinstance(given, np.ndarray | torch.Tensor):
        return given.ndim <= 3
    return isinstance(given, Image.Image)


def each_photo(given: PhotoLike | Iterable[PhotoLike]) -> Iterator[Path | Pixels]:
    """The photos one by one, in their order: files as paths, everything else as RGB [H, W, 3].

    Args:
        given: a photo, a folder (its photos in natural order, at any depth), a batch [B, ...], or an iterable
            of any of these.

    Raises:
        LeopartError: something is no photo, or a folder holds none.
    """
    if is_one_photo(given):
        yield Path(given) if isinstance(given, str | Path) else pixels_of(given)
    elif isinstance(given, str | Path):
        yield from (photo.path for photo in find_photos([Path(given)]))
    elif isinstance(given, Iterable):
        for item in given:
            yield from each_photo(item)
    else:
        raise LeopartError(f"a {type(given).__name__} is no photo; give a path, an array or a PIL image")


def pixels_of(photo: object) -> Pixels:
    """A photo in memory as RGB uint8, [H, W, 3].

    Raises:
        PhotoError: it has another shape or other numbers than `PhotoLike` says.
    """
    if isinstance(photo, Image.Image):
        return upright_rgb(photo)
    if isinstance(photo, torch.Tensor):
        if photo.ndim == 3 and photo.shape[0] not in (1, 3):
            what = f"a photo as a tensor must be [3, H, W], not {list(photo.shape)}"
            raise PhotoError(f"{what}; NumPy arrays are [H, W, 3]")
        photo = photo.detach().cpu().numpy()
        photo = photo.transpose(1, 2, 0) if photo.ndim == 3 else photo
    if not isinstance(photo, np.ndarray):
        raise PhotoError(f"a {type(photo).__name__} is no photo; give a path, an array or a PIL image")
    if photo.ndim == 2 or (photo.ndim == 3 and photo.shape[2] == 1):
        photo = np.repeat(photo.reshape(*photo.shape[:2], 1), 3, axis=2)
    if photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
        raise PhotoError(f"a photo as an array must be RGB [H, W, 3], not {list(photo.shape)}")
    return np.ascontiguousarray(_bytes(photo))


def _bytes(photo: npt.NDArray[Any]) -> Pixels:
    if photo.dtype == np.uint8:
        return photo
    if not np.issubdtype(photo.dtype, np.floating):
        raise PhotoError(f"a photo as an array must be uint8, or floating point in 0..1, not {photo.dtype}")
    low, high = float(photo.min()), float(photo.max())
    if not (low >= 0 and high <= 1 + 1e-3):  # so for NaN as well
        what = f"a photo of floating-point numbers must be in 0..1, not {low:.3g} to {high:.3g}"
        raise PhotoError(f"{what}; divide by 255, or give uint8")
    return (photo.clip(0, 1) * 255).round().astype(np.uint8)


def as_files(given: PhotoLike | Iterable[PhotoLike], folder: Path) -> list[Photo]:
    """Photos on disk: those that are files already, and the others as PNGs of equal pixels in `folder`.

    Args:
        given: see `each_photo`. Folders and files are named as `find_photos` does; photos in memory by their
            number in the order given: `000000.png`.
        folder: made if there is a photo to write; files of an earlier call with the same pixels stay as they
            are.

    Raises:
        LeopartError: something is no photo, or there is none.
    """
    items: Any = [given] if isinstance(given, str | Path) or is_one_photo(given) else given
    paths: list[Path] = []
    written: list[Photo] = []
    for number, item in enumerate(items):
        if isinstance(item, str | Path):
            paths.append(Path(item))
        else:
            photos = each_photo(item)
            written += [_on_disk(p, folder, f"{number + i:06}.png") for i, p in enumerate(photos)]
    return (find_photos(paths) if paths or not written else []) + written


def _on_disk(photo: Path | Pixels, folder: Path, name: str) -> Photo:
    if isinstance(photo, Path):
        return Photo(photo, photo.name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if not (path.is_file() and np.array_equal(np.asarray(Image.open(path)), photo)):
        Image.fromarray(photo).save(path, compress_level=1)
    return Photo(path, name)


def labelled_of(
    pairs: Iterable[tuple[PhotoLike, MaskLike]], classes: Sequence[str] | dict[int, str], folder: Path
) -> LabelledPhotos:
    """A labelled set from photos and their masks; what is in memory is written to `folder`.

    Args:
        pairs: photo and mask of each; files are used where they are.
        classes: names by id, or in the order of their ids 0, 1, ...
        folder: for what is not on disk.

    Raises:
        LeopartError: there is no pair, no class, or a mask holds something else than ids.
    """
    named = dict(classes) if isinstance(classes, dict) else dict(enumerate(classes))
    found = []
    for number, (photo, mask) in enumerate(pairs):
        (kept,) = as_files(photo, folder / "images" / f"{number:06}")
        kept = Photo(kept.path, f"{number:06}/{kept.path.name}")
        found.append((kept, _mask_file(mask, folder / "masks" / f"{number:06}.png")))
    if not found or not named:
        raise LeopartError("labelled photos need at least one (photo, mask) pair and one class")
    return LabelledPhotos(folder, dict(sorted(named.items())), found)


def _mask_file(mask: MaskLike, path: Path) -> Path:
    if isinstance(mask, str | Path):
        return Path(mask)
    ids = np.asarray(mask.cpu() if isinstance(mask, torch.Tensor) else mask)
    if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer) or (ids.size and ids.min() < 0):
        what = f"{ids.dtype} {list(ids.shape)}"
        raise LeopartError(f"a mask must be integers [H, W], at least 0, not {what}; 255 is no label")
    if ids.size and ids.max() >= 2**16:
        raise LeopartError(f"a mask holds the id {ids.max()}; ids are below {2**16:,}")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids.astype(np.uint8 if ids.max(initial=0) < 256 else np.uint16)).save(path)
    return path
