"""How the rows of a table are run; here at full size, with the data sets and weights of the paper."""

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
from leopart.reproduction.places import Places
from leopart.reproduction.rows import Cell, EvaluationProtocol, Network


@dataclass(frozen=True)
class Job:
    """How a network is obtained.

    Attributes:
        backbone: the network itself, or what its training starts from.
        recipe: of its training; None = it is scored as it is.
        data: `NAME:PATH` of the training photos; empty where nothing is trained.
        preset: name of the recipe.
    """

    backbone: str
    recipe: Recipe | None = None
    data: str = ""
    preset: str = ""


@dataclass(frozen=True)
class MissingRequirement:
    """A data set or weights that a step needs and that are not on this machine.

    Attributes:
        kind: `data` or `weights`.
        name: of the data set, or of the row of `leopart weights list`.
    """

    kind: str
    name: str


class Setting(Protocol):
    """What decides how rows are run: at full size, or in miniature."""

    def job(self, network: Network) -> Job:
        """How the network is obtained.

        Raises:
            LeopartError: its data set is missing.
        """

    def options(self, protocol: EvaluationProtocol) -> dict[str, Any]:
        """Options of `leopart evaluate` other than backbone, output and device.

        Raises:
            LeopartError: its data set is missing.
        """

    def missing(self, network: Network) -> list[MissingRequirement]:
        """What is missing for the network."""

    def missing_to_score(self, protocol: EvaluationProtocol) -> list[MissingRequirement]:
        """What is missing for an evaluation, besides the network."""

    def stands_for(self, network: Network) -> str:
        """The stand-in of a network, in words; empty where there is none."""

    def here(self, cell: Cell) -> Cell:
        """The cell as it is measured in this setting."""


@dataclass
class FullSize:
    """The paper at full size.

    Attributes:
        places: where the data sets are.
        released: score the weights that the authors published instead of training, where they exist.
    """

    places: Places
    released: bool = False

    def job(self, network: Network) -> Job:
        """See `Setting`."""
        if network.preset is None:
            return Job(network.backbone)
        if self.released and network.released is not None:
            return Job(network.released)
        recipe = replace(preset(network.preset), backbone=network.backbone)
        return Job(network.backbone, recipe, self._data(network.photos), network.preset)

    def options(self, protocol: EvaluationProtocol) -> dict[str, Any]:
        """See `Setting`."""
        return {"task": protocol.task, "data": self._data(protocol.data), **dict(protocol.options)}

    def missing(self, network: Network) -> list[MissingRequirement]:
        """See `Setting`."""
        if network.preset is None:
            return _weights(network.backbone)
        if self.released and network.released is not None:
            return _weights(network.released)
        return [*self._missing_data(network.photos), *_weights(network.backbone)]

    def missing_to_score(self, protocol: EvaluationProtocol) -> list[MissingRequirement]:
        """See `Setting`."""
        attention = dict(protocol.options).get("attention_backbone")
        return [*self._missing_data(protocol.data), *(_weights(attention) if attention else [])]

    def stands_for(self, network: Network) -> str:
        """See `Setting`."""
        if self.released and network.preset is not None and network.released is not None:
            return f"{network.released}, the authors' weights"
        return ""

    def here(self, cell: Cell) -> Cell:
        """See `Setting`."""
        return cell

    def _missing_data(self, data: str) -> list[MissingRequirement]:
        return [] if self.places.path(data) is not None else [MissingRequirement("data", data)]

    def _data(self, name: str) -> str:
        path = self.places.path(name)
        if path is None:
            raise LeopartError(f"the data set {name} is missing; --dry-run says where to get it")
        return f"{name}:{path}"


def _weights(name: str) -> list[MissingRequirement]:
    return [] if weights_are_here(name) else [MissingRequirement("weights", name)]


def weights_are_here(name: str) -> bool:
    """Whether weights are on this machine: a file, a row in the cache, or random weights."""
    spec = BACKBONES.get(name.partition(":")[0])
    if spec is None:
        return Path(name).exists()
    if spec.family == "random":
        return True
    path = weights_path(spec)
    return path.exists() and card_path(path).exists()


def weights_hash(name: str) -> str:
    """Hash of the weights behind a name.

    Raises:
        LeopartError: the weights cannot be opened.
    """
    return open_weights(name).sha256
