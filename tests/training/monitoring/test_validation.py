"""What is looked at between steps, and that looking changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from leopart.errors import LeopartError
from leopart.evaluation.labels import small_labels
from leopart.evaluation.overclustering import Settings, overcluster
from leopart.settings import updated
from leopart.training.monitoring.loggers import Loggers, MetricsFile
from leopart.training.monitoring.validation import Validation, labelled_sample, sheet_of


@pytest.fixture
def labelled(tmp_path: Path, paint_photos) -> Path:
    """Six photos whose right half is a class of its own."""
    root = tmp_path / "labelled"
    paint_photos(root / "images", 6)
    (root / "masks").mkdir()
    mask = np.zeros((44, 56), np.uint8)
    mask[:, 28:] = 3
    for index in range(6):
        Image.fromarray(mask).save(root / "masks" / f"{index:02d}.png")
    (root / "classes.txt").write_text("0\tleft\n3\tright\n")
    return root


class Remembering(Validation):
    """A validation that remembers at which steps it ran, and in which mode."""

    def __init__(self, every: int, **parts) -> None:
        super().__init__(
            every, parts.get("sheet"), parts.get("labelled"), Loggers(), parts["progress"], "fp32"
        )
        self.steps: list[int] = []

    def _validate(self, trainer, pl_module) -> None:
        self.steps.append(trainer.global_step)
        super()._validate(trainer, pl_module)
        networks = pl_module.learner.networks
        assert networks.backbone.training
        assert not networks.teacher.training


@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_runs_before_the_first_step_when_due_and_after_the_last(
    train_tiny, tiny_recipe, heard, accumulate
):
    validation = Remembering(2, progress=heard)
    train_tiny(updated(tiny_recipe, steps=5, accumulate=accumulate), callbacks=[validation])
    assert validation.steps == [0, 2, 4, 5]


def test_a_resumed_run_is_not_validated_twice(train_tiny, tiny_recipe, heard, tmp_path):
    recipe = updated(tiny_recipe, accumulate=2)
    first, second = Remembering(2, progress=heard), Remembering(2, progress=heard)
    train_tiny(recipe, tmp_path, callbacks=[first], stop_at=2)
    train_tiny(recipe, tmp_path, callbacks=[second], resume=True)
    assert (first.steps, second.steps) == ([0, 2], [4, 6])


def test_validation_changes_nothing(
    train_tiny, tiny_recipe, tmp_path, labelled, photos, fresh, heard, state_of, same_to_the_bit
):
    train_tiny(tiny_recipe, tmp_path / "blind")
    sheet = sheet_of(photos, tmp_path, fresh(), 3, size=32)
    sample = replace(labelled_sample(f"folder:{labelled}", "masks", 4, (2, 5)), size=32)
    validation = Remembering(1, progress=heard, sheet=sheet, labelled=sample)
    train_tiny(tiny_recipe, tmp_path / "seen", callbacks=[validation])
    assert len(heard.notes) == 7
    same_to_the_bit(state_of(tmp_path / "seen"), state_of(tmp_path / "blind"))


def test_scores_are_those_of_the_evaluation(labelled, fresh, tmp_path, heard, train_tiny, tiny_recipe):
    sample = labelled_sample(f"folder:{labelled}", "masks", 100, (2, 5, 10**6))
    sample = replace(sample, size=64)
    backbone = fresh()
    found = sample.score(backbone, "fp32")

    def tokens(path: Path) -> np.ndarray:
        with Image.open(path) as photo:
            pixels = np.array(photo.resize((64, 64), Image.Resampling.BILINEAR, reducing_gap=None))
        with torch.no_grad():
            return backbone(torch.from_numpy(pixels).permute(2, 0, 1)[None]).tokens[0].half().numpy()

    labels = small_labels(sample.folder, through=64)
    maps = [tokens(photo.path) for photo, _ in sample.folder.pairs]
    expected = overcluster(maps, labels, 2, Settings(ks=[2, 5], seeds=(1,)), background=None)
    assert found == pytest.approx({f"val/miou_k{s.k}": s.mean for s in expected}, abs=0.02)
    assert set(found) == {"val/miou_k2", "val/miou_k5"}  # there are fewer tokens than a million


def test_scores_go_to_the_metrics_and_to_the_progress_callback(
    labelled, train_tiny, tiny_recipe, heard, tmp_path, lines_of
):
    loggers = Loggers(MetricsFile(tmp_path / "run" / "metrics.jsonl", 0))
    sample = replace(labelled_sample(f"folder:{labelled}", "masks", 3, (2,)), size=32)
    validation = Validation(5, None, sample, loggers, heard, "fp32")
    train_tiny(updated(tiny_recipe, steps=1), callbacks=[validation])
    lines = lines_of(tmp_path / "run")
    assert [line["step"] for line in lines] == [0, 1]
    assert all(0 <= line["val/miou_k2"] <= 1 for line in lines)
    percent = f"{100 * lines[0]['val/miou_k2']:.1f}"
    assert heard.notes[0] == f"step 0: mIoU of clusters in % K=2 {percent} (3 labelled photos)"


def test_the_sample_is_the_same_every_time_and_no_larger_than_asked(labelled):
    first, second = (labelled_sample(f"folder:{labelled}", "masks", 3, (2,)) for _ in range(2))
    assert first.folder.pairs == second.folder.pairs
    assert len(first.folder.pairs) == 3
    assert len(labelled_sample(f"folder:{labelled}", "masks", 100, (2,)).folder.pairs) == 6


def test_the_sheet_leaves_out_photos_that_cannot_be_read(tmp_path, photos, fresh, paint_photos):
    sheet = sheet_of(photos, tmp_path, fresh(), 4, size=30)
    assert sheet.photos.shape == (4, 32, 32, 3)  # the nearest size that divides into patches
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"x")
    broken = replace(photos[0], path=bad)
    assert len(sheet_of([broken, *photos[1:]], tmp_path, fresh(), 4).photos) == 3
    assert sheet_of([broken], tmp_path, fresh(), 4) is None


@pytest.mark.parametrize("data", ["voc:/x", "/x", "nothing:/x"])
def test_data_that_is_not_there_is_refused(data):
    with pytest.raises(LeopartError, match="/x"):
        labelled_sample(data, "masks", 3, (2,))
