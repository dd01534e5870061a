"""The README.md beside an export: what it is, whose, on what terms, how to use it, what was checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from leopart import __version__
from leopart.models.weights.registry import BackboneSpec

_HUB_LICENCES = {"mit", "apache-2.0", "bsd-3-clause", "cc-by-nc-4.0", "cc-by-4.0"}

SQUARE = """\
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("model.onnx")
side = int(session.get_modelmeta().custom_metadata_map["side"])
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
pixels = np.asarray(photo.resize((side, side), Image.Resampling.BILINEAR))
parts, objects = session.run(["parts", "objects"], {"images": pixels[None]})
ids = Image.fromarray(parts[0]).resize(photo.size, Image.Resampling.NEAREST)
Image.fromarray(np.asarray(ids).astype(np.uint16)).save("parts.png")
"""
"""A segmenter's runtime example; the mask is a 16-bit PNG of part ids."""

KEEP_ASPECT = SQUARE.replace(
    """\
pixels = np.asarray(photo.resize((side, side), Image.Resampling.BILINEAR))
""",
    """\
patch = int(session.get_modelmeta().custom_metadata_map["patch"])
ratio = min(max(photo.height / photo.width, 1 / 16), 16) ** 0.5
rows, columns = (max(1, int(side / patch * r + 0.5)) for r in (ratio, 1 / ratio))
pixels = np.asarray(photo.resize((columns * patch, rows * patch), Image.Resampling.BILINEAR))
""",
)
"""The same for a segmenter that keeps the photos' aspect ratio."""

_CARD = """\
---
license: {hub_licence}
tags: [leopart, image-feature-extraction]
---
# {title}

{about}

```python
{usage}
```

| | |
|---|---|
{rows}

## Origin, licence, citation

{spec.origin}

Licence of the weights: {spec.licence}.

Cite: {spec.citation}.

## Checks

Made before these files were written:

{made}

## How it was made

Leopart {version}:

```bash
{command}
```
"""


def model_card(
    title: str,
    spec: BackboneSpec,
    *,
    about: str,
    usage: str,
    facts: Mapping[str, object],
    checks: Sequence[str],
    command: str,
) -> str:
    """Markdown of a model card.

    Args:
        title: heading.
        spec: the backbone that is, or is inside, the export.
        about: a paragraph: what the files are, what goes in, what comes out.
        usage: Python that loads and runs it.
        facts: rows of the table, in order.
        checks: a sentence for each comparison that was made.
        command: that makes the same export.
    """
    licence = spec.licence.lower()
    rows = "\n".join(f"| {name} | {_cell(value)} |" for name, value in facts.items())
    made = "\n".join(f"- {sentence}" for sentence in checks)
    return _CARD.format(
        hub_licence=licence if licence in _HUB_LICENCES else "other",
        title=title,
        about=about,
        usage=usage.strip(),
        rows=rows,
        spec=spec,
        made=made,
        version=__version__,
        command=command,
    )


def network_facts(spec: BackboneSpec) -> dict[str, object]:
    """What a card says of every backbone."""
    norms = {"learned": "the model's own", "none": "a LayerNorm without parameters", "raw": "none"}
    return {
        "architecture (timm)": f"`{spec.architecture}`",
        "patch, channels, heads": f"{spec.patch_size} pixels, {spec.dim}, {spec.heads}",
        "blocks": f"{spec.depth} of {spec.blocks}; features of block {spec.feature_block}, counted from 0",
        "norm after it": norms[spec.final_norm],
        "positions": "no table to resample"
        if spec.position_resampling == "none"
        else f"{spec.position_resampling}, table for {spec.image_size} pixels",
        "mean, std (RGB in 0..1)": f"{list(spec.mean)}, {list(spec.std)}",
    }


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("|", "\\|").replace("\n", " ")
