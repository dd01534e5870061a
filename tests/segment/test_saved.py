from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from leopart.clustering.contexts import ObjectMixture
from leopart.config.method import FitSettings
from leopart.errors import LeopartError
from leopart.features.extract import Preprocessing
from leopart.features.store import FeatureStore
from leopart.files import sha256
from leopart.models.backbone import Backbone
from leopart.segment import saved
from leopart.segment.fitting import fit_parts
from leopart.segment.part_model import PartModel
from tolerances import assert_same

SETTINGS = FitSettings(
    n_parts=5, n_objects=2, foreground=0.4, communities="map-equation", contexts=True, seed=3
)
CARD = saved.Card("tiny_random", "f" * 64, Preprocessing(80, keep_aspect=True), "bf16", 1, SETTINGS)


@pytest.fixture
def model(planted_store: FeatureStore) -> PartModel:
    return fit_parts(planted_store, SETTINGS).model


@pytest.fixture
def folder(tmp_path: Path, model: PartModel) -> Path:
    saved.write(tmp_path / "segmenter", model, CARD)
    return tmp_path / "segmenter"


def edit(folder: Path, **changes: object) -> None:
    path = folder / "segmenter.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_read_labels_like_what_was_written(
    folder: Path, model: PartModel, planted_store: FeatureStore
):
    card, read = saved.read(folder)

    assert card == CARD
    assert np.array_equal(read.object_of_part, model.object_of_part)
    assert (read.clusters.spherical, read.parts.spherical) == (True, False)
    for part in ("clusters", "parts"):
        assert torch.equal(getattr(read, part).centroids, getattr(model, part).centroids)
    for photo in range(12):
        tokens = planted_store.tokens_of(photo)
        ids, scores = model.label_scored(tokens)
        again, scores_again = read.label_scored(tokens)
        np.testing.assert_array_equal(ids, again)
        # What is read lies elsewhere in memory, where a product may be summed in another order. Scores are
        # differences of numbers round 10.
        before, after = (np.nan_to_num(of, neginf=0) for of in (scores, scores_again))
        assert_same(after, before, terms=16, scale=10)


def test_contexts_are_kept_to_the_last_bit(folder: Path, model: PartModel, tmp_path: Path):
    np.testing.assert_array_equal(
        saved.read(folder)[1].mixture.parts_of_object, model.mixture.parts_of_object
    )
    saved.write(tmp_path / "without", replace(model, mixture=None), CARD)
    assert saved.read(tmp_path / "without")[1].mixture is None


def test_margins_are_kept_and_may_be_missing(folder: Path, model: PartModel, tmp_path: Path):
    assert torch.equal(saved.read(folder)[1].margin, model.margin)
    assert torch.equal(model.margin >= 0, model.is_foreground)
    saved.write(tmp_path / "without", replace(model, margin=None), CARD)
    read = saved.read(tmp_path / "without")[1]
    assert read.margin is None
    assert torch.equal(read.margins > 0, model.is_foreground)


def test_an_object_that_has_most_of_no_part_is_listed(tmp_path: Path, model: PartModel):
    rows = np.full((3, len(model.object_of_part) - 1), 1 / 5)
    saved.write(tmp_path / "three", replace(model, mixture=ObjectMixture(rows)), CARD)
    content = json.loads((tmp_path / "three" / "segmenter.json").read_text())
    assert content["objects"][2] == {"id": 3, "parts": []}


def test_scene_groups_are_kept_and_drawn_as_a_tree(folder: Path, model: PartModel, tmp_path: Path):
    grouped = replace(model, scene_of_object=np.array([2, 1, 2]), mixture=ObjectMixture(np.ones((3, 5)) / 5))
    saved.write(tmp_path / "grouped", grouped, CARD)
    again = saved.read(tmp_path / "grouped")[1]
    assert again.scene_of_object.tolist() == [2, 1, 2]

    content = json.loads((tmp_path / "grouped" / "segmenter.json").read_text())
    first, second, third = content["objects"]
    assert content["tree"] == [{"scene": 1, "objects": [second]}, {"scene": 2, "objects": [first, third]}]
    saved.write(tmp_path / "again", again, CARD)
    assert (tmp_path / "again" / "segmenter.json").read_text() == json.dumps(content, indent=2) + "\n"


def test_a_segmenter_without_scene_groups_is_read_and_written_without(model: PartModel, tmp_path: Path):
    """The groups are optional, as contexts are."""
    saved.write(tmp_path / "old", replace(model, scene_of_object=None), CARD)
    assert "scene_of_object" not in safetensors.torch.load_file(tmp_path / "old" / "arrays.safetensors")
    read = saved.read(tmp_path / "old")[1]
    assert read.scene_of_object is None
    assert read.scenes == {}
    saved.write(tmp_path / "again", read, CARD)
    content = json.loads((tmp_path / "again" / "segmenter.json").read_text())
    assert content["format"] == 3
    assert "tree" not in content


