"""`leopart evaluate`: the JSON file, the tables, and one sentence for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image

from leopart.config import TASKS
from leopart.data.images import load_photo
from leopart.evaluation.overclustering import Settings, overcluster
from leopart.evaluation.tasks import overclustering
from leopart.features.extract import Extractor, Preprocessing
from leopart.features.store import FeatureStore
from leopart.models.backbone import Backbone
from leopart.run_record import peak_memory, versions


@pytest.fixture
def evaluate(run, labelled: Path, small, tmp_path: Path):
    """Run the command; what it answered and what it wrote."""

    def go(*words: object):
        out = tmp_path / "results" / "scores.json"
        ran = run("evaluate", "overclustering", "--data", f"folder:{labelled}", "--out", out, *small, *words)
        return ran, json.loads(out.read_text()) if out.exists() else None

    return go


def expected_scores(backbone: Backbone, folder: Path, k: int, seeds: int, stems=range(5)):
    """The same from its parts: tokens of the squeezed photos, masks by Pillow and torch."""
    extractor = Extractor(backbone, Preprocessing(64), precision="fp32")
    tokens, labels = [], []
    for stem in stems:
        photo = load_photo(folder / "images" / f"{stem}.png")
        tokens.append(extractor.forward([extractor.prepare(photo)])[0][0])
        square = Image.open(folder / "masks" / f"{stem}.png").resize((64, 64), Image.Resampling.NEAREST)
        pixels = F.interpolate(torch.from_numpy(np.array(square))[None, None], (100, 100), mode="nearest")[
            0, 0
        ]
        labels.append(np.select([pixels == 0, pixels == 3, pixels == 5], [0, 1, 2], 255))
    (scores,) = overcluster(tokens, labels, 3, Settings(ks=(k,), seeds=range(seeds)), background=0)
    return scores


def test_scores_are_those_of_its_parts(evaluate, tiny_backbone: Backbone, labelled: Path):
    ran, found = evaluate("--k", "3", "8", "--seeds", "2")

    assert ran.status == 0
    for k, rule in ((3, "hungarian"), (8, "precision")):
        expected, record = expected_scores(tiny_backbone, labelled, k, 2), found["scores"][str(k)]
        assert record["matching"] == rule
        assert record["miou"]["per seed"] == pytest.approx(expected.miou.tolist(), abs=1e-6)
        assert record["miou"]["mean"] == pytest.approx(expected.mean, abs=1e-6)
        assert record["miou"]["std"] == pytest.approx(expected.std, abs=1e-6)
        names = [(row["id"], row["name"]) for row in record["per class"]]
        assert names == [(0, "background"), (3, "ball"), (5, "blue box")]
        of_classes = [row["iou"]["per seed"] for row in record["per class"]]
        assert pytest.approx(expected.class_iou, abs=1e-6) == np.array(of_classes).T
        accuracy = [matching.pixel_accuracy for matching in expected.matchings]
        assert record["pixel accuracy"]["per seed"] == pytest.approx(accuracy, abs=1e-6)
        on_background = [np.mean(matching.assignment == 0) for matching in expected.matchings]
        assert found["clusters on background"][str(k)] == pytest.approx(on_background, abs=1e-6)
        assert 0 < expected.mean < 1


def test_the_file_holds_what_the_scores_depend_on(evaluate, tiny_backbone, labelled, tiny_weights, tmp_path):
    _, found = evaluate("--k", "3", "--seeds", "2")

    assert list(found["scores"]) == ["3"]
    assert found["backbone"] == {
        "name": "tiny_random",
        "source": str(tiny_weights),
        "fingerprint": tiny_backbone.fingerprint,
        "block": 1,
        "precision": "fp32",
    }
    facts = {name: found[name] for name in ("task", "dataset", "masks", "split", "ignored classes", "images")}
    assert facts == {
        "task": "overclustering",
        "dataset": f"folder:{labelled}",
        "masks": "masks",
        "split": None,
        "ignored classes": [],
        "images": 5,
    }
    assert (found["seeds"], found["device"], found["versions"]) == ([0, 1], "cpu", versions())
    assert found["labels used"]["clusters"] == "none"
    assert found["labels used"]["backbone"] == tiny_backbone.spec.labels
    assert list(found["seconds"]) == ["masks", "backbone", "features", "clustering"]
    assert abs(found["peak memory MiB"] - peak_memory()) < 200
    assert found["git commit"] is None or len(found["git commit"].removesuffix("+changes")) == 40
    options = yaml.safe_load((tmp_path / "results" / "scores.config.yaml").read_text())
    assert options == found["settings"]
    assert (options["k"], options["size"]) == ([3], 64)


def test_the_options_of_an_earlier_run_give_its_scores_again(evaluate, run, tmp_path: Path):
    _, first = evaluate("--k", "3", "--seeds", "1", "--normalise")
    again = tmp_path / "again.json"
    options = tmp_path / "results" / "scores.config.yaml"
    assert run("evaluate", "--config", options, "--out", again, "--quiet").status == 0
    assert json.loads(again.read_text())["scores"] == first["scores"]


def test_a_split_scores_its_photos_only(evaluate, tiny_backbone: Backbone, labelled: Path):
    _, found = evaluate("--k", "4", "--seeds", "1", "--split", "val")
    assert (found["images"], found["split"]) == (2, "val")
    expected = expected_scores(tiny_backbone, labelled, 4, 1, stems=(4, 1))
    assert found["scores"]["4"]["miou"]["mean"] == pytest.approx(expected.mean, abs=1e-6)


def test_other_masks_and_classes_that_are_left_out(evaluate):
    _, found = evaluate("--k", "2", "--seeds", "1", "--masks", "two")
    assert [row["name"] for row in found["scores"]["2"]["per class"]] == ["background", "thing"]
    _, found = evaluate("--k", "2", "--seeds", "1", "--ignore", "Ball")
    assert [row["name"] for row in found["scores"]["2"]["per class"]] == ["background", "blue box"]
    assert found["ignored classes"] == ["ball"]
    assert found["scores"]["2"]["matching"] == "hungarian"
    _, found = evaluate("--k", "2", "--seeds", "1", "--ignore", "background")
    assert "clusters on background" not in found


def test_another_block_has_other_scores(evaluate):
    _, final = evaluate("--k", "5", "--seeds", "1")
    _, last = evaluate("--k", "5", "--seeds", "1", "--features", "1")
    _, first = evaluate("--k", "5", "--seeds", "1", "--features", "0")
    assert final["scores"] == last["scores"] != first["scores"]
    assert [found["backbone"]["block"] for found in (final, last, first)] == [1, 1, 0]


def test_tables_are_in_percent_on_stdout(evaluate):
    ran, found = evaluate("--k", "3", "8", "--seeds", "2")

    title, header, *rows = (line.split() for line in ran.out.splitlines())
    assert title == ["overclustering:", "tiny_random,", "5", "photos,", "2", "seeds,", "percent"]
    assert header == ["matching", "mIoU", "pixel", "accuracy", "mIoU", "of", "each", "seed"]
    for row, k in zip(rows, (3, 8), strict=False):
        scores = found["scores"][str(k)]
        miou, accuracy = scores["miou"], scores["pixel accuracy"]
        numbers = (miou["mean"], miou["std"], accuracy["mean"], accuracy["std"], *miou["per seed"])
        cells = [float(cell) for cell in row[2:] if cell != "±"]
        assert row[:2] == [str(k), scores["matching"]]
        assert cells == pytest.approx([100 * n for n in numbers], abs=0.051)
    box = next(row for row in rows if row[:2] == ["blue", "box"])
    of_box = [found["scores"][k]["per class"][2]["iou"]["mean"] for k in ("3", "8")]
    assert [float(cell) for cell in box[2:]] == pytest.approx([100 * n for n in of_box], abs=0.051)
    assert ran.lines[-1].startswith("scores: /")


def test_quiet_prints_nothing(evaluate):
    ran, _ = evaluate("--k", "3", "--seeds", "1", "--quiet")
    assert (ran.status, ran.out, ran.err) == (0, "", "")


MISTAKES = {
    "an unknown backbone": (["--backbone", "imgfocus_vits13"], "did you mean imgfocus_vits14"),
    "no such block": (["--features", "7"], "tiny_random has blocks 0 to 1, not 7"),
    "no cluster": (["--k", "0"], "--k takes numbers of clusters, at least 1, got 0"),
    "more clusters than tokens": (["--k", "400"], "--k 400 is more than the 320 tokens"),
    "no seed": (["--seeds", "0"], "--seeds must be at least 1, got 0"),
    "no pixel": (["--eval-size", "0"], "--eval-size must be full or at least 1, got 0"),
    "other masks": (["--masks", "fine"], "choose one of: masks, masks_two"),
    "another split": (["--split", "test"], "choose one of: train, val"),
    "a class that is not there": (["--ignore", "bal"], "did you mean ball?"),
    "every class": (["--ignore", "ball", "background", "blue box"], "every class is ignored"),
    "another kind of data": (["--data", "voc:here"], "there is no folder here"),
    "no data": (["--data", "folder:here"], "there is no folder"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(evaluate, mistake: str):
    words, sentence = MISTAKES[mistake]
    ran, found = evaluate(*words)
    assert (ran.status, found) == (2, None)
    assert len(ran.lines) == 1
    assert sentence in ran.err


def test_other_tasks_are_refused_with_those_that_exist(run):
    ran = run("evaluate", "liner", "--data", "folder:x", "--out", "y.json")
    assert (ran.status, ran.lines) == (2, ["leopart: there is no task 'liner'; did you mean linear?"])
    ran = run("evaluate", "everything", "--data", "folder:x", "--out", "y.json")
    assert ran.lines == [f"leopart: there is no task 'everything'; there is: {', '.join(TASKS)}"]
    ran = run("evaluate", "--data", "folder:x", "linear")
    assert ran.lines == [f"leopart: --data comes before the task; there is: {', '.join(TASKS)}"]


def test_out_may_not_be_a_folder(evaluate, run, tmp_path: Path):
    ran = run("evaluate", "overclustering", "--data", "x", "--out", tmp_path)
    assert ran.lines == [
        f"leopart: --out {tmp_path} is a folder: give a file, such as {tmp_path}/scores.json"
    ]


def test_a_folder_that_cannot_be_written_to_is_noticed_before_the_work(run, labelled, small, tmp_path):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "scores.json"
    ran = run("evaluate", "overclustering", "--data", labelled, "--out", out, *small)
    assert ran.status == 2
    assert "cannot write" in ran.err
    assert str(tmp_path / "file") in ran.err


def test_an_interrupted_evaluation_goes_on_where_it_stopped(evaluate, tiny_backbone, tmp_path, monkeypatch):
    _, whole = evaluate("--k", "3", "--seeds", "1")
    forward, done = Extractor.forward, []

    def interrupted(extractor, images):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(len(images))
        return forward(extractor, images)

    monkeypatch.setattr(Extractor, "forward", interrupted)
    (tmp_path / "results" / "scores.json").unlink()
    assert evaluate("--k", "3", "--seeds", "1")[0].status == 130
    left = FeatureStore.load(tmp_path / "results" / ".scores.features")
    assert left.done.sum() == 2

    done.clear()
    monkeypatch.setattr(Extractor, "forward", lambda *given: done.append(1) or forward(*given))
    _, again = evaluate("--k", "3", "--seeds", "1")
    assert len(done) == 3
    assert again["scores"] == whole["scores"]
    assert {file.name for file in (tmp_path / "results").iterdir()} == {"scores.json", "scores.config.yaml"}


def test_features_of_other_options_are_not_taken(evaluate, tmp_path, monkeypatch):
    _, whole = evaluate("--k", "3", "--seeds", "1", "--features", "0")
    monkeypatch.setattr(
        overclustering, "overcluster", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    assert evaluate("--k", "3", "--seeds", "1")[0].status == 130
    monkeypatch.undo()
    _, again = evaluate("--k", "3", "--seeds", "1", "--features", "0")
    assert again["scores"] == whole["scores"]


def test_a_folder_of_the_users_is_left_alone(evaluate, tmp_path):
    folder = tmp_path / "results" / ".scores.features"
    folder.mkdir(parents=True)
    (folder / "mine.txt").touch()
    ran, found = evaluate("--k", "3", "--seeds", "1")
    assert (ran.status, found) == (2, None)
    assert ran.lines == [
        f"leopart: {folder} exists and holds no features of an earlier run: choose another --out"
    ]
    assert [file.name for file in folder.iterdir()] == ["mine.txt"]


def spoiled(labelled: Path, folder: Path, name: str, content: bytes) -> Path:
    for file in [file for file in labelled.rglob("*") if file.is_file()]:
        target = folder / file.relative_to(labelled)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    (folder / name).write_bytes(content)
    return folder


def test_a_photo_that_cannot_be_read_ends_the_evaluation(run, labelled, small, tmp_path):
    whole = (labelled / "images" / "2.png").read_bytes()
    folder = spoiled(labelled, tmp_path / "set", "images/2.png", whole[: len(whole) // 2])
    ran = run(
        "evaluate", "overclustering", "--data", folder, "--out", tmp_path / "s.json", "--k", "3", *small
    )
    assert ran.status == 2
    assert len(ran.lines) == 1
    assert "1 of 5 photos cannot be used" in ran.err
    assert "2.png is damaged" in ran.err
    assert not (tmp_path / "s.json").exists()


def test_masks_without_any_label_are_refused(run, labelled, small, tmp_path):
    folder = spoiled(labelled, tmp_path / "set", "val.txt", b"0\n")
    Image.fromarray(np.full((48, 64), 255, np.uint8)).save(folder / "masks" / "0.png")
    words = ("--data", folder, "--split", "val", "--out", tmp_path / "s.json")
    ran = run("evaluate", "overclustering", *words, *small)
    assert ran.status == 2
    assert "no pixel of the masks has a label that counts" in ran.err


def test_nothing_given(run):
    ran = run("evaluate")
    assert ran.status == 2
    assert "`leopart evaluate TASK --data DATA --out OUT`" in ran.err
