from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from leopart.clustering.contexts import ObjectMixture, fit_mixture
from leopart.clustering.kmeans import KMeans, kmeans
from leopart.clustering.scenes import scene_groups
from leopart.config.method import FitSettings
from leopart.errors import LeopartError
from leopart.features.store import FeatureRecipe, FeatureStore, StoredPhoto
from leopart.segment import fitting
from leopart.segment.fit import Fit
from leopart.segment.fitting import fit_parts
from leopart.segment.part_model import FINER

SETTINGS = FitSettings(n_parts=4, n_objects=2, communities="map-equation", contexts=True)
HEAD, GRID = 2, 10  # parts of animals start at 2; photos have 10 x 10 tokens


Found = Callable[[Fit], list[set[int]]]


@pytest.fixture
def found(planted_store: FeatureStore, planted_truth: np.ndarray) -> Found:
    """For each planted part, the ids that a fit gives to its cells; cells on borders mix tokens: left out."""
    around = np.lib.stride_tricks.sliding_window_view(planted_truth, (3, 3), axis=(1, 2))
    inner = np.zeros(planted_truth.shape, bool)
    inner[:, 1:-1, 1:-1] = around.max((3, 4)) == around.min((3, 4))
    cells = np.ones((1, FINER, FINER), bool)

    def ids(fit: Fit) -> list[set[int]]:
        labels = np.stack([fit.model.label(planted_store.tokens_of(photo)) for photo in range(12)])
        return [set(labels[np.kron(inner & (planted_truth == part), cells)].tolist()) for part in range(6)]

    return ids


@pytest.mark.parametrize("seed", range(3))
def test_planted_parts_objects_and_background_are_found(planted_store, found: Found, seed: int):
    fit = fit_parts(planted_store, replace(SETTINGS, seed=seed))
    *ground, (head,), (body,), (top,), (bottom,) = found(fit)

    assert ground == [{0}, {0}]
    assert {head, body, top, bottom} == {1, 2, 3, 4}
    objects = fit.model.object_of_part
    assert objects[head] == objects[body] == 1  # the first animal covers more
    assert objects[top] == objects[bottom] == 2
    assert objects[0] == 0


def test_numbers_of_parts_and_objects_are_found_without_being_given(
    planted_store: FeatureStore, planted_truth: np.ndarray, found: Found
):
    fit = fit_parts(planted_store, replace(SETTINGS, n_parts=None, n_objects=None))
    objects = [{int(fit.model.object_of_part[i]) for i in ids} for ids in found(fit)]

    assert objects[0] == objects[1] == {0}
    assert not (objects[2] | objects[3]) & (objects[4] | objects[5])
    n_tokens = (planted_truth >= HEAD).sum()
    assert len(fit.model.parts.centroids) == pytest.approx(np.sqrt(n_tokens / 2), abs=2)
    assert fit.communities.curve


def test_the_number_of_parts_is_the_one_that_tells_most(planted_store: FeatureStore, monkeypatch):
    """Four parts are planted: two would mix the animals, and one half could not tell about the other."""
    monkeypatch.setattr("leopart.segment.fitting._PARTS", (2, 4, 8))
    free = replace(SETTINGS, n_parts=None, n_objects=None, contexts=True)
    fit = fit_parts(planted_store, free)
    curve = dict(fit.parts_curve)

    assert fit.survey.n_parts in curve
    assert {4, 8} <= set(curve)
    assert curve[fit.survey.n_parts] == pytest.approx(max(curve.values()), abs=0.1)
    assert curve.get(2, -1.0) < curve[4]  # 2 parts form one object, or tell less
    assert fit.survey.n_parts == 4
    assert fit_parts(planted_store, replace(free, n_parts=4)).parts_curve == ()
    assert fit_parts(planted_store, replace(free, contexts=False)).parts_curve == ()


