"""The tasks `foreground` and `unsupervised`, from the words to the JSON file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks_small import small as small_spec
from networks_small import source_model
from PIL import Image
from skimage.filters import gaussian, threshold_otsu

from leopart.data.datasets.folder import open_folder
from leopart.data.images import load_photo
from leopart.evaluation.label_free import label_search
from leopart.evaluation.label_free.foreground import cluster_tokens, list_precisions
from leopart.evaluation.label_free.published import PRESETS
from leopart.evaluation.labels import LabelMaps, squeezed
from leopart.evaluation.overclustering import Settings, overcluster
from leopart.features.extract import Extractor, Preprocessing
from leopart.models.attention import attention_mask
from leopart.models.backbone import Backbone, build_backbone, load_backbone

CLASSES = 3
needs_optuna = pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="Optuna is an extra")


@pytest.fixture(scope="session")
def other_weights(tmp_path_factory: pytest.TempPathFactory, make_tiny_weights) -> Path:
    return make_tiny_weights(tmp_path_factory.mktemp("other"), 7)


def features(backbone: Backbone, folder: Path, stems: tuple[int, ...]):
    """Tokens [h, w, D] and head-mean attention [h, w] of photos."""
    extractor = Extractor(backbone, Preprocessing(64), precision="fp32")
    photos = [load_photo(folder / "images" / f"{stem}.png") for stem in stems]
    pairs = [extractor.forward([extractor.prepare(photo)])[0] for photo in photos]
    return [tokens for tokens, _ in pairs], [attention.mean(0) for _, attention in pairs]


def sized(ids: np.ndarray, side: int) -> np.ndarray:
    maps = torch.from_numpy(np.asarray(ids).astype(np.float64))[None, None]
    return F.interpolate(maps, (side, side), mode="nearest")[0, 0].numpy().astype(int)


def naive_jaccard(masks: list[np.ndarray], labels: list[np.ndarray]) -> float:
    scores = []
    for mask, ids in zip(masks, labels, strict=True):
        found, truth = sized(sized(mask, 100), 64) > 0, ids != 0
        scores.append((found & truth).sum() / (found | truth).sum())
    return float(np.mean(scores))


@pytest.fixture
def labels(labelled: Path) -> list[np.ndarray]:
    """Of val, at the network's size."""
    return list(LabelMaps(open_folder(labelled, "masks", "val"), 64, 64))


VAL, TRAIN = (4, 1), (0, 2, 3)


@pytest.mark.parametrize("pooled", [False, True])
def test_foreground_scores_are_those_of_each_step(evaluate, tiny_backbone, labelled, labels, pooled: bool):
    """Clustered with the photos of train, each list judged by its own attention unless they are pooled."""
    words = ("--split", "val", "--cluster-split", "train", *(("--pooled",) if pooled else ()))
    ran, found = evaluate("foreground", *words)
    assert ran.status == 0

    tokens, attention = features(tiny_backbone, labelled, VAL + TRAIN)
    masks = [attention_mask(torch.from_numpy(one)[None], 0.65)[0].numpy() for one in attention]
    clusters = cluster_tokens(tokens)
    list_of = np.zeros(5, int) if pooled else np.array([0, 0, 1, 1, 1])
    precision = list_precisions(clusters.ids, masks, list_of, clusters.n_clusters)
    blurred = [gaussian(one.astype(float), 0.6, mode="mirror", truncate=5) for one in attention[:2]]
    expected = {
        "CBFE": [precision[0][ids] >= 0.4 for ids in clusters.ids[:2]],
        "attention": masks[:2],
        "attention by Otsu": [one > threshold_otsu(one) for one in blurred],
        "everything": [np.ones((3, 3))] * 2,
    }
    assert list(found["scores"]) == list(expected)
    for name, of_photos in expected.items():
        score = found["scores"][name]["jaccard"]["mean"]
        assert score == pytest.approx(naive_jaccard(of_photos, labels), abs=1e-6), name
    facts = found["foreground"]
    assert [entry["for"] for entry in facts["lists"]] == ["scored", "clustered"]
    assert [entry["photos"] for entry in facts["lists"]] == [2, 3]
    assert facts["lists"][0]["foreground clusters"] == (precision[0] >= 0.4).sum()
    assert (facts["threshold"], facts["clusters"]) == (0.4, clusters.n_clusters)
    assert "jaccard by threshold" not in facts
    assert "CBFE" in ran.out


