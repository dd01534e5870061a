"""A fine-tuned backbone in a folder: `backbone.safetensors`, and `backbone.json`, its card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import safetensors.torch

from leopart.files import sha256, whole_file
from leopart.models.backbone import Backbone, build_backbone
from leopart.models.weights.cards import WeightsCard, write_card
from leopart.models.weights.spec import TUNED, BackboneSpec

_FROM = "fine-tuned from "


def start_of(spec: BackboneSpec) -> str | None:
    """Name of the backbone that a fine-tuned one started from; None for all others."""
    return spec.summary.removeprefix(_FROM) if spec.summary.startswith(_FROM) else None


def tuned_spec(spec: BackboneSpec, name: str, how: str) -> BackboneSpec:
    """The row of a backbone fine-tuned from another one: same network, terms and labels, other weights.

    Args:
        spec: of the backbone it started from.
        name: what to call it.
        how: a sentence about the fine-tuning, for its origin.
    """
    return replace(
        spec,
        name=name,
        summary=f"{_FROM}{spec.name}",
        weights=name,
        source=None,
        files=(),
        gated=False,
        origin=f"{how} Started from {spec.name}: {spec.origin}",
    )


def detached(backbone: Backbone, name: str, how: str) -> Backbone:
    """A copy of a backbone that was trained in place, as one loads it: frozen, without stochastic depth.

    Args:
        backbone: the student of a training.
        name: see `tuned_spec`.
        how: see `tuned_spec`.
    """
    state = {key: value.detach().float().clone() for key, value in backbone.model.state_dict().items()}
    return build_backbone(tuned_spec(backbone.spec, name, how), state)


def save_tuned(backbone: Backbone, folder: Path) -> Path:
    """Write weights and card, the card last; `load_backbone(folder)` takes them.

    Args:
        backbone: see `detached`.
        folder: made if need be.

    Returns:
        The safetensors file.

    Raises:
        LeopartError: the folder cannot be written.
    """
    path = folder / TUNED
    state = {
        key: value.detach().float().cpu().contiguous() for key, value in backbone.model.state_dict().items()
    }
    with whole_file(path) as file:
        file.write(safetensors.torch.save(state, metadata={"format": "pt"}))
    write_card(path, WeightsCard(spec=backbone.spec, sha256=sha256(path), keys=len(state)))
    return path
