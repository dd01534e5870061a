"""A backbone that was trained, as another program run finds it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from timm.layers import DropPath

from leopart.errors import LeopartError
from leopart.models.backbone import Backbone, load_backbone
from leopart.models.tuned import detached, save_tuned, tuned_spec
from tolerances import assert_same


@pytest.fixture
def trained(tiny_weights: Path) -> Backbone:
    """The tiny backbone as training leaves it: other weights, paths that are dropped, gradients on."""
    backbone = load_backbone(tiny_weights).requires_grad_(True).train()
    for block in backbone.model.blocks:
        block.drop_path1 = block.drop_path2 = DropPath(0.9)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.mul_(1.1)
    return backbone


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 48, 32), generator=torch.Generator().manual_seed(0)).byte()


def test_what_is_saved_is_what_loads(trained, images, tmp_path):
    copy = detached(trained, "mine", "Trained here.")
    path = save_tuned(copy, tmp_path / "new" / "run")
    assert path == tmp_path / "new" / "run" / "backbone.safetensors"
    expected = trained.eval()(images)
    for name in (tmp_path / "new" / "run", path, str(path)):
        loaded = load_backbone(name)
        found = loaded(images)
        weights = zip(loaded.parameters(), copy.parameters(), strict=True)
        assert all(torch.equal(read, saved) for read, saved in weights)
        assert_same(found.tokens, expected.tokens, terms=500)
        assert_same(found.attention, expected.attention, terms=500)
        assert (loaded.name, loaded.source) == ("mine", str(path))


def test_a_detached_copy_is_frozen_drops_nothing_and_shares_nothing(trained, images):
    copy = detached(trained, "mine", "Trained here.")
    assert not copy.training
    assert not any(parameter.requires_grad for parameter in copy.parameters())
    assert not any(isinstance(module, DropPath) for module in copy.modules())
    before = copy(images).tokens
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.zero_()
    assert torch.equal(copy(images).tokens, before)


def test_other_weights_have_another_fingerprint(trained, tiny_backbone):
    copy = detached(trained, "mine", "Trained here.")
    assert copy.fingerprint != tiny_backbone.fingerprint
    assert detached(trained, "yours", "Trained elsewhere.").fingerprint == copy.fingerprint


def test_the_row_keeps_network_terms_and_labels_and_says_where_it_comes_from(tiny_backbone):
    spec = replace(tiny_backbone.spec, labels="ImageNet", licence="Apache-2.0", gated=True)
    tuned = tuned_spec(spec, "mine", "Trained here.")
    assert tuned.origin == "Trained here. Started from tiny_random: Made up."
    kept = ("architecture", "depth", "dim", "final_norm", "licence", "labels", "citation", "mean", "std")
    assert all(getattr(tuned, name) == getattr(spec, name) for name in kept)
    assert (tuned.files, tuned.source, tuned.gated, tuned.weights) == ((), None, False, "mine")


def test_weights_in_half_precision_are_written_in_float32(trained, tmp_path):
    save_tuned(detached(trained.to(torch.bfloat16), "mine", "Trained here."), tmp_path)
    assert {p.dtype for p in load_backbone(tmp_path).parameters()} == {torch.float32}


def test_a_card_without_its_weights_or_with_others_is_refused(trained, tmp_path):
    path = save_tuned(detached(trained, "mine", "Trained here."), tmp_path)
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(LeopartError, match=r"was cut short or altered"):
        load_backbone(tmp_path)


def test_a_folder_without_a_backbone_is_no_backbone(tmp_path):
    with pytest.raises(LeopartError):
        load_backbone(tmp_path)
