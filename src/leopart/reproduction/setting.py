"""How a row of a table is run: at full size as the paper did, with its data sets and weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from leopart.errors import LeopartError
from leopart.models.weights.cards import card_path, weights_path
from leopart.models.weights.opening import open_weights
from leopart.models.weights.registry import BACKBONES
from leopart.presets import preset
from leopart.recipe import Recipe
from leopart.reproduction import rows
from leopart.reproduction.places import Places


@dataclass(frozen=True)
class Job:
    """How a network comes to be here.

    Attributes:
        backbone: what it is, or starts from.
        recipe: of its training; None: it is scored as it is.
        data: `NAME:PATH` of the photos that it is trained on; empty where nothing is trained.
        preset: the recipe in words.
    """

    backbone: str
    recipe: Recipe | None = None
    data: str = ""
    preset: str = ""


@dataclass(frozen=True)
class Lack:
    """What must be there before something can run.

    Attributes:
        kind: `data` or `weights`.
        name: of the data set, or of the row of `leopart weights list`.
    """

    kind: str
    name: str


class Setting(Protocol):
    """Full size, or in miniature."""

    def job(self, network: rows.Network) -> Job:
        """How the network comes to be here.

        Raises:
            LeopartError: its data set is not here.
        """

    def options(self, protocol: rows.Protocol) -> dict[str, Any]:
        """Options of `leopart evaluate` other than backbone, output and device.

        Raises:
            LeopartError: its data set is not here.
        """

    def lacks(self, network: rows.Network) -> list[Lack]:
        """What is not here of what the network needs."""

    def lacks_to_score(self, protocol: rows.Protocol) -> list[Lack]:
        """What is not here of what an evaluation needs besides the network."""

    def stands_for(self, network: rows.Network) -> str:
        """What takes the network's place, in words; empty where nothing does."""

    def here(self, cell: rows.Cell) -> rows.Cell:
        """The cell as it is measured here."""


@dataclass
class FullSize:
    """As the paper did.

    Attributes:
        places: of the data sets.
        released: score the weights that the authors published, in place of training, where there are some.
    """

    places: Places
    released: bool = False

    def job(self, network: rows.Network) -> Job:
        """See `Setting`."""
        if network.preset is None:
            return Job(network.backbone)
        if self.released and network.released is not None:
            return Job(network.released)
        recipe = replace(preset(network.preset), backbone=network.backbone)
        return Job(network.backbone, recipe, self._data(network.photos), network.preset)

    def options(self, protocol: rows.Protocol) -> dict[str, Any]:
        """See `Setting`."""
        return {"task": protocol.task, "data": self._data(protocol.data), **dict(protocol.options)}

    def lacks(self, network: rows.Network) -> list[Lack]:
        """See `Setting`."""
        if network.preset is None:
            return _weights(network.backbone)
        if self.released and network.released is not None:
            return _weights(network.released)
        return [*self._lacking(network.photos), *_weights(network.backbone)]

    def lacks_to_score(self, protocol: rows.Protocol) -> list[Lack]:
        """See `Setting`."""
        attention = dict(protocol.options).get("attention_backbone")
        return [*self._lacking(protocol.data), *(_weights(attention) if attention else [])]

    def stands_for(self, network: rows.Network) -> str:
        """See `Setting`."""
        if self.released and network.preset is not None and network.released is not None:
            return f"{network.released}, the authors' weights"
        return ""

    def here(self, cell: rows.Cell) -> rows.Cell:
        """See `Setting`."""
        return cell

    def _lacking(self, data: str) -> list[Lack]:
        return [] if self.places.path(data) is not None else [Lack("data", data)]

    def _data(self, name: str) -> str:
        path = self.places.path(name)
        if path is None:
            raise LeopartError(f"the data set {name} is not here; --dry-run says where to get it")
        return f"{name}:{path}"


def _weights(name: str) -> list[Lack]:
    return [] if weights_are_here(name) else [Lack("weights", name)]


def weights_are_here(name: str) -> bool:
    """Whether weights can be had without a network: files, random rows, and rows in the cache."""
    spec = BACKBONES.get(name.partition(":")[0])
    if spec is None:
        return Path(name).exists()
    if spec.family == "random":
        return True
    path = weights_path(spec)
    return path.exists() and card_path(path).exists()


def weights_hash(name: str) -> str:
    """Changes with the weights behind a name.

    Raises:
        LeopartError: they cannot be had.
    """
    return open_weights(name).sha256
