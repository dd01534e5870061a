from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leopart.drawing.rows import Cell, justified

aspects_of_photos = st.lists(st.floats(0.3, 3.0), min_size=1, max_size=9)


def by_row(cells: list[Cell]) -> list[list[Cell]]:
    return [list(group) for _, group in itertools.groupby(cells, lambda cell: cell.row)]


@given(aspects_of_photos, st.integers(1, 7), st.integers(0, 12))
def test_every_row_is_as_wide_as_the_page_with_even_gaps(aspects, columns, gap):
    rows = by_row(justified(aspects, columns, 1200, gap))

    assert [cells[0].row for cells in rows] == list(range(math.ceil(len(aspects) / columns)))
    for cells in rows:
        assert cells[0].left == 0
        assert cells[-1].left + cells[-1].width == 1200
        gaps = [after.left - before.left - before.width for before, after in itertools.pairwise(cells)]
        assert set(gaps) <= {gap}
        assert len({cell.height for cell in cells}) == 1


@given(aspects_of_photos, st.integers(1, 7))
def test_photos_keep_their_shape_to_a_pixel(aspects, columns):
    for aspect, cell in zip(aspects, justified(aspects, columns, 1200, 5), strict=True):
        assert abs(cell.width - aspect * cell.height) <= 1 + 0.5 * aspect


@given(aspects_of_photos, st.integers(1, 5))
def test_no_other_way_to_break_rows_gives_more_even_heights(aspects, columns):
    count = math.ceil(len(aspects) / columns)
    usual = sum(aspects) / count

    def unevenness(ends: tuple[int, ...]) -> float:
        bounds = itertools.pairwise((0, *ends, len(aspects)))
        return sum(math.log(sum(aspects[start:end]) / usual) ** 2 for start, end in bounds)

    best = min(map(unevenness, itertools.combinations(range(1, len(aspects)), count - 1)))
    lengths = [len(cells) for cells in by_row(justified(aspects, columns, 1200, 0))]
    assert unevenness(tuple(itertools.accumulate(lengths))[:-1]) == pytest.approx(best, abs=1e-9)


def test_photos_of_one_shape_are_a_plain_grid():
    cells = justified([1.5] * 6, 3, 306, 3)
    assert [(cell.row, cell.left, cell.width, cell.height) for cell in cells] == [
        (row, left, 100, 67) for row in (0, 1) for left in (0, 103, 206)
    ]
