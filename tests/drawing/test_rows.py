from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leopart.drawing.rows import Place, justified

aspects_of_photos = st.lists(st.floats(0.3, 3.0), min_size=1, max_size=9)


def by_row(places: list[Place]) -> list[list[Place]]:
    return [list(group) for _, group in itertools.groupby(places, lambda place: place.row)]


@given(aspects_of_photos, st.integers(1, 7), st.integers(0, 12))
def test_every_row_is_as_wide_as_the_page_with_even_gaps(aspects, columns, gap):
    rows = by_row(justified(aspects, columns, 1200, gap))

    assert [places[0].row for places in rows] == list(range(math.ceil(len(aspects) / columns)))
    for places in rows:
        assert places[0].left == 0
        assert places[-1].left + places[-1].width == 1200
        gaps = [after.left - before.left - before.width for before, after in itertools.pairwise(places)]
        assert set(gaps) <= {gap}
        assert len({place.height for place in places}) == 1


@given(aspects_of_photos, st.integers(1, 7))
def test_photos_keep_their_shape_to_a_pixel(aspects, columns):
    for aspect, place in zip(aspects, justified(aspects, columns, 1200, 5), strict=True):
        assert abs(place.width - aspect * place.height) <= 1 + 0.5 * aspect


@given(aspects_of_photos, st.integers(1, 5))
def test_no_other_way_to_break_rows_gives_more_even_heights(aspects, columns):
    count = math.ceil(len(aspects) / columns)
    usual = sum(aspects) / count

    def unevenness(ends: tuple[int, ...]) -> float:
        bounds = itertools.pairwise((0, *ends, len(aspects)))
        return sum(math.log(sum(aspects[start:end]) / usual) ** 2 for start, end in bounds)

    best = min(map(unevenness, itertools.combinations(range(1, len(aspects)), count - 1)))
    lengths = [len(places) for places in by_row(justified(aspects, columns, 1200, 0))]
    assert unevenness(tuple(itertools.accumulate(lengths))[:-1]) == pytest.approx(best, abs=1e-9)


def test_photos_of_one_shape_are_a_plain_grid():
    places = justified([1.5] * 6, 3, 306, 3)
    assert [(place.row, place.left, place.width, place.height) for place in places] == [
        (row, left, 100, 67) for row in (0, 1) for left in (0, 103, 206)
    ]
