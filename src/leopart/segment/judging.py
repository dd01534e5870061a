"""Whether a network got better on the user's photos: measured on some of them, without a label."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from leopart.clustering.suitability import FEWEST_PHOTOS, Suitability, suitability
from leopart.data.photos import Photo
from leopart.errors import LeopartError, PhotoError
from leopart.features.extract import Extractor, Preprocessing
from leopart.models.backbone import Backbone, load_backbone
from leopart.models.device import pick_device
from leopart.models.weights.opening import label_free_here

#: Photos that are measured, at most, and their side in pixels: seconds on a CPU.
_PHOTOS, _SIZE = 100, 224


@dataclass(frozen=True)
class Judgement:
    """A network before and after an adaptation.

    Attributes:
        before: of the start; None where too few photos can be read to measure anything.
        after: of the adapted network; None likewise.
        forced: whether the adapted network is kept whatever it is like.
    """

    before: Suitability | None
    after: Suitability | None
    forced: bool = False

    @property
    def improved(self) -> bool | None:
        """Whether the gain has risen, or the stability where there is no gain; None: nothing was measured."""
        if self.before is None or self.after is None:
            return None
        if math.isnan(self.before.gain) or math.isnan(self.after.gain):
            return self.after.stability > self.before.stability
        return self.after.gain > self.before.gain

    @property
    def kept(self) -> bool:
        """Whether the adapted network is used: it is better, could not be measured, or was asked for."""
        return self.forced or self.improved is not False


def judged(backbone: Backbone, photos: Sequence[Photo], seed: int) -> Suitability | None:
    """Stability and gain of a network on up to 100 of the photos; None where too few can be read.

    Args:
        backbone: on its device.
        photos: all there are; the same ones are drawn for every network.
        seed: decides which, and every other random choice.
    """
    if len(photos) < FEWEST_PHOTOS:
        return None
    chosen = random.Random(seed).sample(list(photos), min(_PHOTOS, len(photos)))  # noqa: S311 - no secret
    extractor = Extractor(backbone, Preprocessing(_SIZE), batch_size=1)
    tokens = []
    for photo in chosen:
        try:
            found, _ = extractor.forward([extractor.prepare(photo.path)])[0]
        except PhotoError:  # named when features are extracted
            continue
        tokens.append(found)
    return suitability(tokens, seed) if len(tokens) >= FEWEST_PHOTOS else None


def best_here(photos: Sequence[Photo], seed: int, device: str) -> dict[str, Suitability]:
    """The label-free networks whose weights are on this machine, the one with the largest gain first.

    Args:
        photos: to measure them on, see `judged`.
        seed: see `judged`.
        device: where to compute, see `pick_device`.

    Raises:
        LeopartError: no weights are here, or too few photos to measure a network on.
    """
    found = {}
    for row in label_free_here():
        measured = judged(load_backbone(row.name, device=pick_device(device)), photos, seed)
        if measured is None:
            message = (
                f"--backbone auto needs {FEWEST_PHOTOS} photos that can be read: name a backbone instead"
            )
            raise LeopartError(message)
        found[row.name] = measured
    if not found:
        message = "--backbone auto finds no weights on this machine"
        raise LeopartError(f"{message}: run `leopart weights fetch`, or name a backbone")
    return dict(sorted(found.items(), key=lambda item: _rank(item[1]), reverse=True))


def _rank(found: Suitability) -> tuple[float, float]:
    """By the gain, and by the stability where it is not known."""
    return (-math.inf if math.isnan(found.gain) else found.gain, found.stability)
