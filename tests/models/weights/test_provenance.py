"""What is claimed of weights: only what somebody vouches for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from leopart.errors import LeopartError
from leopart.models.backbone import build_backbone, load_backbone
from leopart.models.weights.registry import BACKBONES
from leopart.models.weights.spec import unvouched


def test_a_file_of_unknown_origin_claims_nothing():
    row = BACKBONES["dino_vits16"]
    made = unvouched(row, "mine", "mine.pth", "ab" * 32)

    assert (made.licence, made.citation, made.labels) == ("unknown", "unknown", "unknown (backbone)")
    assert "mine.pth" in made.origin
    assert "abab" in made.origin
    assert (made.files, made.source) == ((), None)
    computing = {"architecture", "patch_size", "dim", "heads", "depth", "feature_block", "final_norm", "mean"}
    assert all(getattr(made, field) == getattr(row, field) for field in computing)


@pytest.mark.parametrize("name", ["dino_vits16", "dino_vits16:x.pth", "timm:vit_small_patch16_224"])
def test_a_name_that_says_its_network_takes_no_other(name: str):
    with pytest.raises(LeopartError, match=r"says itself which network it is: leave out arch='mae_vitb16'"):
        load_backbone(name, arch="mae_vitb16")


def test_rows_of_the_paper_read_positions_as_its_code_did():
    rows = [row for name, row in BACKBONES.items() if name.endswith("_paper")]
    assert len(rows) == 3
    assert {row.position_resampling for row in rows} == {"dino"}


def test_only_rows_trained_on_labels_say_so():
    told = {name for name, row in BACKBONES.items() if row.labels != "none"}
    assert told == {name for name in BACKBONES if name.startswith("supervised")} | {"imgfocus_vits14_full"}


def test_weights_without_a_file_have_a_fingerprint_of_their_own(tmp_path: Path):
    spec = replace(load_backbone("random_vits16").spec, depth=1, feature_block=0)
    state = load_backbone("random_vits16:1").model.state_dict()
    other = {key: value + torch.ones(()) for key, value in state.items()}

    prints = {build_backbone(spec, weights).fingerprint for weights in (state, other, dict(state))}
    assert len(prints) == 2
