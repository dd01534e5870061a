"""Networks measured on photos, and the best of those that are on this machine."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from leopart.clustering.suitability import Suitability
from leopart.data.photos import find_photos
from leopart.errors import LeopartError
from leopart.models.backbone import Backbone
from leopart.models.weights.cards import card_path, weights_path
from leopart.models.weights.opening import label_free_here
from leopart.models.weights.registry import BACKBONES
from leopart.segment import judging
from leopart.segment.judging import best_here, judged


def test_too_few_photos_measure_nothing(tiny_backbone: Backbone, photo_folder: Path):
    assert judged(tiny_backbone, find_photos([photo_folder])[:5], 0) is None


def test_photos_that_cannot_be_read_are_left_out(tiny_backbone: Backbone, photo_folder: Path, tmp_path: Path):
    photos = find_photos([photo_folder])
    (tmp_path / "broken.png").write_bytes(b"no photo")
    broken = find_photos([tmp_path])
    many = [photos[index % len(photos)] for index in range(24)]
    assert judged(tiny_backbone, [*many, *broken], 0) is not None
    assert judged(tiny_backbone, broken * 30, 0) is None


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> dict[str, Suitability | None]:
    """Networks on this machine and what they measure; tests fill it."""
    found: dict[str, Suitability | None] = {}
    monkeypatch.setattr(judging, "label_free_here", lambda: [SimpleNamespace(name=name) for name in found])
    monkeypatch.setattr(judging, "load_backbone", lambda name, device: name)
    monkeypatch.setattr(judging, "judged", lambda name, *_: found[name])
    return found


def test_the_network_with_the_largest_gain_comes_first(here: dict[str, Suitability | None]):
    here |= {
        "stable": Suitability(stability=0.9, gain=0.1),
        "unknown": Suitability(stability=0.95, gain=math.nan),
        "good": Suitability(stability=0.2, gain=0.3),
    }
    assert list(best_here([], 0, "cpu")) == ["good", "stable", "unknown"]


def test_without_weights_or_photos_it_is_said_what_to_do(here: dict[str, Suitability | None]):
    with pytest.raises(LeopartError, match="`leopart weights fetch`"):
        best_here([], 0, "cpu")
    here["any"] = None
    with pytest.raises(LeopartError, match="needs 20 photos"):
        best_here([], 0, "cpu")


def test_networks_here_are_those_with_weights_and_card_that_saw_no_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LEOPART_CACHE", str(tmp_path))
    names = ["mocov3_vits16_paper", "imgfocus_vits14", "supervised_vits16", "dino_vits16", "swav_resnet50"]
    for name in names:
        file = weights_path(BACKBONES[name])
        file.touch()
        if name != "dino_vits16":
            card_path(file).touch()
    weights_path(BACKBONES["dino_vits8"]).touch()
    assert [row.name for row in label_free_here()] == ["imgfocus_vits14", "mocov3_vits16"]
