from __future__ import annotations

import copy
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from leopart.clustering.suitability import Suitability
from leopart.data.photos import Photo, find_photos
from leopart.errors import LeopartError
from leopart.features.extract import Extractor, Preprocessing
from leopart.models.backbone import Backbone
from leopart.segment.adapting import AUTO_PHOTOS, AdaptationRequest, adapt_backbone, minutes_of
from leopart.segment.judging import Judgement
from leopart.segment.learning import Learned, Workspace, learn
from leopart.segment.segmenter import Segmenter
from leopart.training import adaptation

CUDA = torch.device("cuda", 0)


def make(backbone: Backbone | Path, **options: object) -> Segmenter:
    settings = {"n_parts": 6, "n_objects": 2, "communities": "map-equation", "size": 64, "precision": "fp32"}
    return Segmenter(backbone, device="cpu", **(settings | options))


def learn_on(
    backbone: Backbone,
    photos: list[Photo],
    folder: Path,
    minutes: float | None = None,
    attention_of: Backbone | None = None,
    keep: bool = False,
) -> Learned:
    """What is learned with the settings of `make`, features kept in the folder."""
    extractor = Extractor(backbone, Preprocessing(64), precision="fp32", attention_of=attention_of)
    workspace = Workspace(folder, folder.with_name(f"{folder.name}-adaptation"))
    asked = None if minutes is None else AdaptationRequest(minutes, keep=keep)
    return learn(extractor, photos, make(backbone).settings, workspace, adaptation=asked)


@pytest.fixture
def resnet(tiny_backbone: Backbone) -> SimpleNamespace:
    """What is asked of a ResNet before anything is done with it."""
    spec = replace(tiny_backbone.spec, name="tiny_resnet", architecture="resnet50")
    return SimpleNamespace(name=spec.name, spec=spec, parameters=tiny_backbone.parameters)


@pytest.mark.parametrize(
    ("wanted", "photos", "minutes"),
    [
        ("auto", AUTO_PHOTOS - 1, None),
        ("auto", AUTO_PHOTOS, 10),
        (True, 1, 10),
        (False, 10**6, None),
        (2.5, 1, 2.5),
        (1.0, 10**6, 1),
    ],
)
def test_minutes_are_those_asked_for_and_auto_looks_at_the_number_of_photos(
    tiny_backbone: Backbone, wanted: object, photos: int, minutes: float | None
):
    assert minutes_of(wanted, photos, tiny_backbone) == minutes


def test_a_gpu_needs_half_as_many_minutes(tiny_backbone: Backbone):
    there = SimpleNamespace(spec=tiny_backbone.spec, parameters=lambda: iter([SimpleNamespace(device=CUDA)]))
    assert minutes_of(True, 1, there) == minutes_of("auto", AUTO_PHOTOS, there) == 5


def test_auto_leaves_a_resnet_alone_and_asked_for_it_is_refused(resnet: SimpleNamespace):
    assert minutes_of("auto", 10**6, resnet) is None
    for wanted in (True, 3.0):
        with pytest.raises(LeopartError, match="tiny_resnet is a ResNet, and only vision transformers can"):
            minutes_of(wanted, 10**6, resnet)


@pytest.mark.parametrize("minutes", [0, -1, math.nan, math.inf])
def test_minutes_that_make_no_sense_are_refused(tiny_backbone: Backbone, photo_folder: Path, minutes: float):
    with pytest.raises(LeopartError, match="minutes to adapt must be above 0, got"):
        make(tiny_backbone, adapt=minutes).fit(photo_folder)


def test_a_resnet_is_refused_by_fit_as_well(resnet: SimpleNamespace, tmp_path: Path, photo_folder: Path):
    with pytest.raises(LeopartError, match="tiny_resnet is a ResNet"):
        adapt_backbone(resnet, find_photos([photo_folder]), tmp_path / "state", minutes=1, seed=0)
    assert not (tmp_path / "state").exists()


