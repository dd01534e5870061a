"""The tables hold the numbers of the supplement, and what measures them exists."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from leopart.config import REPRODUCED, TASKS
from leopart.data.datasets.catalogue import CATALOGUE
from leopart.evaluation.heads.recipes import head_recipe
from leopart.evaluation.label_free.published import PRESETS as UNSUPERVISED
from leopart.models.weights.registry import BACKBONES
from leopart.presets import PRESETS
from leopart.reproduction.rows import Cell, Row, work_of
from leopart.reproduction.tables import TABLES

ROWS = [row for table in TABLES.values() for row in table.rows]
CELLS = [(row, cell) for row in ROWS for cell in row.cells]

#: Read off the supplement by hand: table, row, then its numbers from left to right.
PUBLISHED = """
table1  Leopart IN: 40
table1  Leopart IN+CC: 30
table2a ViT-S/16: 53.5 55.9 43.6
table2a ViT-B/8: 59.7 56.8 45.9
table2b DINO ViT-S/16: 4.6
table2b + Leopart ViT-S/16: 18.9
table2b + CBFE ViT-S/16: 36.2
table2b + CD ViT-S/16: 38.4
table2b DINO ViT-B/8: 5.3
table2b + Leopart ViT-B/8: 21.2
table2b + CBFE ViT-B/8: 40.4
table2b + CD ViT-B/8: 40.3
table2c Leopart IN CBFE ViT-S/16: 58.6
table2c Leopart CC CBFE ViT-S/16: 58.2
table2c Leopart CC CBFE ViT-B/8: 63.0
table3  supervised ViT-S/16: 68.1 55.1
table3  + Leopart, supervised: 72.5 61.6
table3  MoCo-v3 ViT-S/16: 13.4 5.8
table3  + Leopart, MoCo-v3: 42.0 31.2
table3  MAE ViT-B/16: 47.5 10.0
table3  + Leopart, MAE: 68.9 38.4
table4  without queue: 67.2 35.0 45.7 48.1
table4  with queue: 67.8 38.2 47.2 50.7
table5  Random ViT: 1.5 2.0
table5  Sup. ViT: 5.4 7.2
table5  DINO: 5.7 7.0
table5  Leopart IN: 6.9 9.3
table5  Leopart CC: 7.6 10.0
densecl DINO ViT-S/16: 50.6 17.4
densecl + DenseCL: 54 17.1
densecl + Leopart: 69.3 53.5
"""


def published() -> dict[tuple[str, str], list[float]]:
    found = {}
    for line in PUBLISHED.strip().splitlines():
        where, _, numbers = line.partition(": ")
        table, _, name = where.partition(" ")
        found[table, name.strip()] = [float(number) for number in numbers.split()]
    return found


def test_the_published_numbers_are_those_of_the_supplement():
    ours = {
        (table.name, row.name): [cell.published for cell in row.cells]
        for table in TABLES.values()
        for row in table.rows
        if table.name != "ablations" and all(cell.published is not None for cell in row.cells)
    }
    assert ours == published()


def test_the_command_knows_every_table():
    assert (*TABLES, "all") == REPRODUCED


@pytest.mark.parametrize(("row", "cell"), CELLS, ids=[f"{row.name}-{cell.column}" for row, cell in CELLS])
def test_everything_that_a_row_names_exists(row: Row, cell: Cell):
    network, protocol = row.network, cell.protocol
    assert network.backbone in BACKBONES
    assert network.released is None or network.released in BACKBONES
    if network.preset is not None:
        recipe = PRESETS[network.preset].recipe
        assert recipe.backbone == network.backbone.removesuffix("_paper")
        assert CATALOGUE[network.photos].use.startswith("train")
    config = TASKS[protocol.task]
    assert {name for name, _ in protocol.options} <= {field.name for field in fields(config)}
    assert CATALOGUE[protocol.data].use.endswith("score")
    options = dict(protocol.options)
    if protocol.task == "linear":
        assert head_recipe(options["preset"], "linear").lr > 0
    elif "preset" in options:
        assert options["preset"] in UNSUPERVISED
    config(task=protocol.task, data=f"{protocol.data}:PATH", out=Path("scores.json"), **options).check()


def test_a_number_says_where_it_was_published():
    assert [row.name for row, cell in CELLS if (cell.published is None) != (cell.source == "")] == []


def test_linear_classifiers_have_the_settings_whose_expected_number_is_the_rows():
    """The head presets name the same numbers, entered for themselves."""
    for row, cell in CELLS:
        if cell.protocol.task == "linear" and cell.published is not None and row.name != "without queue":
            about = head_recipe(dict(cell.protocol.options)["preset"], "linear").about
            assert f"{cell.published:g}" in about.partition("Expected:")[2], row.name


def test_a_network_and_an_evaluation_that_several_rows_need_is_there_once():
    work = work_of(ROWS)
    wanted = {(row.network, cell.protocol) for row, cell in CELLS}
    assert {(network, protocol) for network, protocols in work.items() for protocol in protocols} == wanted
    assert sum(map(len, work.values())) == len(wanted) < len(CELLS)


def test_foreground_is_found_in_both_lists_by_the_attention_of_the_frozen_start():
    """As in the paper; a search uses the labels of train alone."""
    for row, cell in CELLS:
        options = dict(cell.protocol.options)
        if cell.protocol.task in ("unsupervised", "foreground"):
            assert "train" in (options.get("cluster_split"), options.get("tune_split")), row.name
            if "noisy_foreground" not in options:
                assert options["attention_backbone"] == "dino_vits16"
            assert ("tune_on_labels" in options) == (cell.column == "precision threshold")
