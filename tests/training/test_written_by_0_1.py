"""Runs that version 0.1 stopped after two of four steps, and where it would have taken them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from leopart.cli.main import main
from leopart.drawing.curves import read_metrics
from leopart.models.backbone import load_backbone
from leopart.recipe import EARLIER

WRITTEN = Path(__file__).parents[1] / "written_by_0_1" / "train"
#: Weights whose gradient is far from zero: where it is all rounding, AdamW takes steps in any direction.
TRAINED = [f"blocks.1.{name}.weight" for name in ("mlp.fc1", "mlp.fc2", "attn.proj")]


@pytest.fixture
def there(tmp_path, monkeypatch, paint_photos) -> Path:
    """A copy of the folder beside its photos: its files name them relative to the working folder."""
    shutil.copytree(WRITTEN, tmp_path, dirs_exist_ok=True)
    paint_photos(tmp_path / "photos", 10)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("method", ["leopart", "densecl"])
def test_a_run_is_resumed_and_ends_where_it_would_have_ended(there, method):
    run = there / method
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    begun = {name: state[f"learner.networks.student.backbone.model.{name}"] for name in TRAINED}

    assert main(["train", "--config", str(run / "config.yaml"), "--resume", "--quiet"]) == 0

    found, expected = load_file(run / "backbone.safetensors"), load_file(run / "end.safetensors")
    for name in TRAINED:
        assert float((begun[name] - expected[name]).abs().max()) > 1e-4
        # Photos are resized and sums rounded a little otherwise elsewhere, and AdamW enlarges that: 0.97 with
        # the oldest versions. Without what the optimiser had remembered it is 0.5 at most.
        went, wanted = (end[name] - begun[name] for end in (found, expected))
        assert float(torch.cosine_similarity(went.flatten(), wanted.flatten(), dim=0)) > 0.9, name
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert settings["method"] == method
    assert not set(EARLIER) & settings.keys()
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [1, 4]


def test_other_settings_than_it_was_begun_with_are_refused(there, capsys):
    words = ["--config", "leopart/config.yaml", "--resume", "--reference", "code", "--prototypes", "9"]
    assert main(["train", *words]) == 2
    said = capsys.readouterr().err
    assert "--reference was paper, now code" in said
    assert "--prototypes was 7, now 9" in said


def test_its_backbone_can_be_loaded():
    backbone = load_backbone(WRITTEN / "leopart")
    pixels = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    assert backbone(pixels).tokens.shape == (1, 4, 4, 12)


def test_figures_have_names_of_today():
    metrics = read_metrics(WRITTEN / "densecl" / "metrics.jsonl")
    assert {"loss", "dense_contrastive_accuracy", "global_contrastive_accuracy"} <= metrics.keys()
    assert not [name for name in metrics if "told" in name]