@pytest.mark.usefixtures("short_adaptation")
def test_fit_adapts_a_copy_and_the_segmenter_can_be_saved_moved_and_saved_again(
    tiny_backbone: Backbone, photo_folder: Path, tmp_path: Path
):
    before = {name: value.clone() for name, value in tiny_backbone.state_dict().items()}
    segmenter = make(tiny_backbone, adapt=1).fit(photo_folder)
    photo = photo_folder / "0.png"
    masks = segmenter.predict(photo)

    assert segmenter.backbone is tiny_backbone
    assert segmenter.extractor.backbone.name == "tiny_random+adapted"
    assert segmenter.adapted_
    assert all(torch.equal(value, before[name]) for name, value in tiny_backbone.state_dict().items())
    assert not np.array_equal(masks.parts, make(tiny_backbone).fit(photo_folder).predict(photo).parts)

    segmenter.save(tmp_path / "first")
    moved = shutil.move(tmp_path / "first", tmp_path / "moved")
    loaded = Segmenter.load(moved, device="cpu")
    loaded.save(tmp_path / "second")
    shutil.rmtree(moved)
    for found in (loaded, Segmenter.load(tmp_path / "second", device="cpu")):
        assert np.array_equal(found.predict(photo).parts, masks.parts)
        assert found.extractor.backbone.fingerprint == segmenter.extractor.backbone.fingerprint


@pytest.mark.usefixtures("short_adaptation")
def test_the_attention_is_that_of_the_network_before_it_was_adapted(
    tiny_backbone: Backbone, photo_folder: Path, tmp_path: Path
):
    photos = find_photos([photo_folder])
    learned = learn_on(tiny_backbone, photos, tmp_path / "both", minutes=1)
    store, own_extractor = learned.store, learned.extractor
    start = learn_on(tiny_backbone, photos, tmp_path / "start").store
    own, _ = own_extractor.extract(photos, tmp_path / "own")

    assert np.array_equal(store.attention, start.attention)
    assert np.array_equal(store.tokens, own.tokens)
    assert not np.array_equal(own.attention, start.attention)
    with pytest.raises(LeopartError, match="preprocessing differ"):  # kept features are not mixed up
        own_extractor.extract(photos, tmp_path / "both")


@pytest.mark.usefixtures("short_adaptation")
def test_a_saved_segmenter_knows_whose_attention_it_was(
    tiny_weights: Path, photo_folder: Path, tmp_path: Path
):
    photos = find_photos([photo_folder])
    segmenter = make(tiny_weights, adapt=1).fit(photo_folder)
    segmenter.save(tmp_path / "first")
    loaded = Segmenter.load(tmp_path / "first", device="cpu")
    loaded.save(tmp_path / "second")
    for folder in ("first", "second"):
        again = Segmenter.load(tmp_path / folder, device="cpu")
        assert again.attention_backbone_ == str(tiny_weights)
        refitted = again.fit(photo_folder)
        assert np.array_equal(refitted.predict(photos[0].path).parts, segmenter.predict(photos[0].path).parts)
    assert loaded.predict(photos[0].path).parts.any()


def test_the_attention_can_be_another_networks_whose_labels_are_told(
    tiny_backbone: Backbone, photo_folder: Path, tmp_path: Path
):
    photos, other = find_photos([photo_folder]), copy.deepcopy(tiny_backbone)
    with torch.no_grad():
        next(other.parameters()).add_(0.5)
    other.fingerprint, other.spec = "f" * 64, replace(other.spec, labels="classes of somewhere")
    learned = learn_on(tiny_backbone, photos, tmp_path / "both", attention_of=other)
    looked = learn_on(other, photos, tmp_path / "other").store

    assert np.array_equal(learned.store.attention, looked.attention)
    assert not np.array_equal(learned.store.tokens, looked.tokens)
    assert learned.labels == "classes of somewhere"
    segmenter = make(tiny_backbone, attention_backbone=other).fit(photo_folder)
    assert segmenter.labels_used_ == learned.labels
    segmenter.save(tmp_path / "segmenter")
    assert (
        Segmenter.load(tmp_path / "segmenter", device="cpu", backbone=tiny_backbone).labels_used_
        == segmenter.labels_used_
    )


@pytest.mark.usefixtures("short_adaptation")
def test_a_second_fit_starts_from_the_same_network(tiny_backbone: Backbone, photo_folder: Path):
    segmenter = make(tiny_backbone, adapt=1).fit(photo_folder)
    first = segmenter.extractor.backbone.fingerprint

    for _ in range(2):
        assert segmenter.fit(photo_folder).extractor.backbone.fingerprint == first
    assert segmenter.set_params(adapt=None).fit(photo_folder).extractor.backbone is tiny_backbone


