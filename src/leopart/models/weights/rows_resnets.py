"""Rows of ResNet-50s: the last stage, dilated to an output stride of 16, before pooling."""

from __future__ import annotations

from dataclasses import replace

from leopart.models.weights.spec import BackboneSpec, FileSource

_META = "https://dl.fbaipublicfiles.com"
_DENSECL = "https://github.com/WXinlong/DenseCL#models"
_MASKCONTRAST = "https://github.com/wvangansbeke/Unsupervised-Semantic-Segmentation#model-zoo"

_SUPERVISED = BackboneSpec(
    name="supervised_resnet50",
    summary="ResNet-50, image labels",
    architecture="resnet50",
    patch_size=16,
    dim=2048,
    heads=1,
    image_size=224,
    blocks=4,
    depth=4,
    feature_block=3,
    final_norm="raw",
    position_resampling="none",
    weights="supervised_resnet50",
    labels="ImageNet classes (backbone)",
    source=None,
    licence="BSD-3-Clause",
    origin="Trained on ImageNet-1k with its labels; torchvision's first weights.",
    citation="He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
    family="resnet",
    files=(
        FileSource("model.safetensors", repository="timm/resnet50.tv_in1k"),
        FileSource(
            "resnet50-0676ba61.pth",
            url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
            sha256="0676ba61",
        ),
    ),
)


def _row(
    family: str, summary: str, licence: str, origin: str, citation: str, file: FileSource
) -> BackboneSpec:
    name = f"{family}_resnet50"
    return replace(
        _SUPERVISED,
        name=name,
        weights=name,
        summary=f"ResNet-50, {summary}",
        licence=licence,
        origin=origin,
        citation=citation,
        family=family,
        files=(file,),
        labels="none",
    )


_MOCO = f"{_META}/moco/moco_checkpoints/moco_v2_800ep/moco_v2_800ep_pretrain.pth.tar"
_SWAV = f"{_META}/deepcluster/swav_800ep_pretrain.pth.tar"

ROWS = (
    _SUPERVISED,
    _row(
        "mocov2",
        "MoCo-v2, ImageNet",
        "CC-BY-NC-4.0",
        "Trained by Meta AI on ImageNet-1k without labels, 800 epochs.",
        "Chen et al., Improved Baselines with Momentum Contrastive Learning, arXiv 2003.04297, 2020",
        FileSource("moco_v2_800ep_pretrain.pth.tar", url=_MOCO),
    ),
    _row(
        "swav",
        "SwAV, ImageNet",
        "CC-BY-NC-4.0",
        "Trained by Meta AI and Inria on ImageNet-1k without labels, 800 epochs.",
        "Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, "
        "NeurIPS 2020",
        FileSource("swav_800ep_pretrain.pth.tar", url=_SWAV),
    ),
    _row(
        "densecl",
        "DenseCL, ImageNet",
        "Apache-2.0",
        "Trained by its authors on ImageNet-1k without labels, 200 epochs.",
        "Wang et al., Dense Contrastive Learning for Self-Supervised Visual Pre-Training, CVPR 2021",
        FileSource("densecl_r50_imagenet_200ep.pth", url=_DENSECL, direct=False),
    ),
    _row(
        "maskcontrast",
        "MaskContrast, VOC",
        "CC-BY-NC-4.0",
        "MoCo-v2, tuned by its authors on PASCAL VOC with masks of an unsupervised saliency model.",
        "Van Gansbeke et al., Unsupervised Semantic Segmentation by Contrasting Object Mask Proposals, "
        "ICCV 2021",
        FileSource("VOCSegmentation_unsupervised_saliency_model.pth.tar", url=_MASKCONTRAST, direct=False),
    ),
    replace(
        _SUPERVISED,
        name="random_resnet50",
        weights="random_resnet50",
        summary="ResNet-50, random weights",
        licence="MIT",
        origin="Drawn at random from a seed; nobody trained it.",
        citation="none",
        family="random",
        files=(),
        labels="none",
    ),
)
