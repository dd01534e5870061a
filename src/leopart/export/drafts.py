"""Exports in memory: the files' bytes, checked against Leopart, ready to be written."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from leopart import __version__
from leopart.errors import LeopartError
from leopart.export.checks import (
    TOKEN_TOLERANCE,
    check_backbone,
    check_segmenter,
    made_up_images,
    require_close,
    torch_features,
)
from leopart.export.graph import Graph
from leopart.export.network import write_backbone
from leopart.export.part_nodes import write_labels, write_part_model
from leopart.models.backbone import Backbone, build_backbone
from leopart.models.weights.cards import WeightsCard
from leopart.models.weights.networks import timm_sizes
from leopart.models.weights.registry import BackboneSpec
from leopart.segment.segmenter import Segmenter

ONNX_FILE = "model.onnx"


@dataclass(frozen=True)
class Draft:
    """What an export consists of, before anything is on disk."""

    files: dict[str, bytes]
    """Content by file name, in the order of writing."""
    checks: list[str]
    """A sentence for each comparison with Leopart that was made."""


def timm_draft(backbone: Backbone) -> Draft:
    """`model.safetensors` and `config.json` in timm's own layout, which model hubs take too.

    The model ends after the feature block. A LayerNorm without parameters is written as one with weights 1
    and biases 0, so that timm's `forward_features` gives Leopart's tokens.

    Raises:
        LeopartError: timm's model gives other tokens.
    """
    import timm

    spec, arguments = backbone.spec, timm_arguments(backbone)
    state = timm_state(backbone)
    model: Any = timm.create_model(spec.architecture, **arguments)
    try:
        model.load_state_dict(state)
    except RuntimeError as reason:
        message = f"timm's {spec.architecture} does not take these weights: use --format safetensors"
        raise LeopartError(message) from reason
    images = made_up_images(1, spec.image_size, spec.image_size, 0)
    with torch.inference_mode():
        pixels = backbone.cpu().normalise(torch.from_numpy(images).permute(0, 3, 1, 2))
        found = model.eval().forward_features(pixels)
    found = found.permute(0, 2, 3, 1).flatten(1, 2) if spec.convolutional else _patches(model, found)
    expected = torch_features(backbone, images).tokens.flatten(1, 2)
    error = require_close(found.numpy(), expected, TOKEN_TOLERANCE)
    size = f"{spec.image_size}x{spec.image_size}"
    said = f"1 made-up image of {size}: largest difference of timm's tokens from Leopart {error:.1e}"
    if spec.position_resampling in ("bicubic", "dino"):
        said += (
            f" (at other sizes timm resamples positions in its own way, not by {spec.position_resampling!r})"
        )
    config = json.dumps(_timm_config(backbone, arguments), indent=2) + "\n"
    return Draft({"model.safetensors": _saved(state), "config.json": config.encode()}, [said])


def timm_arguments(backbone: Backbone) -> dict[str, Any]:
    """What `timm.create_model` takes beside the architecture."""
    spec = backbone.spec
    arguments = {"num_classes": 0, **timm_sizes(spec)}
    if spec.convolutional:
        return arguments
    # Without pooling the last norm is `norm`, and there is no pooling with weights.
    return {**arguments, "global_pool": "", "depth": spec.feature_block + 1}


def timm_state(backbone: Backbone) -> dict[str, Tensor]:
    """Weights up to the feature block under timm's names, float32, with a LayerNorm at the end."""
    spec = backbone.spec
    state = {
        key: value.detach().float().cpu()
        for key, value in backbone.model.state_dict().items()
        if not (key.startswith("blocks.") and int(key.split(".")[1]) > spec.feature_block)
    }
    if not spec.convolutional and not _learned_norm(spec):
        state |= {"norm.weight": torch.ones(spec.dim), "norm.bias": torch.zeros(spec.dim)}
    return state


def safetensors_draft(backbone: Backbone) -> Draft:
    """Weights and card as `load_backbone` takes them; the file is named after the backbone.

    Raises:
        LeopartError: loaded again, the weights give other features.
    """
    state = {key: value.detach().float().cpu() for key, value in backbone.model.state_dict().items()}
    content = _saved(state)
    card = WeightsCard(spec=backbone.spec, sha256=hashlib.sha256(content).hexdigest(), keys=len(state))
    again = build_backbone(backbone.spec, safetensors.torch.load(content), card.sha256)
    side, patch = backbone.spec.image_size, backbone.patch_size
    said = []
    for height, width in ((side, side), (9 * patch, 14 * patch)):
        images = made_up_images(1, height, width, 0)
        found, expected = torch_features(again, images), torch_features(backbone, images)
        error = require_close(found.tokens.numpy(), expected.tokens, TOKEN_TOLERANCE)
        said.append(f"1 made-up image of {height}x{width}: largest difference after loading {error:.1e}")
    text = json.dumps(asdict(card), indent=2) + "\n"
    name = re.sub(r"[^\w.-]+", "_", backbone.name)  # timm:… has a colon
    return Draft({f"{name}.safetensors": content, f"{name}.json": text.encode()}, said)


