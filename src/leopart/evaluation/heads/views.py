"""Training examples of a head with augmentation: random crops and flips through the frozen network.

Legend: b photos of a piece, P side in pixels of the network's input, S side of a label map.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leopart.data.crops import CropSettings, sample_crops
from leopart.data.images import load_photo, resize
from leopart.data.labelled import LabelledPhotos
from leopart.evaluation.heads.examples import pinned
from leopart.evaluation.labels import nearest, squeezed
from leopart.evaluation.metrics.confusion import Labels
from leopart.features.extract import Extractor

_CROPS = CropSettings(global_crops=1, local_crops=0, global_scale=(0.8, 1.0), ratio=(3 / 4, 4 / 3))
_STREAM = 1
"""First number of the seeds of crops and flips, which keeps them apart from other draws."""
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def random_view(
    photo: npt.NDArray[np.uint8], mask: Labels, size: int, side: int, generator: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], Labels]:
    """A random view of a photo and its mask: cropped, resized to a square and possibly mirrored.

    The crop has 0.8 to 1 of the area and an aspect ratio of 3/4 to 4/3, by the rule of torchvision's
    RandomResizedCrop; every second view is mirrored.

    Args:
        photo: RGB, [H, W, 3].
        mask: ids, [H, W].
        size: P.
        side: S.
        generator: the only source of randomness.

    Returns:
        Pixels [P, P, 3], by Pillow's antialiased bilinear; ids [S, S], by nearest to P and then to S.

    Source: Leopart, CVPR 2022, training of linear and FCN heads; linear_finetune.py.
    """
    height, width = mask.shape
    x1, y1, x2, y2 = sample_crops(height, width, _CROPS, generator)[0].tolist()
    pixels = resize(np.ascontiguousarray(photo[y1:y2, x1:x2]), size, size)
    ids = squeezed(mask[y1:y2, x1:x2], size)
    if generator.random() < 0.5:
        pixels, ids = pixels[:, ::-1], ids[:, ::-1]
    return pixels, nearest(ids, side)


class AugmentedExamples:
    """Tokens of a new random view of each photo in every epoch.

    Views follow from seed, epoch and photo alone, so they do not depend on the number of processes.

    Args:
        extractor: the frozen network, the side of its (square) input, precision, block and device.
        labelled: photos and masks.
        train_size: S.
        seed: of crops and flips.

    Source: Leopart, CVPR 2022; see `random_view`.
    """

    def __init__(
        self, extractor: Extractor, labelled: LabelledPhotos, *, train_size: int = 100, seed: int = 400
    ) -> None:
        self.extractor, self.labelled, self.side, self.seed = extractor, labelled, train_size, seed
        self.device, self.dim = extractor.device, extractor.backbone.dim
        patch = extractor.backbone.patch_size
        self.size = max(1, round(extractor.preprocessing.size / patch)) * patch

    def __len__(self) -> int:
        return len(self.labelled.pairs)

    def load(self, photos: Sequence[int], epoch: int) -> tuple[Tensor, Tensor]:
        """Pixels [b, P, P, 3] uint8 and class rows [b, S, S] uint8; see `Examples`.

        Raises:
            LeopartError: a photo or its mask cannot be read, or they do not fit each other.
        """
        views = [self._view(index, epoch) for index in photos]
        pixels, rows = (torch.from_numpy(np.stack(part)) for part in zip(*views, strict=True))
        return pinned(pixels, self.device), pinned(rows, self.device)

    @torch.no_grad()
    def encode(self, content: Tensor) -> Tensor:
        """See `Examples`; runs the network on as many photos at once as the extractor does."""
        extractor = self.extractor
        wanted = _TYPES.get(extractor.precision)
        images = content.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        with nullcontext() if wanted is None else torch.autocast(self.device.type, wanted):
            parts = [
                extractor.backbone(part, extractor.block)
                for part in torch.split(images, extractor.batch_size)
            ]
        return torch.cat([part.tokens for part in parts])

    def _view(self, index: int, epoch: int) -> tuple[npt.NDArray[np.uint8], Labels]:
        photo, path = self.labelled.pairs[index]
        generator = np.random.default_rng([_STREAM, self.seed, epoch, index])
        rows: Labels = self.labelled.rows(self.labelled.read_mask(photo, path))
        return random_view(load_photo(photo.path), rows, self.size, self.side, generator)
