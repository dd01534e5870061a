"""A weights file and its card.

Weights are two files: `NAME.safetensors`, and `NAME.json`, its card, with the backbone's row, its makers, its
licence and the hash of the file. The card is written last, so weights without a card count as missing.
Weights that differ from their card are refused, and replaced only on request: a file that changed by itself
should be noticed.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le

from leopart.documents import read_json
from leopart.errors import LeopartError
from leopart.files import sha256, write_text
from leopart.models.weights.registry import BACKBONES
from leopart.models.weights.spec import BackboneSpec

_LARGEST = 2**20
"""Bytes of a card; those we write have a few thousand."""


@dataclass(frozen=True)
class WeightsCard:
    """What is known about a weights file; the JSON beside it."""

    spec: BackboneSpec
    """How to build and feed the network, with licence, origin and citation."""
    sha256: str
    """Hash of the safetensors file."""
    keys: Annotated[int, Ge(0), Le(1_000_000)]
    """Number of tensors in it."""
    source_sha256: str | None = None
    """Hash of the wheel, ONNX file or checkpoint it was made from."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Reasons why keys of the checkpoint were left out, and how many keys each."""
    format: Literal[1] = 1
    """Version of this layout."""


def cache_folder(cache: Path | None = None) -> Path:
    """Where weights are kept: `cache`, else `$LEOPART_CACHE`, else the platform's cache folder."""
    if cache is not None:
        return cache
    if chosen := os.environ.get("LEOPART_CACHE"):
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("leopart")


def weights_path(spec: BackboneSpec, cache: Path | None = None) -> Path:
    """Where the weights of a registry row are, or would be, in the cache."""
    return cache_folder(cache) / f"{spec.weights}.safetensors"


def card_path(weights: Path) -> Path:
    """The card that belongs to a safetensors file."""
    return weights.with_suffix(".json")


def read_card(weights: Path) -> WeightsCard:
    """The card of a safetensors file.

    Raises:
        LeopartError: weights or card are missing, or the card is not one of ours.
    """
    card = card_path(weights)
    for file in (weights, card):
        if not file.is_file():
            message = (
                f"there is no file {file}; weights are NAME.safetensors with NAME.json beside it, "
                "as `leopart weights fetch` and `leopart weights convert` write them"
            )
            raise LeopartError(message)
    return read_json(card, WeightsCard, _remedy(weights), limit=_LARGEST)


def verify(weights: Path) -> WeightsCard:
    """The card of a safetensors file whose bytes are those the card was written for.

    Raises:
        LeopartError: as `read_card`, or the file was cut short or altered; the message names the remedy.
    """
    card = read_card(weights)
    try:
        found = sha256(weights)
    except OSError as error:
        message = f"cannot read {weights}: {error.strerror or error}; check its permissions and its disk"
        raise LeopartError(message) from error
    if found != card.sha256:
        what = "was cut short or altered since it was written (its SHA-256 differs)"
        message = f"{weights} {what}; {_remedy(weights)}"
        raise LeopartError(message)
    return card


def _remedy(weights: Path) -> str:
    rows = [row.name for row in BACKBONES.values() if row.weights == weights.stem]
    again = f"fetch it again with `leopart weights fetch {rows[0]} --force`, or " if rows else ""
    return f"{again}copy both files again from where they came from"


def write_card(weights: Path, card: WeightsCard) -> None:
    """Put the card beside its safetensors file; the last step of writing weights."""
    write_text(card_path(weights), json.dumps(asdict(card), indent=2) + "\n")