def test_the_stable_number_is_not_looked_for_where_the_prediction_decides(
    planted_store: FeatureStore, monkeypatch
):
    free = replace(SETTINGS, n_objects=None)
    looked: list[int] = []
    stable = fitting.find_objects

    def find_objects(folds, **options):
        looked.append(len(folds))
        return stable(folds, **options)

    monkeypatch.setattr(fitting, "find_objects", find_objects)
    quick = fit_parts(planted_store, free)
    assert looked == []
    monkeypatch.setattr(fitting, "numbers_of_objects", lambda *_, **__: (None, [1, 2]))  # 1 has no contexts
    slow = fit_parts(planted_store, free)
    assert len(looked) == 1
    assert quick.communities.criterion == slow.communities.criterion == "prediction"
    np.testing.assert_array_equal(quick.model.object_of_part, slow.model.object_of_part)
    np.testing.assert_array_equal(quick.communities.edges, slow.communities.edges)
    assert quick.communities.curve == slow.communities.curve


def test_the_survey_counts_what_the_model_labels(planted_store: FeatureStore):
    fit = fit_parts(planted_store, SETTINGS)
    labels = np.stack([fit.model.label(planted_store.tokens_of(photo)) for photo in range(12)])

    assert fit.survey.cells == labels.size
    assert fit.survey.pixels.tolist() == [(labels == part).sum() for part in range(1, 5)]
    assert fit.survey.photos.tolist() == [(labels == part).any((1, 2)).sum() for part in range(1, 5)]
    for part in range(4):
        patches = fit.survey.best_patches(part)
        assert len(patches) == min(8, fit.survey.photos[part])
        for patch in patches:
            cell = int(patch.y * GRID * FINER), int(patch.x * GRID * FINER)
            assert labels[patch.photo][cell] == part + 1


@pytest.mark.parametrize("n_parts", [4, 9])
def test_parts_are_numbered_by_object_and_area_and_objects_by_area(planted_store: FeatureStore, n_parts: int):
    fit = fit_parts(planted_store, replace(SETTINGS, n_parts=n_parts))
    objects, area = fit.model.object_of_part[1:], fit.survey.pixels

    assert np.array_equal(objects, fit.communities.object_of_part)
    keys = [(o if o else 99, -a) for o, a in zip(objects.tolist(), area.tolist(), strict=True)]
    assert keys == sorted(keys)
    object_areas = [area[objects == number].sum() for number in range(1, objects.max() + 1)]
    assert object_areas == sorted(object_areas, reverse=True)
    assert min(object_areas) > 0


def test_the_graph_joins_parts_under_their_final_numbers(planted_store: FeatureStore):
    fit = fit_parts(planted_store, SETTINGS)
    pairs = {(int(a), int(b)) for a, b, _ in fit.communities.edges}
    assert pairs == {(0, 1), (2, 3)}  # parts of the two animals are never neighbours


def vehicles(folder: Path) -> tuple[FeatureStore, np.ndarray]:
    """Twelve photos of a window over a door over wheels: eight of cars, four of buses, with the same wheels.

    Returns:
        The store, and which part each token shows: 0 ground, 1 wheel, 2 and 3 of cars, 4 and 5 of buses.
    """
    rng = np.random.default_rng(0)
    vectors = 6 * np.linalg.qr(rng.standard_normal((16, 6)))[0].T
    recipe = FeatureRecipe("planted", "0", 16, 2, {"size": 10, "keep_aspect": False}, "fp32")
    entries = [StoredPhoto(f"{photo}.jpg", 1, 1, GRID, GRID) for photo in range(12)]
    store = FeatureStore.open(folder, recipe, entries)
    truth = np.zeros((12, GRID, GRID), int)
    for photo, parts in enumerate(truth):
        window, door = (2, 3) if photo % 3 else (4, 5)
        left = 1 + photo % 2
        parts[1:4, left : left + 7], parts[4:7, left : left + 7], parts[7:9, left : left + 7] = (
            window,
            door,
            1,
        )
        tokens = vectors[parts] + 0.05 * rng.standard_normal((GRID, GRID, 16))
        attention = np.where(parts, 1.0, 0.3) * rng.uniform(0.9, 1.1, (2, GRID, GRID))
        store.put(photo, tokens.astype(np.float16), attention.astype(np.float32))
    return store, truth


