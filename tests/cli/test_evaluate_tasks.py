"""The tasks of `leopart evaluate` besides overclustering, from the words to the JSON file."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from networks_small import small as small_spec
from networks_small import source_model
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from leopart.config import FCNConfig
from leopart.data.datasets.folder import open_folder
from leopart.data.images import load_photo
from leopart.evaluation.heads.examples import CachedExamples
from leopart.evaluation.heads.files import read_head
from leopart.evaluation.heads.recipes import fitting_recipe, head_recipe
from leopart.evaluation.heads.scoring import score_head
from leopart.evaluation.heads.training import train_head
from leopart.evaluation.labels import LabelMaps
from leopart.evaluation.metrics.attention import AttentionScores
from leopart.evaluation.metrics.boundary import boundary_f1
from leopart.evaluation.metrics.matching import score
from leopart.evaluation.tasks.linear_and_fcn import recipe_of
from leopart.features.extract import Extractor, Preprocessing
from leopart.models.backbone import Backbone, build_backbone
from small_sets import coco, voc

CLASSES = 3


def features(backbone: Backbone, folder: Path, stems: tuple[int, ...], size: int = 64):
    """Tokens [h, w, D] and attention [heads, h, w] of each photo."""
    extractor = Extractor(backbone, Preprocessing(size), precision="fp32")
    photos = [load_photo(folder / "images" / f"{stem}.png") for stem in stems]
    return [extractor.forward([extractor.prepare(photo)])[0] for photo in photos]


def sized_labels(folder: Path, split: str, side: int | None, masks: str = "masks"):
    return list(LabelMaps(open_folder(folder, masks, split), side, 64))


HEADS = ("--lr", "0.5", "--epochs", "3", "--head-batch-size", "2", "--augment", "no", "--select", "0")


@pytest.mark.parametrize(
    "words",
    [("linear", "--epochs", "1", "--augment", "no"), ("in-context", "--fractions", "1", "--memory", "9")],
)
def test_the_masks_that_were_learned_from_are_told(evaluate, tmp_path: Path, words: tuple[str, ...]):
    ran, found = evaluate(*words, "--data", f"voc:{voc(tmp_path / 'voc')}")
    learned = "photos to learn from: masks from SegmentationClassAug"
    assert found["notes"][0] == "masks from SegmentationClass"
    assert learned in found["notes"]
    assert f"note: {learned}" in ran.out
    assert found["split"] == "val"  # though nobody has named it


def test_the_tenth_that_was_drawn_is_written_beside_the_scores(evaluate, tmp_path: Path):
    data = f"coco-stuff:{coco(tmp_path / 'coco')}"  # 21 photos to learn from: a tenth is 3
    ran, found = evaluate("in-context", "--data", data, "--fractions", "1", "--neighbours", "1")
    names = (tmp_path / "results" / "scores.train10.txt").read_text().split()
    assert ran.status == 0
    assert len(names) == found["scores"]["1"]["photos"] == 3
    assert names == sorted(names)
    assert all(any((tmp_path / "coco").rglob(f"train2017/{name}")) for name in names)


@pytest.mark.parametrize("task", ["linear", "fcn"])
def test_a_head_scores_what_its_parts_score(evaluate, tiny_backbone, labelled, task: str):
    ran, found = evaluate(task, *HEADS, "--eval-size", "50")
    assert ran.status == 0

    learned, scored = (
        [tokens for tokens, _ in features(tiny_backbone, labelled, stems)] for stems in ((0, 2, 3), (4, 1))
    )
    recipe = head_recipe("small", task)
    recipe = type(recipe)(
        **(vars(recipe) | {"lr": 0.5, "epochs": 3, "batch_size": 2, "augment": False, "select": 0})
    )
    examples = CachedExamples(learned, sized_labels(labelled, "train", recipe.train_size))
    head = train_head(examples, CLASSES, recipe).head
    confusion = score_head(head, scored, sized_labels(labelled, "val", 50))
    expected = score(confusion.matrix, np.arange(CLASSES), 0)

    row = found["scores"][task]
    assert row["miou"]["per seed"] == pytest.approx([expected.miou], abs=1e-6)
    assert row["pixel accuracy"]["per seed"] == pytest.approx([expected.pixel_accuracy], abs=1e-6)
    assert [entry["iou"]["mean"] for entry in row["per class"]] == pytest.approx(expected.iou, abs=1e-6)
    assert (found["images"], found["seeds"], found["head"]["lr"]) == (2, [400], 0.5)
    assert len(found["training"][0]["epochs"]) == 3
    assert found["labels used"]["head"] == "those of 3 training photos"
    assert found["labels used"]["choice of the epoch"].startswith("no labels")


def test_a_head_that_was_saved_scores_the_same_again(evaluate, tmp_path: Path):
    head = tmp_path / "head.pth"
    _, trained = evaluate("linear", *HEADS, "--save-head", head, "--seeds", "2")
    ran, again = evaluate("linear", "--head", head, name="again")

    assert (read_head(head).kind, read_head(head).classes) == ("linear", CLASSES)
    assert ran.status == 0
    first = trained["scores"]["linear"]["miou"]["per seed"]
    assert len(first) == 2
    assert again["scores"]["linear"]["miou"]["per seed"] == first[:1]
    assert again["labels used"]["head"].startswith("unknown")


def test_the_epoch_can_be_chosen_on_the_photos_that_are_scored_and_the_file_says_so(evaluate):
    _, found = evaluate("linear", *HEADS, "--select", "2", "--augment", "yes")
    training = found["training"][0]
    scores = [epoch["miou"] for epoch in training["epochs"]]
    assert training["kept epoch"] == int(np.argmax(scores))
    assert "2 validation photos" in found["labels used"]["choice of the epoch"]
    settings = found["labels used"]["settings"]  # their own were chosen with labels, too
    assert "chosen on two halves of MSRC-21" in settings
    assert settings.endswith("By hand: lr, epochs, batch_size, augment, select.")
    assert found["head"]["augment"] is True


def naive_in_context(backbone: Backbone, folder: Path, learned: tuple[int, ...], neighbours: int):
    """Nearest patches by scikit-learn; classes of a patch from its 8 x 8 pixels."""
    keys, shares = [], []
    for stem, (tokens, _) in zip(learned, features(backbone, folder, learned), strict=True):
        photos = open_folder(folder)
        ids = LabelMaps(photos, 64, 64)[stem]
        for (y, x), _ in np.ndenumerate(tokens[..., 0]):
            pixels = ids[8 * y : 8 * y + 8, 8 * x : 8 * x + 8]
            counts = np.array([(pixels == c).sum() for c in range(CLASSES)])
            if counts.sum():
                keys.append(tokens[y, x].astype(np.float64))
                shares.append(counts / counts.sum())
    keys = np.array(keys) / np.linalg.norm(keys, axis=1, keepdims=True)
    search = NearestNeighbors(n_neighbors=neighbours, metric="cosine").fit(keys)
    for tokens, _ in features(backbone, folder, (4, 1)):
        flat = tokens.reshape(-1, tokens.shape[2]).astype(np.float64)
        distance, index = search.kneighbors(flat)
        weight = np.exp((1 - distance) / 0.02)
        votes = (weight[..., None] * np.array(shares)[index]).sum(1) / weight.sum(1, keepdims=True)
        yield votes.reshape(*tokens.shape[:2], CLASSES)


def test_neighbours_are_those_of_scikit_learn(evaluate, tiny_backbone, labelled: Path):
    ran, found = evaluate("in-context", "--fractions", "1", "1/3", "--neighbours", "5", "--seeds", "2")
    assert ran.status == 0
    assert found["scores"]["1"]["photos"] == 3
    assert found["scores"]["1/3"]["photos"] == 1
    assert [len(found["scores"][share]["miou"]["per seed"]) for share in ("1", "1/3")] == [1, 2]

    _, coarse = evaluate("in-context", "--fractions", "1", "--neighbours", "5", "--eval-size", "8", name="c")
    matrix = np.zeros((CLASSES, CLASSES), np.int64)
    maps = naive_in_context(tiny_backbone, labelled, (0, 2, 3), 5)
    for votes, ids in zip(maps, sized_labels(labelled, "val", 8), strict=True):
        np.add.at(matrix, (ids[ids != 255], votes.argmax(2)[ids != 255]), 1)
    expected = score(matrix, np.arange(CLASSES), 0).miou
    assert coarse["scores"]["1"]["miou"]["mean"] == pytest.approx(expected, abs=1e-6)


def test_attention_scores_are_those_of_its_parts(evaluate, tiny_backbone, labelled: Path):
    ran, found = evaluate("attention", "--masks", "two", "--size", "48", "--keep", "0.4")
    assert ran.status == 0
    scores = AttentionScores(0.4, 0)
    photos = features(tiny_backbone, labelled, tuple(range(5)), 48)
    for index, (_, attention) in enumerate(photos):
        scores.add(attention, LabelMaps(open_folder(labelled, "two"), 48, 48)[index])
    row = found["scores"]["attention"]
    assert row["jaccard"]["mean"] == pytest.approx(scores.merged, abs=1e-6)
    assert row["best head"]["mean"] == pytest.approx(scores.best_head, abs=1e-6)
    assert found["photos with objects"] == 5
    assert "jaccard" in ran.out


def test_masks_like_the_labels_have_the_right_outlines(evaluate, labelled: Path):
    ran, found = evaluate("boundary", "--predicted", labelled / "masks", "--tolerance", "2")
    assert ran.status == 0
    row = found["scores"]["predicted masks"]
    assert [row[name]["mean"] for name in ("f1", "precision", "recall")] == [1, 1, 1]


def test_outlines_of_the_attention_are_scored_photo_by_photo(evaluate, tiny_backbone, labelled, tmp_path):
    _, found = evaluate("boundary", "--tolerance", "3", "--save-maps", tmp_path / "maps")
    scores = []
    for stem, ids in enumerate(LabelMaps(open_folder(labelled), 64, 64)):
        mask = np.array(Image.open(tmp_path / "maps" / "boundary" / f"{stem}.png"))
        square = np.array(Image.fromarray(mask).resize((64, 64), Image.Resampling.NEAREST))
        scores.append(boundary_f1(ids != 0, square != 0, 3).f1)
    assert found["scores"]["attention"]["f1"]["mean"] == pytest.approx(np.mean(scores), abs=0.05)


@pytest.mark.parametrize(
    ("task", "words", "folder", "row"),
    [
        ("overclustering", ("--k", "4", "--seeds", "2", "--split", "val"), "k4", "4"),
        ("linear", HEADS, "linear", "linear"),
        ("in-context", ("--fractions", "1"), "share-1", "1"),
    ],
)
def test_maps_that_are_saved_have_the_score(evaluate, labelled, tmp_path, task, words, folder, row):
    """At each photo's own size, what lies in the files gives the score of the first seed again."""
    _, found = evaluate(task, *words, "--eval-size", "full", "--save-maps", tmp_path / "maps")
    matrix = np.zeros((CLASSES, CLASSES), np.int64)
    rows = np.full(256, 255)
    rows[[0, 3, 5]] = range(CLASSES)
    for stem in (4, 1):
        ids = rows[np.array(Image.open(labelled / "masks" / f"{stem}.png"))]
        classes = rows[np.array(Image.open(tmp_path / "maps" / folder / f"{stem}.png"))]
        np.add.at(matrix, (ids[ids != 255], classes[ids != 255]), 1)
    assert sorted(path.name for path in (tmp_path / "maps" / folder).iterdir()) == ["1.png", "4.png"]
    expected = score(matrix, np.arange(CLASSES), 0).miou
    assert found["scores"][row]["miou"]["per seed"][0] == pytest.approx(expected, abs=1e-6)


