"""Photos of planted tokens: objects of two parts that lie side by side, on a ground; scores are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import confusion_matrix

from leopart.clustering.cooccurrence import CLEAN_OFFSETS, REFERENCE_OFFSETS, Cooccurrence
from leopart.clustering.enlarge import enlarged
from leopart.clustering.kmeans import KMeans
from leopart.evaluation.label_free import objects as module
from leopart.evaluation.label_free.foreground import Foreground, cluster_tokens, list_precisions
from leopart.evaluation.label_free.objects import (
    ForegroundPhotos,
    Tally,
    Truth,
    communities,
    count,
    fully_unsupervised,
    merged,
    part_tally,
)
from leopart.evaluation.label_free.published import PRESETS

SIDE, GRID, DIM = 20, 10, 16
GROUND, A1, A2, B1, B2, LONE = range(6)
CLASS_OF = np.array([0, 1, 1, 2, 2, 3])
SEED = replace(PRESETS["seed"], clusters=4)


def scene(rng: np.random.Generator, lone: bool) -> np.ndarray:
    """What each token shows, [GRID, GRID]: object A above, object B below, never side by side."""
    what = np.full((GRID, GRID), GROUND)
    for top, parts in ((0, (A1, A2)), (6, (B1, B2))):
        left = int(rng.integers(0, 3))
        what[top : top + 3, left : left + 3] = parts[0]
        what[top : top + 3, left + 3 : left + 5] = parts[1]
    if lone:
        what[0:3, 9] = LONE
    return what


def planted(lone: bool = False, photos: int = 6, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Tokens [GRID, GRID, DIM] of photos, and what they show. Parts of one object are a little alike."""
    rng = np.random.default_rng(seed)
    centres = 40 * rng.normal(size=(6, DIM))
    centres[A2], centres[B2] = (centres[part] + 8 * rng.normal(size=DIM) for part in (A1, B1))
    scenes = [scene(rng, lone) for _ in range(photos)]
    tokens = [(centres[s] + 0.1 * rng.normal(size=(*s.shape, DIM))).astype(np.float32) for s in scenes]
    return tokens, scenes


def foreground_photos(tokens, scenes, interpolation="nearest", threshold=0.4) -> ForegroundPhotos:
    """The whole extraction; the noisy masks are the truth."""
    clusters = cluster_tokens(tokens, n_clusters=30, dimensions=8)
    list_of = np.zeros(len(tokens), int)
    masks = [s != GROUND for s in scenes]
    precision = list_precisions(clusters.ids, masks, list_of, clusters.n_clusters, side=SIDE)
    foreground = Foreground(clusters.ids, precision >= threshold, list_of, SIDE)
    return ForegroundPhotos(tokens, clusters.reduction, foreground, interpolation)


def truth(scenes: list[np.ndarray]) -> list[np.ndarray]:
    return [np.kron(CLASS_OF[s], np.ones((2, 2), int)).astype(np.uint8) for s in scenes]


def test_planted_objects_are_found_in_each_row_of_the_table():
    tokens, scenes = planted()
    found = fully_unsupervised(
        foreground_photos(tokens, scenes),
        Truth(truth(scenes), 3, 0),
        SEED,
        engine="map-equation",
        seeds=(0, 1),
    )
    assert [matching.miou for matching in (*found.cbfe, *found.cd, found.upper_bound)] == [1] * 5
    assert found.edges == 2
    for modules in found.modules:
        assert modules.shape == (5,)
        assert sorted(modules[:4]) == [1, 1, 2, 2]
        assert modules[4] == 0


def test_a_cluster_beside_no_other_is_background():
    """Its class is lost, and its pixels count against background."""
    tokens, scenes = planted(lone=True)
    found = fully_unsupervised(
        foreground_photos(tokens, scenes),
        Truth(truth(scenes), 4, 0),
        replace(SEED, clusters=5),
        engine="map-equation",
        seeds=(0,),
    )
    labels = np.stack(truth(scenes))
    ground = (labels == 0).sum()
    (cd,) = found.cd
    assert (found.modules[0][:5] == 0).sum() == 1
    # Three objects are asked for and two are connected, so the engine may split one of them.
    np.testing.assert_allclose(cd.iou[[0, 3]], [ground / (ground + (labels == 3).sum()), 0])
    assert found.upper_bound.miou == 1  # it names the cluster itself


def test_photos_without_labels_are_clustered_and_not_scored():
    tokens, scenes = planted()
    wrong = [np.zeros_like(one) for one in truth(scenes)]
    labels = [*truth(scenes)[:4], None, None]
    photos = foreground_photos(tokens, scenes)
    found = fully_unsupervised(photos, Truth(labels, 3, 0), SEED, engine="map-equation", seeds=(0,))
    assert found.cd[0].miou == 1
    assert found.cd[0].true_positives.sum() == 4 * SIDE * SIDE
    bad = fully_unsupervised(
        photos, Truth([*labels[:4], *wrong[4:]], 3, 0), SEED, engine="map-equation", seeds=(0,)
    )
    assert bad.cd[0].miou < 1