def test_the_attention_can_be_that_of_another_network(evaluate, other_weights, labelled, labels, tmp_path):
    _, found = evaluate(
        "foreground", "--split", "val", "--attention-backbone", other_weights, "--keep", "0.5"
    )
    other = load_backbone(other_weights)
    _, attention = features(other, labelled, VAL)
    masks = [attention_mask(torch.from_numpy(one)[None], 0.5)[0].numpy() for one in attention]
    score = found["scores"]["attention"]["jaccard"]["mean"]
    assert score == pytest.approx(naive_jaccard(masks, labels), abs=1e-6)
    assert found["foreground"]["attention"]["fingerprint"] == other.fingerprint
    assert found["backbone"]["fingerprint"] != other.fingerprint

    words = ("--split", "val", "--attention-backbone", other_weights, "--keep", "0.5", "--features", "0")
    _, block = evaluate("foreground", *words, name="block")
    assert block["scores"]["attention"] == found["scores"]["attention"]  # --features is of what is scored
    _, same = evaluate("foreground", "--split", "val", "--keep", "0.5", name="same")
    assert same["scores"]["CBFE"] != found["scores"]["CBFE"]
    assert same["scores"]["attention"] != found["scores"]["attention"]
    assert list((tmp_path / "results").glob(".*")) == []  # neither network leaves features behind


def test_a_given_threshold_replaces_that_of_the_preset(evaluate):
    _, found = evaluate("foreground", "--threshold", "0")
    _, again = evaluate("foreground", "--preset", "seed-cc", name="again")
    assert found["scores"]["CBFE"]["jaccard"] == found["scores"]["everything"]["jaccard"]
    assert found["labels used"]["CBFE"].endswith("--threshold: unknown, given by hand")
    assert again["foreground"]["threshold"] == 0.3
    assert again["foreground"]["settings from"] == PRESETS["seed-cc"].about
    assert "chosen by its authors on PASCAL VOC training labels" in again["labels used"]["CBFE"]


UNSUPERVISED = ("--clusters", "8", "--seeds", "2")


def test_unsupervised_has_the_rows_of_the_table(evaluate, tiny_backbone, labelled: Path):
    ran, found = evaluate("unsupervised", *UNSUPERVISED, "--split", "val", "--cluster-split", "train")
    assert ran.status == 0
    rows = found["scores"]
    assert list(rows) == ["all tokens", "+ CBFE", "+ CD", "upper bound of CD"]
    assert [len(row["miou"]["per seed"]) for row in rows.values()] == [2, 2, 2, 1]
    assert [row["clusters"] for row in rows.values()] == [3, 2, 8, 8]
    assert [row["matching"] for row in rows.values()] == ["hungarian"] * 3 + ["precision"]
    assert rows["upper bound of CD"]["pixel accuracy"]["mean"] >= rows["+ CD"]["pixel accuracy"]["mean"]
    facts = found["communities"]
    assert (facts["engine"], facts["clusters"], facts["markov time"], facts["edge"]) == (
        "map-equation",
        8,
        1.5,
        0.05,
    )
    assert len(facts["communities"]) == len(facts["clusters in none"]) == 2

    tokens, _ = features(tiny_backbone, labelled, VAL)
    truth = list(LabelMaps(open_folder(labelled, "masks", "val"), 100, 64))
    (expected,) = overcluster(tokens, truth, CLASSES, Settings(ks=(3,), seeds=(0, 1)), background=0)
    assert rows["all tokens"]["miou"]["per seed"] == pytest.approx(expected.miou.tolist(), abs=1e-6)


