"""How much of each photo is which part: orders of the photos, best photos of a part, and suggestions."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from leopart.data.photo_list import PHOTO_LIST
from leopart.errors import LeopartError
from leopart.files import whole_file
from leopart.progress import Track, silent
from leopart.viewer.run import Run

BEST = 6
"""Photos that stand for a part."""
_TOGETHER = 0.8
_ALIKE = 0.6
_MOST = 12
_ODDEST = 10.0
"""What is farther from the usual counts as much as this in a photo's mean."""


@dataclass(frozen=True)
class Statistics:
    """Counts of a run, photos in the order of its list.

    Attributes:
        shares: of each photo's pixels that each part has, float32 [N, K + 1]; 0 without readable masks.
        centres: mean row and column of each part, 0 to 1, float32 [N, K + 1, 2]; NaN where it is not seen.
    """

    shares: NDArray[np.float32]
    centres: NDArray[np.float32]

    def by_area(self, part: int) -> list[int]:
        """Photos by the share of a part, the largest first."""
        return [int(index) for index in np.argsort(-self.shares[:, part], kind="stable")]

    def by_oddness(self, part: int) -> list[int]:
        """Photos that show a part, those first where its share and position are far from the usual ones."""
        seen = np.flatnonzero(self.shares[:, part])
        return [int(index) for index in seen[np.argsort(-self._oddness(seen, part), kind="stable")]]

    def by_unusualness(self) -> list[int]:
        """All photos, those first that show no part, then those whose parts are odd: the mean by area."""
        odd = np.zeros(self.shares.shape)
        for part in range(1, self.shares.shape[1]):
            seen = np.flatnonzero(self.shares[:, part])
            odd[seen, part] = np.minimum(self._oddness(seen, part), _ODDEST)
        area = self.shares[:, 1:].sum(1)
        mean = np.where(area > 0, (odd * self.shares).sum(1) / np.maximum(area, 1e-12), np.inf)
        return [int(index) for index in np.argsort(-mean, kind="stable")]

    def _oddness(self, seen: NDArray[np.intp], part: int) -> NDArray[np.float64]:
        """How far share and position of a part in photos are from the usual ones, >= 0.

        The distance is that of share (on a logarithmic scale), row and column from their medians, each in
        units of its own median deviation: three numbers, of which the largest counts.
        """
        if len(seen) < 3:
            return np.zeros(len(seen))
        values = np.column_stack([np.log(self.shares[seen, part]), self.centres[seen, part]])
        away = np.abs(values - np.median(values, axis=0))
        usual = np.maximum(np.median(away, axis=0), [0.1, 0.02, 0.02])  # tiny deviations are not odd
        largest: NDArray[np.float64] = (away / usual).max(1).astype(np.float64)
        return largest

    def described(self) -> dict[str, Any]:
        """Of each part its share of all area, its number of photos, and the photos that stand for it."""
        total = max(float(self.shares.sum()), 1.0)
        best = np.argsort(-self.shares, axis=0, kind="stable")[:BEST]
        return {
            "shares": (self.shares.sum(0) / total).tolist(),
            "photos": (self.shares > 0).sum(0).tolist(),
            "best": [
                [int(i) for i in best[:, part] if self.shares[i, part]]
                for part in range(self.shares.shape[1])
            ],
        }


def statistics_of(run: Run, *, track: Track = silent) -> Statistics:
    """Count the masks of a run, once: the counts are kept in its cache folder.

    Raises:
        LeopartError: the folder cannot be written.
    """
    listed = hashlib.sha256((run.out / PHOTO_LIST).read_bytes()).hexdigest()
    place = run.cache / f"counts.{listed[:12]}.{run.ids.fingerprint[:12]}.npz"
    shape = (len(run.entries), run.ids.n_parts + 1)
    try:
        with np.load(place, allow_pickle=False) as kept:
            found = Statistics(kept["shares"], kept["centres"])
        if found.shares.shape == shape and found.centres.shape == (*shape, 2):
            return found
    except (OSError, ValueError, KeyError):
        pass  # not counted yet, or damaged: it is counted anew
    shares, centres = np.zeros(shape, np.float32), np.full((*shape, 2), np.nan, np.float32)
    # One at a time: the photos on the screen come first.
    for index, row in enumerate(
        track((_counted(run, index) for index in range(shape[0])), shape[0], "counting")
    ):
        if row is not None:
            shares[index], centres[index] = row
    content = io.BytesIO()
    np.savez(content, shares=shares, centres=centres)
    with whole_file(place) as file:
        file.write(content.getvalue())
    return Statistics(shares, centres)


def _counted(run: Run, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    try:
        parts = run.masks(run.entries[index])[0].astype(np.int64)
    except LeopartError:
        return None  # the page says so where the photo is shown
    n = run.ids.n_parts + 1
    pixels = np.bincount(parts.ravel(), minlength=n).astype(np.float64)
    sums = []
    for axis, length in enumerate(parts.shape):
        place = (np.arange(length) + 0.5) / length
        weights = np.broadcast_to(place[:, None] if axis == 0 else place, parts.shape)
        sums.append(np.bincount(parts.ravel(), weights.ravel(), minlength=n))
    with np.errstate(invalid="ignore", divide="ignore"):
        centres = np.stack(sums, axis=-1) / pixels[:, None]
    return (pixels / parts.size).astype(np.float32), centres.astype(np.float32)


def suggestions(run: Run, found: Statistics) -> list[dict[str, Any]]:
    """Pairs of parts that may belong together, the likeliest first: they look alike, or are seen together.

    Alike: the cosine of their centroids is at least 0.6. Together: of the photos that show either, at least
    80 % (and at least three) show both, and both have the same main object.
    """
    seen = (found.shares[:, 1:] > 0).astype(np.int64)
    both = seen.T @ seen
    either = seen.sum(0)[:, None] + seen.sum(0) - both
    together = both / np.maximum(either, 1)
    together[both < 3] = 0
    cosine = _cosines(run)
    main = {part: number for number, parts in run.objects.items() for part in parts}
    rows = []
    for a, b in zip(*np.triu_indices(run.ids.n_parts, 1), strict=True):
        if cosine[a, b] >= _ALIKE:
            why = f"they look alike (cosine {cosine[a, b]:.2f})"
            rows.append((float(cosine[a, b]), int(a) + 1, int(b) + 1, why))
        elif together[a, b] >= _TOGETHER and main.get(int(a) + 1) == main.get(int(b) + 1):
            why = f"seen together in {both[a, b]} of {either[a, b]} photos"
            rows.append((float(together[a, b]), int(a) + 1, int(b) + 1, why))
    rows.sort(reverse=True)
    return [{"parts": [a, b], "why": why} for _, a, b, why in rows[:_MOST]]


def _cosines(run: Run) -> NDArray[np.float64]:
    """Of the centroids of all pairs of parts; zeros for pieces of split parts, and where none can be read."""
    none = np.zeros((run.ids.n_parts,) * 2)
    try:
        rows = load_file(run.out / "segmenter" / "arrays.safetensors").get("parts.centroids")
    except Exception:  # noqa: BLE001 - a missing or damaged file costs suggestions, not the page
        return none
    if rows is None or rows.ndim != 2 or len(rows) > run.ids.n_parts:
        return none
    unit = np.zeros((run.ids.n_parts, rows.shape[1]))
    unit[: len(rows)] = rows
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    return unit @ unit.T