def test_maps_show_the_classes_of_the_scored_photos():
    tokens, scenes = planted()
    shown = {}
    fully_unsupervised(
        foreground_photos(tokens, scenes),
        Truth([*truth(scenes)[:5], None], 3, 0),
        SEED,
        engine="map-equation",
        seeds=(0,),
        on_map=lambda name, index, rows: shown.update({(name, index): rows}),
    )
    assert sorted(shown) == [(name, index) for name in ("cbfe", "cd") for index in range(5)]
    for (_, index), rows in shown.items():
        np.testing.assert_array_equal(rows, truth(scenes)[index])


def test_nothing_foreground_and_no_other_class_are_errors():
    tokens, scenes = planted()
    nothing = foreground_photos(tokens, scenes, threshold=1.1)
    with pytest.raises(ValueError, match="nothing is foreground"):
        fully_unsupervised(nothing, Truth(truth(scenes), 3, 0), SEED, engine="map-equation")
    with pytest.raises(ValueError, match="no class besides background"):
        fully_unsupervised(nothing, Truth(truth(scenes), 1, 0), SEED, engine="map-equation")
    with pytest.raises(ValueError, match="labels of 2 photos were given for 6"):
        count(nothing, [], truth(scenes)[:2])


def test_only_the_foreground_has_embeddings_and_a_sample_is_of_those():
    tokens, scenes = planted()
    photos = foreground_photos(tokens, scenes, "bilinear")
    rows = []
    for index, s in enumerate(scenes):
        mask, embeddings = photos.embeddings(index)
        np.testing.assert_array_equal(mask, np.kron(s != GROUND, np.ones((2, 2), bool)))
        reduced = photos.reduction(torch.from_numpy(tokens[index]))
        np.testing.assert_array_equal(embeddings, enlarged(reduced, (SIDE, SIDE))[torch.from_numpy(mask)])
        rows += map(tuple, embeddings.tolist())
    sample = photos.sample(50)
    assert sample.shape == (50, 8)
    assert set(map(tuple, sample.tolist())) <= set(rows)
    assert sorted(map(tuple, photos.sample(10**6).tolist())) == sorted(rows)


class Ready(KMeans):
    """Embeddings that are cluster numbers already."""

    def assign(self, points: torch.Tensor) -> torch.Tensor:
        return points[:, 0].long()


def random_photos(k: int, photos: int = 4, seed: int = 0):
    """Ids 0 .. k of photos (k = background), labels of three classes and void."""
    rng = np.random.default_rng(seed)
    ids = [rng.integers(0, k + 1, (9, 9)) for _ in range(photos)]
    return ids, [rng.choice([0, 1, 2, 255], (9, 9)).astype(np.uint8) for _ in ids]


def tally_of(ids, labels, k: int, graph: Cooccurrence | None, classes: int = 3) -> Tally:
    tally = Tally(Ready(torch.zeros(k, 1), spherical=False, objective=0.0), classes, graph)
    for photo, of in zip(ids, labels, strict=True):
        mask = photo < k
        tally.add(mask, torch.from_numpy(photo[mask])[:, None].float(), of)
    return tally


def naive_conditional(ids, nodes: int, offsets) -> np.ndarray:
    """P(b | a), photo by photo and pixel by pixel; nodes from `nodes` on take no part."""
    total, photos = np.zeros((nodes, nodes)), np.zeros(nodes)
    for photo in ids:
        counts = np.zeros((nodes, nodes))
        for (y, x), a in np.ndenumerate(photo):
            for dy, dx in offsets:
                if 0 <= y + dy < 9 and 0 <= x + dx < 9:
                    b = photo[y + dy, x + dx]
                    if a != b and a < nodes and b < nodes:
                        counts[a, b] += 1
        for a in range(nodes):
            if counts[a].sum():
                total[a] += counts[a] / counts[a].sum()
                photos[a] += 1
    return total / np.maximum(photos, 1)[:, None]


@pytest.mark.parametrize("with_background", [False, True])
@pytest.mark.parametrize("offsets", [CLEAN_OFFSETS, REFERENCE_OFFSETS], ids=["clean", "reference"])
def test_what_is_counted_is_what_is_counted_pixel_by_pixel(with_background: bool, offsets):
    ids, labels = random_photos(5)
    graph = Cooccurrence(5 + with_background, offsets)
    tally = tally_of(ids, [labels[0], None, *labels[2:]], 5, graph)
    np.testing.assert_allclose(graph.conditional, naive_conditional(ids, 5 + with_background, offsets))
    scored = [0, 2, 3]
    expected = confusion_matrix(
        np.concatenate([labels[i].ravel() for i in scored]),
        np.concatenate([ids[i].ravel() for i in scored]),
        labels=[0, 1, 2, 3, 4, 5],
    )
    np.testing.assert_array_equal(tally.confusion.matrix, expected[:3])


