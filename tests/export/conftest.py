"""Small networks of every build that the export knows, and a small segmenter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from leopart.models.backbone import Backbone, build_backbone
from leopart.models.weights.networks import empty_network
from leopart.models.weights.registry import BackboneSpec
from leopart.segment.segmenter import Segmenter

REGISTERS = "vit_small_patch14_reg4_dinov2"  # four registers, layer scale, no position for the prefix
LAYER_SCALE = "vit_small_patch14_dinov2"

DINOV3 = "vit_small_patch16_dinov3"
CONVOLUTIONAL = {
    "position_resampling": "none",
    "final_norm": "raw",
    "patch_size": 16,
    "image_size": 64,
    "dim": 64,
    "blocks": 4,
    "depth": 4,
    "feature_block": 3,
    "heads": 1,
}

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dino": {"position_resampling": "dino", "final_norm": "learned"},
    "timm": {"position_resampling": "timm"},
    "own statistics": {"mean": (0.5, 0.4, 0.3), "std": (0.5, 0.25, 0.2)},
    "earlier block": {"feature_block": 0, "final_norm": "learned"},
    "one of two blocks": {"depth": 1, "feature_block": 0},
    "layer scale": {"architecture": LAYER_SCALE},
    "registers": {"architecture": REGISTERS, "position_resampling": "timm"},
    "registers, mean pooling": {"architecture": "vit_base_patch16_reg4_gap_256"},
    "norm before the blocks": {"architecture": "vit_base_patch16_clip_224"},
    "no CLS token": {"architecture": "vit_base_patch16_siglip_224", "final_norm": "learned"},
    "no CLS token, earlier block": {"architecture": "vit_base_patch16_siglip_224", "feature_block": 0},
    "rotary": {"architecture": DINOV3, "position_resampling": "none", "final_norm": "learned"},
    "rotary, earlier block": {
        "architecture": DINOV3,
        "position_resampling": "none",
        "feature_block": 0,
    },
    "resnet": {"architecture": "resnet50", **CONVOLUTIONAL},
    "registers, dino": {"architecture": REGISTERS, "position_resampling": "dino"},
}
"""What the networks differ in from the tiny one."""


def random_backbone(spec: BackboneSpec, seed: int = 0) -> Backbone:
    """Every weight random, norms and layer scales around 1: ones and zeros would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    around_one = ("norm", "gamma", "bn", "var", "downsample.1")
    state = {}
    for key, value in empty_network(spec).state_dict().items():
        around_zero = value.ndim != 1 or "bias" in key or "mean" in key
        centre = float(not around_zero and any(word in key for word in around_one))
        random = 0.15 * torch.randn(value.shape, generator=generator) + centre
        state[key] = random.abs() if "running_var" in key else random
    return build_backbone(spec, state)


@pytest.fixture(scope="session")
def random_network(tiny_backbone: Backbone) -> Callable[..., Backbone]:
    """A random network that differs from the tiny one in what is given."""
    return lambda **changes: random_backbone(replace(tiny_backbone.spec, **changes))


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest, random_network: Callable[..., Backbone]) -> Backbone:
    """One network after the other."""
    return random_network(**VARIANTS[request.param])


@pytest.fixture
def ball_photos(tmp_path: Path) -> Path:
    """Four photos of a ball on a box, 70 x 50 pixels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(4):
        generator = np.random.default_rng(seed)
        photo = Image.fromarray(generator.integers(0, 70, (50, 70, 3), dtype=np.uint8))
        x, y = (int(value) for value in generator.integers(4, 20, 2))
        draw = ImageDraw.Draw(photo)
        draw.ellipse((x, y, x + 16, y + 16), fill=(220, 60, 40))
        draw.rectangle((x, y + 16, x + 24, y + 28), fill=(40, 60, 220))
        photo.save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def small_segmenter(tiny_backbone: Backbone, ball_photos: Path) -> Segmenter:
    """Six parts, two objects, 64 pixels, float32."""
    segmenter = Segmenter(
        tiny_backbone,
        n_parts=6,
        n_objects=2,
        size=64,
        precision="fp32",
        communities="map-equation",
        contexts=True,
        device="cpu",
    )
    return segmenter.fit(ball_photos)