def test_the_file_says_which_labels_have_decided_what(evaluate):
    _, found = evaluate("unsupervised", *UNSUPERVISED)
    used = found["labels used"]
    assert used["clusters"] == "none"
    assert used["all tokens"].startswith("none")
    chosen = "thresholds of this preset were chosen by its authors on PASCAL VOC training labels"
    assert used["+ CBFE"].startswith(chosen)
    assert "--clusters: unknown, given by hand" in used["+ CD"]
    assert used["matching"].startswith("those of the photos scored")


def test_unsupervised_maps_have_the_score(evaluate, labelled: Path, tmp_path: Path):
    """Classes in the files against the masks, both brought to the square of the score as well as may be."""
    _, found = evaluate("unsupervised", *UNSUPERVISED, "--save-maps", tmp_path / "maps")
    rows = np.full(256, 255)
    rows[[0, 3, 5]] = range(CLASSES)
    for folder, row in (("all-tokens", "all tokens"), ("cbfe", "+ CBFE"), ("cd", "+ CD")):
        hits, union = np.zeros(CLASSES), np.zeros(CLASSES)
        for stem in range(5):
            ids, classes = (
                rows[np.array(Image.open(path / f"{stem}.png"))]
                for path in (labelled / "masks", tmp_path / "maps" / folder)
            )
            for c in range(CLASSES):
                counted = ids != 255
                hits[c] += ((ids == c) & (classes == c)).sum()
                union[c] += (((ids == c) | (classes == c)) & counted).sum()
        score = found["scores"][row]["miou"]["per seed"][0]
        assert score == pytest.approx((hits / union).mean(), abs=0.03), row


def test_steps_of_the_authors_code_are_told_and_change_the_graph(evaluate):
    _, plain = evaluate("unsupervised", *UNSUPERVISED)
    _, steps = evaluate("unsupervised", *UNSUPERVISED, "--reference", "background", name="steps")
    _, preset = evaluate("unsupervised", *UNSUPERVISED, "--preset", "reference", name="preset")
    assert plain["communities"]["steps of the authors' code"] == []
    assert steps["communities"]["steps of the authors' code"] == ["background"]
    assert preset["communities"]["steps of the authors' code"] == ["interpolation", "offsets", "background"]
    assert steps["communities"]["edges"] > plain["communities"]["edges"]
    assert steps["scores"]["+ CBFE"] == plain["scores"]["+ CBFE"]
    _, nearest = evaluate("unsupervised", *UNSUPERVISED, "--reference", "interpolation", name="nearest")
    assert nearest["scores"]["+ CBFE"] != plain["scores"]["+ CBFE"]


@needs_optuna
def test_a_search_with_labels_is_named_in_the_rows_and_in_the_file(evaluate, monkeypatch):
    monkeypatch.setattr(label_search, "_CLUSTERS", (4, 8, 2))
    words = ("--seeds", "1", "--communities", "map-equation", "--split", "val", "--tune-on-labels", "3")
    _, on_scored = evaluate("unsupervised", *words)
    said = " [tuned on labels of the photos scored]"
    assert list(on_scored["scores"]) == [
        "all tokens",
        *(f"{row}{said}" for row in ("+ CBFE", "+ CD", "upper bound of CD")),
    ]
    assert on_scored["labels used"]["+ CD"].startswith(
        "those of the photos scored: the settings were searched"
    )
    best = max(trial["miou"] for trial in on_scored["search"])
    assert on_scored["scores"][f"+ CD{said}"]["miou"]["mean"] == pytest.approx(best, abs=1e-6)

    _, apart = evaluate(
        "unsupervised", *words, "--tune-split", "train", "--cluster-split", "train", name="apart"
    )
    assert "+ CD [tuned on labels of the photos of --tune-split]" in apart["scores"]
    assert [entry["for"] for entry in apart["foreground"]["lists"]] == ["scored", "searched"]
    assert [set(trial) for trial in apart["search"]] == [{"clusters", "markov_time", "edge", "miou"}] * 3
    chosen = max(apart["search"], key=lambda trial: trial["miou"])
    facts = apart["communities"]
    assert [facts["clusters"], facts["markov time"], facts["edge"]] == [
        chosen["clusters"],
        chosen["markov_time"],
        chosen["edge"],
    ]
    thresholds, jaccard = np.transpose(apart["foreground"]["jaccard by threshold"])
    assert (np.diff(thresholds) > 0).all()
    assert ((jaccard >= 0) & (jaccard <= 1)).all()
    assert (apart["foreground"]["threshold"] * 20) % 1 == pytest.approx(0)