@pytest.mark.parametrize("contexts", [True, False])
def test_objects_that_never_meet_are_scenes_of_their_own(planted_store: FeatureStore, contexts: bool):
    fit = fit_parts(planted_store, replace(SETTINGS, contexts=contexts))
    assert fit.model.scene_of_object.tolist() == [1, 2]
    assert fit.model.scenes == {1: [1], 2: [2]}


@pytest.mark.parametrize("contexts", [True, False])
def test_objects_beside_each_other_are_one_scene(tmp_path: Path, contexts: bool):
    """Every part an object; cars and buses have the wheels between them."""
    store, _ = vehicles(tmp_path / "vehicles")
    fit = fit_parts(store, replace(SETTINGS, n_parts=5, n_objects=5, contexts=contexts, foreground=0.6))
    groups, objects = fit.model.scene_of_object, fit.communities.object_of_part
    assert len(groups) == fit.model.n_objects > 1
    area = np.array([fit.survey.pixels[objects == number].sum() for number in range(1, len(groups) + 1)])
    if fit.membership is not None:
        area = fit.membership.cells.sum(1)
    wanted = scene_groups(fit.communities.edges, objects, area, engine="map-equation", seed=0)
    assert groups.tolist() == wanted.tolist()
    assert len(set(groups)) < len(groups)


@pytest.mark.parametrize(("photos", "wanted"), [(19, False), (20, True), (500, True)])
def test_contexts_need_ten_photos_an_object(photos: int, wanted: bool):
    settings = replace(SETTINGS, contexts="auto")
    assert fitting._wants_contexts(settings, photos, 2) is wanted
    assert not fitting._wants_contexts(settings, photos, 1)
    assert fitting._wants_contexts(replace(settings, contexts=True), 2, 2)
    assert not fitting._wants_contexts(replace(settings, contexts=False), 500, 2)


def test_the_same_wheels_are_a_cars_here_and_a_buss_there(tmp_path: Path):
    store, truth = vehicles(tmp_path / "vehicles")
    settings = replace(SETTINGS, n_parts=5, foreground=0.6)
    fit = fit_parts(store, settings)
    cells = np.ones((FINER, FINER), bool)
    wheels = set()
    for photo in range(12):
        ids = fit.model.label(store.tokens_of(photo))
        own = np.kron(truth[photo] > 0, cells)
        objects = fit.model.object_table(ids)[ids]
        assert set(objects[own & (ids > 0)]) == {1 if photo % 3 else 2}
        wheels |= set(ids[np.kron(truth[photo] == 1, cells) & own])

    shared = [int(part) + 1 for part in fit.membership.shared]
    assert len(shared) == 1
    assert shared[0] in wheels
    assert sorted(fit.membership.photos[:, shared[0] - 1]) == [4, 8]
    for contexts in (False, "auto"):  # 12 photos are too few for two objects
        alone = fit_parts(store, replace(settings, contexts=contexts))
        assert alone.model.mixture is alone.membership is None
    tables = [alone.model.object_table(alone.model.label(store.tokens_of(photo))) for photo in range(12)]
    assert all(table is alone.model.object_of_part for table in tables)


@pytest.mark.parametrize("n_parts", [6, 12])
def test_objects_and_parts_are_numbered_by_what_they_have_in_the_photos(tmp_path: Path, n_parts: int):
    store, _ = vehicles(tmp_path / "vehicles")
    fit = fit_parts(store, replace(SETTINGS, n_parts=n_parts, n_objects=None))
    model, n_objects = fit.model, fit.model.n_objects
    cells, photos = np.zeros((2, n_objects, n_parts), int)
    for photo in range(12):
        ids = model.label(store.tokens_of(photo))
        table = model.object_table(ids)
        for part in range(1, n_parts + 1):
            count = int((ids == part).sum())
            cells[table[part] - 1, part - 1] += count
            photos[table[part] - 1, part - 1] += count > 0

    np.testing.assert_array_equal(fit.membership.cells, cells)
    np.testing.assert_array_equal(fit.membership.photos, photos)
    np.testing.assert_array_equal(model.object_of_part[1:], 1 + cells.argmax(0))
    assert (np.diff(cells.sum(1)) <= 0).all()
    assert cells.sum(1).min() > 0
    keys = list(zip(model.object_of_part[1:].tolist(), (-fit.survey.pixels).tolist(), strict=True))
    assert keys == sorted(keys)