@pytest.mark.parametrize(("steps", "nodes"), [((), 4), (("offsets",), 4), (("background",), 5)])
def test_the_graph_has_the_published_offsets_and_nodes(steps, nodes):
    tally = part_tally(torch.randn(200, 3), 3, replace(SEED, reference=steps))
    assert tally.graph.n_clusters == nodes
    expected = REFERENCE_OFFSETS if "offsets" in steps else CLEAN_OFFSETS
    np.testing.assert_array_equal(tally.graph.offsets, expected)


def striped(*stripes: int) -> np.ndarray:
    """Ids in rows, three pixels high each."""
    return np.repeat(np.array(stripes), 3)[:, None].repeat(9, 1)


@pytest.mark.parametrize("engine", ["map-equation", "infomap"])
def test_background_joins_an_object_only_where_it_is_a_node(engine: str):
    """0 and 1 side by side; 2 beside background alone."""
    if engine == "infomap":
        pytest.importorskip("infomap")
    ids, labels = [striped(0, 1, 3), striped(3, 2, 3)], [np.zeros((9, 9), np.uint8)] * 2
    without = communities(tally_of(ids, labels, 3, Cooccurrence(3), 2), SEED, engine=engine, seed=0)
    assert without.tolist() == [1, 1, 0, 0]
    alone = [striped(0, 1, 0), striped(3, 2, 3)]
    joined = communities(tally_of(alone, labels, 3, Cooccurrence(4)), SEED, engine=engine, seed=0)
    assert joined[2] == joined[3] > 0
    assert joined[0] == joined[1] != joined[2]


def test_edges_need_the_probability_both_ways():
    """0 lies beside 1 alone, 1 beside 2 mostly: P(0 | 1) is small."""
    ids = [striped(0, 1, 2), *[striped(2, 1, 2)] * 8]
    tally = tally_of(ids, [None] * 9, 3, Cooccurrence(3), 2)
    p = tally.graph.conditional[1, 0]
    options = {"engine": "map-equation", "seed": 0}
    assert communities(tally, replace(SEED, edge=p - 1e-6), **options).tolist() == [1, 1, 1, 0]
    assert communities(tally, replace(SEED, edge=p + 1e-6), **options).tolist() == [0, 1, 1, 0]


def test_the_engine_is_asked_as_published(monkeypatch: pytest.MonkeyPatch):
    asked = {}
    monkeypatch.setattr(
        module, "detect_communities", lambda edges, n, **options: asked.update(options) or np.zeros(n, int)
    )
    tally = tally_of(*random_photos(3), 3, Cooccurrence(3), 21)
    communities(tally, replace(SEED, markov_time=1.6), engine="infomap", seed=4)
    assert asked == {"engine": "infomap", "resolution": 1 / 1.6, "n_communities": 20, "seed": 4}


def test_communities_of_clusters_without_a_graph_are_an_error():
    tally = tally_of([], [], 3, None)
    with pytest.raises(ValueError, match="graph"):
        communities(tally, SEED, engine="map-equation", seed=0)


def test_a_merged_matrix_is_that_of_the_merged_ids():
    ids, labels = random_photos(6)
    modules = np.array([2, 0, 1, 1, 3, 2, 0])
    known = np.concatenate([one.ravel() for one in labels])
    joined = np.concatenate([modules[one].ravel() for one in ids])
    matrix = merged(tally_of(ids, labels, 6, None).confusion.matrix, modules)
    expected = [[((known == c) & (joined == m)).sum() for m in range(4)] for c in range(3)]
    assert matrix.tolist() == expected


def test_scores_are_those_of_ids_relabelled_and_matched_by_scipy():
    """Labels that follow the objects loosely: IoU from pixels, more communities than classes."""
    tokens, scenes = planted(lone=True)
    rng = np.random.default_rng(5)
    labels = [
        np.where(rng.random(t.shape) < 0.3, rng.choice([0, 1, 255], t.shape), t % 2) for t in truth(scenes)
    ]
    labels = [one.astype(np.uint8) for one in labels]
    photos = foreground_photos(tokens, scenes, "bilinear")
    recipe = replace(SEED, clusters=9)
    points = photos.pool(9)
    tally = part_tally(points, 2, recipe)
    count(photos, [tally], labels)
    found = fully_unsupervised(photos, Truth(labels, 2, 0), recipe, engine="map-equation", seeds=(1,))

    modules = found.modules[0]
    ids = np.stack([tally.ids(*photos.embeddings(index)) for index in range(len(photos))])
    joined, known = modules[ids], np.stack(labels)
    counted = known != 255
    iou = np.array(
        [
            [
                ((known == c) & (joined == m) & counted).sum()
                / max((((known == c) | (joined == m)) & counted).sum(), 1)
                for m in range(modules.max() + 1)
            ]
            for c in range(2)
        ]
    )
    classes, columns = linear_sum_assignment(-iou)
    name = np.zeros(modules.max() + 1, int)  # what is left over is background
    name[columns] = classes
    predicted = name[joined]
    expected = [
        ((known == c) & (predicted == c)).sum() / ((known == c) | ((predicted == c) & counted)).sum()
        for c in range(2)
    ]
    np.testing.assert_allclose(found.cd[0].iou, expected)
