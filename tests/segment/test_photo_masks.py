from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from leopart.config.method import FitSettings
from leopart.errors import LeopartError
from leopart.features.extract import Preprocessing
from leopart.features.store import FeatureRecipe, FeatureStore, StoredPhoto
from leopart.segment import saved
from leopart.segment.fit import Fit
from leopart.segment.fitting import fit_parts
from leopart.segment.part_model import FINER
from leopart.segment.photo_masks import PhotoMasks, photo_masks

#: The planted animals stand on ten by ten tokens; the third of three photos shows the second kind.
SETTINGS = FitSettings(n_parts=4, n_objects=2, objects_by="segments", least_confidence=-1)
PIXELS = np.zeros((80, 80, 3), np.uint8)


def masks_of(fit: Fit, tokens: np.ndarray, least: float = -1) -> PhotoMasks:
    return photo_masks(fit.model, tokens, PIXELS, refine=False, least_confidence=least)


@pytest.fixture
def fit(planted_store: FeatureStore) -> Fit:
    return fit_parts(planted_store, SETTINGS)


def test_each_animal_is_one_object_and_its_kind_has_one_id(planted_store, planted_truth, fit):
    found = []
    for photo in range(12):
        masks = masks_of(fit, planted_store.tokens_of(photo))
        animal = (planted_truth[photo] >= 2).repeat(8, 0).repeat(8, 1)
        assert np.unique(masks.objects[animal & (masks.parts > 0)]).size == 1
        found.append(int(masks.objects.max()))
        assert list(masks.confidence) == [found[-1]]
    assert found[0::3] == found[1::3] == [1] * 4, "two photos of three: the larger object"
    assert found[2::3] == [2] * 4


def test_membership_counts_whose_part_it_is(fit):
    assert fit.objects_by == "segments"
    assert fit.membership.cells.shape == (2, 4)
    assert ((fit.membership.cells > 0).sum(0) == 1).all(), "no part is in both kinds of animal"
    assert fit.membership.photos.max(1).tolist() == [8, 4]


def test_a_segment_that_is_not_sure_enough_is_no_object(planted_store, fit):
    tokens = planted_store.tokens_of(0)
    sure = masks_of(fit, tokens)
    (confidence,) = sure.confidence.values()
    for least, empty in ((confidence - 0.01, False), (confidence + 0.01, True)):
        masks = masks_of(fit, tokens, least)
        assert (not masks.objects.any()) == empty
        assert masks.confidence == sure.confidence
        np.testing.assert_array_equal(masks.parts, sure.parts)


def test_a_saved_segmenter_keeps_the_prototypes(planted_store, fit, tmp_path: Path):
    card = saved.Card("tiny_random", "f" * 64, Preprocessing(80), "fp32", 1, SETTINGS)
    saved.write(tmp_path, fit.model, card)
    read_card, read = saved.read(tmp_path)
    assert read_card == card
    for photo in range(12):
        tokens = planted_store.tokens_of(photo)
        wanted, got = (
            photo_masks(model, tokens, PIXELS, refine=False, least_confidence=-1)
            for model in (fit.model, read)
        )
        np.testing.assert_array_equal(wanted.objects, got.objects)


def test_without_a_segment_there_is_nothing_to_learn(planted_store):
    with pytest.raises(LeopartError, match="no photo has a region"):
        fit_parts(planted_store, replace(SETTINGS, least_confidence=1))


def texture(folder: Path) -> FeatureStore:
    """Twenty photos of a large pattern and a small one anywhere, with attention on the small one."""
    rng = np.random.default_rng(0)
    vectors = 6 * np.linalg.qr(rng.standard_normal((16, 4)))[0].T
    recipe = FeatureRecipe("texture", "0", 16, 2, {"size": 10, "keep_aspect": False}, "fp32")
    store = FeatureStore.open(folder, recipe, [StoredPhoto(f"{i}.jpg", 1, 1, 10, 10) for i in range(20)])
    for photo in range(20):
        parts = rng.choice(4, (10, 10), p=[0.4, 0.4, 0.1, 0.1])
        tokens = vectors[parts] + 0.05 * rng.standard_normal((10, 10, 16))
        attention = np.where(parts >= 2, 1.0, 0.1) * np.ones((2, 1, 1))
        store.put(photo, tokens.astype(np.float16), attention.astype(np.float32))
    return store


def test_texture_is_segmented_as_a_whole(tmp_path: Path):
    fit = fit_parts(texture(tmp_path / "texture"), FitSettings(n_parts=4))
    assert fit.kind.name == "texture"
    assert fit.threshold is None
    assert fit.objects_by == "similarity"
    assert fit.survey.pixels.sum() == fit.survey.cells == 20 * (10 * FINER) ** 2
    assert (fit.model.object_of_part[1:] > 0).all()


def test_a_threshold_of_the_users_own_is_kept_whatever_the_photos_show(tmp_path: Path):
    fit = fit_parts(texture(tmp_path / "texture"), FitSettings(n_parts=4, foreground=0.5))
    assert fit.kind is None
    assert fit.threshold == 0.5
    assert 0 < fit.survey.pixels.sum() < fit.survey.cells
