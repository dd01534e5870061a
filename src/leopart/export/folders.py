"""Write an export: its files whole, checked before, and a model card beside them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from leopart.errors import LeopartError
from leopart.export import model_card
from leopart.export.drafts import Draft, onnx_draft, safetensors_draft, segmenter_draft, timm_draft
from leopart.features.extract import Extractor
from leopart.files import whole_file, write_text
from leopart.models.backbone import Backbone
from leopart.models.transformer import has_cls
from leopart.segment.segmenter import Segmenter

Format = Literal["timm", "safetensors", "onnx"]

_DRAFTS = {"timm": timm_draft, "safetensors": safetensors_draft, "onnx": onnx_draft}

_ABOUT = {
    "timm": (
        "Weights under timm's names in `model.safetensors`; `config.json` holds the architecture, its "
        "arguments and the normalisation. Input: RGB, float, normalised, [B, 3, H, W], sides multiples "
        "of the patch. Output of `forward_features`: {output}."
    ),
    "safetensors": (
        "Weights in `{name}.safetensors` and their card in `{name}.json`, as `leopart.load_backbone` takes "
        "them. Input: RGB, uint8 or float in [0, 1], [B, 3, H, W], sides multiples of the patch. Output: "
        "tokens [B, h, w, D] and attention [B, heads, h, w], {attention}."
    ),
    "onnx": (
        "One graph, `model.onnx`, float32, opset 17. Input `images`: RGB, uint8 in 0..255, [B, H, W, 3], as "
        "Pillow and NumPy hold a photo; B, H and W are free; what is beyond a multiple of the patch is left "
        "out. Outputs: `tokens` float32 [B, h, w, D], and `attention` float32 [B, heads, h, w], "
        "{attention}. {inside}."
    ),
}
_CLS = "from the CLS token to each patch"
_STAND_IN = "a stand-in, as there is no CLS token: each vector's length divided by the sum of lengths"
_SEGMENTER = (
    "One graph, `model.onnx`, float32, opset 17: photo to part and object ids, learned without labels. "
    "Input `images`: RGB, uint8 in 0..255, [B, H, W, 3], as Pillow and NumPy hold a photo, resized to the "
    "network's size (`side` in the file's metadata); B, H and W are free. Outputs: `parts` and `objects`, "
    "int32, [B, 4 h, 4 w] for a grid of h x w patches; 0 is background. Normalisation, network, projection, "
    "clusters and the map from parts to objects are inside."
)
_CONTEXTS = " A part's object depends on all parts in the photo: give whole photos, no pieces of them."
_LABELS = " A third output, `labels`, has the label of each cell; names by id are in the metadata (`labels`)."
_PROTOTYPES = (
    " Each cell has the object nearest to it; `leopart predict` instead gives a connected region one object."
)
_OBJECTS = {False: "object of each part id", True: "main object of each part id"}
_USAGE = {
    "timm": """\
import json, timm, torch

with open("config.json") as file:
    config = json.load(file)
model = timm.create_model(
    config["architecture"], checkpoint_path="model.safetensors", **config["model_args"]
).eval()
tokens = model.forward_features(torch.zeros(1, 3, {size}, {size})){patches}
""",
    "safetensors": """\
import leopart, torch

backbone = leopart.load_backbone("{name}.safetensors")
features = backbone(torch.zeros(1, 3, {size}, {size}))
features.tokens, features.attention
""",
    "onnx": """\
