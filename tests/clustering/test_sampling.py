from __future__ import annotations

import numpy as np
import pytest
import torch

from leopart.clustering.sampling import RandomShare, draw_rows, take_rows

SIZES = [3, 0, 40, 7]


@pytest.mark.parametrize("photo_by_photo", [True, False])
def test_drawn_rows_differ_and_all_are_equally_likely(photo_by_photo: bool):
    times = [np.zeros(size) for size in SIZES]
    for seed in range(600):
        drawn = draw_rows(SIZES, 10, seed, photo_by_photo=photo_by_photo)
        assert sum(map(len, drawn)) == 10
        for count, rows in zip(times, drawn, strict=True):
            assert (np.diff(rows) > 0).all()
            count[rows] += 1
    share = np.concatenate(times) / 600
    assert share.min() > 0.12
    assert share.max() < 0.28  # 0.2 each, deviation 0.016


@pytest.mark.parametrize("photo_by_photo", [True, False])
def test_the_same_seed_draws_the_same_rows_and_another_seed_others(photo_by_photo: bool):
    first, again, other = (
        np.concatenate(draw_rows(SIZES, 10, seed, photo_by_photo=photo_by_photo)) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("most", [50, 51])
def test_all_rows_are_drawn_where_there_are_no_more(most: int):
    assert [rows.tolist() for rows in draw_rows(SIZES, most, 0)] == [list(range(size)) for size in SIZES]


def test_rows_drawn_at_once_are_those_of_one_choice_among_all():
    """The rule by which overclustering has always drawn its sample: published scores depend on it."""
    chosen = np.zeros(50, bool)
    chosen[np.random.default_rng(0).choice(50, 12, replace=False)] = True
    drawn = draw_rows(SIZES, 12, 0, photo_by_photo=False)
    parts = np.split(chosen, np.cumsum(SIZES)[:-1])
    for rows, part in zip(drawn, parts, strict=True):
        np.testing.assert_array_equal(rows, np.flatnonzero(part))


def test_chosen_rows_come_photo_by_photo_and_other_photos_are_not_read():
    photos = [torch.arange(12).reshape(2, 3, 2), None, 100 + torch.arange(4).reshape(2, 2)]
    chosen = [np.array([0, 4]), np.array([], np.int64), np.array([0, 1])]
    found = list(take_rows(photos.__getitem__, chosen))
    assert [rows.tolist() for rows in found] == [[[0, 1], [8, 9]], [[100, 101], [102, 103]]]


def test_a_random_share_keeps_about_that_share_of_each_photo():
    share = RandomShare(0.3, seed=0)
    rows = torch.arange(20_000).reshape(100, 200, 1)
    for _ in range(3):
        kept = share(rows)[:, 0]
        assert (torch.diff(kept) > 0).all()
        assert abs(len(kept) - 6000) < 5 * (20_000 * 0.3 * 0.7) ** 0.5


def test_a_share_of_one_and_more_keeps_every_row():
    rows = torch.arange(12).reshape(2, 3, 2)
    for share in (1.0, 7.5):
        assert torch.equal(RandomShare(share, seed=0)(rows), rows.reshape(6, 2))


def test_shares_follow_one_stream_of_random_numbers_photo_after_photo():
    random = np.random.default_rng(3)
    share = RandomShare(0.5, seed=3)
    for size in (5, 9):
        rows = torch.arange(size)[:, None]
        assert torch.equal(share(rows)[:, 0], torch.from_numpy(np.flatnonzero(random.random(size) < 0.5)))
