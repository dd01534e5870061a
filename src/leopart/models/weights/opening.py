"""From the name of a backbone, in any of its forms, to its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from leopart.errors import LeopartError
from leopart.models.weights.cards import card_path, verify, weights_path
from leopart.models.weights.checkpoint import SUFFIXES, read_checkpoint
from leopart.models.weights.conversion import read_foreign
from leopart.models.weights.fetching import fetch
from leopart.models.weights.initial import random_weights
from leopart.models.weights.registry import BACKBONES, backbone_spec
from leopart.models.weights.spec import CUSTOM, TUNED, UNKNOWN, BackboneSpec, unvouched
from leopart.models.weights.timm_models import timm_weights


@dataclass(frozen=True)
class Opened:
    """Weights, and the row that says how to use them."""

    spec: BackboneSpec
    """The row."""
    state: dict[str, Tensor]
    """Under timm's names, on the CPU."""
    sha256: str
    """Changes with the weights; part of the backbone's fingerprint."""
    source: str
    """What opens the same weights again."""


def label_free_here() -> list[BackboneSpec]:
    """Transformers whose weights are in the cache and learned from no label; rows of one file count once."""
    rows: dict[str, BackboneSpec] = {}
    for row in BACKBONES.values():
        file = weights_path(row)
        suits = row.labels == "none" and row.family != "random" and not row.convolutional
        if suits and file.is_file() and card_path(file).is_file():
            rows.setdefault(row.weights, row)
    return list(rows.values())


def open_weights(name: str, arch: str | None = None) -> Opened:
    """Find and read the weights that `leopart.load_backbone` was asked for.

    Args:
        name: see `leopart.load_backbone`.
        arch: row to read a file as.

    Raises:
        LeopartError: no such backbone; weights that cannot be had, are damaged or do not fit.
    """
    kind, _, rest = name.partition(":")
    if kind == CUSTOM and rest:
        message = (
            f"{rest} is a network of your own: give it again, as in Segmenter.load(FOLDER, backbone={rest})"
        )
        raise LeopartError(message)
    if arch is not None and (kind in BACKBONES or kind == "timm"):
        message = f"{name} says itself which network it is: leave out arch={arch!r}"
        raise LeopartError(message)
    if kind == "timm" and rest:
        spec, state, hashed = timm_weights(rest)
        return Opened(spec, state, hashed, name)
    if kind in BACKBONES and BACKBONES[kind].family == "random":
        return _random(BACKBONES[kind], rest)
    if kind in BACKBONES and rest:
        arch, name = kind, rest
    elif name in BACKBONES:
        return _own(fetch(name), backbone_spec(name), name)
    return _file(Path(name).expanduser(), arch)


def _random(spec: BackboneSpec, seed: str) -> Opened:
    if seed and not seed.isdecimal():
        message = f"the seed of {spec.name} is a whole number, as in {spec.name}:7, not {seed!r}"
        raise LeopartError(message)
    number = int(seed or 0)
    return Opened(spec, random_weights(spec, number), f"random {number}", f"{spec.name}:{number}")


def _file(path: Path, arch: str | None) -> Opened:
    if path.is_dir() and (path / TUNED).is_file():
        path = path / TUNED
    if path.suffix not in SUFFIXES and not path.is_file():
        backbone_spec(str(path))  # says what is known
    source = str(path.resolve())
    if path.suffix == ".safetensors" and (arch is None or card_path(path).is_file()):
        return _own(path, backbone_spec(arch) if arch else None, source)
    if arch is None:
        message = (
            f"{path} does not say which network it holds: name a row of `leopart weights list` before it, as "
            f"in dino_vits16:{path}, or convert it once with `leopart weights convert {path} --arch NAME "
            "--out FILE.safetensors`"
        )
        raise LeopartError(message)
    spec = backbone_spec(arch)
    read = read_foreign(path, spec)
    if not any(known.sha256 and read.sha256.startswith(known.sha256) for known in spec.files):
        spec = unvouched(spec, path.stem, path.name, read.sha256)
    return Opened(spec, read.state, read.sha256, f"{arch}:{source}")


def _own(path: Path, spec: BackboneSpec | None, source: str) -> Opened:
    """A file with its card beside it."""
    card = verify(path)
    spec = spec or card.spec
    if (
        card.spec.licence == UNKNOWN and spec.licence != UNKNOWN
    ):  # the row would claim what nobody vouches for
        spec = unvouched(spec, spec.name, path.name, card.sha256)
    # One number format, whatever a file says; Leopart's own files hold float32 already.
    state = {
        key: value.float() if value.is_floating_point() else value
        for key, value in read_checkpoint(path).items()
    }
    return Opened(spec, state, card.sha256, source)
