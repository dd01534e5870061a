from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from leopart.evaluation.in_context import (
    MemoryBank,
    enlarged_classes,
    fraction_subset,
    in_context,
    patch_shares,
    unit_tokens,
)
from leopart.features.store import FeatureRecipe, FeatureStore, StoredPhoto
from tolerances import assert_same

CLASSES, SIDE, DIM = 4, 6, 16


def planted(n_photos: int, seed: int, noise: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [n, h, w, D] round one direction a class, and the class [n, h, w] of each patch."""
    centres = np.random.default_rng(99).normal(size=(CLASSES, DIM))
    rng = np.random.default_rng(seed)
    which = rng.integers(0, CLASSES, (n_photos, SIDE, SIDE))
    length = rng.uniform(0.5, 2, (*which.shape, 1))  # cosine does not see it
    tokens = length * (centres[which] + noise * rng.normal(size=(*which.shape, DIM)))
    return tokens.astype(np.float32), which


def enlarged(which: np.ndarray, factor: int) -> list[np.ndarray]:
    return [np.kron(ids, np.ones((factor, factor), np.uint8)).astype(np.uint8) for ids in which]


def noisy(n_photos: int, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Tokens that say little, and labels of 20 x 25 pixels of all classes and void."""
    tokens, _ = planted(n_photos, seed, noise=2)
    rng = np.random.default_rng(seed)
    small = rng.choice([0, 1, 2, 3, 255], (n_photos, 4, 5), p=[0.4, 0.2, 0.1, 0.1, 0.2])
    return tokens, enlarged(small, 5)


def naive_shares(labels: np.ndarray) -> np.ndarray:
    """Pixel by pixel, [SIDE * SIDE, C]; NaN where a patch has no label."""
    counts = np.zeros((SIDE, SIDE, CLASSES))
    for (y, x), found in np.ndenumerate(labels):
        if found != 255:
            counts[y * SIDE // labels.shape[0], x * SIDE // labels.shape[1], found] += 1
    with np.errstate(invalid="ignore"):
        return (counts / counts.sum(-1, keepdims=True)).reshape(-1, CLASSES)


def naive_prediction(
    memory: np.ndarray, shares: np.ndarray, photo: np.ndarray, k: int, temperature: float
) -> np.ndarray:
    unit = memory / np.linalg.norm(memory, axis=1, keepdims=True)
    result = []
    for token in photo.reshape(-1, DIM).astype(np.float64):
        similarity = unit @ (token / np.linalg.norm(token))
        nearest = np.argsort(-similarity, kind="stable")[:k]
        weights = np.exp(similarity[nearest] / temperature)
        result.append(weights @ shares[nearest] / weights.sum())
    return np.array(result).reshape(*photo.shape[:2], CLASSES)


def labelled_memory(tokens: np.ndarray, labels: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    shares = np.concatenate([naive_shares(ids) for ids in labels])
    known = ~np.isnan(shares[:, 0])
    return tokens.reshape(-1, DIM).astype(np.float64)[known], shares[known]


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.02), (30, 0.02), (30, 0.5), (10_000, 0.1)])
def test_a_prediction_is_the_naive_loop(k: int, temperature: float):
    tokens, labels = noisy(5, 0)
    photo = noisy(1, 1)[0][0]
    memory, shares = labelled_memory(tokens, labels)
    assert 0 < len(memory) < 5 * SIDE**2  # some patches have no label

    bank = MemoryBank.build(list(tokens), labels, CLASSES)
    found = bank.predict(torch.from_numpy(photo), neighbours=k, temperature=temperature)
    assert (len(bank), bank.num_classes) == (len(memory), CLASSES)
    assert found.dtype == torch.float32
    assert found.shape == (SIDE, SIDE, CLASSES)
    # A weight is exp(similarity / temperature): the similarity's rounding grows by as much.
    assert_same(found, naive_prediction(memory, shares, photo, k, temperature), DIM, scale=1 / temperature)
    assert_same(found.sum(-1), np.ones((SIDE, SIDE)), terms=min(k, len(memory)))


def test_the_memory_itself_gets_its_labels_back():
    tokens, which = planted(6, 0)
    labels = enlarged(which, 4)
    bank = MemoryBank.build(torch.from_numpy(tokens), labels, CLASSES)
    for photo, ids in zip(tokens, which, strict=True):
        np.testing.assert_array_equal(bank.predict(torch.from_numpy(photo)).argmax(-1), ids)