@pytest.mark.usefixtures("short_adaptation")
def test_the_network_can_be_given_from_elsewhere_and_is_checked(
    tiny_backbone: Backbone, photo_folder: Path, tmp_path: Path
):
    segmenter = make(tiny_backbone, adapt=1).fit(photo_folder)
    segmenter.save(tmp_path / "segmenter")
    shutil.move(tmp_path / "segmenter" / "backbone.safetensors", tmp_path / "backbone.safetensors")
    shutil.move(tmp_path / "segmenter" / "backbone.json", tmp_path / "backbone.json")

    with pytest.raises(LeopartError, match=r"backbone\.safetensors is missing: the segmenter is not whole"):
        Segmenter.load(tmp_path / "segmenter", device="cpu")
    loaded = Segmenter.load(tmp_path / "segmenter", backbone=tmp_path, device="cpu")
    loaded.save(tmp_path / "again")
    card = json.loads((tmp_path / "again" / "segmenter.json").read_text())
    assert card["backbone"] == str((tmp_path / "backbone.safetensors").resolve())
    with pytest.raises(LeopartError, match="was fitted on other weights than this"):
        Segmenter.load(tmp_path / "segmenter", backbone=tiny_backbone, device="cpu")


@pytest.mark.usefixtures("short_adaptation")
def test_an_interruption_ends_fit_as_well(tiny_backbone: Backbone, photo_folder: Path, monkeypatch):
    real = adaptation.fit
    monkeypatch.setattr(adaptation, "fit", lambda *a, **k: replace(real(*a, **k), interrupted=True))
    segmenter = make(tiny_backbone, adapt=1)
    with pytest.raises(KeyboardInterrupt):
        segmenter.fit(photo_folder)
    assert not hasattr(segmenter, "model_")


def test_another_seed_adapts_otherwise(
    tiny_backbone: Backbone, photo_folder: Path, tmp_path: Path, short_adaptation: None
):
    photos = find_photos([photo_folder])
    prints = [
        adapt_backbone(tiny_backbone, photos, tmp_path / str(n), minutes=1, seed=seed).backbone.fingerprint
        for n, seed in enumerate((0, 0, 1))
    ]
    assert prints[0] == prints[1] != prints[2]


# --- keep or revert -------------------------------------------------------------------------------------


def judge_as(monkeypatch: pytest.MonkeyPatch, before: float, after: float) -> None:
    """Let the adapted network have this gain, and the start that."""

    def judged(backbone: Backbone, *_: object) -> Suitability:
        return Suitability(0.1, after if backbone.name.endswith("+adapted") else before)

    monkeypatch.setattr("leopart.segment.learning.judged", judged)


@pytest.mark.parametrize(
    ("after", "keep", "uses"),
    [(0.6, False, True), (0.5, False, False), (0.4, False, False), (0.4, True, True)],
)
@pytest.mark.usefixtures("short_adaptation")
def test_a_network_that_is_no_better_is_not_used_unless_asked_for(
    tiny_backbone: Backbone, photo_folder: Path, tmp_path: Path, monkeypatch, after, keep, uses
):
    judge_as(monkeypatch, 0.5, after)
    photos = find_photos([photo_folder])
    learned = learn_on(tiny_backbone, photos, tmp_path / "both", minutes=1, keep=keep)
    assert learned.uses_adapted == uses
    assert learned.extractor.backbone.name.endswith("+adapted") == uses
    assert learned.judgement.improved == (after > 0.5)
    learned.save(tmp_path / "segmenter")
    assert (tmp_path / "segmenter" / "backbone.safetensors").is_file() == uses
    if not uses:
        plain = learn_on(tiny_backbone, photos, tmp_path / "plain")
        assert torch.equal(learned.fit.model.parts.centroids, plain.fit.model.parts.centroids)


@pytest.mark.usefixtures("short_adaptation")
def test_where_nothing_can_be_measured_the_adapted_network_is_used(
    tiny_backbone: Backbone, photo_folder: Path, tmp_path: Path
):
    learned = learn_on(tiny_backbone, find_photos([photo_folder])[:3], tmp_path / "few", minutes=1)
    assert learned.judgement.before is None
    assert learned.judgement.improved is None
    assert learned.uses_adapted


def test_the_gain_decides_and_the_stability_where_there_is_none():
    good, bad = Suitability(stability=0.1, gain=0.6), Suitability(stability=0.9, gain=0.5)
    assert Judgement(before=bad, after=good).improved
    assert not Judgement(before=good, after=bad).improved
    assert not Judgement(before=good, after=good).improved
    unknown = replace(bad, gain=math.nan)
    assert Judgement(before=good, after=unknown).improved
    assert not Judgement(before=unknown, after=good).improved
