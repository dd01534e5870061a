"""`leopart.evaluate` and `leopart.overcluster`: the command's scores, on data of one's own too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as SklearnKMeans
from tests.api.conftest import CLASSES

import leopart
from leopart.cli.main import main

OPTIONS = {"k": (3, 7), "seeds": 2, "size": 64, "precision": "fp32", "device": "cpu"}


def values(scores: leopart.Scores) -> list[float]:
    return [record["value"] for record in scores.records()]


@pytest.fixture(scope="module")
def scores(labelled: Path, tiny_weights: Path) -> leopart.Scores:
    return leopart.evaluate("overclustering", f"folder:{labelled}", tiny_weights, **OPTIONS)


def test_the_command_gives_the_same_scores_and_the_same_table(
    scores, labelled: Path, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["--data", str(labelled), "--backbone", str(tiny_weights), "--k", "3", "7", "--seeds", "2"]
    out = tmp_path / "scores.json"
    words += ["--size", "64", "--precision", "fp32", "--device", "cpu", "--out", str(out)]
    assert main(["evaluate", "overclustering", *words]) == 0

    found = json.loads(out.read_text())["scores"]
    assert [round(float(v), 6) for v in scores.outcome.scores[0].headline] == found["3"]["miou"]["per seed"]
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert printed == [line.split() for line in str(scores).splitlines()]
    assert repr(scores) == str(scores)


def test_records_hold_every_number_once(scores):
    records = scores.records()
    totals = [r for r in records if r["class"] is None]
    assert len(totals) == 2 * 2 * 2  # rows, metrics, seeds
    assert len(records) == len(totals) + 2 * len(CLASSES) * 2
    (one,) = [r for r in totals if (r["row"], r["seed"], r["metric"]) == ("7", 1, "miou")]
    assert one["value"] == scores.outcome.scores[1].headline[1]
    per_class = [r["value"] for r in records if r["class"] and r["row"] == "3" and r["seed"] == 0]
    assert np.mean(per_class) == pytest.approx(scores.outcome.scores[0].headline[0])


def test_to_pandas_needs_pandas_and_has_the_records(scores, monkeypatch):
    class Frame(list):
        pass

    monkeypatch.setitem(__import__("sys").modules, "pandas", type("pandas", (), {"DataFrame": Frame}))
    assert scores.to_pandas() == scores.records()
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(leopart.LeopartError, match="pip install pandas"):
        scores.to_pandas()


def test_pairs_in_memory_score_as_the_same_files(scores, painted, tiny_weights: Path):
    """Photos as arrays, masks as tensors: written losslessly, so nothing changes."""
    pairs = [(photo, torch.from_numpy(mask)) for photo, mask in painted]
    found = leopart.evaluate("overclustering", pairs, tiny_weights, classes=CLASSES, **OPTIONS)
    assert values(found) == values(scores)

    class Foreign:
        """A data set as other libraries have them."""

        classes = CLASSES

        def __len__(self) -> int:
            return len(painted)

        def __getitem__(self, index: int):
            return painted[index]

    again = leopart.evaluate("overclustering", Foreign(), leopart.load_backbone(tiny_weights), **OPTIONS)
    assert values(again) == values(scores)
    with pytest.raises(leopart.LeopartError, match="give classes="):
        leopart.evaluate("overclustering", pairs, tiny_weights)


def test_a_set_of_leopart_is_a_sequence_of_photos_and_masks(
    scores, labelled: Path, painted, tiny_weights: Path
):
    found = leopart.datasets.folder(labelled)
    assert (len(found), list(found.classes.values())) == (6, CLASSES)
    for (photo, mask), (known, truth) in zip(found, painted, strict=True):
        np.testing.assert_array_equal(photo, known)
        np.testing.assert_array_equal(mask, truth)
    assert values(leopart.evaluate("overclustering", found, tiny_weights, **OPTIONS)) == values(scores)


def test_tasks_that_learn_take_photos_to_learn_from(painted, tiny_weights: Path, tmp_path: Path):
    options = {"classes": CLASSES, "train_data": painted[:4], "size": 64, "precision": "fp32"}
    found = leopart.evaluate(
        "in-context", painted[4:], tiny_weights, **options, out=tmp_path / "scores.json", fractions=["1"]
    )
    assert 0 < found.outcome.scores[0].headline[0] <= 1
    assert json.loads((tmp_path / "scores.json").read_text())["images"] == 2


def test_wrong_words_are_named_in_a_sentence(labelled: Path, tiny_weights: Path):
    for call, words in (
        (lambda: leopart.evaluate("clustering", labelled), "there is no task 'clustering'"),
        (
            lambda: leopart.evaluate("linear", labelled, tiny_weights, epoch=3),
            "has no option 'epoch'; did you mean epochs",
        ),
        (lambda: leopart.evaluate("overclustering", labelled, tiny_weights, k="many"), "k cannot be 'many'"),
        (lambda: leopart.evaluate("overclustering", labelled, tiny_weights, seeds=0), "at least 1"),
    ):
        with pytest.raises(leopart.LeopartError, match=words):
            call()


def test_a_clusterer_of_scikit_learn_takes_the_place_of_k_means(painted):
    """Mean colours of patches; three colours are three clusters for anybody."""
    tokens = [photo.reshape(12, 4, 16, 4, 3).mean((1, 3)) / 255 for photo, _ in painted]
    labels = [mask for _, mask in painted]
    options = {"classes": CLASSES, "eval_size": None}
    theirs = leopart.overcluster(
        tokens, labels, clusterer=SklearnKMeans(3, n_init=5, random_state=0), **options
    )
    ours = leopart.overcluster(tokens, labels, k=3, **options)
    unnamed = leopart.overcluster(tokens, labels, k=3, eval_size=None)
    assert (values(unnamed), list(unnamed.classes)) == (values(ours), [0, 1, 2])
    assert theirs.outcome.scores[0].name == "3"
    assert values(theirs) == values(ours)
    assert theirs.outcome.scores[0].headline[0] > 0.7
    assert "roof" in str(theirs)


def test_a_clusterer_that_gives_no_ids_is_refused():
    class Broken:
        def fit_predict(self, points):
            return np.zeros(len(points))

        predict = fit_predict

    with pytest.raises(leopart.LeopartError, match="Broken gave float64"):
        leopart.overcluster(torch.rand(2, 4, 4, 3), [np.zeros((4, 4), int)] * 2, clusterer=Broken())


def test_kmeans_takes_an_array_as_a_tensor():
    points = np.random.default_rng(0).random((50, 4), np.float32)
    a, b = leopart.kmeans(points, 5), leopart.kmeans(torch.from_numpy(points), 5, seed=0)
    assert torch.equal(a.centroids, b.centroids)