def test_other_photos_of_the_same_classes_are_found():
    bank = MemoryBank.build(torch.from_numpy(planted(6, 0)[0]), enlarged(planted(6, 0)[1], 4), CLASSES)
    tokens, which = planted(3, 1)
    counts = in_context(bank, torch.from_numpy(tokens), [ids.astype(np.uint8) for ids in which])
    np.testing.assert_array_equal(counts.matrix, np.diag(np.bincount(which.ravel(), minlength=CLASSES)))


def test_scores_are_the_naive_loops_at_the_labels_own_size():
    tokens, labels = noisy(4, 0)
    photos, truth = noisy(3, 1)
    bank = MemoryBank.build(list(tokens), labels, CLASSES)
    maps = {}
    counts = in_context(bank, list(photos), truth, neighbours=7, on_map=maps.__setitem__)

    memory, shares = labelled_memory(tokens, labels)
    expected = np.zeros((CLASSES, CLASSES), int)
    differ = 0
    for index, (photo, ids) in enumerate(zip(photos, truth, strict=True)):
        predicted = torch.from_numpy(naive_prediction(memory, shares, photo, 7, 0.02)).permute(2, 0, 1)[None]
        classes = F.interpolate(predicted, ids.shape, mode="bilinear")[0].argmax(0).numpy()
        differ += (maps[index] != classes).sum()
        for gt, pred in zip(ids[ids != 255], classes[ids != 255], strict=True):
            expected[gt, pred] += 1
    assert differ == 0
    np.testing.assert_array_equal(counts.matrix, expected)


def test_stores_tensors_and_lists_hold_the_same_tokens(tmp_path: Path):
    tokens, labels = noisy(3, 0)
    half = tokens.astype(np.float16)
    entries = [StoredPhoto(f"{i}.jpg", 1, 1, SIDE, SIDE) for i in range(3)]
    store = FeatureStore.open(tmp_path, FeatureRecipe("b", "f", DIM, 1, {}, "fp32"), entries)
    for index, photo in enumerate(half):
        store.put(index, photo, np.zeros((1, SIDE, SIDE), np.float32))
    kinds = [store, torch.from_numpy(half), [*half], [torch.from_numpy(photo) for photo in half]]
    banks = [MemoryBank.build(kind, labels, CLASSES) for kind in kinds]
    found = [in_context(bank, kind, labels).matrix for bank, kind in zip(banks, kinds, strict=True)]
    assert all((matrix == found[0]).all() for matrix in found)

    store.done[1] = 0
    with pytest.raises(ValueError, match="missing"):
        MemoryBank.build(store, labels, CLASSES)
    assert len(MemoryBank.build(store, labels, CLASSES, photos=[0, 2])) < len(banks[0])
    store.close()


def test_a_memory_of_one_photo_and_one_patch():
    tokens, labels = noisy(2, 0)
    one = MemoryBank.build(list(tokens), labels, CLASSES, photos=[1])
    memory, shares = labelled_memory(tokens[1:], labels[1:])
    found = one.predict(torch.from_numpy(tokens[0]))
    assert_same(found, naive_prediction(memory, shares, tokens[0], 30, 0.02), DIM, scale=1 / 0.02)

    labels = np.full((SIDE, SIDE), 255)
    labels[2, 3] = 1
    single = MemoryBank.build(list(tokens[:1]), [labels], CLASSES)
    assert len(single) == 1
    assert (single.predict(torch.from_numpy(tokens[1])).argmax(-1) == 1).all()


def test_a_limited_memory_is_shared_out_evenly_and_repeats():
    tokens, which = planted(5, 0)
    labels = enlarged(which, 1)

    def build(size: int, seed: int) -> torch.Tensor:
        return MemoryBank.build(list(tokens), labels, CLASSES, memory_size=size, seed=seed).index.vectors

    whole = unit_tokens(torch.from_numpy(tokens.reshape(1, -1, 1, DIM)), 0, torch.device("cpu"))[:, 0]
    photo_of = np.repeat(np.arange(5), SIDE**2)
    for size in (3, 5, 52):
        bank = MemoryBank.build(list(tokens), labels, CLASSES, memory_size=size)
        rows = bank.index.search(whole, 1)
        members = np.flatnonzero(rows.similarity[:, 0] > 1 - 1e-6)
        counts = np.bincount(photo_of[members], minlength=5)
        assert len(bank) == size == counts.sum()
        assert np.ptp(counts) <= 1
    assert torch.equal(build(52, 0), build(52, 0))
    assert not torch.equal(build(52, 0), build(52, 1))
    assert torch.equal(build(10_000, 3), MemoryBank.build(list(tokens), labels, CLASSES).index.vectors)


