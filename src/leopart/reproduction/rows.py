"""What a table of the paper consists of: networks, how they are scored, and the numbers published."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Network:
    """A network that is scored.

    Attributes:
        backbone: row of `leopart weights list`; where it is trained, what it starts from.
        preset: of `leopart train`; None: scored as it is.
        photos: data set that it is trained on, as `leopart train` calls it.
        released: row with the weights that the paper's authors published of such a training.
    """

    backbone: str
    preset: str | None = None
    photos: str = ""
    released: str | None = None

    @property
    def name(self) -> str:
        """For people and files: backbone and preset."""
        return self.backbone if self.preset is None else f"{self.backbone}-{self.preset}"


@dataclass(frozen=True)
class Protocol:
    """One run of `leopart evaluate`.

    Attributes:
        task: its name.
        data: data set, as `leopart evaluate` calls it.
        options: other than the defaults, names and values.
    """

    task: str
    data: str
    options: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, task: str, data: str, **options: Any) -> Protocol:
        """With options by name."""
        return cls(task, data, tuple(sorted(options.items())))


@dataclass(frozen=True)
class Cell:
    """One number.

    Attributes:
        column: of the table.
        protocol: what measures it.
        path: keys from the top of the evaluation's file to the number, or to its mean and deviation.
        published: in percent; None: the paper's sources at hand do not give it.
        source: where that number stands.
        tolerance: points of difference that count as equal. Seeds, versions and hardware differ.
    """

    column: str
    protocol: Protocol
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
        cost: what training and scoring take, in words.
    """

    name: str
    network: Network
    cells: tuple[Cell, ...]
    cost: str


@dataclass(frozen=True)
class Table:
    """A table of the paper, or of experiments that its text names.

    Attributes:
        name: on the command line.
        title: what it shows.
        rows: top to bottom.
    """

    name: str
    title: str
    rows: tuple[Row, ...]


Work = dict[Network, list[Protocol]]
"""What is to be done: each network once, each of its evaluations once, in the order of the tables."""


def work_of(rows: Iterable[Row]) -> Work:
    """What fills these rows; a network or evaluation that several of them need is done once."""
    work: Work = {}
    for row in rows:
        protocols = work.setdefault(row.network, [])
        protocols += [p for p in dict.fromkeys(cell.protocol for cell in row.cells) if p not in protocols]
    return work
