"""The work of `leopart reproduce`: train what must be trained, score what must be scored, fill the tables.

OUT/README.md             the page: every number beside the published one
    table3.json ...       the same, with what measured it
    networks/  scores/    see `leopart.reproduction.stages`
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from leopart.errors import LeopartError
from leopart.evaluation.report import read_report
from leopart.reproduction.rows import Cell, Network, Protocol, Row, Table, work_of
from leopart.reproduction.setting import Setting
from leopart.reproduction.stages import FEATURES, Machine, is_trained, network_of, scores_of

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Found:
    """A number of ours.

    Attributes:
        cell: what it is, as it was measured here.
        mean: in percent; None: it could not be had.
        std: over the seeds, in percent; None where there is one value.
        file: the evaluation that it comes from.
        reason: why it could not be had.
    """

    cell: Cell
    mean: float | None = None
    std: float | None = None
    file: Path | None = None
    reason: str = ""

    @property
    def difference(self) -> float | None:
        """Points above the published number; None where one of the two is not there."""
        if self.mean is None or self.cell.published is None:
            return None
        return self.mean - self.cell.published

    @property
    def status(self) -> str:
        """`equal` within the tolerance, else `above` or `below`.

        `measured` where nothing is published, `missing` where there is no number of ours.
        """
        if self.mean is None:
            return "missing"
        if self.difference is None:
            return "measured"
        if abs(self.difference) <= self.cell.tolerance:
            return "equal"
        return "above" if self.difference > 0 else "below"


@dataclass(frozen=True)
class Filled:
    """A table with numbers of ours.

    Attributes:
        table: what was asked for.
        rows: name, what stands for its network, and its numbers; in the order of the table.
    """

    table: Table
    rows: tuple[tuple[Row, str, tuple[Found, ...]], ...]

    @property
    def missing(self) -> list[str]:
        """Why numbers could not be had, each reason once."""
        return list(
            dict.fromkeys(found.reason for _, _, cells in self.rows for found in cells if found.reason)
        )


@dataclass
class _Done:
    """What has been measured: files by network and protocol, or why there is none."""

    files: dict[tuple[Network, Protocol], Path] = field(default_factory=dict)
    reasons: dict[tuple[Network, Protocol], str] = field(default_factory=dict)


def reproduce(tables: Sequence[Table], setting: Setting, machine: Machine, tell: Tell) -> list[Filled]:
    """Fill tables. What earlier calls with the same `machine.out` have finished is taken from there.

    A network that cannot be had costs its own rows; the others are filled.

    Raises:
        Interrupted: a training was stopped; calling again goes on with it.
    """
    work = work_of(row for table in tables for row in table.rows)
    done = _Done()
    for number, (network, protocols) in enumerate(work.items(), start=1):
        told = partial(_told, tell, f"[{number}/{len(work)}] {network.name}")
        for protocol, file in _measured(network, protocols, setting, machine, told):
            if isinstance(file, Path):
                done.files[network, protocol] = file
            else:
                done.reasons[network, protocol] = file
    return [_filled(table, setting, done) for table in tables]


def _told(tell: Tell, head: str, text: str) -> None:
    tell(f"{head}: {text}")


def _measured(
    network: Network, protocols: Sequence[Protocol], setting: Setting, machine: Machine, tell: Tell
) -> Iterator[tuple[Protocol, Path | str]]:
    """Each protocol with the file of its scores, or the reason why there is none."""
    try:
        job = setting.job(network)
        if job.recipe is not None:
            done = is_trained(job, machine.out)
            tell("trained before" if done else f"training from {job.backbone}, preset {network.preset}")
        backbone = network_of(job, machine)
    except LeopartError as error:
        tell(f"not possible: {error}")
        yield from ((protocol, str(error)) for protocol in protocols)
        return
    for protocol in protocols:
        try:
            options = setting.options(protocol)
            file, there = scores_of(options, backbone, machine)
        except LeopartError as error:
            tell(f"{protocol.task}: not possible: {error}")
            yield protocol, str(error)
        else:
            tell(f"{protocol.task} of {protocol.data}: {'scored before' if there else 'scored'}")
            yield protocol, file
    shutil.rmtree(machine.out / FEATURES, ignore_errors=True)  # large, and another network has others


def _filled(table: Table, setting: Setting, done: _Done) -> Filled:
    rows = []
    for row in table.rows:
        cells = tuple(_found(row.network, cell, setting, done) for cell in row.cells)
        rows.append((row, setting.stands_for(row.network), cells))
    return Filled(table, tuple(rows))


def _found(network: Network, cell: Cell, setting: Setting, done: _Done) -> Found:
    here = setting.here(cell)
    file = done.files.get((network, cell.protocol))
    if file is None:
        return Found(here, reason=done.reasons[network, cell.protocol])
    value: Any = read_report(file)
    for key in here.path:
        if not isinstance(value, dict) or key not in value:
            raise LeopartError(f"{file} has no {' / '.join(map(str, here.path))}: delete it and run again")
        value = value[key]
    if not isinstance(value, dict):
        return Found(here, 100 * float(value), file=file)
    if value["mean"] is None:
        return Found(here, file=file, reason=f"{file.name}: there was nothing to score")
    several = len(value["per seed"]) > 1
    return Found(here, 100 * value["mean"], 100 * value["std"] if several else None, file)
