from __future__ import annotations

import numpy as np
import pytest
import torch

from leopart.training.methods.queue import TokenQueue, random_keys


def batch(tokens: int, start: int = 0, targets: int = 2, images: int = 2, dim: int = 3) -> torch.Tensor:
    """Embeddings [T, B, N, E] that tell the token in every channel: 1000 * target + start + number."""
    numbers = torch.arange(images * tokens).reshape(images, tokens) + start
    values = 1000.0 * torch.arange(targets)[:, None, None] + numbers
    return values[..., None].expand(-1, -1, -1, dim).contiguous()


def contents(queue: TokenQueue) -> list[list[float]]:
    assert torch.equal(queue.rows, queue.rows[..., :1].expand_as(queue.rows))
    return queue.rows[..., 0].tolist()


def test_new_rows_come_first_and_older_ones_move_back_by_as_many():
    queue = TokenQueue(2, 10, 3)
    queue.push(batch(8, 100), None, 4, seed=0, step=0)
    first = contents(queue)
    queue.push(batch(8, 200), None, 3, seed=0, step=1)

    for target, (before, after) in enumerate(zip(first, contents(queue), strict=True)):
        assert after[3:7] == before[:4]
        assert after[7:] == [0, 0, 0]
        new = [value - 1000 * target for value in after[:3]]
        assert len(set(new)) == 3
        assert all(200 <= value < 216 for value in new)
    assert queue.fill.tolist() == [7, 7]


def test_a_full_queue_drops_its_oldest_rows():
    queue = TokenQueue(1, 5, 3)
    for step in range(4):
        before = contents(queue)[0]
        queue.push(batch(8, 100 * (step + 1), targets=1), None, 3, seed=0, step=step)
        after = contents(queue)[0]
        assert after[3:] == before[:2]
    assert queue.fill.tolist() == [5]


def test_only_masked_in_tokens_are_drawn_and_where_there_are_too_few_all_of_them():
    mask = torch.zeros(2, 2, 8, dtype=torch.bool)
    mask[0, 0, :2] = True
    mask[0, 1, 5] = True  # three of target 0, none of target 1
    queue = TokenQueue(2, 6, 3)
    queue.push(batch(8, 500), None, 2, seed=0, step=0)
    earlier = contents(queue)

    queue.push(batch(8, 100), mask, 5, seed=0, step=1)

    assert set(contents(queue)[0][:3]) == {100, 101, 113}
    assert contents(queue)[0][3:5] == earlier[0][:2]
    assert contents(queue)[1] == earlier[1]
    assert queue.fill.tolist() == [5, 2]


@pytest.mark.parametrize("count", [7, 16, 1000])
def test_more_than_there_is_room_or_tokens_for_is_cut(count: int):
    queue, roomy = TokenQueue(2, 6, 3), TokenQueue(2, 40, 3)
    for each in (queue, roomy):
        each.push(batch(8, 100), None, count, seed=0, step=0)
    assert queue.fill.tolist() == [6, 6]
    assert roomy.fill.tolist() == [min(count, 16)] * 2
    assert len(set(contents(queue)[0])) == 6


def test_it_counts_once_it_is_full():
    queue = TokenQueue(2, 6, 3)
    mask = torch.ones(2, 2, 8, dtype=torch.bool)
    mask[1, :, 1:] = False  # two tokens of target 1
    queue.push(batch(8), mask, 5, seed=0, step=0)
    assert not bool(queue.weights().any())
    queue.push(batch(8), mask, 5, seed=0, step=1)
    assert queue.weights().tolist() == [[1.0] * 6, [0.0] * 6]
    queue.push(batch(8), mask, 5, seed=0, step=2)
    assert bool((queue.weights() == 1).all())


def test_a_restored_queue_goes_on_to_the_bit():
    queue, restored = TokenQueue(2, 9, 3), TokenQueue(2, 9, 3)
    generator = torch.Generator().manual_seed(0)
    for step in range(3):
        queue.push(torch.randn(2, 2, 8, 3, generator=generator), None, 4, seed=5, step=step)
    restored.load_state_dict(queue.state_dict())
    later = torch.randn(2, 2, 8, 3, generator=generator)
    for each in (queue, restored):
        torch.manual_seed(int(each is queue))  # what others draw changes nothing
        each.push(later, later[..., 0] > 0, 4, seed=5, step=3)

    assert torch.equal(queue.rows, restored.rows)
    assert torch.equal(queue.fill, restored.fill)


def test_bfloat16_is_stored_in_float32_and_keeps_no_graph():
    queue = TokenQueue(1, 4, 3)
    queue.push(batch(8, 1, targets=1).bfloat16().requires_grad_(), None, 4, seed=0, step=0)
    assert queue.rows.dtype == torch.float32
    assert not queue.rows.requires_grad
    assert contents(queue)[0][0] > 0


def test_infinite_tokens_that_are_not_drawn_do_no_harm():
    tokens = batch(8, targets=1)
    tokens[0, 0, 3:] = float("nan")
    mask = torch.ones(1, 2, 8, dtype=torch.bool)
    mask[0, 0, 3:] = False
    queue = TokenQueue(1, 20, 3)
    queue.push(tokens, mask, 20, seed=0, step=0)
    assert bool(torch.isfinite(queue.rows).all())


def test_a_queue_of_length_zero_is_off():
    queue = TokenQueue(2, 0, 3)
    queue.push(batch(8), None, 4, seed=0, step=0)
    assert queue.length == 0
    assert queue.weights().shape == (2, 0)


def test_every_token_is_drawn_equally_often():
    queue = TokenQueue(2, 4, 3)
    counts = np.zeros((2, 16))
    for step in range(2000):
        queue.push(batch(8), None, 4, seed=1, step=step)
        for target in range(2):
            counts[target, [int(value) % 1000 for value in contents(queue)[target]]] += 1
    # 500 times each; the standard deviation of a count is sqrt(2000 * 1/4 * 3/4) = 19.4.
    assert np.abs(counts - 500).max() < 5 * 19.4
    assert np.abs(counts - 500).std() > 1
    # Draws of the two targets are independent: the same token in both of them one time in four.
    assert not np.array_equal(counts[0], counts[1])


def test_keys_differ_within_a_step_between_steps_and_between_seeds():
    keys = [random_keys(2, 5000, seed, step, torch.device("cpu")) for seed, step in ((0, 0), (0, 1), (1, 0))]
    for each in keys:
        assert len(each.unique()) == 10_000
        assert 0 <= int(each.min()) < int(each.max()) < 2**32
        assert (each.double().mean() / 2**32).item() == pytest.approx(0.5, abs=0.02)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (keys[a] == keys[b]).sum() < 3
        both = torch.stack([keys[a].flatten(), keys[b].flatten()]).double()
        assert abs(float(torch.corrcoef(both)[0, 1])) < 0.05
    neighbours = torch.stack([keys[0][0, 1:], keys[0][0, :-1]]).double()
    assert abs(float(torch.corrcoef(neighbours)[0, 1])) < 0.05


def test_keys_are_pinned_so_that_old_checkpoints_go_on_alike():
    assert random_keys(1, 3, 7, 11, torch.device("cpu")).tolist() == [
        [1531431468, 2220280100, 2267096788]
    ]  # the same mixing in Python's own whole numbers