def test_objects_that_no_photo_shows_any_more_are_left_out(planted_store: FeatureStore, monkeypatch):
    def with_another(counts: np.ndarray, communities: np.ndarray) -> ObjectMixture:
        rows = fit_mixture(counts, communities).parts_of_object
        return ObjectMixture(np.insert(rows, 1, rows[0], axis=0))  # of equal ones, the lowest is taken

    monkeypatch.setattr(fitting, "fit_mixture", with_another)
    fit = fit_parts(planted_store, SETTINGS)
    assert fit.model.n_objects == fit.model.object_of_part.max() == 2
    assert fit.membership.cells.any(1).all()


def test_a_single_object_needs_no_contexts(tmp_path: Path):
    store, _ = vehicles(tmp_path / "vehicles")
    fit = fit_parts(store, replace(SETTINGS, n_parts=5, n_objects=1))
    assert fit.model.n_objects == 1
    assert fit.model.mixture is fit.membership is None


def test_auto_takes_the_cut_that_separates_animals_from_ground(
    planted_store: FeatureStore, planted_truth: np.ndarray
):
    fit = fit_parts(planted_store, SETTINGS)
    assert fit.threshold == fit.cut.threshold
    assert 0.3 < fit.threshold <= 1
    share = fit.survey.pixels.sum() / fit.survey.cells
    assert share == pytest.approx((planted_truth >= HEAD).mean(), abs=0.05)


def test_a_threshold_of_the_users_own_is_kept(planted_store: FeatureStore, found: Found):
    fit = fit_parts(planted_store, replace(SETTINGS, foreground=0.4))
    assert fit.threshold == 0.4
    assert found(fit)[:2] == [{0}, {0}]
    everything = fit_parts(planted_store, replace(SETTINGS, foreground=0.0))
    assert everything.survey.pixels.sum() == everything.survey.cells


def test_none_makes_everything_foreground(planted_store: FeatureStore, found: Found):
    fit = fit_parts(planted_store, replace(SETTINGS, foreground="none", n_parts=6))

    assert fit.cut is None
    assert fit.threshold is None
    assert fit.survey.pixels.sum() == fit.survey.cells
    assert sorted(found(fit), key=min) == [{1}, {2}, {3}, {4}, {5}, {6}]


def test_a_threshold_that_no_cluster_reaches_is_told(planted_store: FeatureStore):
    planted_store.attention[:] = 0
    with pytest.raises(LeopartError, match=r"precision 0\.3 \(the best has 0\.00\): lower --foreground"):
        fit_parts(planted_store, replace(SETTINGS, foreground=0.3))


def test_without_attention_everything_is_foreground(planted_store: FeatureStore):
    planted_store.attention[:] = 0
    fit = fit_parts(planted_store, SETTINGS)
    assert fit.threshold == 0
    assert fit.survey.pixels.sum() == fit.survey.cells


def test_more_parts_than_points_are_lowered(tmp_path: Path, planted_store: FeatureStore):
    store = FeatureStore.open(tmp_path / "small", planted_store.recipe, [StoredPhoto("a", 1, 1, 2, 3)])
    store.put(0, planted_store.tokens_of(0)[:2, 4:7], planted_store.attention_of(0)[:, :2, 4:7])
    fit = fit_parts(store, replace(SETTINGS, n_parts=500, foreground="none"))

    n_parts = len(fit.model.parts.centroids)
    assert 6 < n_parts <= 6 * FINER**2  # interpolation repeats some embeddings, at the corners at least
    assert (fit.survey.pixels > 0).all(), "every part is seen somewhere"
    assert len(fit.model.object_of_part) == n_parts + 1


