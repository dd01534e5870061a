"""A network of the user's own takes the place of a backbone wherever nothing is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.api.conftest import CLASSES, ColoursAndRed, mean_colours

import leopart
from leopart.models.backbone import Backbone
from leopart.models.custom import CustomBackbone, as_backbone


def test_tokens_and_attention_are_those_of_the_callable(painted):
    images = torch.from_numpy(np.stack([photo for photo, _ in painted])).permute(0, 3, 1, 2)
    backbone = as_backbone(ColoursAndRed())

    features = backbone(images)

    expected = images.float().div(255).unfold(2, 4, 4).unfold(3, 4, 4).mean((4, 5)).permute(0, 2, 3, 1)
    torch.testing.assert_close(features.tokens, expected)
    torch.testing.assert_close(features.attention[:, 0], expected[..., 0])
    assert (backbone.patch_size, backbone.dim, backbone.heads, backbone.has_attention) == (4, 3, 1, True)
    torch.testing.assert_close(backbone(images.float() / 255).tokens, features.tokens)


def test_without_attention_the_length_of_the_tokens_stands_in():
    backbone = as_backbone(mean_colours)
    images = torch.rand(2, 3, 8, 12)
    features = backbone(images)
    lengths = features.tokens.norm(dim=-1)
    torch.testing.assert_close(features.attention[:, 0], lengths / lengths.sum((1, 2), keepdim=True))
    assert not backbone.has_attention


def test_a_segmenter_finds_parts_with_it_and_is_loaded_with_it_again(painted, tmp_path: Path):
    photos = [photo for photo, _ in painted]
    network = ColoursAndRed()
    options = {"size": 64, "foreground": "none", "n_parts": 3, "n_objects": 1, "precision": "fp32"}
    segmenter = leopart.Segmenter(network, **options).fit(photos)

    masks = segmenter.predict(photos)

    votes = np.zeros((4, 3), int)
    for (_, truth), found in zip(painted, masks, strict=True):
        np.add.at(votes, (found.parts, truth), 1)
    assert votes.max(1).sum() / votes.sum() > 0.9
    assert set(votes[1:].argmax(1)) == {0, 1, 2}

    segmenter.save(tmp_path / "mine")
    again = leopart.Segmenter.load(tmp_path / "mine", backbone=network)
    np.testing.assert_array_equal(again.predict(photos[0]).parts, masks[0].parts)
    with pytest.raises(leopart.LeopartError, match="ColoursAndRed is a network of your own: give it again"):
        leopart.Segmenter.load(tmp_path / "mine")
    other = ColoursAndRed()
    other.scale.data *= 2
    with pytest.raises(leopart.LeopartError):
        leopart.Segmenter.load(tmp_path / "mine", backbone=other)


def test_it_is_scored_and_its_features_are_extracted(labelled: Path, painted):
    scores = leopart.evaluate(
        "overclustering", labelled, mean_colours, k=(3,), seeds=1, size=64, precision="fp32"
    )
    (row,) = scores.outcome.scores
    assert row.headline[0] > 0.7
    assert scores.backbone == "mean_colours"
    features = leopart.extract(mean_colours, labelled / "images", size=64, precision="fp32")
    assert features.tokens.shape == (6, 16, 16, 3)


def test_it_is_neither_trained_nor_adapted(labelled: Path, tmp_path: Path):
    for call in (
        lambda: leopart.adapt(mean_colours, labelled / "images", minutes=1),
        lambda: leopart.train("dev", labelled, tmp_path / "run", backbone=mean_colours, device="cpu"),
    ):
        with pytest.raises(leopart.LeopartError, match="mean_colours is a network of your own, and only"):
            call()


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda images: images.mean(1), "tokens must be a tensor"),
        (lambda images: "tokens", "tokens must be a tensor"),
        (lambda images: images[..., :7, :5].permute(0, 2, 3, 1), "equal square patches"),
        (lambda images: (mean_colours(images), mean_colours(images)[..., 0]), "attention must be a tensor"),
    ],
)
def test_what_is_no_network_of_tokens_is_refused_in_a_sentence(network, words: str):
    with pytest.raises(leopart.LeopartError, match=words):
        CustomBackbone(network, "mine")
    with pytest.raises(leopart.LeopartError, match="not a int"):
        as_backbone(3)


def test_fingerprints_differ_with_name_and_weights(tiny_backbone: Backbone):
    other = ColoursAndRed()
    other.scale.data += 1
    found = {
        CustomBackbone(network, name).fingerprint
        for network, name in [
            (ColoursAndRed(), "a"),
            (ColoursAndRed(), "b"),
            (other, "a"),
            (mean_colours, "a"),
            (ColoursAndRed(), "a"),
        ]
    }
    assert len(found) == 4
    assert as_backbone(tiny_backbone) is tiny_backbone


def test_attention_of_ones_own_is_scored(labelled: Path):
    scores = leopart.evaluate("attention", labelled, ColoursAndRed(), size=64, precision="fp32", keep=0.9)
    with pytest.raises(leopart.LeopartError, match="has no CLS attention"):
        leopart.evaluate("attention", labelled, mean_colours, size=64, precision="fp32")
    assert 0 < scores.outcome.scores[0].headline[0] < 1
    assert CLASSES[0] == "background"
