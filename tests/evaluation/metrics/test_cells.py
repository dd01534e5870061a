from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leopart.evaluation.labels import nearest
from leopart.evaluation.metrics.cells import cell_counts

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(sizes, sizes, st.integers(0, 2**32))
def test_a_cell_holds_the_pixels_that_take_its_value_when_it_is_enlarged(
    size: tuple[int, int], grid: tuple[int, int], seed: int
):
    ids = np.random.default_rng(seed).integers(0, 4, size)
    cells = nearest(np.arange(grid[0] * grid[1]).reshape(grid), size)
    expected, labelled = np.zeros((*grid, 4), int), np.zeros((*grid, 4), int)
    for cell, found in zip(cells.ravel(), ids.ravel(), strict=True):
        expected[*np.unravel_index(cell, grid), found] += 1
        labelled[*np.unravel_index(cell, grid), found] += found != 2
    np.testing.assert_array_equal(cell_counts(ids, grid, 4), expected)
    np.testing.assert_array_equal(cell_counts(ids.astype(np.uint8), grid, 4, ignore_index=2), labelled)


def test_ids_out_of_range_are_an_error():
    for ids in ([[0, 4]], [[-1, 0]]):
        with pytest.raises(ValueError, match="there are 4"):
            cell_counts(np.array(ids), (1, 1), 4)
    assert cell_counts(np.array([[0, 255]], np.uint8), (1, 1), 4, 255).tolist() == [[[1, 0, 0, 0]]]