def test_a_foreground_threshold_can_be_searched_with_labels(evaluate, tiny_backbone, labelled: Path):
    """On the photos, labels and precisions of train; those of val are then scored at that threshold."""
    _, found = evaluate("foreground", "--split", "val", "--tune-on-labels", "1", "--tune-split", "train")
    row = "CBFE [tuned on labels of the photos of --tune-split]"
    assert list(found["scores"]) == [row, "attention", "attention by Otsu", "everything"]
    assert found["labels used"]["CBFE"].startswith("those of the photos of --tune-split")

    tokens, attention = features(tiny_backbone, labelled, VAL + TRAIN)
    masks = [attention_mask(torch.from_numpy(one)[None], 0.65)[0].numpy() for one in attention]
    clusters = cluster_tokens(tokens)
    of_train = list_precisions(clusters.ids[2:], masks[2:], np.zeros(3, int), clusters.n_clusters)[0]
    truth = list(LabelMaps(open_folder(labelled, "masks", "train"), 64, 64))
    for threshold, jaccard in found["foreground"]["jaccard by threshold"]:
        chosen = [of_train[ids] >= threshold - 5e-5 for ids in clusters.ids[2:]]
        assert jaccard == pytest.approx(naive_jaccard(chosen, truth), abs=1e-4)
    of_val = list_precisions(clusters.ids[:2], masks[:2], np.zeros(2, int), clusters.n_clusters)[0]
    chosen = [of_val[ids] >= found["foreground"]["threshold"] for ids in clusters.ids[:2]]
    truth = list(LabelMaps(open_folder(labelled, "masks", "val"), 64, 64))
    assert found["scores"][row]["jaccard"]["mean"] == pytest.approx(naive_jaccard(chosen, truth), abs=1e-6)


