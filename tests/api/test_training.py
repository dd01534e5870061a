"""`leopart.train` and `leopart.adapt`: the commands' work, with photos, networks and methods of one's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

import leopart
from leopart.cli.main import main
from leopart.files import sha256
from leopart.models.backbone import Backbone
from leopart.settings import updated
from leopart.training.methods.learner import Learner, StepResult, network_options
from leopart.training.methods.networks import TwoNetworks
from leopart.training.methods.settings import MethodSettings

TINY = {
    "global_size": 32,
    "local_size": 16,
    "local_crops": 2,
    "roi_bins": 3,
    "prototypes": 7,
    "queue": 50,
    "head_hidden": 16,
    "head_out": 8,
    "batch_size": 4,
    "steps": 3,
    "workers": 0,
    "sheet_photos": 0,
    "device": "cpu",
}


def test_the_command_trains_the_same_backbone(labelled: Path, tiny_weights: Path, tmp_path: Path):
    words = [word for name, value in TINY.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    words += ["--data", str(labelled), "--backbone", str(tiny_weights), "--out", str(tmp_path / "command")]
    assert main(["train", "dev", *words, "--quiet"]) == 0

    trained = leopart.train("dev", labelled, tmp_path / "python", backbone=tiny_weights, **TINY)

    assert (trained.step, trained.total) == (3, 3)
    hashes = {sha256(tmp_path / name / "backbone.safetensors") for name in ("command", "python")}
    assert len(hashes) == 1


def test_photos_and_network_in_memory_train_the_same(
    labelled: Path, painted, tiny_backbone: Backbone, tmp_path
):
    photos = [photo for photo, _ in painted]
    before = {key: value.clone() for key, value in tiny_backbone.state_dict().items()}
    a = leopart.train("dev", labelled, tmp_path / "a", backbone=tiny_backbone, **TINY)
    b = leopart.train("dev", photos, tmp_path / "b", backbone=tiny_backbone, **TINY)
    assert all(torch.equal(value, tiny_backbone.state_dict()[key]) for key, value in before.items())
    assert sha256(tmp_path / "a" / "backbone.safetensors") == sha256(tmp_path / "b" / "backbone.safetensors")
    assert a.step == b.step == 3
    more = leopart.train("dev", photos, tmp_path / "b", backbone=tiny_backbone, **(TINY | {"resume": True}))
    assert more.step == 3


def test_wrong_words_are_named(labelled: Path, tmp_path: Path):
    with pytest.raises(leopart.LeopartError, match="train has no option 'step'; did you mean steps"):
        leopart.train("dev", labelled, tmp_path, step=3)
    with pytest.raises(leopart.LeopartError, match="quicker"):
        leopart.train("quicker", labelled, tmp_path)


def test_adapt_gives_a_tuned_copy_that_a_segmenter_keeps(
    painted, tiny_backbone: Backbone, tmp_path: Path, monkeypatch
):
    from leopart.training import adaptation

    recipe = updated(leopart.Recipe(), **{key: TINY[key] for key in list(TINY)[:9]}, steps=2)
    monkeypatch.setattr(adaptation, "adaptation", lambda *_: recipe)
    photos = [photo for photo, _ in painted]

    adapted = leopart.adapt(tiny_backbone, photos, minutes=0.01, device="cpu")

    assert adapted.fingerprint != tiny_backbone.fingerprint
    segmenter = leopart.Segmenter(
        adapted, attention_backbone=tiny_backbone, n_parts=4, n_objects=1, size=64, precision="fp32"
    ).fit(photos)
    segmenter.save(tmp_path / "segmenter")
    again = leopart.Segmenter.load(tmp_path / "segmenter")  # the network lies inside, as it is nowhere else
    assert again.extractor.backbone.fingerprint == adapted.fingerprint

    kept = leopart.adapt(tiny_backbone, photos, minutes=0.01, out=tmp_path / "adapted", device="cpu")
    assert leopart.load_backbone(tmp_path / "adapted").fingerprint == kept.fingerprint
    with pytest.raises(leopart.LeopartError, match="above 0"):
        leopart.adapt(tiny_backbone, photos, minutes=0)


class Decay(Learner):
    """A method of one's own: pull the tokens of both crops towards `aim`."""

    def __init__(self, backbone: Backbone, recipe: leopart.Recipe, tokens: object) -> None:
        super().__init__()
        self.recipe = recipe
        head = torch.nn.Linear(backbone.dim, 2)
        self.networks = TwoNetworks(backbone, head, **network_options(recipe))

    def forward(self, views, step: int, *, diagnose: bool = True) -> StepResult:
        tokens: Tensor = self.networks.student["backbone"](views.global_crops[0]).tokens
        return StepResult((tokens - self.recipe.settings.aim).square().mean(), {})


@dataclass(frozen=True, kw_only=True)
class DecaySettings(MethodSettings):
    LEARNER = Decay
    aim: float = 0.5

    @property
    def crops(self) -> tuple[int, int]:
        return 2, 0


@dataclass(frozen=True, kw_only=True)
class DecayRecipe(leopart.Recipe):
    method: str = "decay"
    decay: DecaySettings = field(default_factory=DecaySettings)


def test_a_method_of_ones_own_trains(labelled: Path, tiny_backbone: Backbone, tmp_path: Path):
    recipe = DecayRecipe(global_size=32, local_size=16, batch_size=4, steps=3, lr=1e-2, use_teacher=False)
    options = {"workers": 0, "sheet_photos": 0, "device": "cpu"}
    trained = leopart.train(recipe, labelled, tmp_path / "a", backbone=tiny_backbone, **options)
    assert trained.step == 3
    assert any(
        not torch.equal(value, tiny_backbone.state_dict()[key])
        for key, value in trained.backbone.state_dict().items()
    )
    settings = yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())
    assert (settings["method"], settings["aim"]) == ("decay", 0.5)
    other = leopart.train(recipe, labelled, tmp_path / "b", backbone=tiny_backbone, aim=-3.0, **options)
    assert not torch.equal(
        other.backbone.model.blocks[1].mlp.fc2.weight, trained.backbone.model.blocks[1].mlp.fc2.weight
    )
