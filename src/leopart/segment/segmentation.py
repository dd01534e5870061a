"""The masks of one photo, as `Segmenter.predict` returns them, and the same for other libraries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from leopart.errors import LeopartError
from leopart.segment.picture import Picture, plot

Kind = Literal["labels", "objects", "parts"]


@dataclass(frozen=True)
class Segmentation:
    """Masks of one photo at its own size.

    Each is a plain array, as tall and wide as the photo: `photo[masks.objects == 2]` are pixels of object 2.
    """

    parts: NDArray[np.int32]
    """Part ids, 0 = background, 1..K; [H, W]."""
    objects: NDArray[np.int32]
    """Object ids, 0 = background, 1..; [H, W]."""
    labels: NDArray[np.int32] | None = None
    """Label ids, 0 = background, [H, W]; None where the segmenter has no labels."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Names of the labels by id, background included; empty where the segmenter has no labels."""
    picture: Picture | None = field(default=None, repr=False, compare=False)
    """What the masks are drawn on; there after `predict`."""

    def ids(self, kind: Kind | None = None) -> NDArray[np.int32]:
        """One of the masks, int32 [H, W].

        Args:
            kind: which; None = labels if there are any, or objects.

        Raises:
            LeopartError: labels are asked for and there are none.
        """
        kind = kind or ("objects" if self.labels is None else "labels")
        if kind == "labels" and self.labels is None:
            raise LeopartError(
                "this segmenter has no labels; name parts with `leopart label`, or take objects"
            )
        found: NDArray[np.int32] = getattr(self, kind)
        return found

    def overlay(self, kind: Kind | None = None, longest: int | None = None) -> NDArray[np.uint8]:
        """The photo with its regions tinted and outlined, RGB uint8 [h, w, 3].

        Args:
            kind: see `ids`.
            longest: side in pixels that the picture must not exceed; None = the photo's own size.

        Raises:
            LeopartError: the masks came without their photo, its file cannot be read any more, or see `ids`.
        """
        if self.picture is None:
            raise LeopartError("these masks have no photo to be drawn on: take those that predict gives")
        return self.picture.drawn(self.ids(kind), longest, shades=kind == "parts")

    def plot(self) -> Any:
        """Parts and objects over the photo, side by side; a figure of matplotlib.

        Raises:
            LeopartError: matplotlib is not installed, or see `overlay`.
        """
        pyplot = _library("matplotlib.pyplot", "matplotlib", "leopart[demo]")
        return plot(pyplot, {"parts": self.overlay("parts"), "objects": self.overlay("objects")})

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows: the parts."""
        return None if self.picture is None else self.picture.png(self.parts)

    def to_coco(self, kind: Kind | None = None, *, image_id: int = 1) -> list[dict[str, Any]]:
        """The regions as annotations of COCO, one a class, for the list `annotations` of a COCO file.

        Args:
            kind: see `ids`.
            image_id: number of the photo in the file.

        Returns:
            A dictionary for each id that occurs, ascending: `id` (from 1), `image_id`, `category_id`,
            `category` (its name), `segmentation` (compressed run lengths), `area` in pixels, `bbox` (x, y,
            width, height) and `iscrowd`.

        Raises:
            LeopartError: pycocotools is not installed, or see `ids`.
        """
        coco = _library("pycocotools.mask", "pycocotools", "leopart[masks]")
        found = []
        for number, (category, mask) in enumerate(self._masks(kind), start=1):
            packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
            found.append(
                {
                    "id": number,
                    "image_id": image_id,
                    "category_id": category,
                    "category": self._name(kind, category),
                    "segmentation": {"size": list(mask.shape), "counts": packed["counts"].decode("ascii")},
                    "area": int(mask.sum()),
                    "bbox": [int(value) for value in coco.toBbox(packed)],
                    "iscrowd": 0,
                }
            )
        return found

    def to_supervision(self, kind: Kind | None = None) -> Any:
        """The regions as `supervision.Detections`, one a class, with masks and names (`class_name`).

        Args:
            kind: see `ids`.

        Raises:
            LeopartError: supervision is not installed, or see `ids`.
        """
        supervision = _library("supervision", "supervision", "supervision")
        found = list(self._masks(kind))
        if not found:
            return supervision.Detections.empty()
        masks = np.stack([mask for _, mask in found])
        return supervision.Detections(
            xyxy=np.stack([_corners(mask) for mask in masks]).astype(np.float32),
            mask=masks,
            class_id=np.array([category for category, _ in found]),
            data={"class_name": np.array([self._name(kind, category) for category, _ in found])},
        )

    def _masks(self, kind: Kind | None) -> list[tuple[int, NDArray[np.bool_]]]:
        """Each id that occurs, and its pixels."""
        ids = self.ids(kind)
        return [(int(number), ids == number) for number in np.unique(ids) if number]

    def _name(self, kind: Kind | None, number: int) -> str:
        kind = kind or ("objects" if self.labels is None else "labels")
        return self.names.get(number, "") if kind == "labels" else f"{kind.removesuffix('s')} {number}"


def _corners(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom edge of what is in a mask, in pixels."""
    rows, columns = np.nonzero(mask)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def _library(module: str, name: str, install: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        message = f"this needs {name}, which is not installed"
        raise LeopartError(f"{message}; pip install '{install}'") from error
