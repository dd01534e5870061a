"""`leopart reproduce`: what would run, what runs, and what is not run twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

import small_sets
from leopart.errors import LeopartError
from leopart.models.weights.registry import BACKBONES
from leopart.reproduction import stages
from leopart.reproduction.tables import TABLES

SMALL = ("--steps", "2", "--batch-size", "2", "--size", "80", "--seeds", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, draw: Callable[..., Image.Image]) -> Path:
    """Twelve labelled photos of a red ball on a blue box before a wall."""
    folder = tmp_path_factory.mktemp("reproduce")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for seed in range(12):
        photo = draw(seed)
        photo.save(folder / "images" / f"{seed}.png")
        red, _, blue = np.moveaxis(np.asarray(photo, int), 2, 0)
        ids = np.select([red > 180, blue > 180], [1, 2], 0).astype(np.uint8)
        Image.fromarray(ids).save(folder / "masks" / f"{seed}.png")
    (folder / "classes.txt").write_text("0\tbackground\n1\tball\n2\tblue box\n")
    return folder


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch: pytest.MonkeyPatch):
    """Networks without training are small here."""
    vit = replace(
        BACKBONES["random_vits16"], dim=24, heads=3, image_size=32, blocks=2, depth=2, feature_block=1
    )
    monkeypatch.setitem(BACKBONES, "random_vits16", vit)
    monkeypatch.setitem(BACKBONES, "random_resnet50", replace(BACKBONES["random_resnet50"], dim=64))
    monkeypatch.setattr(
        "leopart.evaluation.label_free.saliency.packaged_model", lambda _: bright_is_salient()
    )


def bright_is_salient() -> bytes:
    """A saliency model that takes the place of one of 90 MB."""
    shape = helper.make_tensor_value_info("photo", TensorProto.FLOAT, [1, 3, 80, 80])
    found = helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 1, 80, 80])
    nodes = [
        helper.make_node("ReduceMax", ["photo"], ["most"], axes=[1], keepdims=1),
        helper.make_node("Sigmoid", ["most"], ["map"]),
    ]
    graph = helper.make_graph(nodes, "saliency", [shape], [found])
    opset = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


@pytest.fixture
def mini(run, folder: Path, tiny_weights: Path, tmp_path: Path):
    """`leopart reproduce TABLE --mini` into `tmp_path / "out"`."""

    def go(*words: object):
        where = ("--data", f"folder:{folder}", "--out", tmp_path / "out", "--backbone", tiny_weights)
        return run("reproduce", words[0], "--mini", *where, *SMALL, *words[1:])

    return go


def table(out: Path, name: str) -> dict[str, Any]:
    return json.loads((out / f"{name}.json").read_text())


def test_every_row_of_every_table_has_a_number_in_miniature(mini, tmp_path: Path):
    ran = mini("all")
    assert ran.status == 0, ran.err
    out = tmp_path / "out"
    for name, wanted in TABLES.items():
        rows = table(out, name)["rows"]
        assert [row["row"] for row in rows] == [row.name for row in wanted.rows]
        for row in rows:
            for cell in row["cells"]:
                assert cell["status"] == "measured", (name, row["row"], cell)
                assert 0 <= cell["ours"] <= 100
                assert cell["published"] is None  # nothing to compare with
                scores = json.loads((out / cell["scores"]).read_text())
                assert scores["dataset"].startswith("folder:")
    page = (out / "README.md").read_text()
    assert all(f"## {wanted.title}\n" in page for wanted in TABLES.values())
    assert "In miniature" in page
    assert not (out / ".features").exists()


def test_what_is_finished_is_not_done_again_and_other_settings_are(mini, monkeypatch, tmp_path: Path):
    calls: list[str] = []
    for module, name in ((stages, "train"), (stages, "evaluate")):
        original = getattr(module, name)
        monkeypatch.setattr(
            module,
            name,
            lambda *a, original=original, name=name, **o: (calls.append(name), original(*a, **o))[1],
        )
    assert mini("table4").status == 0
    first = table(tmp_path / "out", "table4")["rows"]
    assert calls.count("train") == 2
    assert calls.count("evaluate") == 4
    calls.clear()
    ran = mini("table4")
    assert (ran.status, calls) == (0, [])
    assert "trained before" in ran.err
    assert table(tmp_path / "out", "table4")["rows"] == first
    mini("ablations", "--row", "without queue")  # the same network, in another table
    assert calls == []
    mini("table4", "--row", "with queue", "--steps", "3")
    assert (calls.count("train"), calls.count("evaluate")) == (1, 2)
    calls.clear()
    shutil.rmtree(tmp_path / "out" / "scores")
    mini("table4")
    assert (calls.count("train"), calls.count("evaluate")) == (0, 4)


def test_an_interrupted_training_goes_on(mini, monkeypatch, tmp_path: Path):
    original, limits = stages.train, [1, None]
    begun: list[bool] = []

    def stopped(config, **options):
        begun.append(config.resume)
        return original(replace(config, stop_at=limits.pop(0)), **options)

    monkeypatch.setattr(stages, "train", stopped)
    ran = mini("table4", "--row", "with queue")
    assert ran.status == 130
    assert "run the same command again" in ran.err
    ran = mini("table4", "--row", "with queue")
    assert (ran.status, begun) == (0, [False, True])


def test_a_row_that_cannot_be_had_costs_only_itself(mini, monkeypatch, tmp_path: Path):
    original = stages.evaluate

    def evaluate(config, **options):
        if config.task == "linear":
            raise LeopartError("there is no head; buy one")
        return original(config, **options)

    monkeypatch.setattr(stages, "evaluate", evaluate)
    ran = mini("table3", "--row", "supervised ViT")
    assert ran.status == 1
    assert ran.err.count("leopart: missing: there is no head; buy one") == 1
    (row,) = table(tmp_path / "out", "table3")["rows"]
    assert [cell["status"] for cell in row["cells"]] == ["missing", "measured"]
    assert "- there is no head; buy one" in (tmp_path / "out" / "README.md").read_text()


def test_the_number_of_a_cell_is_that_of_its_evaluation(mini, tmp_path: Path):
    mini("table5", "--row", "DINO")
    (row,) = table(tmp_path / "out", "table5")["rows"]
    for cell, k in zip(row["cells"], ("100", "200"), strict=True):
        scores = json.loads((tmp_path / "out" / cell["scores"]).read_text())
        assert cell["column"] == f"K={k}"
        assert cell["ours"] == pytest.approx(100 * scores["scores"][k]["miou"]["mean"], abs=0.006)


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """All data sets of the paper as they are published, with a handful of photos each."""
    root = tmp_path / "data"
    small_sets.voc(root / "VOC2012")
    small_sets.coco(root / "coco")
    small_sets.ade20k(root / "ade")
    small_sets.photo(root / "ILSVRC" / "train" / "n02869837" / "a.JPEG")
    (root / "ILSVRC" / "imagenet100.txt").write_text("n02869837\n")
    return root


def test_a_dry_run_tells_what_is_there_and_what_is_not(run, data_root: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("LEOPART_CACHE", str(tmp_path / "cache"))
    words = ("reproduce", "all", "--data-root", data_root, "--out", tmp_path / "out", "--dry-run")
    ran = run(*words)
    assert (ran.status, ran.err) == (0, "")
    told = ran.out.splitlines()
    fetches = "fetches dino_vits16"
    paper = "(the paper's set has"
    wanted = [
        f"train dino_vits16 by in100k on imagenet100    1 photo {paper} 126,689); {fetches}",
        f"train dino_vits16 by coco on coco    21 photos {paper} 118,287); {fetches}",
        f"overclustering of dino_vits16-coco on coco-thing    3 photos {paper} 5,000); {fetches}",
        f"linear of random_vits16 on voc    1 photo {paper} 1,449), learns from 3 photos {paper} 10,582)",
        f"overclustering of random_vits16 on ade20k-parts    3 photos {paper} 1,983)",
    ]
    assert {f"to do    {line}" for line in wanted} <= set(told)
    (row,) = [line for line in told if "needs" in line]
    assert row.startswith("ResNet-50, DenseCL")
    assert "needs densecl_resnet50" in row  # with a browser only
    (base,) = [line for line in told if line.startswith("ViT-S/16")]
    for text in ("PVOC12 53.5", "COCO-Thing 55.9", "COCO-Stuff 43.6", "to do", "days on 2 GPUs"):
        assert text in base
    assert not any(line.startswith("data ") for line in told)
    assert "weights dino_vits16 is missing" in told
    assert not (tmp_path / "out").exists()

    shutil.rmtree(data_root / "coco")
    told = run(*words).out.splitlines()
    (base,) = [line for line in told if line.startswith("ViT-S/16")]
    assert "needs coco" in base
    assert not any(line.startswith("to do    train dino_vits16 by coco") for line in told)
    assert "needs coco-stuff" in base
    for name in ("coco", "coco-stuff", "coco-thing"):
        assert f"data {name} is missing" in told
    assert "  lay as PATH/images/train2017/" in told
    assert "to do    overclustering of random_vits16 on voc    1 photo (the paper's set has 1,449)" in told

    (data_root / "VOC2012" / "sets" / "trainaug.txt").unlink()
    told = run(*words).out.splitlines()
    assert not any("linear of random_vits16 on voc" in line for line in told)
    (row,) = [line for line in told if line.startswith("random ViT-S/16")]
    assert "trainaug.txt" in row


def test_a_dry_run_tells_of_photos_that_are_missing_and_of_lists_that_are_read(
    run, data_root: Path, tmp_path
):
    words = ("reproduce", "table2c", "--data-root", data_root, "--out", tmp_path / "out", "--dry-run")
    (line,) = (line for line in run(*words, "--row", "saliency").out.splitlines() if "foreground of" in line)
    assert "1 photo (the paper's set has 1,449), looks at 2 photos (the paper's set has 1,464)" in line
    (data_root / "VOC2012" / "SegmentationClass" / "2007_03.png").unlink()
    out = run(*words, "--row", "saliency").out
    assert "foreground of" not in out
    (line,) = (line for line in out.splitlines() if line.startswith("Saliency estimator"))
    assert "2007_03.png" in line


def test_a_dry_run_goes_on_where_a_place_that_was_given_is_wrong(run, data_root: Path, tmp_path: Path):
    typo = ("--data", f"coco:{tmp_path / 'typo'}")
    words = ("--data-root", data_root, *typo, "--out", tmp_path / "out", "--dry-run")
    ran = run("reproduce", "table5", *words)
    lines = ran.out.splitlines()
    assert ran.status == 0, ran.err
    (of_coco,) = [line for line in lines if line.startswith("Leopart CC")]
    assert "typo" in of_coco
    assert not any("dino_vits16-coco" in line or "on coco" in line for line in lines)
    assert any(line.startswith("to do    overclustering of random_vits16") for line in lines)


def test_a_dry_run_in_miniature_leaves_nothing_behind_and_knows_what_is_done(mini, tmp_path: Path):
    told = mini("table4", "--dry-run").out.splitlines()
    assert [line[:5] for line in told if line.startswith(("to do", "done"))] == ["to do"] * 6
    assert sum("days" in line for line in told) == 0  # what it costs at full size says nothing here
    assert not (tmp_path / "out").exists()
    assert mini("table4", "--row", "with queue").status == 0
    told = mini("table4", "--dry-run").out.splitlines()
    states = [line[:5].strip() for line in told if line.startswith(("to do", "done"))]
    assert states == ["to do", "to do", "to do", "done", "done", "done"]
    rows = {line[:14].strip(): line for line in told if line.startswith("with")}
    assert rows["with queue"].split()[-1] == "done"
    assert rows["without queue"].split()[-2:] == ["to", "do"]


def test_rows_of_earlier_runs_stay_in_the_table(mini, tmp_path: Path):
    mini("table5", "--row", "DINO")
    before = table(tmp_path / "out", "table5")["rows"]
    mini("table5", "--row", "Sup. ViT")
    rows = table(tmp_path / "out", "table5")["rows"]
    assert [row["row"] for row in rows] == ["Sup. ViT", "DINO"]  # as in the table
    assert rows[1:] == before
    assert "| DINO |" in (tmp_path / "out" / "README.md").read_text()


def test_settings_lie_beside_the_tables_and_are_taken_back(mini, run, tmp_path: Path):
    mini("table5", "--row", "DINO")
    ran = run("reproduce", "--config", tmp_path / "out" / "config.yaml")
    assert ran.status == 0
    assert "scored before" in ran.err


@pytest.mark.parametrize(("name", "text"), [("README.md", "# My photos"), ("table3.json", "{}")])
def test_files_of_somebody_else_are_left_alone(mini, tmp_path: Path, name: str, text: str):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text(text)
    ran = mini("table5", "--row", "DINO")
    assert ran.status == 2
    assert "choose another --out" in ran.err
    assert (tmp_path / "out" / name).read_text() == text
    assert not (tmp_path / "out" / "scores").exists()


def test_scores_are_done_anew_when_a_mask_to_learn_from_has_changed(run, folder, tiny_weights, tmp_path):
    own = Path(shutil.copytree(folder, tmp_path / "own"))
    (own / "train.txt").write_text("".join(f"{i}\n" for i in range(8)))
    (own / "val.txt").write_text("".join(f"{i}\n" for i in range(8, 12)))
    where = (
        "--mini",
        "--data",
        f"folder:{own}",
        "--out",
        tmp_path / "out",
        "--backbone",
        tiny_weights,
        *SMALL,
    )
    words = ("reproduce", "densecl", "--row", "DINO", *where)
    run(*words)
    assert run(*words).err.count("scored before") == 2
    Image.new("L", (64, 48), 1).save(own / "masks" / "3.png")
    assert run(*words).err.count("scored before") == 0  # the photos that are clustered have it too
    (own / "train.txt").write_text("".join(f"{i}\n" for i in range(7)))
    assert run(*words).err.count("scored before") == 1  # not the head's


def test_released_weights_take_the_place_of_training(run, data_root: Path, tmp_path: Path):
    words = ("--data-root", data_root, "--out", tmp_path / "out", "--dry-run", "--released-weights")
    told = run("reproduce", "table2a", *words).out
    rows = [line for line in told.splitlines() if line.startswith("ViT-")]
    assert len(rows) == 2
    assert not any("train" in line for line in rows)
    assert "needs leopart_vits16" in told  # with a browser: no program may fetch them
    assert "leopart weights fetch leopart_vits16" not in told
    assert f"  put {BACKBONES['leopart_vits16'].files[0].file} from " in told


def test_full_size_rows_stand_beside_what_was_published(run, data_root: Path, tmp_path: Path, monkeypatch):
    """Rows of networks that nobody trained can run here; options of an evaluation are those of the paper."""
    asked: list[dict[str, Any]] = []

    def evaluate(config, **_):
        asked.append({"task": config.task, "data": config.data, "k": config.k, "size": config.size})
        miou = {"std": 0.0, "per seed": [0.0] * 5}
        scores = {str(k): {"miou": {"mean": 0.015 * k / 500, **miou}} for k in config.k}
        config.out.parent.mkdir(parents=True, exist_ok=True)
        config.out.write_text(json.dumps({"scores": scores}))

    monkeypatch.setattr(stages, "evaluate", evaluate)
    ran = run("reproduce", "table5", "--row", "random", "--data-root", data_root, "--out", tmp_path / "out")
    assert ran.status == 0, ran.err
    ade = f"ade20k-parts:{data_root / 'ade'}"
    assert asked == [{"task": "overclustering", "data": ade, "k": (500, 1000), "size": 448}]
    (row,) = table(tmp_path / "out", "table5")["rows"]
    found = [(c["published"], c["ours"], c["difference"], c["status"]) for c in row["cells"]]
    assert found == [(1.5, 1.5, 0.0, "equal"), (2.0, 3.0, 1.0, "equal")]
    page = (tmp_path / "out" / "README.md").read_text()
    assert "| Random ViT | K=1000 | 2.0 | 3.0 ± 0.0 | +1.0 | equal |" in page


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("table9", "--data-root", "."), "there is no table 'table9'; there is: table1, "),
        (("table3",), "no data sets are given: add --data-root DIR or --data NAME:PATH, or try --mini"),
        (("table3", "--mini"), "--mini takes one labelled folder: --data folder:PATH, and no --data-root"),
        (("table3", "--data", "folder:."), "the paper's tables need its data sets; a folder is for --mini"),
        (
            ("table3", "--mini", "--data", "voc:."),
            "--mini takes a labelled folder: --data folder:PATH, not voc",
        ),
        (
            ("table3", "--data-root", ".", "--row", "swav"),
            "no row of table3 is called 'swav'; there is: supervised",
        ),
        (("table3", "--mini", "--data", "folder:.", "--steps", "0"), "--steps must be at least 1, got 0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(run, tmp_path: Path, words: tuple[str, ...], says: str):
    ran = run("reproduce", *words, "--out", tmp_path / "out")
    assert ran.status == 2
    assert f"leopart: {says}" in ran.err