def test_features_that_are_kept_serve_other_tasks(evaluate, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    evaluate("overclustering", "--k", "3", "--seeds", "1", "--split", "val", "--cache", cache)
    forward, done = Extractor.forward, []
    monkeypatch.setattr(Extractor, "forward", lambda *given: done.append(1) or forward(*given))
    _, first = evaluate("in-context", "--fractions", "1", "--cache", cache)
    assert len(done) == 3  # the photos to learn from; those of val are there
    _, again = evaluate("in-context", "--fractions", "1", "--cache", cache)
    assert len(done) == 3
    assert first["scores"] == again["scores"]
    assert len(list(cache.iterdir())) == 2


MISTAKES = {
    "photos in both lists": (
        ("linear", "--train-split", "val"),
        "2 of 2 photos to score are among those to learn from; give --split and --train-split lists",
    ),
    "no list to learn from": (("linear", "--train-split", "small"), "has no list small.txt"),
    "an unknown preset": (("linear", "--preset", "smal"), "did you mean small?"),
    "a share that is none": (("in-context", "--fractions", "2"), "--fractions takes fractions above 0"),
    "a word for a share": (("in-context", "--fractions", "half"), "got 'half'"),
    "no share": (("in-context", "--fractions"), "--fractions takes at least one fraction of the photos"),
    "a temperature that is no number": (
        ("in-context", "--temperature", "nan"),
        "--temperature must be above 0, got nan",
    ),
    "a file for the maps": (("linear", "--save-maps", __file__), "File exists; choose another output folder"),
    "no neighbour": (("in-context", "--neighbours", "0"), "--neighbours must be at least 1, got 0"),
    "no attention kept": (("attention", "--keep", "0"), "--keep must be above 0 and at most 1, got 0"),
    "no background": (
        ("attention", "--ignore", "background"),
        "no class of these masks is called background",
    ),
    "no such head": (("linear", "--head", "nowhere.pth"), "nowhere.pth"),
    "no predicted masks": (("boundary", "--predicted", "nowhere"), "5 of 5 photos have no mask"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(evaluate, mistake: str):
    (task, *words), sentence = MISTAKES[mistake]
    ran, found = evaluate(task, *words)
    assert (ran.status, found) == (2, None)
    assert len(ran.lines) == 1, ran.err
    assert sentence in ran.err


def test_a_head_that_could_not_be_written_is_noticed_before_the_work(evaluate, tmp_path, monkeypatch):
    monkeypatch.setattr(Extractor, "extract", lambda *_, **__: pytest.fail("this was the work"))
    ran, found = evaluate("linear", "--save-head", tmp_path / "head.txt")
    assert (ran.status, found) == (2, None)
    assert "head.txt has an unknown suffix for a head; choose one of .safetensors" in ran.err


def test_a_head_of_other_sizes_is_refused(evaluate, tmp_path: Path):
    head = tmp_path / "head.pth"
    evaluate("linear", *HEADS, "--epochs", "1", "--save-head", head)
    for task, words, sentence in (
        ("fcn", (), "has the kind linear, but fcn is needed"),
        ("linear", ("--ignore", "ball"), "has the number of classes 3, but 2 is needed"),
    ):
        ran, found = evaluate(task, "--head", head, *words, name=task + str(len(words)))
        assert (ran.status, found) == (2, None)
        assert sentence in ran.err


@pytest.mark.parametrize("task", ["attention", "boundary"])
def test_a_network_without_cls_attention_is_refused(evaluate, monkeypatch, task: str):
    spec = small_spec("mocov2_resnet50")
    resnet = build_backbone(spec, source_model(spec).state_dict())
    monkeypatch.setattr("leopart.evaluation.case.as_backbone", lambda *_, **__: resnet)
    ran, found = evaluate(task)
    assert (ran.status, found) == (2, None)
    assert "mocov2_resnet50 has no CLS attention; choose a vision transformer with --backbone" in ran.err


def test_two_results_are_put_side_by_side(evaluate, run, tmp_path: Path):
    evaluate("overclustering", "--k", "3", "8", "--seeds", "3", name="a")
    evaluate("overclustering", "--k", "3", "--seeds", "3", "--features", "0", name="b")
    ran = run("evaluate", "--compare", tmp_path / "results" / "a.json", tmp_path / "results" / "b.json")

    a, b = (json.loads((tmp_path / "results" / f"{name}.json").read_text()) for name in "ab")
    means = [report["scores"]["3"]["miou"]["mean"] for report in (a, b)]
    row = next(line.split() for line in ran.out.splitlines() if line.startswith("mIoU"))
    assert ran.status == 0
    assert [float(cell) for cell in row[1:4]] == pytest.approx(
        [100 * means[0], 100 * means[1], 100 * (means[1] - means[0])], abs=0.051
    )
    assert "A = tiny_random, block 1, B = tiny_random, block 0" in ran.out
    assert "only in one of the two: 8" in ran.out
    assert [line.split()[0] for line in ran.out.splitlines() if "blue" in line] == ["blue"]


def test_help_lists_the_tasks_and_each_has_its_own(run):
    ran = run("evaluate", "--help")
    assert ran.status == 0
    assert all(f"\n  {task} " in ran.out for task in ("linear", "fcn", "in-context", "attention", "boundary"))
    of_task = run("evaluate", "in-context", "--help-all")
    assert "--fractions" in of_task.out
    assert "--k " not in of_task.out


def test_two_processes_train_the_head_of_one(evaluate, labelled: Path, small, tmp_path: Path):
    words = ("linear", "--data", f"folder:{labelled}", *small, *HEADS)
    _, alone = evaluate("linear", *HEADS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "leopart", "evaluate", *words, "--out", str(tmp_path / "both.json")]
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared |= {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            command,
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        answers = [process.communicate(timeout=600) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], answers
    both = json.loads((tmp_path / "both.json").read_text())
    assert both["scores"]["linear"]["miou"]["mean"] == pytest.approx(
        alone["scores"]["linear"]["miou"]["mean"], abs=1e-4
    )
    assert answers[1][0] == ""  # one of them tells
    assert not list(tmp_path.glob(".both*"))


@pytest.mark.parametrize(
    ("preset", "asked", "grid"),
    [("small", None, 100), ("voc-reference", None, "reference"), ("voc-reference", 20, 20)],
)
def test_the_grid_of_an_fcn_is_the_presets_unless_it_is_given(tmp_path, preset: str, asked, grid):
    config = FCNConfig(task="fcn", data="d", out=tmp_path / "o", preset=preset, eval_grid=asked)
    assert recipe_of(config, "dino_vits16").eval_grid == grid


def test_presets_fit_the_data_and_the_backbone():
    assert fitting_recipe("folder", "dino_vits16", "linear") == "small"
    assert fitting_recipe("voc", "mae_vitb16", "linear") == "voc-mae"
    assert fitting_recipe("voc", "leopart_vitb8", "fcn") == "voc-leopart-vitb8"
    assert fitting_recipe("coco-stuff", "leopart_vits16", "linear") == "coco-leopart"
    assert fitting_recipe("coco-thing", "maskcontrast_resnet50", "linear") == "coco-maskcontrast"
    assert fitting_recipe("voc", "dinov2_vits14", "linear") == "voc"
