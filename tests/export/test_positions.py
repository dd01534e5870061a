"""Positions resampled inside a graph equal those of torch and timm, which resample by other means."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from timm.layers import resample_abs_pos_embed

from leopart.export.graph import Graph
from leopart.export.positions import resampled_positions
from leopart.models.positions import resample_position_table
from tolerances import assert_same

GRIDS = [(5, 5), (8, 3), (2, 2), (1, 9), (13, 17), (5, 6), (40, 5)]


def in_graph(table: torch.Tensor, rows: int, columns: int, rule: str) -> np.ndarray:
    graph = Graph()
    sizes = [graph.input(name, np.int64, []) for name in ("rows", "columns")]
    value, _ = resampled_positions(graph, table, *sizes, rule)
    graph.output(value, "table", np.float32, [1, "tokens", table.shape[1]])
    session = onnxruntime.InferenceSession(graph.model({}).SerializeToString())
    return session.run(None, {"rows": np.array(rows), "columns": np.array(columns)})[0][0]


TERMS = 16
"""A bicubic sum; with antialiasing most weights are small."""


def scale_of(table: torch.Tensor) -> float:
    """Weights are computed in float32 from coordinates up to 5."""
    return 5 * float(table.abs().max())


@pytest.fixture
def table() -> torch.Tensor:
    """One prefix row and a grid of 5 x 5."""
    return torch.randn(26, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("rule", ["bicubic", "dino"])
@pytest.mark.parametrize(("rows", "columns"), GRIDS)
def test_equals_torch(table: torch.Tensor, rows: int, columns: int, rule: str) -> None:
    expected = resample_position_table(table, rows * 4, columns * 4, 4, rule)
    assert_same(in_graph(table, rows, columns, rule), expected, TERMS, scale_of(table))


@pytest.mark.parametrize(("rows", "columns"), GRIDS)
def test_equals_timm_with_its_antialiasing(table: torch.Tensor, rows: int, columns: int) -> None:
    expected = resample_abs_pos_embed(table[None], [rows, columns], [5, 5], num_prefix_tokens=1)[0]
    assert_same(in_graph(table, rows, columns, "timm"), expected, TERMS, scale_of(table))


@pytest.mark.parametrize("rule", ["bicubic", "dino", "timm"])
def test_at_its_own_size_the_table_is_unchanged(table: torch.Tensor, rule: str) -> None:
    assert_same(in_graph(table, 5, 5, rule), table, TERMS, scale_of(table))


def test_the_rules_differ_so_that_the_comparisons_mean_something(table: torch.Tensor) -> None:
    first, second, third = (in_graph(table, 3, 4, rule) for rule in ("bicubic", "dino", "timm"))
    assert min(abs(first - second).max(), abs(first - third).max(), abs(second - third).max()) > 0.01


def test_a_table_without_prefix_rows_works_too(table: torch.Tensor) -> None:
    expected = resample_position_table(table[1:], 12, 32, 4, "bicubic")
    assert_same(in_graph(table[1:], 3, 8, "bicubic"), expected, TERMS, scale_of(table))
