"""A run folder: what it holds, what can be made of it, and when it goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
import yaml
from safetensors.torch import load_file

from leopart.cli.main import main
from leopart.config import SegmentConfig, TrainConfig
from leopart.errors import LeopartError
from leopart.models.backbone import load_backbone
from leopart.segment.photos_to_masks import segment_photos
from leopart.settings import updated
from leopart.training import train as train_module
from leopart.training.checkpoints import FOLDER, LAST
from leopart.training.train import _apart, train


@pytest.fixture(scope="module", autouse=True)
def small_sheets():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "sheet_of", partial(train_module.sheet_of, size=48))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_weights, gallery, tiny_recipe) -> Path:
    """A finished run, with contact sheets. Not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    values = vars(updated(tiny_recipe, backbone=str(tiny_weights), train_blocks=1))
    options = {"device": "cpu", "workers": 0, "sheet_photos": 3}
    train(TrainConfig(preset="dev", data=f"folder:{gallery}", out=out, **options, **values))
    return out


def student_of(run: Path) -> dict[str, torch.Tensor]:
    state = torch.load(run / FOLDER / LAST, weights_only=True)["state_dict"]
    lead = "learner.networks.student.backbone.model."
    return {name.removeprefix(lead): value for name, value in state.items() if name.startswith(lead)}


# --- what a run leaves ----------------------------------------------------------------------------------


def test_a_run_holds_settings_record_figures_sheets_states_and_the_backbone(run):
    found = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    events = {name for name in found if name.startswith("tensorboard/events.out.tfevents.")}
    assert len(events) == 1
    assert found - events == {
        *("config.yaml", "run.json", "metrics.jsonl", "checkpoints/last.ckpt"),
        *("backbone.safetensors", "backbone.json", "sheets/photos.npz"),
        *(f"sheets/step-00000{step}.{suffix}" for step in (0, 6) for suffix in ("png", "npz")),
    }
    record = json.loads((run / "run.json").read_text())
    assert record["photos"] == 10
    assert record["started from"] == "tiny_random"
    assert record["labels used"] == "none"
    assert len(record["photos sha256"]) == len(record["backbone"]) == 64
    assert "leopart" in record["versions"]


def test_the_backbone_in_the_folder_is_the_student_to_the_bit(run, gallery):
    backbone = load_backbone(run)
    state = student_of(run)
    assert state.keys() == backbone.model.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in backbone.model.state_dict().items())
    assert not any(p.requires_grad for p in backbone.parameters())
    assert not backbone.training
    assert backbone.name == "finished"
    assert backbone.source == str((run / "backbone.safetensors").resolve())
    assert backbone.fingerprint != json.loads((run / "run.json").read_text())["backbone"]


def test_the_card_says_what_was_done_and_keeps_terms_and_labels(run):
    card = json.loads((run / "backbone.json").read_text())["spec"]
    assert card["origin"] == (
        "Fine-tuned by Leopart without labels on 10 photos (preset dev, seed 5). "
        "Started from tiny_random: Made up."
    )
    assert (card["licence"], card["labels"], card["summary"]) == (
        "MIT",
        "none",
        "fine-tuned from tiny_random",
    )


def test_other_commands_take_the_folder_as_a_backbone(run, gallery, tmp_path):
    options = {"size": 64, "parts": 4, "objects": 2, "device": "cpu", "precision": "fp32", "overlays": False}
    config = SegmentConfig(images=(gallery,), out=tmp_path / "masks", backbone=str(run), **options)
    summary = segment_photos(config)
    assert summary.counts["failed"] == 0
    assert len(list((tmp_path / "masks" / "parts").iterdir())) == 10


def test_the_backbone_of_a_run_can_be_exported_for_timm(run, tmp_path):
    assert main(["export", str(run), "--format", "timm", "--out", str(tmp_path), "--quiet"]) == 0
    config = json.loads((tmp_path / "config.json").read_text())
    path = str(tmp_path / "model.safetensors")
    model = timm.create_model(config["architecture"], checkpoint_path=path, **config["model_args"]).eval()
    images = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
    backbone = load_backbone(run)
    with torch.no_grad():
        tokens = model.forward_features(backbone.normalise(images))[:, model.num_prefix_tokens :]
        tokens = torch.nn.functional.layer_norm(tokens, (24,), eps=1e-6)
        torch.testing.assert_close(tokens.reshape(2, 4, 4, 24), backbone(images).tokens, atol=1e-4, rtol=1e-4)


