"""From a foreign checkpoint to weights under timm's names, every key accounted for."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from leopart.errors import LeopartError
from leopart.files import sha256, whole_file
from leopart.models.weights.cards import WeightsCard, write_card
from leopart.models.weights.checkpoint import read_checkpoint
from leopart.models.weights.families import FAMILIES
from leopart.models.weights.networks import build_network
from leopart.models.weights.registry import BACKBONES
from leopart.models.weights.spec import BackboneSpec, unvouched


@dataclass(frozen=True)
class Converted:
    """Weights that fit a row, and the keys of their file that were left out."""

    state: dict[str, Tensor]
    """Under timm's names; floating point ones are float32."""
    dropped: dict[str, str]
    """Key in the file, and why it is not needed."""
    sha256: str
    """Hash of the file."""


def read_foreign(file: Path, spec: BackboneSpec) -> Converted:
    """Read a checkpoint in the layout of `spec.family`.

    Args:
        file: see `leopart.models.weights.checkpoint.read_checkpoint`.
        spec: the row whose network it holds.

    Raises:
        LeopartError: the file cannot be read without running code, was cut short, holds NaN, or its keys do
            not account for the network; the message lists what is missing and what is unexpected.
    """
    checkpoint = read_checkpoint(file)
    try:
        book = FAMILIES[spec.family](checkpoint)
        state = {key: _plain(value) for key, value in book.state.items()}
        build_network(spec, state)
    except LeopartError as error:
        message = f"{file}: {error}"
        raise LeopartError(message) from error
    return Converted(state, book.dropped, sha256(file))


def convert_foreign(file: Path, out: Path, spec: BackboneSpec, *, vouch: bool = False) -> WeightsCard:
    """Write a foreign checkpoint as safetensors and card.

    The card is written last: an interruption or a full disk leaves nothing that is taken for whole.

    Args:
        file: the checkpoint.
        out: `.safetensors` file to write.
        spec: the row whose network it holds.
        vouch: whether the file came from where the row says. Otherwise its card says that origin and licence
            are unknown, unless its hash is a published one.

    Raises:
        LeopartError: as `read_foreign`, or `out` cannot be written.
    """
    from safetensors.torch import save

    read = read_foreign(file, spec)
    known = vouch or any(source.sha256 and read.sha256.startswith(source.sha256) for source in spec.files)
    if known:  # rows may share a file; its card must not depend on which of them was fetched first
        spec = next((row for row in BACKBONES.values() if row.weights == spec.weights), spec)
    else:
        spec = unvouched(spec, out.stem, file.name, read.sha256)
    with whole_file(out) as target:
        target.write(save(read.state, metadata={"format": "pt"}))  # what timm and others look for
    reasons = dict(sorted(Counter(read.dropped.values()).items()))
    card = WeightsCard(spec, sha256(out), len(read.state), read.sha256, dropped=reasons)
    write_card(out, card)
    return card


def hash_of_state(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, for weights that come from no file of their own."""
    total = hashlib.sha256()
    for key, value in sorted(state.items()):
        total.update(f"{key} {value.dtype} {list(value.shape)}\n".encode())
        total.update(value.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def _plain(value: Tensor) -> Tensor:
    """Its own contiguous memory, no gradient, single precision."""
    value = value.detach()
    return (value.float() if value.is_floating_point() else value).clone().contiguous()