def test_rare_classes_come_first_into_a_limited_memory():
    """One patch of 36 is of class 1: its score is at most 1, another's 35 times a random number."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[3, 3] = 1
    tokens = planted(1, 0)[0]
    kept = [
        MemoryBank.build(list(tokens), [labels], CLASSES, memory_size=9, seed=seed).shares[:, 1].sum() == 1
        for seed in range(60)
    ]
    assert np.mean(kept) > 0.95  # a patch taken at random would be in a quarter of them


def test_shares_are_pixels_counted_one_by_one():
    for seed in range(5):
        labels = noisy(1, seed)[1][0]
        expected = np.nan_to_num(naive_shares(labels))
        assert_same(patch_shares(labels, (SIDE, SIDE), CLASSES), expected, terms=1)


@given(st.integers(0, 2**32), st.integers(3, 20), st.integers(3, 20))
def test_enlarged_classes_are_the_largest_of_all_classes_enlarged_together(
    seed: int, height: int, width: int
):
    rng = np.random.default_rng(seed)
    shares = torch.from_numpy(rng.random((3, 4, 6)).astype(np.float32)) * (torch.arange(6) != 2)
    expected = F.interpolate(shares.permute(2, 0, 1)[None], (height, width), mode="bilinear")[0]
    found = enlarged_classes(shares, (height, width))
    taken = expected.gather(0, torch.from_numpy(found)[None])[0]
    assert_same(taken, expected.amax(0), terms=4, scale=1.0)


def test_equal_shares_go_to_the_lowest_class():
    assert (enlarged_classes(torch.full((2, 2, 5), 0.2), (4, 4)) == 0).all()
    assert (enlarged_classes(torch.tensor([[[0, 0.5, 0, 0.5]]]), (3, 3)) == 1).all()


@given(st.integers(1, 500), st.sampled_from([1, 1 / 2, 1 / 8, 1 / 64, 1 / 128]), st.integers(0, 9))
def test_subsets_have_the_size_asked_for_and_are_nested(n_photos: int, fraction: float, seed: int):
    found = fraction_subset(n_photos, fraction, seed)
    assert len(found) == len(set(found.tolist())) == math.ceil(n_photos * fraction)
    assert (np.diff(found) > 0).all()
    assert found[0] >= 0
    assert found[-1] < n_photos
    assert set(found) <= set(fraction_subset(n_photos, min(1, 2 * fraction), seed))
    np.testing.assert_array_equal(found, fraction_subset(n_photos, fraction, seed))


def test_subsets_differ_by_seed_and_every_photo_has_its_turn():
    drawn = np.concatenate([fraction_subset(16, 1 / 8, seed) for seed in range(200)])
    assert (np.bincount(drawn, minlength=16) > 5).all()  # 25 are expected
    assert len(fraction_subset(30, 0.1)) == 3
    assert len(fraction_subset(50, 1 / 128)) == 1


def test_void_counts_neither_in_the_memory_nor_in_the_score():
    tokens, which = planted(2, 0)
    labels = [ids.astype(np.uint8) for ids in which]
    for ids in labels:
        ids[ids == 3] = 255
    bank = MemoryBank.build(list(tokens), labels, CLASSES)
    counts = in_context(bank, list(tokens), labels)
    assert len(bank) == sum((ids != 255).sum() for ids in labels) == counts.matrix.sum()
    assert not bank.shares[:, 3].any()


def test_what_cannot_be_done():
    tokens, labels = noisy(2, 0)
    bank = MemoryBank.build(list(tokens), labels, CLASSES)
    for call in (
        lambda: MemoryBank.build(list(tokens), labels[:1], CLASSES),
        lambda: in_context(bank, [], []),
    ):
        with pytest.raises(ValueError, match=r"give one for each|no photos"):
            call()
    with pytest.raises(ValueError, match="no patch"):
        MemoryBank.build(list(tokens), [labels[0] * 0 + 255] * 2, CLASSES)
    with pytest.raises(ValueError, match="at least one"):
        MemoryBank.build(list(tokens), labels, CLASSES, memory_size=0)
    with pytest.raises(ValueError, match="0 to 2"):
        MemoryBank.build(list(tokens), labels, 3)
    with pytest.raises(ValueError, match="positive"):
        bank.predict(torch.from_numpy(tokens[0]), temperature=0)
    for n_photos, fraction in ((0, 1), (5, 0), (5, 1.5)):
        with pytest.raises(ValueError, match="in \\(0, 1\\]"):
            fraction_subset(n_photos, fraction)