def test_the_folder_holds_two_files_and_no_pickle(folder: Path):
    assert sorted(path.name for path in folder.iterdir()) == ["arrays.safetensors", "segmenter.json"]
    for path in folder.iterdir():
        assert not path.read_bytes().startswith((b"PK", b"\x80"))
    assert set(safetensors.torch.load_file(folder / "arrays.safetensors")) == {
        "reduction.offset",
        "reduction.projection",
        "clusters.centroids",
        "clusters.is_foreground",
        "parts.centroids",
        "object_of_part",
        "parts_of_object",
        "clusters.margin",
        "scene_of_object",
    }


def test_the_card_tells_people_what_was_learned(folder: Path, model: PartModel):
    content = json.loads((folder / "segmenter.json").read_text())

    assert content["backbone"] == "tiny_random"
    assert content["labels used"] == "none"
    assert content["parts"] == 5
    listed = {part: item["id"] for item in content["objects"] for part in item["parts"]}
    assert listed == {i: int(o) for i, o in enumerate(model.object_of_part) if o}


def test_writing_again_replaces_both_files(folder: Path, model: PartModel):
    other = replace(model, is_foreground=~model.is_foreground)
    saved.write(folder, other, replace(CARD, precision="fp32"))

    card, read = saved.read(folder)
    assert card.precision == "fp32"
    assert (read.is_foreground == other.is_foreground).all()


def test_a_folder_without_a_card_holds_no_segmenter(folder: Path, tmp_path: Path):
    (folder / "segmenter.json").unlink()
    for place in (folder, tmp_path / "nowhere"):
        with pytest.raises(LeopartError, match=r"holds no segmenter \(segmenter.json cannot be read\)"):
            saved.read(place)


def test_missing_arrays_are_told(folder: Path):
    (folder / "arrays.safetensors").unlink()
    with pytest.raises(LeopartError, match=r"arrays\.safetensors is missing: the segmenter is not whole"):
        saved.read(folder)


@pytest.mark.parametrize("where", [200, -1])
def test_arrays_with_a_single_changed_byte_are_refused(folder: Path, where: int):
    path = folder / "arrays.safetensors"
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        LeopartError, match=r"arrays\.safetensors is not the file that segmenter.json describes"
    ):
        saved.read(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe"])
def test_a_damaged_card_is_told(folder: Path, content: bytes):
    (folder / "segmenter.json").write_bytes(content)
    with pytest.raises(
        LeopartError, match=r"segmenter\.json (is not|holds|cannot).*copy the folder again or refit"
    ):
        saved.read(folder)


@pytest.mark.parametrize("content", [b"{}", b'{"format": 1}', b'{"format": 5}'])
def test_a_card_of_another_format_is_told(folder: Path, content: bytes):
    (folder / "segmenter.json").write_bytes(content)
    with pytest.raises(LeopartError, match="is of a format this version does not read"):
        saved.read(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"preprocessing": {"size": 96, "keep_aspect": True}},
        {"preprocessing": {"size": 80, "keep_aspect": False}},
        {"preprocessing": {"size": 80, "keep_aspekt": True}},
        {"preprocessing": None},
        {"precision": "fp32"},
        {"fingerprint": "e" * 64},
        {"settings": {"seed": 4}},
        {"settings": 7},
    ],
)
def test_an_altered_card_is_refused(folder: Path, changes: dict[str, object]):
    edit(folder, **changes)
    with pytest.raises(
        LeopartError, match=r"segmenter\.json was altered \(.+\): copy the folder again or refit"
    ):
        saved.read(folder)


def test_a_card_without_one_of_its_entries_is_refused(folder: Path):
    path = folder / "segmenter.json"
    content = json.loads(path.read_text())
    for key in ("backbone", "fingerprint", "preprocessing", "precision", "settings"):
        path.write_text(json.dumps({k: v for k, v in content.items() if k != key}))
        with pytest.raises(LeopartError, match=rf"was altered \('{key}'\)"):
            saved.read(folder)


@pytest.mark.parametrize("wrong", [b"no safetensors", safetensors.torch.save({})])
def test_other_arrays_with_their_right_hash_are_refused_too(folder: Path, wrong: bytes):
    path = folder / "arrays.safetensors"
    path.write_bytes(wrong)
    edit(folder, **{"arrays sha256": sha256(path)})
    with pytest.raises(LeopartError, match="was altered"):
        saved.read(folder)


def test_the_backbones_place_may_be_changed(folder: Path):
    edit(folder, backbone="/elsewhere/weights.safetensors")
    assert saved.read(folder)[0].backbone == "/elsewhere/weights.safetensors"


def test_another_backbone_than_that_of_the_fit_is_refused(tiny_backbone: Backbone, tmp_path: Path):
    saved.check_backbone(tmp_path, replace(CARD, fingerprint=tiny_backbone.fingerprint), tiny_backbone)
    with pytest.raises(LeopartError, match="fitted on other weights than this tiny_random: bring back"):
        saved.check_backbone(tmp_path, CARD, tiny_backbone)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, model: PartModel):
    (tmp_path / "file").write_text("")
    with pytest.raises(LeopartError, match=r"cannot write .*arrays\.safetensors"):
        saved.write(tmp_path / "file" / "segmenter", model, CARD)
