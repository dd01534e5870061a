"""Photos to training views: several overlapping crops of each, coloured and blurred, and what they share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from leopart.data.augment import augment
from leopart.data.augment_torch import augment_batch
from leopart.data.crops import CropSettings, pair_boxes, sample_crops
from leopart.data.decoding import Pixels, checked, decode_photos
from leopart.data.images import load_photo, photo_size
from leopart.data.photometry import AugmentSettings, Photometry, draw_photometry

#: The device's antialiased resizing has a limit somewhere beyond 100 to 1; blocks are averaged before.
_MOST_REDUCTION = 32


@dataclass(frozen=True)
class Views:
    """The views of one photo: T global ones, then L local ones; N = T + L."""

    global_crops: Tensor
    """RGB, [T, 3, S, S] uint8."""
    local_crops: Tensor
    """RGB, [L, 3, s, s] uint8; L may be 0."""
    boxes: Tensor
    """x1, y1, x2, y2 of each view in pixels of the photo, [N, 4] float32."""
    gc: Tensor
    """Region of a global view that it shares with each view, in its own pixels, [T, N, 4] float32."""
    all: Tensor
    """Region of each view that it shares with a global view, in its own pixels, [N, T, 4] float32."""


@dataclass
class ViewBatch:
    """The views of B photos, view by view."""

    global_crops: Tensor
    """RGB, [T, B, 3, S, S] uint8, not normalised."""
    local_crops: Tensor
    """RGB, [L, B, 3, s, s] uint8, not normalised."""
    gc: Tensor
    """As in `Views`, [B, T, N, 4] float32."""
    all: Tensor
    """As in `Views`, [B, N, T, 4] float32."""
    index: Tensor
    """Which photo of the data set each one is, [B] int64."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ViewBatch:
        """The same batch on another device."""
        return ViewBatch(*(tensor.to(device, non_blocking=non_blocking) for tensor in self._tensors()))

    def pin_memory(self) -> ViewBatch:
        """The same batch in memory that a GPU can copy from while the CPU goes on."""
        return ViewBatch(*(tensor.pin_memory() for tensor in self._tensors()))

    def _tensors(self) -> tuple[Tensor, ...]:
        return self.global_crops, self.local_crops, self.gc, self.all, self.index


def collate_views(samples: Sequence[tuple[int, Views]]) -> ViewBatch:
    """Join the views of several photos; each comes with its index in the data set."""
    views = [view for _, view in samples]
    return ViewBatch(
        global_crops=torch.stack([view.global_crops for view in views], 1),
        local_crops=torch.stack([view.local_crops for view in views], 1),
        gc=torch.stack([view.gc for view in views]),
        all=torch.stack([view.all for view in views]),
        index=torch.tensor([index for index, _ in samples]),
    )


@dataclass(frozen=True)
class ViewMaker:
    """Makes the views of one photo on the CPU. Holds settings only, so that loading processes can have it."""

    crops: CropSettings
    augment: AugmentSettings

    def __call__(self, photo: Path | Pixels, generator: np.random.Generator) -> Views:
        """Crop, resize, colour and blur.

        A big JPEG is decoded only as finely as its views need; crops and boxes are in pixels of the full
        photo all the same. Resizing is Pillow's antialiased bilinear, to a level; a crop smaller than its
        view is enlarged.

        Args:
            photo: a file, or RGB pixels [H, W, 3] uint8.
            generator: the only source of randomness: the same state gives the same bytes.

        Raises:
            PhotoError: the file cannot be used.
            LeopartError: the pixels have another shape or dtype.
        """
        if isinstance(photo, Path):
            height, width = photo_size(photo)
        else:
            height, width = checked(photo).shape[:2]
        boxes, photometry = _drawn(height, width, self.crops, self.augment, generator)
        if isinstance(photo, Path):
            pixels = load_photo(photo, _smallest(height, width, boxes, self.crops.sizes))
        else:
            pixels = checked(photo)
        # Decoders reduce by 2, 4 or 8; the reduced sides are rounded up, so this is the way to see by which.
        reduction = 2 ** round(math.log2(max(height, width) / max(pixels.shape[:2])))
        stacks = [torch.empty((n, 3, size, size), dtype=torch.uint8) for _, n, size in _groups(self.crops)]
        planes = [view for stack in stacks for view in stack.numpy()]
        for view, (box, size) in enumerate(zip(boxes, self.crops.sizes, strict=True)):
            image = augment(resized_crop(pixels, box / reduction, size), photometry, view)
            cv2.split(image, list(planes[view]))
        gc, all_ = pair_boxes(boxes, self.crops.global_crops, self.crops.sizes)
        shared = (torch.from_numpy(array) for array in (boxes.astype(np.float32), gc, all_))
        return Views(*stacks, *shared)


