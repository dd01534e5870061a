"""`leopart reproduce`: a table of the paper, row by row, published number beside ours."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from leopart.cli.display import printable, say, tracker, training_progress
from leopart.cli.options import parse
from leopart.config import ReproduceConfig
from leopart.errors import LeopartError

if TYPE_CHECKING:
    from rich.table import Table as Drawn

    from leopart.reproduction.dry_run import Step
    from leopart.reproduction.reproduce import Filled
    from leopart.reproduction.rows import Table
    from leopart.reproduction.setting import Setting
    from leopart.reproduction.stages import Machine


def main(argv: Sequence[str]) -> int:
    """Run the command; exit status 1 when numbers are missing."""
    config = parse(ReproduceConfig, "reproduce", argv)
    from leopart.locks import locked
    from leopart.reproduction.stages import Machine

    tables = chosen_tables(config)
    with training_progress(config.quiet) as progress:
        machine = Machine(config.out, config.device, tracker(config.quiet), progress)
        if not config.dry_run:
            with locked(config.out):
                return _run(config, tables, _setting(config, config.out), machine)
        with TemporaryDirectory(prefix="leopart-") as lists:  # a dry run leaves nothing behind
            return _print_plan(tables, _setting(config, Path(lists)), machine, full_size=not config.mini)


def chosen_tables(config: ReproduceConfig) -> list[Table]:
    """The chosen tables with the chosen rows.

    Raises:
        LeopartError: no row has the name.
    """
    from dataclasses import replace

    from leopart.reproduction.tables import TABLES

    tables = list(TABLES.values()) if config.name == "all" else [TABLES[config.name]]
    if config.row is None:
        return tables
    wanted = config.row.casefold()
    kept = [replace(t, rows=tuple(r for r in t.rows if wanted in r.name.casefold())) for t in tables]
    if not any(table.rows for table in kept):
        names = ", ".join(dict.fromkeys(row.name for table in tables for row in table.rows))
        raise LeopartError(f"no row of {config.name} is called {config.row!r}; there is: {names}")
    return [table for table in kept if table.rows]


def _setting(config: ReproduceConfig, out: Path) -> Setting:
    from leopart.reproduction.miniature import Miniature
    from leopart.reproduction.places import Places
    from leopart.reproduction.setting import FullSize

    if not config.mini:
        return FullSize(Places(config.data_root, config.data), config.released_weights)
    return Miniature(
        config.data[0],
        config.masks,
        out,
        backbone=config.backbone,
        steps=config.steps,
        batch_size=config.batch_size,
        photos=config.photos,
        size=config.size,
        seeds=config.seeds,
    )


def _run(config: ReproduceConfig, tables: Sequence[Table], setting: Setting, machine: Machine) -> int:
    import yaml

    from leopart.files import put_back, write_text
    from leopart.reproduction.page import check_ours, write_tables
    from leopart.reproduction.reproduce import reproduce
    from leopart.run_record import settings_of

    check_ours(config.out)  # before days of work
    settings = settings_of(config)
    options = config.out / "config.yaml"
    with put_back(options, unless=lambda: any(path.is_dir() for path in config.out.iterdir())):
        write_text(options, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
        filled = reproduce(tables, setting, machine, lambda text: say(text, quiet=config.quiet))
    page = write_tables(config.out, filled, settings, mini=config.mini)
    missing = list(dict.fromkeys(reason for one in filled for reason in one.missing))
    if not config.quiet:
        for one in filled:
            _show(one)
    for reason in missing:
        say(f"leopart: missing: {reason}")
    say(f"page: {page.resolve()}", quiet=config.quiet)
    return 1 if missing else 0


def _show(filled: Filled) -> None:
    from leopart.reproduction.page import described, numbers

    table = _table("", "", "published", "ours", "difference", "")
    for row in described(filled):
        for number, cell in enumerate(row["cells"]):
            table.add_row(row["row"] if number == 0 else "", cell["column"], *numbers(cell))
    sys.stdout.write(f"\n{filled.table.title}, percent\n")
    _print(table)


def _print_plan(tables: Sequence[Table], setting: Setting, machine: Machine, *, full_size: bool) -> int:
    """Print the rows with their numbers and costs, the steps that can be done, and where to get the rest."""
    from leopart.reproduction.dry_run import missing_of, remedy, steps_of

    steps = list(steps_of(tables, setting, machine))
    for table in tables:
        sys.stdout.write(f"{table.title}, percent\n")
        _print(_plan(table, steps, setting, full_size=full_size))
        sys.stdout.write("\n")
    for step in steps:
        if step.state != "missing":
            about = f"    {step.about}" if step.about else ""
            sys.stdout.write(printable(f"{step.state:<8} {step.what}{about}") + "\n")
    counts = {state: sum(step.state == state for step in steps) for state in ("done", "to do", "missing")}
    counted = ", ".join(f"{count} {state}" for state, count in counts.items())
    sys.stdout.write(f"steps: {counted}\n")
    for requirement in missing_of(tables, setting):
        sys.stdout.write(f"\n{requirement.kind} {requirement.name} is missing\n")
        for line in remedy(requirement):
            sys.stdout.write(f"  {printable(line)}\n")
    return 0


def _plan(table: Table, steps: Sequence[Step], setting: Setting, *, full_size: bool) -> Drawn:
    """A line for each row: published numbers, what it needs, and its cost at full size."""
    from leopart.reproduction.dry_run import state_of

    drawn = _table("row", "published numbers", "state", *(["cost"] if full_size else []))
    for row in table.rows:
        numbers = [
            f"{cell.column} {'-' if cell.published is None else f'{cell.published:g}'}" for cell in row.cells
        ]
        state = printable(state_of(row, steps))
        # Of released weights only the scoring is left to do.
        cost = row.cost.partition("; ")[2] if setting.stands_for(row.network) else row.cost
        drawn.add_row(row.name, ", ".join(numbers), state, *([cost] if full_size else []))
    return drawn


def _table(*columns: str) -> Drawn:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in ("published", "ours", "difference") else "left")
    return table


def _print(table: Drawn) -> None:
    from rich.console import Console

    # Elsewhere than on a terminal a line is as long as it must be: wrapped lines cannot be searched.
    width = None if sys.stdout.isatty() else 1000
    Console(file=sys.stdout, highlight=False, markup=False, width=width).print(table)
