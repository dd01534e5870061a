"""Photos to stored features, against a bare timm forward of the same network on ready tensors."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image

from benchmarks.harness import Comparison, compare
from leopart.data.photos import find_photos
from leopart.features.extract import Extractor, Preprocessing
from leopart.models.backbone import load_backbone

_PHOTOS = 16


def run() -> Iterator[Comparison]:
    backbone = load_backbone()
    spec = backbone.spec
    bare = timm.create_model(spec.architecture, pretrained=False, num_classes=0, dynamic_img_size=True)
    del bare.blocks[spec.depth :]
    bare.eval()
    with tempfile.TemporaryDirectory() as folder:
        photos = write_photos(Path(folder) / "photos")
        for precision in ("fp32", "bf16"):
            extractor = Extractor(backbone, Preprocessing(448), precision=precision)
            images = torch.randn(_PHOTOS, 3, 448, 448).split(extractor.batch_size)

            def ours(extractor: Extractor = extractor) -> None:
                with tempfile.TemporaryDirectory() as store:
                    extractor.extract(find_photos([photos]), Path(store) / "features")

            @torch.inference_mode()
            def peer(precision: str = precision, images: tuple[torch.Tensor, ...] = images) -> None:
                with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                    for batch in images:
                        bare.forward_features(batch)

            note = f"{_PHOTOS} photos of 640x480, decoding and writing included"
            yield compare(f"extraction {precision} / bare timm forward", ours, peer, note=note)


def write_photos(folder: Path) -> Path:
    """Smooth noise: JPEGs of ordinary size, without shipping any; returns `folder`."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(_PHOTOS):
        small = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg")
    return folder