MISTAKES = {
    "no background": (
        ("unsupervised", "--ignore", "background"),
        "no class of these masks is called background",
    ),
    "only background": (("unsupervised", "--ignore", "ball", "blue box"), "background is the only class"),
    "an unknown preset": (("foreground", "--preset", "sed"), "did you mean seed?"),
    "an unknown engine": (("unsupervised", "--communities", "walk"), "unknown community engine 'walk'"),
    "an unknown step": (
        ("unsupervised", "--reference", "seeds"),
        "--reference takes interpolation, offsets, back",
    ),
    "no attention kept": (("foreground", "--keep", "0"), "--keep must be above 0 and at most 1, got 0"),
    "a threshold above 1": (("foreground", "--threshold", "40"), "--threshold must be from 0 to 1, got 40"),
    "an edge below 0": (("unsupervised", "--edge", "-1"), "--edge must be from 0 to 1, got -1"),
    "no time": (("unsupervised", "--markov-time", "0"), "--markov-time must be above 0, got 0"),
    "no cluster": (("unsupervised", "--clusters", "0"), "--clusters must be at least 1, got 0"),
    "a threshold that nothing reaches": (
        ("unsupervised", "--threshold", "1", "--keep", "0.01"),
        "no cluster reaches the foreground precision 1",
    ),
    "no such list": (("foreground", "--cluster-split", "tran"), "has no list tran.txt"),
    "a list to search without a search": (
        ("foreground", "--tune-split", "train"),
        "add --tune-on-labels 300",
    ),
    "photos that are scored to search on": (
        ("foreground", "--split", "val", "--tune-on-labels", "1", "--tune-split", "MIXED"),
        "2 of 3 photos to search on are scored",
    ),
    "a search for what is given": (
        ("unsupervised", "--tune-on-labels", "5", "--edge", "0.1"),
        "--tune-on-labels searches what --edge sets",
    ),
    "a search for the threshold that is given": (
        ("foreground", "--tune-on-labels", "5", "--threshold", "0.1"),
        "--tune-on-labels searches the threshold",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(evaluate, tmp_path: Path, mistake: str):
    (task, *words), sentence = MISTAKES[mistake]
    mixed = tmp_path / "mixed.txt"
    mixed.write_text("4\n1\n2\n")
    ran, found = evaluate(task, *(str(mixed) if word == "MIXED" else word for word in words))
    assert (ran.status, found) == (2, None)
    assert len(ran.lines) == 1, ran.err
    assert sentence in ran.err


def test_a_search_without_optuna_is_refused_before_the_work(evaluate, monkeypatch):
    monkeypatch.setattr(label_search, "find_spec", lambda name: None)
    ran, found = evaluate("unsupervised", "--tune-on-labels", "5")
    assert (ran.status, found) == (2, None)
    assert "Optuna is not installed" in ran.err


def test_masks_of_a_folder_take_the_place_of_attention(
    evaluate, tiny_backbone, labelled, labels, tmp_path, monkeypatch
):
    """Clusters are judged by them, and they are scored by themselves."""
    masks = []
    for stem in VAL:
        ids = np.asarray(Image.open(labelled / "masks" / f"{stem}.png"))
        masks.append(np.where(ids == 255, 0, ids == 5))  # the boxes alone
        Image.fromarray((255 * masks[-1]).astype(np.uint8)).save(tmp_path / f"{stem}.png")
    ran, found = evaluate(
        "foreground", "--split", "val", "--noisy-foreground", tmp_path, "--threshold", "0.3"
    )
    assert ran.status == 0, ran.err
    tokens, _ = features(tiny_backbone, labelled, VAL)
    clusters = cluster_tokens(tokens)
    noisy = [squeezed(mask, 100, 64) for mask in masks]
    precision = list_precisions(clusters.ids, noisy, np.zeros(2, int), clusters.n_clusters)[0]
    cbfe = f"CBFE [saliency: {tmp_path.name}]"
    assert list(found["scores"]) == [cbfe, "saliency", "attention", "attention by Otsu", "everything"]
    expected = {cbfe: [precision[ids] >= 0.3 for ids in clusters.ids], "saliency": noisy}
    for name, of_photos in expected.items():
        score = found["scores"][name]["jaccard"]["mean"]
        assert score == pytest.approx(naive_jaccard(of_photos, labels), abs=1e-6), name
    assert found["labels used"]["saliency"] == "not known to Leopart"
    assert found["labels used"]["CBFE"].endswith("noisy foreground: not known to Leopart")
    assert found["foreground"]["noisy foreground"]["from"] == str(tmp_path)


def test_with_masks_a_network_needs_no_attention(evaluate, labelled, monkeypatch):
    spec = small_spec("mocov2_resnet50")
    resnet = build_backbone(spec, source_model(spec).state_dict())
    monkeypatch.setattr("leopart.evaluation.case.as_backbone", lambda *_, **__: resnet)
    words = ("--noisy-foreground", labelled / "masks_two", "--threshold", "0.1")
    ran, found = evaluate("foreground", *words)
    assert ran.status == 0, ran.err
    assert list(found["scores"]) == ["CBFE [saliency: masks_two]", "saliency", "everything"]
    assert "attention" not in found["labels used"]
    assert "attention" not in found["foreground"]
    ran, found = evaluate("unsupervised", *words, "--seeds", "1", "--clusters", "4", name="all")
    assert ran.status == 0, ran.err
    assert "+ CD [saliency: masks_two]" in found["scores"]
    assert found["labels used"]["saliency"] == "not known to Leopart"


def test_a_network_without_attention_is_refused(evaluate, monkeypatch):
    spec = small_spec("mocov2_resnet50")
    resnet = build_backbone(spec, source_model(spec).state_dict())
    monkeypatch.setattr("leopart.evaluation.case.as_backbone", lambda *_, **__: resnet)
    for task in ("foreground", "unsupervised"):
        ran, found = evaluate(task)
        assert (ran.status, found, len(ran.lines)) == (2, None, 1)
        assert "has no CLS attention; name a vision transformer with --attention-backbone" in ran.err