@dataclass(frozen=True)
class DeviceViewMaker:
    """Makes the views of many photos on a device: `ViewMaker` for where the CPU is the bottleneck.

    The same generators give the same crops and boxes and, up to the rounding described in
    `leopart.data.augment_torch` and the decoder, the same pixels. The host draws the random numbers and
    launches kernels; it does not wait for the device.
    """

    crops: CropSettings
    augment: AugmentSettings
    device: torch.device

    @torch.no_grad()
    def __call__(
        self,
        photos: Sequence[Path | bytes | Pixels],
        generators: Sequence[np.random.Generator],
        index: Sequence[int] | None = None,
    ) -> ViewBatch:
        """Decode (on CUDA: JPEGs there), crop, resize, colour and blur.

        Args:
            photos: B files, the bytes of files, or RGB pixels [H, W, 3] uint8; at least one.
            generators: one a photo. Nothing is drawn before all photos are decoded, so after a `PhotoError`
                the photo can be left out and the rest tried again.
            index: which photo of the data set each one is; 0, 1, ... by default.

        Raises:
            PhotoError: a photo cannot be used.
            LeopartError: pixels have another shape or dtype.
        """
        pictures = decode_photos(photos, self.device)
        sides = [picture.shape[-2:] for picture in pictures]
        drawn = [
            _drawn(height, width, self.crops, self.augment, generator)
            for (height, width), generator in zip(sides, generators, strict=True)
        ]
        boxes = np.stack([crops for crops, _ in drawn])
        photometry = Photometry.join([looks for _, looks in drawn])
        with torch.autocast(self.device.type, enabled=False):
            stacks = [self._stack(pictures, boxes, photometry, *group) for group in _groups(self.crops)]
        numbers = np.arange(len(photos)) if index is None else np.asarray(index, np.int64)
        arrays = (*pair_boxes(boxes, self.crops.global_crops, self.crops.sizes), numbers)
        rest = (torch.from_numpy(np.array(array)).to(self.device, non_blocking=True) for array in arrays)
        return ViewBatch(*stacks, *rest)

    def _stack(
        self,
        pictures: list[Tensor],
        boxes: npt.NDArray[np.int64],
        photometry: Photometry,
        first: int,
        count: int,
        size: int,
    ) -> Tensor:
        """Views `first` to `first + count` of all photos, [count, B, 3, size, size] uint8."""
        if count == 0:
            return torch.empty((0, len(pictures), 3, size, size), dtype=torch.uint8, device=self.device)
        places = [(photo, view) for view in range(first, first + count) for photo in range(len(pictures))]
        crops = [_device_crop(pictures[photo], boxes[photo, view].tolist(), size) for photo, view in places]
        rows = np.array([photo * boxes.shape[1] + view for photo, view in places])
        levels = torch.cat(crops).round().clamp(0, 255)
        return augment_batch(levels, photometry[rows]).reshape(count, len(pictures), 3, size, size)


def resized_crop(photo: Pixels, box: npt.NDArray[np.float64], size: int) -> Pixels:
    """Cut out a box and resize it to [size, size, 3] uint8 by antialiased bilinear.

    Args:
        photo: RGB, [H, W, 3] uint8.
        box: x1, y1, x2, y2 in pixels of `photo`, [4]; fractions where it was decoded at reduced size.
        size: side of the result in pixels, larger or smaller than the box.
    """
    x1, y1, x2, y2 = box.tolist()
    if not all(edge.is_integer() for edge in (x1, y1, x2, y2)):
        x2, y2 = min(x2, photo.shape[1]), min(y2, photo.shape[0])
        image = Image.fromarray(photo).resize((size, size), Image.Resampling.BILINEAR, (x1, y1, x2, y2))
        return np.array(image)
    # Torch does on 8-bit pixels what Pillow does, several times as fast if the channels come last; so that it
    # sees that they do, the leading axis is made before they are moved.
    pixels = torch.from_numpy(photo[int(y1) : int(y2), int(x1) : int(x2)])[None].permute(0, 3, 1, 2)
    resized = F.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).contiguous().numpy()


def _device_crop(photo: Tensor, box: list[int], size: int) -> Tensor:
    """Cut out of [3, H, W] uint8 and resize by antialiased bilinear to [1, 3, size, size] float32."""
    x1, y1, x2, y2 = box
    crop = photo[None, :, y1:y2, x1:x2].float()
    blocks = [max(1, int(side / size / _MOST_REDUCTION)) for side in crop.shape[-2:]]
    if max(blocks) > 1:
        crop = F.avg_pool2d(crop, blocks, ceil_mode=True)
    return F.interpolate(crop, (size, size), mode="bilinear", antialias=True)


def _drawn(
    height: int,
    width: int,
    crops: CropSettings,
    settings: AugmentSettings,
    generator: np.random.Generator,
) -> tuple[npt.NDArray[np.int64], Photometry]:
    """All random numbers of one photo, in one order for every device: crops, then looks."""
    boxes = sample_crops(height, width, crops, generator)
    return boxes, draw_photometry(len(boxes), settings, generator)


def _groups(crops: CropSettings) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """First view, number of views and side in pixels, of the global and of the local ones."""
    local = (crops.global_crops, crops.local_crops, crops.local_size)
    return (0, crops.global_crops, crops.global_size), local


def _smallest(
    height: int, width: int, boxes: npt.NDArray[np.int64], sizes: tuple[int, ...]
) -> tuple[int, int]:
    """Height and width at which no view has fewer pixels than it is resized to, the photo's own at most."""
    extents = boxes[:, 2:] - boxes[:, :2]
    across, down = (np.array(sizes)[:, None] / extents).max(0).tolist()
    return math.ceil(height * min(down, 1.0)), math.ceil(width * min(across, 1.0))
