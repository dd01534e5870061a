from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn

from leopart.errors import LeopartError
from leopart.models.backbone import load_backbone
from leopart.models.weights.timm_models import timm_spec
from tolerances import assert_same

CREATE = timm.create_model
SMALL = {"embed_dim": 48, "depth": 2, "num_heads": 3}


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> dict[str, nn.Module]:
    """Models that were asked for with their weights; they come small and random instead."""
    made: dict[str, nn.Module] = {}

    def create(name: str, *, pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained:
            torch.manual_seed(0)
            model = CREATE(name, **options, **SMALL, img_size=48)
            made[name] = model.eval()
            return made[name]
        return CREATE(name, **options)

    monkeypatch.setattr(timm, "create_model", create)
    return made


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("vit_base_patch16_siglip_224", 1),
        ("vit_small_patch16_224.dino", 3),
        ("vit_small_patch16_dinov3.lvd1689m", 3),
        ("deit3_small_patch16_224.fb_in1k", 3),
        ("vit_base_patch16_clip_224.openai", 3),
    ],
)
def test_a_timm_model_gives_its_own_tokens(published: dict[str, nn.Module], name: str, heads: int):
    backbone = load_backbone(f"timm:{name}")
    images = torch.randint(
        0, 256, (1, 3, 48, 80), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    square = images[..., :48]
    config = published[name].pretrained_cfg
    pixels = (square / 255 - torch.tensor(config["mean"])[:, None, None]) / torch.tensor(config["std"])[
        :, None, None
    ]
    with torch.inference_mode():
        expected = published[name].forward_features(pixels)

    tokens = backbone(square).tokens.flatten(1, 2)

    assert_same(tokens, expected[:, -9:], terms=1000)
    assert backbone(images).attention.shape == (1, heads, 3, 5)
    assert backbone.source == backbone.name == f"timm:{name}"
    assert backbone.spec.patch_size == 16


def test_the_fingerprint_follows_the_weights(
    published: dict[str, nn.Module], monkeypatch: pytest.MonkeyPatch
):
    first, again = (load_backbone("timm:vit_small_patch16_224").fingerprint for _ in range(2))
    monkeypatch.setattr(torch, "manual_seed", lambda _seed: torch.Generator())

    assert first == again
    assert load_backbone("timm:vit_small_patch16_224").fingerprint != first


@pytest.mark.parametrize(
    "name", ["resnet18", "swin_tiny_patch4_window7_224", "vit_small_r26_s32_224", "beit_base_patch16_224"]
)
def test_a_model_without_plain_patch_tokens_is_refused(name: str):
    with torch.device("meta"):
        model = CREATE(name, num_classes=0)

    with pytest.raises(LeopartError, match=rf"timm's {name} is a \w+ that gives no patch tokens"):
        timm_spec(name, model)


def test_an_unknown_model_is_answered_with_near_ones():
    with pytest.raises(LeopartError, match=r"has no model called 'siglip_224': did you mean vit_"):
        load_backbone("timm:siglip_224")


def test_without_network_the_way_round_is_named(monkeypatch: pytest.MonkeyPatch):
    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError("cannot find the requested files in the local cache\nand more")

    monkeypatch.setattr(timm, "create_model", fail)

    with pytest.raises(
        LeopartError, match=r"could not get .*local cache\): run `python -c .*HF_HOME"
    ) as caught:
        load_backbone("timm:vit_base_patch16_siglip_224")
    assert "\n" not in str(caught.value)
