"""The comparison that every export must pass before it is written: its results against Leopart's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from leopart.data.images import resize
from leopart.errors import LeopartError
from leopart.features.extract import Extractor
from leopart.models.backbone import Backbone, Features
from leopart.segment.segmenter import Segmenter

Images = NDArray[np.uint8]

TOKEN_TOLERANCE = 1e-3
"""Largest difference of a token's value; tokens have deviation 1."""
ATTENTION_TOLERANCE = 1e-4
"""Largest difference of an attention, which lies in [0, 1]."""
AGREEMENT = 0.999
"""Least share of cells with the same part id. Where two centroids are equally near, a last bit decides."""


def onnx_session(model: bytes) -> Any:
    """An onnxruntime session on the CPU.

    Raises:
        LeopartError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        message = (
            "an ONNX export is compared with torch before it is written, which needs onnxruntime: "
            "pip install 'leopart[export]'"
        )
        raise LeopartError(message) from error
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def made_up_images(batch: int, height: int, width: int, seed: int) -> Images:
    """Blobs of colour with some noise, uint8 [batch, height, width, 3], somewhat like photos."""
    generator = np.random.default_rng(seed)
    small = generator.integers(0, 256, (batch, 6, 6, 3), dtype=np.uint8)
    blobs = np.stack([resize(image, height, width) for image in small]).astype(np.int16)
    noise = generator.integers(-20, 21, blobs.shape, dtype=np.int16)
    return (blobs + noise).clip(0, 255).astype(np.uint8)


def check_backbone(model: bytes, backbone: Backbone) -> list[str]:
    """Compare tokens and attention of an ONNX backbone with torch's, at two sizes.

    Args:
        model: the ONNX file.
        backbone: in float32.

    Returns:
        What was compared and the largest differences, a sentence for each size.

    Raises:
        LeopartError: a difference is above its tolerance, or onnxruntime is not installed.
    """
    session, said = onnx_session(model), []
    patch, side = backbone.patch_size, backbone.spec.image_size
    for seed, (batch, height, width) in enumerate(((1, side, side), (2, 9 * patch, 14 * patch))):
        images = made_up_images(batch, height, width, seed)
        tokens, attention = session.run(["tokens", "attention"], {"images": images})
        expected = torch_features(backbone, images)
        errors = {
            "tokens": require_close(tokens, expected.tokens, TOKEN_TOLERANCE),
            "attention": require_close(attention, expected.attention, ATTENTION_TOLERANCE),
        }
        found = ", ".join(f"{error:.1e} in {name}" for name, error in errors.items())
        said.append(f"{_counted(batch)} of {height}x{width}: largest difference from torch {found}")
    return said


def check_segmenter(model: bytes, segmenter: Segmenter, photos: Sequence[Path] = ()) -> list[str]:
    """Compare the ids of an ONNX segmenter with torch's in float32.

    Args:
        model: the ONNX file.
        segmenter: on the CPU.
        photos: to compare on; without any, made-up images of two sizes.

    Returns:
        What was compared and the share of equal ids, a sentence for each set of images.

    Raises:
        LeopartError: fewer than `AGREEMENT` of the ids are equal, a photo cannot be read, or onnxruntime is
            not installed.
    """
    session, used = onnx_session(model), segmenter.extractor
    extractor = Extractor(used.backbone, used.preprocessing, precision="fp32", batch_size=1)
    if photos:
        sets = [(_counted(len(photos), "photo"), [extractor.prepare(photo)[None] for photo in photos])]
    else:
        side, patch = extractor.preprocessing.size, used.backbone.patch_size
        rows = max(2, round(side / patch))
        sizes = ((rows * patch, rows * patch), (max(2, rows // 2) * patch, max(2, 3 * rows // 4) * patch))
        sets = [
            (f"3 made-up images of {height}x{width}", [made_up_images(3, height, width, seed)])
            for seed, (height, width) in enumerate(sizes)
        ]
    return [
        f"{what}: {_agreement(session, segmenter, extractor, images):.4%} of the cells have torch's part id"
        for what, images in sets
    ]


def torch_features(backbone: Backbone, images: Images) -> Features:
    """Tokens and attention of uint8 images [B, H, W, 3] on the CPU."""
    with torch.inference_mode():
        features: Features = backbone.cpu()(torch.from_numpy(images).permute(0, 3, 1, 2))
    return features


def require_close(found: NDArray[np.float32], expected: torch.Tensor, tolerance: float) -> float:
    """The largest difference between what an export gives and what Leopart gives.

    Raises:
        LeopartError: it is above `tolerance` or no number, or the shapes differ.
    """
    if found.shape != tuple(expected.shape):
        raise _wrong(f"gives {list(found.shape)} values instead of {list(expected.shape)}")
    error = float(np.abs(found - expected.numpy()).max())
    if not error <= tolerance:  # so for NaN as well
        raise _wrong(f"differs from Leopart by up to {error:.2g}, more than {tolerance:g}")
    return error


def _agreement(session: Any, segmenter: Segmenter, extractor: Extractor, batches: Sequence[Images]) -> float:
    """Share of equal part ids; objects and labels must follow from them."""
    model = segmenter.model_
    same = cells = agreeing = 0
    for images in batches:
        parts, objects, *labels = session.run(None, {"images": images})
        for image, ids, found_objects in zip(images, parts, objects, strict=True):
            ((tokens, _),) = extractor.forward([image])
            same, cells = same + int((model.label(tokens) == ids).sum()), cells + ids.size
            if model.prototypes is not None:
                nearest = model.nearest_objects(model.embed(tokens))
                agreeing += int((np.where(ids > 0, nearest, 0) == found_objects).sum())
        expected = np.stack([model.object_table(ids)[ids] for ids in parts])
        if model.prototypes is None and not np.array_equal(objects, expected):
            raise _wrong("gives objects that do not belong to its parts")
        if segmenter.labels_ is not None:
            (found,) = labels
            if not np.array_equal(found, segmenter.labels_.of(parts, objects)):
                raise _wrong("gives labels that do not belong to its parts and objects")
    if model.prototypes is not None and agreeing < AGREEMENT * cells:
        raise _wrong(f"gives the same object in {agreeing / cells:.2%} of the cells only")
    if same < AGREEMENT * cells:
        raise _wrong(f"gives the same part id in {same / cells:.2%} of the cells only, not {AGREEMENT:.1%}")
    return same / cells


def _counted(number: int, thing: str = "made-up image") -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _wrong(what: str) -> LeopartError:
    return LeopartError(
        f"nothing was written, because the export {what}: report this with the versions of torch, timm and "
        "onnxruntime, and use another --format meanwhile"
    )
