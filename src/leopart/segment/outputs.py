"""The files of one photo: part mask, object mask, overlay; and what the report shows of it."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leopart.data.images import load_photo
from leopart.data.photo_list import PhotoEntry
from leopart.data.photos import Photo
from leopart.drawing import palette
from leopart.drawing.masks import overlay, save_mask, save_overlay, shrink, upsample_labels
from leopart.errors import LeopartError, PhotoError
from leopart.segment.labelling import LabelTable
from leopart.segment.part_model import PartModel
from leopart.segment.photo_masks import PhotoMasks, photo_masks
from leopart.segment.report.page import THUMBNAIL, PhotoRow
from leopart.segment.report.regions import LONGEST, Regions
from leopart.segment.survey import Patch

Pixels = NDArray[np.uint8]

#: Longest side of an overlay file.
_OVERLAY = 1280
#: What file systems say of names that they do not take, such as one with a colon on NTFS.
_NAME_REFUSED = (errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ)
#: Side of a gallery patch as a fraction of the photo's shorter side.
_PATCH_SIDE = 0.28


@dataclass(frozen=True)
class Wanted:
    """What the report wants to show of a photo.

    Attributes:
        row: whether the photo is on the contact sheet.
        patches: the gallery's patches in this photo.
    """

    row: bool = False
    patches: tuple[Patch, ...] = ()


@dataclass(frozen=True)
class Written:
    """What came out for a photo.

    Attributes:
        entry: for the list of photos.
        objects: the object ids in it.
        row: for the contact sheet.
        patches: pixels of the patches asked for, in their order.
        part_shares: share of the photo that each part covers, [K + 1]; 0 is the background.
        object_shares: the same of each object, [M + 1].
        confidence: of the objects, see `PhotoMasks`.
    """

    entry: PhotoEntry
    objects: tuple[int, ...]
    row: PhotoRow
    patches: tuple[Pixels, ...] = ()
    part_shares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    object_shares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    confidence: Mapping[int, float] = field(default_factory=dict)


class MaskWriter:
    """Writes masks and overlays of one photo after the other below `out`.

    Args:
        out: the folder that holds `parts/`, `objects/` and `overlays/`.
        model: gives the ids.
        overlays: whether to write overlays.
        refine: whether masks are refined in each photo, see `leopart.segment.refinement`.
        least_confidence: see `photo_masks`.
        labels: names, where label masks are wanted too.
    """

    def __init__(
        self,
        out: Path,
        model: PartModel,
        *,
        overlays: bool,
        refine: bool = False,
        least_confidence: float = 0.0,
        labels: LabelTable | None = None,
    ) -> None:
        self.out, self.model, self.overlays, self.labels = out, model, overlays, labels
        self.refine, self.least_confidence = refine, least_confidence
        self.part_palette = part_palette(model)
        self.object_palette = palette.colours(model.n_objects + 1)

    def write(
        self, photo: Photo, stem: str, tokens: NDArray[np.float16], wanted: Wanted = Wanted()
    ) -> Written:
        """Write all files of one photo from its tokens [h, w, D].

        Raises:
            PhotoError: the photo has become unreadable, or the file system refuses its name.
            LeopartError: a file cannot be written.
        """
        try:
            return self._write(photo, stem, tokens, wanted)
        except LeopartError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NAME_REFUSED:
                what = f"{photo.name} cannot name a mask on this disk: {error.__cause__.strerror}"
                raise PhotoError(f"{what}; rename the photo, or choose an --out on another disk") from error
            raise

    def _write(self, photo: Photo, stem: str, tokens: NDArray[np.float16], wanted: Wanted) -> Written:
        masks = photo_masks(
            self.model,
            tokens,
            photo.path,
            refine=self.refine,
            least_confidence=self.least_confidence,
        )
        save_mask(self.out / "parts" / f"{stem}.png", masks.parts, self.part_palette)
        save_mask(self.out / "objects" / f"{stem}.png", masks.objects, self.object_palette)
        if self.labels is not None:
            self.labels.write(self.out, stem, masks.parts, masks.objects)
        entry = _entry(photo, stem, masks.parts)
        link = f"overlays/{stem}.jpg" if self.overlays else None
        row = PhotoRow(photo.name, link=link)
        # Much faster than np.unique.
        size = masks.parts.size
        shares = np.bincount(masks.parts.ravel(), minlength=self.model.n_parts + 1) / size
        of_objects = np.bincount(masks.objects.ravel(), minlength=self.model.n_objects + 1) / size
        present = tuple(int(i) for i in np.flatnonzero(of_objects) if i)
        written = Written(entry, present, row, (), shares, of_objects, masks.confidence)
        if not (self.overlays or wanted.row or wanted.patches):
            return written
        picture, small = _picture(photo.path, masks.parts)
        if link:
            save_overlay(self.out / link, picture, small, self.part_palette)
        if wanted.row:
            row = self._row(row, picture, masks)
        return replace(written, row=row, patches=tuple(_cut(picture, patch) for patch in wanted.patches))

    def _row(self, row: PhotoRow, picture: Pixels, masks: PhotoMasks) -> PhotoRow:
        thumbnail, parts = shrink(picture, masks.parts, THUMBNAIL)
        objects = upsample_labels(masks.objects, *parts.shape)
        cells = shrink(thumbnail, parts, LONGEST)[1]
        of_cells = upsample_labels(masks.objects, *cells.shape)
        return replace(
            row,
            photo=thumbnail,
            parts=overlay(thumbnail, parts, self.part_palette),
            objects=overlay(thumbnail, objects, self.object_palette),
            regions=Regions(cells, {int(i): _most(of_cells[cells == i]) for i in np.unique(cells) if i}),
        )


def _most(ids: NDArray[np.int32]) -> int:
    """The id that most of the cells have."""
    return int(np.bincount(ids).argmax())


def redraw_overlay(out: Path, entry: PhotoEntry, parts: NDArray[np.int32], colours: Pixels) -> None:
    """Draw the overlay of a photo once more after its part mask has changed.

    It stays as it is where there is none, or where the photo has gone or is another one now.

    Args:
        out: folder of the run.
        entry: the photo.
        parts: part ids [H, W].
        colours: of every part id, see `part_palette`.

    Raises:
        LeopartError: the photo cannot be read any more, or the overlay cannot be written.
    """
    path = entry.mask_path(out, "overlays").with_suffix(".jpg")
    if path.is_file() and not entry.changed:
        picture, small = _picture(Path(entry.path), parts)
        save_overlay(path, picture, small, colours)


def part_palette(model: PartModel) -> Pixels:
    """Colour of every part id, sRGB uint8 [K + 1, 3]; see `part_colours`."""
    return palette.part_colours(model.object_of_part, [split.ids.tolist() for split in model.splits])


def _picture(photo: Path, parts: NDArray[np.int32]) -> tuple[Pixels, NDArray[np.integer]]:
    """Photo and part ids at a size for the screen."""
    scale = min(1.0, _OVERLAY / max(parts.shape))
    smallest = tuple(max(1, round(side * scale)) for side in parts.shape)
    picture = load_photo(photo, smallest=(smallest[0], smallest[1]))
    return shrink(picture, parts, _OVERLAY)  # goes by the size of `parts`: a JPEG may come smaller


def _entry(photo: Photo, stem: str, parts: NDArray[np.int32]) -> PhotoEntry:
    try:
        return PhotoEntry.of(photo.name, photo.path, stem, parts.shape)
    except OSError as error:
        raise PhotoError(f"{photo.name} has gone while it was segmented ({error.strerror})") from error


def _cut(picture: Pixels, patch: Patch) -> Pixels:
    """Square around the patch, moved inside the photo."""
    height, width = picture.shape[:2]
    side = max(1, round(_PATCH_SIDE * min(height, width)))
    top = min(max(0, round(patch.y * height - side / 2)), height - side)
    left = min(max(0, round(patch.x * width - side / 2)), width - side)
    return picture[top : top + side, left : left + side]
