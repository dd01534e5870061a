"""Training views of a photo, decoding included, against torchvision and Pillow one crop after another."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from torchvision import transforms

from benchmarks.harness import Comparison, compare
from leopart.data.crops import CropSettings, pair_boxes
from leopart.data.photometry import AugmentSettings
from leopart.data.views import DeviceViewMaker, ViewMaker

_PHOTOS = 32


def run() -> Iterator[Comparison]:
    """One thread: loading processes have one core each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = _write_photos(Path(folder))
        yield _compare("views on the CPU / torchvision and Pillow", paths, _on_cpu, "one core")
        if torch.cuda.is_available():
            name = torch.cuda.get_device_name()
            yield _compare("views on the GPU / torchvision and Pillow", paths, _on_gpu, f"{name} / one core")
    torch.set_num_threads(threads)


def _compare(name: str, paths: list[Path], ours: Callable[[list[Path]], None], place: str) -> Comparison:
    result = compare(name, lambda: ours(paths), lambda: _one_after_another(paths))
    rates = f"{_PHOTOS / result.ours:.0f} against {_PHOTOS / result.peer:.0f} photos/s"
    note = f"500x375 JPEG, 2 x 224 and 4 x 96, {place}: {rates}"
    return replace(result, note=note)


def _on_cpu(paths: list[Path]) -> None:
    maker = ViewMaker(CropSettings(), AugmentSettings())
    for seed, path in enumerate(paths):
        maker(path, np.random.default_rng(seed))


def _on_gpu(paths: list[Path]) -> None:
    maker = DeviceViewMaker(CropSettings(), AugmentSettings(), torch.device("cuda"))
    maker(paths, [np.random.default_rng(seed) for seed in range(len(paths))])
    torch.cuda.synchronize()


def _one_after_another(paths: list[Path]) -> None:
    """What the paper's transforms amount to: Pillow images, up to 8-bit tensors."""
    jitter = transforms.RandomApply([transforms.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8)
    change = transforms.Compose([jitter, transforms.RandomGrayscale(0.2), _blur, transforms.PILToTensor()])
    settings = CropSettings()
    for path in paths:
        with Image.open(path) as file:
            image = file.convert("RGB")
        boxes: list[list[int]] = []
        for view, size in enumerate(settings.sizes):
            box = _crop(image, boxes[:2], view < 2)
            boxes.append(box)
            change(image.crop(box).resize((size, size), Image.Resampling.BILINEAR))
        pair_boxes(np.array(boxes), 2, settings.sizes)


def _crop(image: Image.Image, others: list[list[int]], is_global: bool) -> list[int]:
    scale, factor = ([0.25, 1.0], 2) if is_global else ([0.05, 0.25], 1)
    least = int(image.width * image.height * 0.01) * factor
    while True:
        y, x, h, w = transforms.RandomResizedCrop.get_params(image, scale, [3 / 4, 4 / 3])
        box = [x, y, x + w, y + h]
        shared = [
            max(0, min(box[2], o[2]) - max(box[0], o[0])) * max(0, min(box[3], o[3]) - max(box[1], o[1]))
            for o in others
        ]
        if all(area > least for area in shared):
            return box


def _blur(image: Image.Image) -> Image.Image:
    if torch.rand(1).item() >= 0.5:
        return image
    return image.filter(ImageFilter.GaussianBlur(0.1 + 1.9 * torch.rand(1).item()))


def _write_photos(folder: Path) -> list[Path]:
    """Noise, rough and fine, in JPEGs of about 40 kB, as such photos have."""
    generator = np.random.default_rng(0)
    paths = [folder / f"{index}.jpg" for index in range(_PHOTOS)]
    for path in paths:
        layers = []
        for side, strength in ((6, 1.0), (40, 0.4), (250, 0.25)):
            small = generator.normal(size=(side * 3 // 4, side, 3)) * 45 * strength + 128 / 3
            small = Image.fromarray(np.clip(small + 64, 0, 255).astype(np.uint8))
            layers.append(np.asarray(small.resize((500, 375), Image.Resampling.BICUBIC), np.float64) - 64)
        Image.fromarray(np.clip(sum(layers), 0, 255).astype(np.uint8)).save(path, quality=85)
    return paths
