"""What is odd about photos that can be read, gathered while they are read and said once."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

_FEW_LEVELS = 16
"""A photo whose levels, of 255, span no more than this shows next to nothing."""


class Remarks:
    """Remarks on photos, by kind. Threads may add to it at once."""

    def __init__(self) -> None:
        self._photos: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, photo: str) -> None:
        """Note a kind of remark of `load_photo` (`12 bits`, `3 pages`), or `flat`, on a photo."""
        self._photos[kind].append(photo)

    def look(self, pixels: npt.NDArray[np.uint8], photo: str) -> None:
        """Note a photo [H, W, 3] that is nearly one colour."""
        some = pixels[::4, ::4]
        if np.ptp(some.reshape(-1, 3), axis=0).max() <= _FEW_LEVELS:
            self.add("flat", photo)

    def sentences(self) -> list[str]:
        """What to say, a sentence for each kind."""
        bits = {kind: photos for kind, photos in self._photos.items() if kind.endswith(" bits")}
        pages = {kind: photos for kind, photos in self._photos.items() if kind.endswith(" pages")}
        found = []
        if bits:
            kinds = ", ".join(f"{kind}: {_some(bits[kind])}" for kind in sorted(bits))
            what = f"photos of 16 bits use fewer and were brightened accordingly ({kinds})"
            differ = "equal values differ in brightness between them; to decide yourself, save them as 8-bit"
            found.append(f"{what}: {differ}." if len(bits) > 1 else f"{what}.")
        if pages:
            kinds = ", ".join(f"{kind}: {_some(pages[kind])}" for kind in sorted(pages))
            remedy = "give --pages all, or save pages as files"
            found.append(f"only the first page of each TIFF was used ({kinds}): {remedy}.")
        if flat := self._photos.get("flat"):
            what = f"photos that are nearly one colour hold nothing to find ({_some(flat)})"
            found.append(f"{what}: give --stretch 1 99, or leave them out.")
        return found


def _some(photos: list[str]) -> str:
    """`a.jpg and 4 more`."""
    first = min(photos)
    return first if len(photos) == 1 else f"{first} and {len(photos) - 1} more"
