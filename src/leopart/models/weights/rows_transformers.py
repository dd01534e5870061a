"""Rows of vision transformers whose makers publish a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace

from leopart.models.weights.spec import BackboneSpec, FileSource

_META = "https://dl.fbaipublicfiles.com"
_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class _Size:
    word: str
    dim: int
    heads: int
    blocks: int = 12


_SIZES = {"s": _Size("small", 384, 6), "b": _Size("base", 768, 12), "l": _Size("large", 1024, 16, 24)}


def _timm(model: str) -> FileSource:
    return FileSource("model.safetensors", repository=f"timm/{model}")


def _link(url: str, sha256: str = "") -> FileSource:
    return FileSource(url.rsplit("/", 1)[1], url=url, sha256=sha256)


_DINO = BackboneSpec(
    name="dino_vits16",
    summary="ViT-S/16, DINO, ImageNet",
    architecture="vit_small_patch16_224",
    patch_size=16,
    dim=384,
    heads=6,
    image_size=224,
    blocks=12,
    depth=12,
    feature_block=11,
    final_norm="learned",
    position_resampling="dino",
    weights="dino_vits16",
    source=None,
    licence="Apache-2.0",
    origin="Trained by Meta AI on ImageNet-1k without labels.",
    citation="Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021",
    family="dino",
)


def _row(
    base: BackboneSpec, name: str, size: str, patch: int, summary: str, **changes: object
) -> BackboneSpec:
    """`base` as another size: what follows from the size is filled in."""
    of = _SIZES[size]
    sizes = {"dim": of.dim, "heads": of.heads, "blocks": of.blocks, "depth": of.blocks}
    architecture = f"vit_{of.word}_patch{patch}_224"
    row = {
        "name": name,
        "weights": name,
        "summary": f"ViT-{size.upper()}/{patch}, {summary}",
        "architecture": architecture,
        "patch_size": patch,
        "feature_block": of.blocks - 1,
        **sizes,
        **changes,
    }
    return replace(base, **row)  # type: ignore[arg-type]


def _dino(size: str, patch: int, published: str) -> BackboneSpec:
    word = _SIZES[size].word
    files = (
        _timm(f"vit_{word}_patch{patch}_224.dino"),
        _link(f"{_META}/dino/{published}/{published}_pretrain.pth"),
    )
    return _row(_DINO, f"dino_vit{size}{patch}", size, patch, "DINO, ImageNet", files=files)


_DINOV2 = replace(
    _DINO,
    patch_size=14,
    image_size=518,
    origin="Distilled by Meta AI from a ViT-g trained on 142 million images (LVD-142M) without labels.",
    citation="Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, TMLR 2024",
    family="dinov2",
)
_REGISTERS = "; Darcet et al., Vision Transformers Need Registers, ICLR 2024"


def _dinov2(size: str, *, registers: bool) -> BackboneSpec:
    word = _SIZES[size].word
    kind = "patch14_reg4_dinov2" if registers else "patch14_dinov2"
    file = f"dinov2_vit{size}14{'_reg4' if registers else ''}_pretrain.pth"
    hub = "dinov2-with-registers" if registers else "dinov2"
    return _row(
        _DINOV2,
        f"dinov2_vit{size}14{'_reg' if registers else ''}",
        size,
        14,
        "DINOv2, 4 registers" if registers else "DINOv2",
        architecture=f"vit_{word}_{kind}",
        # Its makers kept DINO's offset of 0.1 without registers, and resample with antialiasing with them.
        position_resampling="timm" if registers else "dino",
        citation=_DINOV2.citation + (_REGISTERS if registers else ""),
        files=(
            _timm(f"vit_{word}_{kind}.lvd142m"),
            FileSource("model.safetensors", repository=f"facebook/{hub}-{word}"),
            _link(f"{_META}/dinov2/dinov2_vit{size}14/{file}"),
        ),
    )


_NECO = {
    "licence": "MIT",
    "citation": (
        "Pariza et al., Near, far: Patch-ordering enhances vision foundation models' scene understanding, "
        "ICLR 2025; Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, TMLR 2024"
    ),
}


def _neco(size: str, start: str) -> BackboneSpec:
    """A student of NeCo's authors.

    It started from DINOv2 (`dinov2`), from DINOv2 with registers (`dinov2r`), or from that without its
    registers (`dinov2r_xr`).
    """
    kinds = {"dinov2": "DINOv2", "dinov2r": "DINOv2, 4 registers", "dinov2r_xr": "DINOv2, registers removed"}
    folder = f"vit-{_SIZES[size].word}/dinov2-architectures"
    return replace(
        _dinov2(size, registers=start == "dinov2r"),
        name=f"neco_{start}_vit{size}14",
        weights=f"neco_{start}_vit{size}14",
        summary=f"ViT-{size.upper()}/14, NeCo{kinds[start].removeprefix('DINOv2').replace('removed', 'off')}",
        origin=f"{kinds[start]} of Meta AI, tuned on COCO without labels by the authors of NeCo.",
        files=(FileSource(f"neco_on_{start}_vit14_model.ckpt", repository="FunAILab/NeCo", folder=folder),),
        **_NECO,  # type: ignore[arg-type]  # a mapping hides which field has which type
    )


_FRANCA = replace(
    _row(
        _DINOV2,
        "franca_vitb14",
        "b",
        14,
        "Franca",
        # With another width and depth, the only network of timm with DINOv2's gated layers is Franca's too.
        architecture="vit_giant_patch14_dinov2",
        files=(_link("https://github.com/valeoai/Franca/releases/download/v1.0.0/franca_vitb14_In21K.pth"),),
    ),
    licence="LicenseRef-Franca-RAIL",
    origin="Trained by Valeo.ai on ImageNet-21k without labels; its licence allows research only.",
    citation="Venkataramanan et al., Franca, arXiv 2507.14137, 2025",
    family="franca",
)

_DINOV3 = replace(
    _DINO,
    image_size=256,
    position_resampling="none",
    licence="LicenseRef-DINOv3",
    origin="Distilled by Meta AI from a ViT-7B trained on 1.7 billion images (LVD-1689M) without labels.",
    citation="Simeoni et al., DINOv3, arXiv 2508.10104, 2025",
    family="dinov3",
    gated=True,
)


def _dinov3(size: str, digits: str) -> BackboneSpec:
    word, name = _SIZES[size].word, f"dinov3-vit{size}16-pretrain-lvd1689m"
    return _row(
        _DINOV3,
        f"dinov3_vit{size}16",
        size,
        16,
        "DINOv3, 4 registers",
        architecture=f"vit_{word}_patch16_dinov3_qkvb",
        files=(
            _timm(f"vit_{word}_patch16_dinov3_qkvb.lvd1689m"),
            FileSource("model.safetensors", repository=f"facebook/{name}"),
            FileSource(
                f"{name.replace('-', '_')}-{digits}.pth",
                url="https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/",
                direct=False,
                sha256=digits,
            ),
        ),
    )


_MAE = replace(
    _DINO,
    position_resampling="timm",
    licence="CC-BY-NC-4.0",
    citation="He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022",
    family="mae",
)


def _mae(size: str) -> BackboneSpec:
    word = _SIZES[size].word
    files = (
        _timm(f"vit_{word}_patch16_224.mae"),
        _link(f"{_META}/mae/pretrain/mae_pretrain_vit_{word}.pth"),
    )
    return _row(_MAE, f"mae_vit{size}16", size, 16, "MAE, ImageNet", files=files)


_MOCOV3 = replace(
    _MAE,
    citation="Chen et al., An Empirical Study of Training Self-Supervised Vision Transformers, ICCV 2021",
    family="mocov3",
)


def _mocov3(size: str, **changes: object) -> BackboneSpec:
    files = (_link(f"{_META}/moco-v3/vit-{size}-300ep/vit-{size}-300ep.pth.tar"),)
    row = _row(_MOCOV3, f"mocov3_vit{size}16", size, 16, "MoCo-v3, 12 heads", heads=12, files=files)
    return replace(row, **changes)  # type: ignore[arg-type]


_SUPERVISED = replace(
    _MAE,
    licence="Apache-2.0",
    origin="Trained by Google on ImageNet-21k and ImageNet-1k with their labels; published through timm.",
    citation="Steiner et al., How to train your ViT?, TMLR 2022",
    family="supervised",
    labels="ImageNet classes (backbone)",
    mean=_HALF,
    std=_HALF,
)


def _supervised(size: str, **changes: object) -> BackboneSpec:
    files = (_timm(f"vit_{_SIZES[size].word}_patch16_224.augreg_in21k_ft_in1k"),)
    name = f"supervised_vit{size}16"
    return replace(_row(_SUPERVISED, name, size, 16, "image labels", files=files), **changes)  # type: ignore[arg-type]


_LEOPART = replace(
    _DINO,
    licence="MIT",
    origin="DINO's ViT, tuned on ImageNet-100, COCO or both without labels by the authors of Leopart.",
    citation="Ziegler and Asano, Self-Supervised Learning of Object Parts for Semantic Segmentation, "
    "CVPR 2022",
    family="leopart",
)


def _leopart(size: str, patch: int) -> BackboneSpec:
    page = "https://github.com/MkuuWaUjinga/leopart#pretrained-models"
    files = (FileSource(f"leopart_vit{size}{patch}.ckpt", url=page, direct=False),)
    return _row(_LEOPART, f"leopart_vit{size}{patch}", size, patch, "the paper's Leopart", files=files)


_RANDOM = replace(
    _DINO,
    licence="MIT",
    origin="Drawn at random from a seed; nobody trained it.",
    citation="none",
    family="random",
)
_PAPER_POSITIONS = {"position_resampling": "dino"}
_PAPER_NORM = {"mean": _DINO.mean, "std": _DINO.std, **_PAPER_POSITIONS}

ROWS = (
    _leopart("s", 16),
    _leopart("b", 8),
    _dino("s", 16, "dino_deitsmall16"),
    _dino("s", 8, "dino_deitsmall8"),
    _dino("b", 16, "dino_vitbase16"),
    _dino("b", 8, "dino_vitbase8"),
    _dinov2("s", registers=False),
    _dinov2("b", registers=False),
    _dinov2("s", registers=True),
    _dinov2("b", registers=True),
    _dinov2("l", registers=False),
    _dinov2("l", registers=True),
    *(_neco(size, start) for size in "sb" for start in ("dinov2", "dinov2r", "dinov2r_xr")),
    _FRANCA,
    _dinov3("s", "08c60483"),
    _dinov3("b", "73cec8be"),
    _dinov3("l", "8aa4cbdd"),
    _mae("b"),
    _mae("l"),
    _mocov3("s"),
    _mocov3(
        "s", name="mocov3_vits16_paper", summary="same, the paper's 6 heads", heads=6, **_PAPER_POSITIONS
    ),
    _mocov3("b"),
    _supervised("s"),
    _supervised("s", name="supervised_vits16_paper", summary="same, the paper's mean and std", **_PAPER_NORM),
    _supervised("b"),
    _supervised("b", name="supervised_vitb16_paper", summary="same, the paper's mean and std", **_PAPER_NORM),
    _row(_RANDOM, "random_vits16", "s", 16, "random weights"),
    _row(_RANDOM, "random_vitb16", "b", 16, "random weights"),
)
"""In the order in which they are listed. `_paper`: weights of the row above, read as the paper's code did."""
