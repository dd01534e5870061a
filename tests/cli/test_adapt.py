"""`leopart segment --adapt`: the network learns from the very photos, and goes with the segmenter."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from leopart.models import custom
from leopart.models.backbone import load_backbone
from leopart.segment import adapting, learning

pytestmark = pytest.mark.usefixtures("short_adaptation")


def summary_of(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text())


def settings_of(out: Path) -> dict:
    return yaml.safe_load((out / "config.yaml").read_text())


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adapting would fail the test."""
    monkeypatch.setattr(learning, "adapt_backbone", lambda *_, **__: pytest.fail("adapted"))


@pytest.fixture
def copied(adapted, tmp_path) -> Path:
    """The same, to be changed."""
    return shutil.copytree(adapted, tmp_path / "copied")


# --- what it leaves behind ------------------------------------------------------------------------------


def test_the_adapted_network_lies_inside_the_segmenter_and_its_state_is_gone(adapted, files_below, quick):
    inside = files_below(adapted / "segmenter")
    assert inside == {"segmenter.json", "arrays.safetensors", "backbone.safetensors", "backbone.json"}
    assert {path.name for path in adapted.iterdir() if path.name.startswith(".")} == {".labels.yaml"}
    card = json.loads((adapted / "segmenter" / "segmenter.json").read_text())
    assert card["backbone"] == "backbone.safetensors"
    backbone = load_backbone(adapted / "segmenter")
    assert backbone.fingerprint == card["fingerprint"] != load_backbone(quick[1]).fingerprint


def test_the_summary_tells_what_was_done_and_no_label_was_used(adapted, short_recipe):
    summary = summary_of(adapted)
    results = summary["results"]["adaptation"]

    assert results["recipe"] == "adaptation"
    assert (results["steps"], results["minutes"], results["stopped_early"]) == (8, 1, False)
    assert results["seconds"] > 0
    assert results["settings"]["prototypes"] == short_recipe.leopart.prototypes
    assert list(summary["seconds"])[:3] == ["loading the backbone", "adaptation", "features"]
    assert summary["results"]["backbone"] == "tiny_random+adapted"
    assert summary["labels used"] == "none"


def test_the_report_shows_the_photos_before_and_after(adapted, segmented):
    html = (adapted / "report.html").read_text()

    assert '<section id="adaptation">' in html
    assert "8 steps in " in html
    for when in ("before", "after"):
        assert f'alt="photos and clusters of their features, {when} the adaptation"' in html
    assert 'id="adaptation"' not in (segmented / "report.html").read_text()


def test_the_masks_are_those_of_the_adapted_network(adapted, segmented, masks_of):
    assert masks_of(adapted).keys() == masks_of(segmented).keys()
    assert masks_of(adapted) != masks_of(segmented)


def test_the_screen_tells_how_long_it_takes_how_to_skip_it_and_what_was_done(run, photos, quick, tmp_path):
    ran = run("segment", photos, "--out", tmp_path / "o", *quick, "--adapt", "0.5")

    first = "adapting tiny_random to 6 photos, without labels: about 0.5 min, or less; --no-adapt skips this"
    assert ran.lines[0] == first
    assert "network adapted to the photos: 8 steps in " in ran.err
    assert run("segment", photos, "--out", tmp_path / "q", *quick, "--adapt", "1", "--quiet").err == ""


# --- taking it elsewhere --------------------------------------------------------------------------------


def test_a_moved_segmenter_predicts_the_same_without_the_network_it_started_from(
    run, photos, quick, tmp_path, masks_of, make_tiny_weights
):
    weights = make_tiny_weights(tmp_path, 7)
    words = ("segment", photos, "--out", tmp_path / "out", *quick, "--backbone", weights, "--adapt", "1")
    assert run(*words).status == 0
    masks = masks_of(tmp_path / "out")
    moved = shutil.move(tmp_path / "out" / "segmenter", tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "out")
    weights.unlink()

    assert run("predict", moved, photos, "--out", tmp_path / "more").status == 0
    assert masks_of(tmp_path / "more") == masks
    assert summary_of(tmp_path / "more")["results"]["backbone"] == "tiny_random+adapted"


@pytest.mark.parametrize("damage", ["missing", "another network", "altered"])
def test_a_network_inside_that_is_not_its_own_is_refused(run, photos, copied, quick, tmp_path, damage):
    inside = copied / "segmenter" / "backbone.safetensors"
    if damage == "missing":
        inside.unlink()
        says = f"{inside} is missing: the segmenter is not whole, copy the folder again or refit"
    elif damage == "altered":
        inside.write_bytes(inside.read_bytes()[:-4] + b"\0\1\2\3")
        says = f"{inside} was cut short or altered"
    else:
        for suffix in (".safetensors", ".json"):
            shutil.copy(Path(quick[1]).with_suffix(suffix), inside.with_suffix(suffix))
        says = "was fitted on other weights than this backbone.safetensors"
    ran = run("predict", copied, photos, "--out", tmp_path / "more")

    assert ran.status == 2
    assert says in ran.err


def test_it_can_be_exported(run, photos, adapted, tmp_path):
    pytest.importorskip("onnxruntime")
    ran = run("export", adapted, "--format", "onnx", "--out", tmp_path / "onnx", "--photos", photos)

    assert ran.status == 0, ran.err
    assert (tmp_path / "onnx" / "model.onnx").is_file()
    inside = adapted / "segmenter" / "backbone.safetensors"
    ran = run("export", inside, "--format", "safetensors", "--out", tmp_path / "plain")
    assert ran.status == 0, ran.err
    assert "Adapted by Leopart without labels to 6 photos" in (tmp_path / "plain" / "README.md").read_text()


