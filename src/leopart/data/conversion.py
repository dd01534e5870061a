"""Masks made ready for scoring: colours or other ids become class ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from leopart.data.masks import check_ids, read_colour_mask, read_index_mask
from leopart.errors import LeopartError
from leopart.files import whole_file
from leopart.parallel import ordered_map, workers
from leopart.paths import is_folder, shown
from leopart.progress import Track, silent


def voc_colours() -> npt.NDArray[np.uint8]:
    """Colours of the ids 0 to 255 in PASCAL VOC, [256, 3]; 255 is its cream-coloured void.

    Source: VOClabelcolormap of PASCAL VOC's devkit: bits 0, 1, 2 of an id are the highest bits of red, green,
    blue, bits 3, 4, 5 the next ones, and so on.
    """
    ids = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for level in range(8):
        for channel in range(3):
            bit = ids >> (3 * level + channel) & 1
            colours[:, channel] |= (bit << (7 - level)).astype(np.uint8)
    return colours


def convert_masks(
    source: Path, out: Path, ids: Mapping[int, int] | None = None, *, track: Track = silent
) -> int:
    """Write index PNGs of all PNGs below a folder, under the same names; none is replaced.

    Args:
        source: folder of masks.
        out: another folder, made if need be.
        ids: new id by old id, of masks that hold ids; the others stay. None: the masks hold PASCAL VOC's
            colours.
        track: progress, one step a mask.

    Returns:
        How many masks were written.

    Raises:
        LeopartError: there are no masks, one cannot be read or holds other colours, or a new one is there.
    """
    if not is_folder(source):
        raise LeopartError(f"there is no folder {shown(source)} of masks; check the path")
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() == ".png")
    if not files:
        raise LeopartError(f"{shown(source)} holds no PNGs; give the folder of the masks")
    targets = [out / file.relative_to(source) for file in files]
    if taken := [target for target in targets if target.exists()]:
        raise LeopartError(f"{shown(taken[0])} is there already; choose another --out")

    def convert(pair: tuple[Path, Path]) -> None:
        file, target = pair
        _write(target, _from_colours(file) if ids is None else _renumbered(file, ids))

    pairs = list(zip(files, targets, strict=True))
    for _ in track(ordered_map(convert, pairs, workers()), len(pairs), "masks"):
        pass
    return len(files)


def _from_colours(file: Path) -> npt.NDArray[np.uint8]:
    colours = read_colour_mask(file).astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    known = voc_colours().astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    table = {int(colour): number for number, colour in enumerate(known)}
    found, where = np.unique(colours, return_inverse=True)
    if strangers := [colour for colour in found.tolist() if colour not in table]:
        colour = ", ".join(str(strangers[0] >> shift & 255) for shift in (16, 8, 0))
        raise LeopartError(
            f"{shown(file)} holds the colour {colour}, which is none of PASCAL VOC's; leave it out"
        )
    ids = np.array([table[colour] for colour in found.tolist()], np.uint8)
    return ids[where.reshape(colours.shape)]


def _renumbered(file: Path, ids: Mapping[int, int]) -> npt.NDArray[np.uint8]:
    stored = read_index_mask(file)
    table = np.arange(max(int(stored.max()), *ids) + 1)
    table[list(ids)] = list(ids.values())
    found = table[stored]
    check_ids(found.astype(np.int32), file, range(256), "give --ids a new id from 0 to 255 for each of them")
    return found.astype(np.uint8)


def _write(target: Path, ids: npt.NDArray[np.uint8]) -> None:
    image = Image.fromarray(ids)
    image.putpalette(voc_colours().tobytes())  # palette colours are for viewers; the indices count
    with whole_file(target) as file:
        image.save(file, format="PNG")
