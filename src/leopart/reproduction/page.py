"""Files with the filled tables: JSON for each table, and one page to read with all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from leopart.documents import read_json
from leopart.errors import LeopartError
from leopart.files import write_text
from leopart.reproduction.reproduce import Filled, Measured
from leopart.reproduction.tables import TABLES
from leopart.run_record import git_commit, versions

_TITLE = "# The paper's tables, and ours\n"
_MINIATURE = """\
**In miniature.** One small folder stands in for all data sets, the networks named below stand in for those of
the paper, and training takes few steps. This shows that every row runs and in which direction numbers move.
The numbers cannot be compared with the paper's.
"""
_FULL = """\
All numbers are percentages. *Equal* means within the tolerance of the row. The JSON files hold the tolerances
and the evaluations behind the numbers.
"""


def write_tables(out: Path, filled: Sequence[Filled], settings: dict[str, Any], *, mini: bool) -> Path:
    """Write OUT/NAME.json for each table, and OUT/README.md with all tables that have such a file.

    Args:
        out: folder.
        filled: tables.
        settings: options of the run.
        mini: whether the run was in miniature; the page has only tables of the same kind.

    Returns:
        The page.

    Raises:
        LeopartError: a file cannot be written, or would overwrite one that this command did not write.
    """
    check_ours(out)
    facts = {"settings": settings, "miniature": mini, "versions": versions(), "git commit": git_commit()}
    for one in filled:
        file = out / f"{one.table.name}.json"
        rows = _with_earlier(described(one, out), file, mini=mini)
        content = {"table": one.table.name, "title": one.table.title, **facts, "rows": rows}
        write_text(file, json.dumps(content, indent=2, default=str) + "\n")
    there = [_read(out / f"{name}.json") for name in TABLES if (out / f"{name}.json").is_file()]
    parts = [markdown(content) for content in there if content["miniature"] is mini]
    page = out / "README.md"
    write_text(page, "\n".join([_TITLE, _MINIATURE if mini else _FULL, *parts]))
    return page


def check_ours(out: Path) -> None:
    """Refuse to overwrite files of other origin.

    Raises:
        LeopartError: the folder has a page or a table that this command did not write.
    """
    page = out / "README.md"
    if page.is_file() and not page.read_text("utf-8", errors="replace").startswith(_TITLE):
        raise LeopartError(f"{page} was not written by `leopart reproduce`: choose another --out")
    for name in TABLES:
        if (out / f"{name}.json").is_file():
            _read(out / f"{name}.json")


def _with_earlier(rows: list[dict[str, Any]], file: Path, *, mini: bool) -> list[dict[str, Any]]:
    """The rows, and those of earlier runs that this run left out (`--row`), in the order of the table."""
    if not file.is_file() or (earlier := _read(file))["miniature"] is not mini:
        return rows
    new = {row["row"]: row for row in rows}
    known = {row["row"]: row for row in earlier["rows"]} | new
    return [known[row.name] for row in TABLES[file.stem].rows if row.name in known]


def _read(file: Path) -> dict[str, Any]:
    remedy = "it is no table of `leopart reproduce`: delete it, or choose another --out"
    return dict(read_json(file, _Table, remedy))


_Percent = Annotated[float, Field(allow_inf_nan=False)] | None


@with_config(ConfigDict(extra="allow"))
class _Cell(TypedDict):
    column: str
    published: _Percent
    ours: _Percent
    std: _Percent
    difference: _Percent
    status: str
    reason: str | None


_Row = TypedDict("_Row", {"row": str, "network": str, "stands for it": str | None, "cells": list[_Cell]})
_Row.__pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[attr-defined]


@with_config(ConfigDict(extra="allow"))
class _Table(TypedDict):
    """What is taken from the file of an earlier run."""

    title: str
    miniature: bool
    rows: list[_Row]


def described(filled: Filled, out: Path = Path()) -> list[dict[str, Any]]:
    """Rows as in the JSON file; paths of evaluations are relative to the folder `out`."""
    return [
        {
            "row": row.name,
            "network": row.network.name,
            "stands for it": stand_in or None,
            "cost at full size": row.cost,
            "cells": [_cell(found, out) for found in cells],
        }
        for row, stand_in, cells in filled.rows
    ]


def _cell(found: Measured, out: Path) -> dict[str, Any]:
    return {
        "column": found.cell.column,
        "published": found.cell.published,
        "source": found.cell.source or None,
        "ours": _rounded(found.mean),
        "std": _rounded(found.std),
        "difference": _rounded(found.difference),
        "tolerance": found.cell.tolerance,
        "status": found.status,
        "reason": found.reason or None,
        "scores": found.file and found.file.as_posix().removeprefix(f"{out.as_posix()}/"),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def markdown(table: dict[str, Any]) -> str:
    """A table of the page, from the content of its JSON file.

    Where numbers are published, each number has a line of its own. Where none is, columns stand side by side
    as in the paper.
    """
    lines = [f"## {table['title']}", ""]
    compared = any(cell["published"] is not None for row in table["rows"] for cell in row["cells"])
    lines += _lines(table["rows"]) if compared else _side_by_side(table["rows"])
    reasons = [cell["reason"] for row in table["rows"] for cell in row["cells"] if cell["reason"]]
    if reasons:
        lines += ["", "Missing:", "", *(f"- {reason}" for reason in dict.fromkeys(reasons))]
    return "\n".join(lines) + "\n"


def _lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    heads = ("row", "column", "published", "ours", "difference", "status")
    cells = ((row["row"], cell["column"], *numbers(cell)) for row in rows for cell in row["cells"])
    return [_line(heads), _line(["---"] * len(heads)), *map(_line, cells)]


def _side_by_side(rows: Sequence[dict[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(cell["column"] for row in rows for cell in row["cells"]))
    heads = ["row", "network here", *columns]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for row in rows:
        ours = {cell["column"]: numbers(cell)[1] for cell in row["cells"]}
        stand_in = f"`{row['stands for it'] or row['network']}`"
        lines.append(_line([row["row"], stand_in, *(ours.get(column, "-") for column in columns)]))
    return lines


def numbers(cell: dict[str, Any]) -> tuple[str, str, str, str]:
    """Published, ours, difference and status in words."""
    ours = "-" if cell["ours"] is None else f"{cell['ours']:.1f}"
    if cell["std"] is not None:
        ours += f" ± {cell['std']:.1f}"
    published = "-" if cell["published"] is None else f"{cell['published']:.1f}"
    difference = "-" if cell["difference"] is None else f"{cell['difference']:+.1f}"
    return published, ours, difference, str(cell["status"])


def _line(words: Sequence[str]) -> str:
    return f"| {' | '.join(words)} |"