def test_a_run_can_begin_from_the_backbone_of_another(run, tiny_config, tmp_path):
    result = train(tiny_config(tmp_path / "second", backbone=str(run), steps=1))
    assert result.step == 1
    card = json.loads((tmp_path / "second" / "backbone.json").read_text())["spec"]
    assert card["origin"].endswith("Started from tiny_random: Made up.")
    assert "Started from finished: Fine-tuned by Leopart" in card["origin"]


def test_the_settings_that_a_run_leaves_repeat_it_to_the_bit(run, tmp_path):
    out = tmp_path / "again"
    assert main(["train", "--config", str(run / "config.yaml"), "--out", str(out), "--quiet"]) == 0
    assert (out / "metrics.jsonl").read_text().count("\n") == (run / "metrics.jsonl").read_text().count("\n")
    first, second = (load_file(folder / "backbone.safetensors") for folder in (run, out))
    assert all(torch.equal(first[name], second[name]) for name in first)
    before, after = (yaml.safe_load((folder / "config.yaml").read_text()) for folder in (run, out))
    assert before.pop("out") != after.pop("out")
    assert before == after
    assert not {"resume", "stop_at", "config", "quiet"} & before.keys()


def test_a_relative_folder_gives_the_backbone_its_own_name(tiny_config, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    train(tiny_config(Path(), steps=1))
    assert load_backbone(tmp_path / "here").name == "here"


# --- going on -------------------------------------------------------------------------------------------


def test_a_folder_with_a_run_is_refused_unless_it_shall_go_on(run, tiny_config):
    with pytest.raises(LeopartError, match=r"holds a run already: add --resume .* or choose another --out"):
        train(tiny_config(run))


def test_a_run_that_was_interrupted_goes_on(run, tiny_config, tmp_path, heard, lines_of):
    config = tiny_config(tmp_path, train_blocks=1)
    assert train(replace(config, stop_at=2)).step == 2
    part = student_of(tmp_path)
    assert torch.equal(
        load_file(tmp_path / "backbone.safetensors")["blocks.1.norm1.weight"], part["blocks.1.norm1.weight"]
    )
    result = train(replace(config, resume=True), progress=heard)
    assert (result.step, result.total, result.interrupted) == (6, 6, False)
    assert heard.notes == ["continuing after step 2 of 6"]
    first, second = (load_file(folder / "backbone.safetensors") for folder in (run, tmp_path))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert lines_of(tmp_path) == lines_of(run)


def test_a_finished_run_says_so(tiny_config, tmp_path, heard):
    config = tiny_config(tmp_path, steps=2)
    train(config)
    before = (tmp_path / "backbone.safetensors").read_bytes(), (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / "backbone.safetensors").unlink()  # killed before it was written
    result = train(replace(config, resume=True), progress=heard)
    assert (result.step, result.total) == (2, 2)
    assert heard.notes == [f"{tmp_path} is finished: step 2 of 2"]
    after = (tmp_path / "backbone.safetensors").read_bytes(), (tmp_path / "metrics.jsonl").read_text()
    assert after == before


def test_a_run_that_was_killed_before_its_first_state_begins_again(tiny_config, tmp_path, heard):
    config = tiny_config(tmp_path, steps=2)
    train(config)
    (tmp_path / FOLDER / LAST).unlink()
    train(config, progress=heard)
    assert heard.notes == []
    (tmp_path / FOLDER / LAST).unlink()
    train(replace(config, resume=True), progress=heard)
    assert heard.notes == [f"{tmp_path} has no checkpoints/last.ckpt yet: beginning at step 0"]
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 2


def test_a_job_that_slurm_restarts_goes_on_unasked(tiny_config, tmp_path, monkeypatch, heard):
    config = tiny_config(tmp_path)
    train(replace(config, stop_at=2))
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert train(config, progress=heard).step == 6
    assert heard.notes == ["continuing after step 2 of 6"]


@pytest.fixture(scope="module")
def begun(tmp_path_factory, tiny_weights, gallery, tiny_recipe) -> tuple[TrainConfig, Path]:
    out = tmp_path_factory.mktemp("runs") / "begun"
    values = vars(updated(tiny_recipe, backbone=str(tiny_weights)))
    options = {"device": "cpu", "workers": 0, "sheet_photos": 0}
    config = TrainConfig(preset="dev", data=f"folder:{gallery}", out=out, **options, **values)
    train(replace(config, stop_at=1))
    return replace(config, resume=True), out


def test_other_settings_are_refused_and_named(begun):
    config, out = begun
    with pytest.raises(LeopartError) as caught:
        train(updated(config, lr=0.5, prototypes=9, local_scale=(0.1, 0.2)))
    assert str(caught.value) == (
        f"{out} was begun with other settings: --prototypes was 7, now 9, --local-scale was [0.05, 0.25], "
        "now [0.1, 0.2], --lr was 0.001, now 0.5; give the old ones or another --out"
    )


def test_a_run_begun_before_an_option_was_there_had_its_default(begun):
    config, out = begun
    file = out / "config.yaml"
    kept = file.read_text()
    try:
        settings = yaml.safe_load(kept)
        del settings["method"]
        file.write_text(yaml.safe_dump(settings))
        with pytest.raises(LeopartError, match=r"other settings: --seed was 5, now 6; give"):
            train(replace(config, seed=6))
    finally:
        file.write_text(kept)


def test_other_photos_are_refused(begun, paint_photos, tmp_path):
    config, _ = begun
    folder = paint_photos(tmp_path / "photos", 6)
    with pytest.raises(LeopartError, match=r"was begun on other photos \(10 then, 6 now\)"):
        train(replace(config, data=f"folder:{folder}"))


def test_other_weights_of_the_same_name_are_refused(begun, make_tiny_weights, tiny_weights, tmp_path):
    config, _ = begun
    kept = {path: path.read_bytes() for path in (tiny_weights, tiny_weights.with_suffix(".json"))}
    try:
        make_tiny_weights(tiny_weights.parent, 1)
        with pytest.raises(LeopartError, match=r"was begun from other weights of .*tiny_random"):
            train(config)
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


@pytest.mark.parametrize(("name", "text"), [("config.yaml", "[1"), ("config.yaml", "- 1"), ("run.json", "{")])
def test_a_damaged_record_is_told(begun, name, text):
    config, out = begun
    whole = (out / name).read_text()
    try:
        (out / name).write_text(text)
        sentence = rf"{name} (is not|cannot be used).*; .* cannot be resumed, begin another run"
        with pytest.raises(LeopartError, match=sentence) as caught:
            train(config)
        assert "\n" not in str(caught.value)
    finally:
        (out / name).write_text(whole)


def test_a_damaged_state_is_told_before_anything_is_changed(begun):
    config, out = begun
    state = out / FOLDER / LAST
    whole, figures = state.read_bytes(), (out / "metrics.jsonl").read_text()
    try:
        state.write_bytes(whole[:1000])
        with pytest.raises(LeopartError, match=r"last\.ckpt cannot be read"):
            train(config)
        assert (out / "metrics.jsonl").read_text() == figures
    finally:
        state.write_bytes(whole)


# --- what is told ---------------------------------------------------------------------------------------


def test_a_batch_that_is_lowered_to_the_photos_is_told(tiny_config, tmp_path, heard):
    train(tiny_config(tmp_path, batch_size=64, steps=1), progress=heard)
    assert heard.notes == ["10 photos: a batch has 10 of them, not 64"]


def test_another_number_of_photos_than_the_paper_s_is_told(tiny_config, tmp_path, paint_photos, heard):
    paint_photos(tmp_path / "coco" / "train2017", 4)
    train(tiny_config(tmp_path / "run", data=f"coco:{tmp_path / 'coco'}", steps=1), progress=heard)
    assert heard.notes == ["4 photos; the paper's runs had 118287"]


@pytest.mark.parametrize(
    ("epochs", "epoch", "steps"),
    [(1, 1979, 1979), (5, 1979, 9895), (1, 3, 51), (2, 3, 54), (1, 1, 50), (1, 50, 50), (0, 3, 0)],
)
def test_states_of_short_epochs_lie_fifty_steps_apart_or_more(epochs, epoch, steps):
    assert _apart(epochs, epoch, 50) == steps


def test_an_empty_folder_and_a_missing_one_are_told(tiny_config, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(LeopartError, match="no photos in"):
        train(tiny_config(tmp_path / "run", data=f"folder:{tmp_path / 'empty'}"))
    with pytest.raises(LeopartError, match="there is no file or folder"):
        train(tiny_config(tmp_path / "run", data=f"folder:{tmp_path / 'missing'}"))
    assert not (tmp_path / "run").exists()


def test_settings_that_do_not_fit_are_told_before_the_folder_is_made(tiny_config, tmp_path):
    for changes in (
        {"local_size": 20},
        {"prototypes": 1},
        {"train_blocks": 3},
        {"data": "other:/x"},
        {"backbone": "dino_vits17"},
    ):
        with pytest.raises(LeopartError):
            train(tiny_config(tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()
