from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from leopart.clustering.contexts import ObjectMixture
from leopart.clustering.kmeans import KMeans
from leopart.clustering.reduce import Reduction
from leopart.segment.part_model import FINER, PartModel, finer_embeddings
from tolerances import assert_same

#: One background direction (up), two parts to the right at lengths 1 and 3.
UP, NEAR, FAR = (0.0, 2.0), (1.0, 0.0), (3.0, 0.0)
MODEL = PartModel(
    reduction=Reduction(torch.tensor([1.0, 1.0, 1.0]), torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])),
    clusters=KMeans(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), spherical=True, objective=0.0),
    is_foreground=torch.tensor([False, True]),
    parts=KMeans(torch.tensor([FAR, NEAR]), spherical=False, objective=0.0),
    object_of_part=np.array([0, 1, 2]),
)


def tokens(embeddings: list[list[tuple[float, float]]]) -> np.ndarray:
    """Tokens that `MODEL` reduces to these embeddings."""
    wanted = np.array(embeddings)
    ignored = np.full(wanted.shape[:2], 7.0)
    return np.stack([wanted[..., 0] + 1, wanted[..., 1] / 2 + 1, ignored], axis=-1).astype(np.float16)


def naive_bilinear(maps: np.ndarray, factor: int) -> np.ndarray:
    """[h, w, d] enlarged with half-pixel centres and repeated borders, one value after the other."""
    height, width, _ = maps.shape
    result = np.zeros((height * factor, width * factor, maps.shape[2]))
    for y in range(height * factor):
        for x in range(width * factor):
            v = min(max((y + 0.5) / factor - 0.5, 0), height - 1)
            u = min(max((x + 0.5) / factor - 0.5, 0), width - 1)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            b, a = v - top, u - left
            result[y, x] = (1 - b) * ((1 - a) * maps[top, left] + a * maps[top, right]) + b * (
                (1 - a) * maps[bottom, left] + a * maps[bottom, right]
            )
    return result


def naive_label(embedding: np.ndarray) -> int:
    """Foreground if nearer in direction to the right than up; then the nearest part, counted from 1."""
    if embedding @ (0, 1) >= embedding @ (1, 0):
        return 0
    return 1 + int(np.argmin([np.linalg.norm(embedding - FAR), np.linalg.norm(embedding - NEAR)]))


def test_embeddings_are_interpolated_bilinearly():
    reduced = np.random.default_rng(0).standard_normal((3, 5, 4))
    finer = finer_embeddings(torch.from_numpy(reduced).float())

    assert finer.shape == (3 * FINER, 5 * FINER, 4)
    assert_same(finer, naive_bilinear(reduced, FINER), terms=4)


def test_a_token_of_each_kind_is_named():
    labels = [MODEL.label(tokens([[kind]])) for kind in (UP, NEAR, FAR)]
    assert [np.unique(label).tolist() for label in labels] == [[0], [2], [1]]
    assert all(label.shape == (FINER, FINER) for label in labels)
    assert labels[0].dtype == np.int32


def test_ids_are_decided_on_interpolated_embeddings():
    rng = np.random.default_rng(1)
    kinds = np.array([UP, NEAR, FAR])[rng.integers(0, 3, (4, 6))] + rng.uniform(-0.2, 0.2, (4, 6, 2))
    photo = tokens(kinds.tolist())
    embeddings = naive_bilinear((photo.astype(np.float64)[..., :2] - 1) * (1, 2), FINER)
    expected = np.array([[naive_label(e) for e in row] for row in embeddings])

    assert len(np.unique(expected)) == 3
    np.testing.assert_array_equal(MODEL.label(photo), expected)


def test_scores_are_minus_half_the_squared_distance_and_minus_infinity_in_the_background():
    photo = tokens([[UP, (1.5, 0.0)], [UP, (3.0, 0.5)]])
    labels, scores = MODEL.label_scored(photo)

    np.testing.assert_array_equal(labels, MODEL.label(photo))
    assert (scores[labels == 0] == -np.inf).all()
    assert scores[0, -1] == -0.125  # half a unit from NEAR
    assert scores[-1, -1] == -0.125  # half a unit from FAR
    assert scores.dtype == np.float32


def test_a_photo_without_foreground_is_all_background():
    labels, scores = MODEL.label_scored(tokens([[UP, UP]]))
    assert labels.tolist() == np.zeros((4, 8)).tolist()
    assert (scores == -np.inf).all()


def test_foreground_keeps_the_shape_of_the_embeddings():
    embeddings = torch.tensor([[[3.0, 0.0], [0.0, 3.0]], [[1.0, 2.0], [2.0, 1.0]]])
    assert MODEL.foreground(embeddings).tolist() == [[True, False], [False, True]]


def test_without_a_mixture_a_part_has_one_object_everywhere():
    assert MODEL.n_objects == 2
    for ids in ([[0, 1]], [[2, 2]], [[0]]):
        assert MODEL.object_table(np.array(ids, np.int32)).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [([[1, 1, 1, 2, 2, 0]], [0, 1, 1]), ([[2, 0, 0]], [0, 1, 2]), ([[1] + [2] * 9], [0, 1, 2])],
)
def test_with_a_mixture_the_parts_of_the_photo_decide(ids: list[list[int]], expected: list[int]):
    """Part 2 is all of the second object, and less than half of the first."""
    model = replace(MODEL, mixture=ObjectMixture(np.array([[0.6, 0.4], [0.0, 1.0]])))
    table = model.object_table(np.array(ids, np.int32))
    assert (table.dtype, table.tolist()) == (np.int64, expected)


def test_a_mixture_tells_the_number_of_objects():
    assert replace(MODEL, mixture=ObjectMixture(np.full((3, 2), 0.5))).n_objects == 3