def test_photos_that_are_not_done_take_no_part(planted_store: FeatureStore):
    some = [0, 2, 3, 5, 8]
    fit = fit_parts(_only(planted_store, some), SETTINGS)
    assert fit.survey.cells == len(some) * (GRID * FINER) ** 2
    assert {patch.photo for part in range(4) for patch in fit.survey.best_patches(part)} <= set(some)


def test_a_store_without_a_photo_is_refused(planted_store: FeatureStore):
    with pytest.raises(LeopartError, match="none of the photos could be used"):
        fit_parts(_only(planted_store, []), SETTINGS)


def test_an_engine_that_is_not_installed_is_refused_before_any_work(planted_store, monkeypatch):
    monkeypatch.setattr("leopart.clustering.communities.find_spec", lambda _: None)

    def no_work(items: Iterable, total: int, title: str) -> Iterable:
        raise AssertionError(title)

    with pytest.raises(LeopartError, match="Infomap is not installed"):
        fit_parts(planted_store, replace(SETTINGS, communities="infomap"), track=no_work)


def test_the_same_seed_gives_the_same_fit_and_another_seed_another(planted_store: FeatureStore):
    first, again, other = (
        fit_parts(planted_store, replace(SETTINGS, n_parts=9, seed=seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first.model.parts.centroids, again.model.parts.centroids)
    assert np.array_equal(first.model.object_of_part, again.model.object_of_part)
    assert not np.array_equal(first.model.parts.centroids, other.model.parts.centroids)


def test_a_sample_of_the_tokens_gives_the_planted_parts_too(planted_store, found: Found, monkeypatch):
    monkeypatch.setattr(fitting, "_SAMPLE", 500)
    monkeypatch.setattr(fitting, "_POINTS_PER_CENTROID", 60)
    taken = []

    def counted(points: Tensor, *args: int, **options: int) -> KMeans:
        taken.append(len(points))
        return kmeans(points, *args, **options)

    monkeypatch.setattr(fitting, "kmeans", counted)
    fit = fit_parts(planted_store, SETTINGS)

    assert taken[0] == pytest.approx(500, abs=100)
    assert taken[1] == pytest.approx(240, abs=80)
    *ground, head, body, top, bottom = found(fit)
    assert ground == [{0}, {0}]
    assert head | body | top | bottom == {1, 2, 3, 4}


def test_every_pass_tells_its_progress(planted_store: FeatureStore):
    told = []

    def track(items: Iterable, total: int, title: str) -> Iterable:
        items = list(items)
        told.append((title, len(items), total))
        return items

    fit_parts(planted_store, SETTINGS, track=track)
    assert told == [
        ("k-means", 5, 5),
        ("foreground", 12, 12),
        ("sampling", 12, 12),
        ("k-means", 5, 5),
        ("parts", 12, 12),
    ]


def _only(store: FeatureStore, photos: list[int]) -> FeatureStore:
    done = np.zeros(len(store), np.uint8)
    done[photos] = 1
    store.done = done
    return store


@pytest.mark.parametrize("shape", [(1, 1), (1, 5)])
@pytest.mark.parametrize("foreground", ["auto", "none"])
def test_a_single_photo_of_a_few_equal_tokens_is_fitted(tmp_path: Path, planted_store, shape, foreground):
    store = FeatureStore.open(tmp_path / "one", planted_store.recipe, [StoredPhoto("a", 1, 1, *shape)])
    store.put(0, np.ones((*shape, 16), np.float16), np.full((2, *shape), 0.1, np.float32))
    fit = fit_parts(store, FitSettings(foreground=foreground))

    labels = fit.model.label(store.tokens_of(0))
    assert labels.shape == (shape[0] * FINER, shape[1] * FINER)
    assert len(np.unique(labels)) == 1
    assert len(fit.model.object_of_part) == len(fit.model.parts.centroids) + 1