def onnx_draft(backbone: Backbone) -> Draft:
    """One graph from photos to tokens and attention, of any batch, height and width.

    Raises:
        LeopartError: the network has a part the export does not know; onnxruntime is not installed or gives
            other features.
    """
    graph = Graph()
    tokens, attention = write_backbone(graph, backbone, _image_input(graph))
    graph.output(tokens, "tokens", np.float32, ["batch", "rows", "columns", backbone.dim])
    if attention is not None:
        graph.output(attention, "attention", np.float32, ["batch", backbone.heads, "rows", "columns"])
    content = graph.model({"format": "leopart backbone 1", **_words(backbone.spec)}).SerializeToString()
    return Draft({ONNX_FILE: content}, check_backbone(content, backbone))


def segmenter_draft(segmenter: Segmenter, photos: Sequence[Path] = ()) -> Draft:
    """One graph from photos to part and object ids, and labels if there are any, of any batch and size.

    Args:
        segmenter: fitted, on the CPU.
        photos: to compare on; without any, made-up images.

    Raises:
        LeopartError: as `onnx_draft`; the segmenter is not fitted; a photo cannot be read.
    """
    if not hasattr(segmenter, "model_"):
        raise LeopartError("this segmenter has learned nothing yet: call fit, or Segmenter.load")
    used, graph = segmenter.extractor, Graph()
    tokens, _ = write_backbone(graph, used.backbone, _image_input(graph), attention=False)
    parts, objects = write_part_model(graph, segmenter.model_, tokens)
    ids, labels, classes = [parts, objects], segmenter.labels_, {}
    if labels is not None:
        ids.append(write_labels(graph, labels.table, parts, objects))
        classes = {"labels": json.dumps(labels.labels.classes, ensure_ascii=False)}
    for name, value in zip(("parts", "objects", "labels"), ids, strict=False):
        graph.output(value, name, np.int32, ["batch", "finer_rows", "finer_columns"])
    preprocessing = used.preprocessing
    side, _ = preprocessing.target(1, 1, used.backbone.patch_size)
    words = {
        "format": "leopart segmenter 1",
        "side": str(side),
        "keep_aspect": str(preprocessing.keep_aspect).lower(),
        "part_ids": str(segmenter.model_.n_parts),
        "object_ids": str(segmenter.model_.n_objects),
        **classes,
    }
    content = graph.model(words | _words(used.backbone.spec)).SerializeToString()
    return Draft({ONNX_FILE: content}, check_segmenter(content, segmenter, photos))


def _image_input(graph: Graph) -> str:
    return graph.input("images", np.uint8, ["batch", "height", "width", 3])


def _words(spec: BackboneSpec) -> dict[str, str]:
    """What travels inside an ONNX file."""
    return {
        "backbone": spec.name,
        "patch": str(spec.patch_size),
        "licence": spec.licence,
        "origin": spec.origin,
        "citation": spec.citation,
        "leopart": __version__,
    }


def _timm_config(backbone: Backbone, arguments: dict[str, Any]) -> dict[str, Any]:
    """The `config.json` of timm, with what timm has no place for under `leopart`."""
    spec = backbone.spec
    return {
        "architecture": spec.architecture,
        "num_classes": 0,
        "num_features": spec.dim,
        "pretrained_cfg": {
            "tag": "leopart",
            "num_classes": 0,
            "input_size": [3, spec.image_size, spec.image_size],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "mean": list(spec.mean),
            "std": list(spec.std),
            "first_conv": "conv1" if spec.convolutional else "patch_embed.proj",
            "classifier": "fc" if spec.convolutional else "head",
            "license": spec.licence.lower(),
        },
        "model_args": arguments,
        "leopart": {
            "backbone": spec.name,
            "blocks": f"{spec.feature_block + 1} of {spec.blocks}",
            "norm": _norm_words(spec),
            "position_resampling": spec.position_resampling,
            "licence": spec.licence,
            "origin": spec.origin,
            "citation": spec.citation,
            "version": __version__,
        },
    }


def _patches(model: Any, tokens: Tensor) -> Tensor:
    return tokens[:, model.num_prefix_tokens :]


def _learned_norm(spec: BackboneSpec) -> bool:
    return spec.final_norm == "learned" and spec.feature_block == spec.depth - 1


def _norm_words(spec: BackboneSpec) -> str:
    if spec.convolutional:
        return "none"
    return "learned" if _learned_norm(spec) else "without parameters: weights 1 and biases 0"


def _saved(state: dict[str, Tensor]) -> bytes:
    contiguous = {key: value.contiguous() for key, value in sorted(state.items())}
    return safetensors.torch.save(contiguous, metadata={"format": "pt"})