import numpy as np, onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
images = np.zeros((1, {size}, {size}, 3), dtype=np.uint8)
tokens, attention = session.run(["tokens", "attention"], {{"images": images}})
""",
}


@dataclass(frozen=True)
class Exported:
    """What an export left behind."""

    files: list[Path]
    """Written files, the model card last."""
    checks: list[str]
    """A sentence for each comparison with Leopart that was made."""


def export_backbone(backbone: Backbone, form: Format, out: str | Path, *, command: str = "") -> Exported:
    """Write a backbone in a form that other programs take.

        timm:         OUT/model.safetensors  config.json  README.md
        safetensors:  OUT/NAME.safetensors   NAME.json    README.md
        onnx:         OUT/model.onnx                      README.md

    Nothing is written unless the result, loaded again, gives the same features.

    Args:
        backbone: see `load_backbone`; it stays as it is; float32 weights are written.
        form: `timm`, `safetensors` or `onnx`.
        out: folder, made if need be.
        command: that was given, for the model card.

    Raises:
        LeopartError: no such form; the form cannot hold this network; the result gives other features;
            the folder cannot be written; onnxruntime is not installed (`onnx`).
    """
    if form not in _DRAFTS:
        raise LeopartError(f"there is no format {form!r}: choose {', '.join(_DRAFTS)}")
    spec = backbone.spec
    copied = _float_copy(backbone)
    draft = _DRAFTS[form](copied)
    output = "[B, D, h, w]" if spec.convolutional else "prefix tokens, then one for each patch, row by row"
    names = {
        "name": next(iter(draft.files)).rsplit(".", 1)[0],
        "size": spec.image_size,
        "patches": "" if spec.convolutional else "[:, model.num_prefix_tokens :]",
        "output": output,
        "attention": _CLS if has_cls(copied.model) else _STAND_IN,
        "inside": "Normalisation is inside"
        if spec.position_resampling == "none"
        else "Normalisation and the resampling of positions are inside",
    }
    card = model_card.model_card(
        f"{backbone.name}: {spec.summary}",
        spec,
        about=_ABOUT[form].format(**names),
        usage=_USAGE[form].format(**names),
        facts=model_card.network_facts(spec),
        checks=draft.checks,
        command=command or f"leopart export {backbone.source} --format {form} --out OUT",
    )
    return _write(Path(out), draft, card)


def export_segmenter(
    segmenter: Segmenter, out: str | Path, *, photos: Sequence[Path] = (), command: str = ""
) -> Exported:
    """Write a fitted segmenter as one ONNX graph from photos to part and object ids.

        OUT/model.onnx  README.md

    Args:
        segmenter: fitted; it stays as it is; the graph computes in float32.
        out: folder, made if need be.
        photos: to compare with torch on; without any, made-up images.
        command: that was given, for the model card.

    Raises:
        LeopartError: it is not fitted; onnxruntime is not installed or gives other ids than torch; the folder
            cannot be written.
    """
    used, copied = segmenter.extractor, copy(segmenter)
    copied.extractor_ = Extractor(
        _float_copy(used.backbone), used.preprocessing, precision="fp32", batch_size=1
    )
    draft = segmenter_draft(copied, photos)
    model, preprocessing = segmenter.model_, segmenter.extractor.preprocessing
    spec = segmenter.extractor.backbone.spec
    by_photo = model.mixture is not None or model.prototypes is not None
    facts = {
        "part ids": f"1 to {model.n_parts}",
        "object ids": f"1 to {model.n_objects}",
        _OBJECTS[by_photo]: [int(number) for number in model.object_of_part],
        **({} if segmenter.labels_ is None else {"labels": segmenter.labels_.labels.classes}),
        "input side in pixels": preprocessing.size,
        "keeps the photo's aspect": "yes" if preprocessing.keep_aspect else "no: squeezed into a square",
        "labels used": spec.labels,
        "backbone": spec.name,
        **model_card.network_facts(spec),
    }
    card = model_card.model_card(
        "Leopart segmenter",
        spec,
        about=_SEGMENTER
        + _CONTEXTS * (model.mixture is not None)
        + _PROTOTYPES * (model.prototypes is not None)
        + _LABELS * (segmenter.labels_ is not None),
        usage=model_card.KEEP_ASPECT if preprocessing.keep_aspect else model_card.SQUARE,
        facts=facts,
        checks=draft.checks,
        command=command or "leopart export SEGMENTER --format onnx --out OUT",
    )
    return _write(Path(out), draft, card)


def _float_copy(backbone: Backbone) -> Backbone:
    """The same backbone in float32 on the CPU; the caller's own stays where and what it is."""
    return deepcopy(backbone).float().cpu()


def _write(out: Path, draft: Draft, card: str) -> Exported:
    files = []
    for name, content in draft.files.items():
        with whole_file(out / name) as file:
            file.write(content)
        files.append(out / name)
    write_text(out / "README.md", card)
    return Exported([*files, out / "README.md"], draft.checks)
