"""What a table of the paper consists of: networks, how they are scored, and the numbers published."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Network:
    """A network that is scored.

    Attributes:
        backbone: row of `leopart weights list`; the start of the training if there is one.
        preset: of `leopart train`; None = scored as it is.
        photos: training set, by the name that `leopart train` takes.
        released: row with the weights of this training that the authors of the paper published.
    """

    backbone: str
    preset: str | None = None
    photos: str = ""
    released: str | None = None

    @property
    def name(self) -> str:
        """Backbone and preset, for messages and file names."""
        return self.backbone if self.preset is None else f"{self.backbone}-{self.preset}"


@dataclass(frozen=True)
class EvaluationProtocol:
    """One run of `leopart evaluate`.

    Attributes:
        task: its name.
        data: data set, by the name that `leopart evaluate` takes.
        options: names and values of those that are not the defaults.
    """

    task: str
    data: str
    options: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, task: str, data: str, **options: Any) -> EvaluationProtocol:
        """The protocol with options given by name."""
        return cls(task, data, tuple(sorted(options.items())))


@dataclass(frozen=True)
class Cell:
    """One number.

    Attributes:
        column: of the table.
        protocol: what measures it.
        path: keys from the top of the evaluation's file to the number, or to its mean and deviation.
        published: in percent; None = our sources of the paper do not give it.
        source: where the number is published.
        tolerance: largest difference, in points, that counts as equal; seeds, versions and hardware differ.
    """

    column: str
    protocol: EvaluationProtocol
    path: tuple[str, ...]
    published: float | None = None
    source: str = ""
    tolerance: float = 1.0


@dataclass(frozen=True)
class Row:
    """Numbers of one network.

    Attributes:
        name: in the table.
        network: what is scored.
        cells: at least one.
        cost: time for training and scoring, in words.
    """

    name: str
    network: Network
    cells: tuple[Cell, ...]
    cost: str


@dataclass(frozen=True)
class Table:
    """A table of the paper, or of experiments in its text.

    Attributes:
        name: on the command line.
        title: what the table shows.
        rows: top to bottom.
    """

    name: str
    title: str
    rows: tuple[Row, ...]


Work = dict[Network, list[EvaluationProtocol]]
"""Evaluations of each network, in the order of the tables; nothing is listed twice."""


def work_of(rows: Iterable[Row]) -> Work:
    """The work that fills these rows; what several rows need is done once."""
    work: Work = {}
    for row in rows:
        protocols = work.setdefault(row.network, [])
        protocols += [p for p in dict.fromkeys(cell.protocol for cell in row.cells) if p not in protocols]
    return work