def test_a_run_without_it_leaves_no_network_of_an_earlier_one_behind(run, photos, copied, quick):
    assert run("segment", photos, "--out", copied, *quick, "--no-adapt").status == 0

    assert sorted(path.name for path in (copied / "segmenter").iterdir()) == [
        "arrays.safetensors",
        "segmenter.json",
    ]


def test_the_network_inside_can_be_used_again_in_the_same_place(
    run, photos, copied, quick, tmp_path, masks_of, tiny_weights
):
    before = masks_of(copied)
    again = ("segment", photos, "--out", copied, *quick, "--backbone", copied / "segmenter", "--no-adapt")
    again = (*again, "--attention-backbone", tiny_weights)  # as it was before
    assert run(*again).status == 0
    assert masks_of(copied) == before
    assert run("predict", copied, photos, "--out", tmp_path / "more").status == 0


# --- whether and how long -------------------------------------------------------------------------------


def test_few_photos_are_not_adapted_to_unless_it_is_asked_for(run, photos, quick, tmp_path, never):
    assert run("segment", photos, "--out", tmp_path / "o", *quick, "--adapt", "auto").status == 0

    assert settings_of(tmp_path / "o")["adapt"] is False
    assert "adaptation" not in summary_of(tmp_path / "o")["results"]


def test_many_photos_are_adapted_to_and_this_can_be_skipped(
    run, photos, quick, tmp_path, monkeypatch, request
):
    monkeypatch.setattr(adapting, "AUTO_PHOTOS", 6)
    monkeypatch.setattr(adapting, "_MINUTES", 3.0)
    ran = run("segment", photos, "--out", tmp_path / "o", *quick, "--adapt", "auto")

    assert ran.status == 0
    assert "about 3 min, or less; --no-adapt skips this" in ran.lines[0]
    assert settings_of(tmp_path / "o")["adapt"] == 3
    request.getfixturevalue("never")
    assert run("segment", photos, "--out", tmp_path / "no", *quick, "--no-adapt").status == 0
    assert run("segment", photos, "--out", tmp_path / "plain", *quick).status == 0


def test_the_configuration_file_repeats_what_was_decided(run, adapted, tmp_path, monkeypatch, masks_of):
    assert settings_of(adapted)["adapt"] == 1
    words = ("segment", "--config", adapted / "config.yaml", "--out")
    assert run(*words, tmp_path / "again").status == 0
    assert masks_of(tmp_path / "again") == masks_of(adapted)
    assert settings_of(tmp_path / "again") == settings_of(adapted) | {"out": str(tmp_path / "again")}

    assert run(*words, tmp_path / "plain", "--no-adapt").status == 0
    monkeypatch.setattr(adapting, "AUTO_PHOTOS", 1)
    ran = run("segment", "--config", tmp_path / "plain" / "config.yaml", "--out", tmp_path / "plain2")
    assert ran.status == 0
    assert "adapting" not in ran.err


def test_demo_can_adapt_too(run, quick, tmp_path):
    ran = run("demo", "--out", tmp_path / "demo", *quick, "--no-overlays", "--adapt")

    assert ran.status == 0, ran.err
    assert "about 10 min, or less" in ran.lines[0]
    assert summary_of(tmp_path / "demo")["results"]["adaptation"]["steps"] == 8


def test_a_single_photo_is_enough(run, draw, quick, tmp_path):
    draw(0).save(tmp_path / "one.png")
    ran = run("segment", tmp_path / "one.png", "--out", tmp_path / "o", *quick, "--adapt", "1")

    assert ran.status == 0, ran.err
    assert "adapting tiny_random to 1 photo, " in ran.lines[0]


def test_a_resnet_is_refused_before_anything_is_written(run, photos, quick, tmp_path, monkeypatch, never):
    real = custom.load_backbone

    def convolutional(*args, **options):
        backbone = real(*args, **options)
        backbone.spec = replace(backbone.spec, architecture="resnet50")
        return backbone

    monkeypatch.setattr(custom, "load_backbone", convolutional)
    ran = run("segment", photos, "--out", tmp_path / "o", *quick, "--adapt")

    assert ran.status == 2
    (line,) = ran.lines
    assert line.startswith("leopart: tiny_random is a ResNet, and only vision transformers can be adapted ")
    assert line.endswith(" choose another --backbone, or --no-adapt")
    assert not (tmp_path / "o").exists()


@pytest.mark.slow  # a process of its own, which has to import torch
def test_without_it_nothing_of_the_training_is_imported(photos, quick, tmp_path):
    code = """
import sys
from leopart.cli.main import main
status = main(sys.argv[1:])
heavy = {"lightning", "leopart.training.run", "tensorboard"} & sys.modules.keys()
sys.exit(status or (f"imported {heavy}" if heavy else 0))
"""
    words = ("segment", photos, "--out", tmp_path / "o", *quick, "--no-adapt", "--quiet")
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], check=False, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_tuned_network_with_its_own_attention_is_warned_of(run, adapted, photos, quick, tmp_path):
    options = ("--backbone", adapted / "segmenter", *quick[2:])
    ran = run("segment", photos, "--out", tmp_path / "spoilt", *options)
    warning = "spoils the attention that decides the foreground: give the network it started from"
    assert ran.status == 0
    assert warning in ran.err
    assert any(warning in line for line in summary_of(tmp_path / "spoilt")["warnings"])
    for name, words in {"start": ("--attention-backbone", quick[1]), "all": ("--foreground", "none")}.items():
        assert "spoils" not in run("segment", photos, "--out", tmp_path / name, *options, *words).err
    assert "spoils" not in run("segment", photos, "--out", tmp_path / "plain", *quick).err
