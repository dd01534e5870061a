"""The work of `leopart reproduce`: train what must be trained, score what must be scored, fill the tables.

OUT/README.md             the page: published numbers beside ours
    table3.json ...       the same numbers, with the evaluations behind them
    networks/  scores/    see `leopart.reproduction.stages`
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from leopart.errors import LeopartError
from leopart.evaluation.report import read_report
from leopart.reproduction.rows import Cell, EvaluationProtocol, Network, Row, Table, work_of
from leopart.reproduction.setting import Setting
from leopart.reproduction.stages import FEATURES, Machine, is_trained, network_of, scores_of

Say = Callable[[str], None]
"""Takes a line about the progress."""
Outcomes = dict[tuple[Network, EvaluationProtocol], Path | str]
"""The file of scores of each evaluation, or the reason why there is none."""


@dataclass(frozen=True)
class Measured:
    """A number that was measured here.

    Attributes:
        cell: what was measured.
        mean: in percent; None = it could not be measured.
        std: over the seeds, in percent; None where there is one value.
        file: the evaluation that it comes from.
        reason: why there is no number.
    """

    cell: Cell
    mean: float | None = None
    std: float | None = None
    file: Path | None = None
    reason: str = ""

    @property
    def difference(self) -> float | None:
        """Points above the published number; None where either is missing."""
        if self.mean is None or self.cell.published is None:
            return None
        return self.mean - self.cell.published

    @property
    def status(self) -> str:
        """`equal` within the tolerance, otherwise `above` or `below`.

        `measured` where nothing is published, `missing` where nothing was measured.
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
    """A table with the numbers measured here.

    Attributes:
        table: as published.
        rows: each with the stand-in of its network and its numbers, in the order of the table.
    """

    table: Table
    rows: tuple[tuple[Row, str, tuple[Measured, ...]], ...]

    @property
    def missing(self) -> list[str]:
        """Reasons why numbers are missing, each once."""
        return list(
            dict.fromkeys(found.reason for _, _, cells in self.rows for found in cells if found.reason)
        )


def reproduce(tables: Sequence[Table], setting: Setting, machine: Machine, say: Say) -> list[Filled]:
    """Fill tables. Work that earlier calls with the same `machine.out` finished is not done again.

    Where a network or an evaluation is impossible, its own numbers are missing; the others are filled.

    Raises:
        Interrupted: a training was stopped; the next call continues it.
    """
    work = work_of(row for table in tables for row in table.rows)
    outcomes: Outcomes = {}
    for number, (network, protocols) in enumerate(work.items(), start=1):
        say_of_it = partial(_say_of, say, f"[{number}/{len(work)}] {network.name}")
        for protocol, outcome in _measured(network, protocols, setting, machine, say_of_it):
            outcomes[network, protocol] = outcome
    return [_filled(table, setting, outcomes) for table in tables]


def _say_of(say: Say, head: str, text: str) -> None:
    say(f"{head}: {text}")


def _measured(
    network: Network, protocols: Sequence[EvaluationProtocol], setting: Setting, machine: Machine, say: Say
) -> Iterator[tuple[EvaluationProtocol, Path | str]]:
    """Each protocol with the file of its scores, or with the reason why there is none."""
    try:
        job = setting.job(network)
        if job.recipe is not None:
            done = is_trained(job, machine.out)
            say("trained before" if done else f"training from {job.backbone}, preset {network.preset}")
        backbone = network_of(job, machine)
    except LeopartError as error:
        say(f"not possible: {error}")
        yield from ((protocol, str(error)) for protocol in protocols)
        return
    for protocol in protocols:
        try:
            options = setting.options(protocol)
            file, there = scores_of(options, backbone, machine)
        except LeopartError as error:
            say(f"{protocol.task}: not possible: {error}")
            yield protocol, str(error)
        else:
            say(f"{protocol.task} of {protocol.data}: {'scored before' if there else 'scored'}")
            yield protocol, file
    shutil.rmtree(machine.out / FEATURES, ignore_errors=True)  # large, and of no use to the next network


def _filled(table: Table, setting: Setting, outcomes: Outcomes) -> Filled:
    rows = []
    for row in table.rows:
        cells = tuple(_found(row.network, cell, setting, outcomes) for cell in row.cells)
        rows.append((row, setting.stands_for(row.network), cells))
    return Filled(table, tuple(rows))


def _found(network: Network, cell: Cell, setting: Setting, outcomes: Outcomes) -> Measured:
    here = setting.here(cell)
    file = outcomes[network, cell.protocol]
    if isinstance(file, str):
        return Measured(here, reason=file)
    value: Any = read_report(file)
    for key in here.path:
        if not isinstance(value, dict) or key not in value:
            raise LeopartError(f"{file} has no {' / '.join(map(str, here.path))}: delete it and run again")
        value = value[key]
    if not isinstance(value, dict):
        return Measured(here, 100 * float(value), file=file)
    if value["mean"] is None:
        return Measured(here, file=file, reason=f"{file.name}: there was nothing to score")
    several = len(value["per seed"]) > 1
    return Measured(here, 100 * value["mean"], 100 * value["std"] if several else None, file)
