"""Every reader of a user's documents: damaged files are refused in one sentence, or read and used."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

from fuzz.harness import Read, damaged, fuzz, is_refused
from leopart.cli.evaluate import parse_evaluate
from leopart.cli.options import parse
from leopart.cli.train import parse_train
from leopart.clustering.contexts import ObjectMixture
from leopart.clustering.kmeans import KMeans
from leopart.clustering.reduce import Reduction
from leopart.config import SegmentConfig
from leopart.documents import read_json, read_yaml
from leopart.drawing.curves import read_metrics
from leopart.errors import LeopartError
from leopart.evaluation.compare import compare
from leopart.evaluation.heads.files import read_head
from leopart.evaluation.tables import show_comparison
from leopart.features.extract import Preprocessing
from leopart.features.store import FeatureRecipe, FeatureStore, StoredPhoto
from leopart.files import sha256
from leopart.locks import LOCK, locked
from leopart.reproduction.page import _read as read_table
from leopart.reproduction.page import markdown
from leopart.run_record import settings_of
from leopart.segment import saved
from leopart.segment.finished import finished
from leopart.segment.fitting import FitSettings
from leopart.segment.part_model import PartModel
from leopart.segment.summary import Summary
from leopart.training.adaptation import _State
from leopart.training.monitoring.loggers import MetricsFile
from leopart.training.run_folder import _refuse_other_run

DOCUMENT = {"a": [1, 2.5, None, True, "ä", {"b": [[], {}]}], "c": "text", "d": {"e": {"f": [1, 2]}}}
Record = Callable[[str, object], None]


@pytest.fixture
def tried(record_property: Record) -> Callable[..., None]:
    """Fuzz a reader, and note how many files it was given."""

    def run(read: Read, path: Path, *valid: bytes) -> None:
        for content in valid:
            path.write_bytes(content)
            read(path)  # so that the campaign starts from what is read
        found = fuzz(read, path, valid)
        assert found.refused, "nothing was damaged enough to be refused"
        record_property("inputs", found.inputs)

    return run


def test_json_of_any_kind(tmp_path: Path, tried: Callable[..., None]):
    tried(lambda path: read_json(path, object, "mend it"), tmp_path / "x", json.dumps(DOCUMENT).encode())


def test_yaml_of_any_kind(tmp_path: Path, tried: Callable[..., None]):
    block, flow = yaml.safe_dump(DOCUMENT), yaml.safe_dump(DOCUMENT, default_flow_style=True)
    aliases = "a: &x [1, 2]\nb: *x\nc: [*x, *x]\nd: |\n  text\n  more\n"
    read = partial(read_yaml, kind=object, remedy="mend it", limit=2**20)
    tried(read, tmp_path / "x", *(text.encode() for text in (block, flow, aliases)))


def options(parser: Callable[[list[str]], Any], path: Path) -> None:
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
        parser(["--config", str(path)])


def test_options_of_commands(tmp_path: Path, tried: Callable[..., None]):
    segment = yaml.safe_dump(settings_of(SegmentConfig(images=(Path("a"),), out=tmp_path / "o")))
    tried(partial(options, partial(parse, SegmentConfig, "segment")), tmp_path / "x", segment.encode())


def test_options_of_training(tmp_path: Path, tried: Callable[..., None]):
    words = ["quick", "--data", f"folder:{tmp_path}", "--out", str(tmp_path / "run")]
    content = yaml.safe_dump(settings_of(parse_train(words)))
    tried(partial(options, parse_train), tmp_path / "x", content.encode())


def test_options_of_evaluation(tmp_path: Path, tried: Callable[..., None]):
    words = ["overclustering", "--data", f"folder:{tmp_path}", "--out", str(tmp_path / "x.json")]
    content = yaml.safe_dump({"task": "overclustering"} | settings_of(parse_evaluate(words)))
    tried(partial(options, parse_evaluate), tmp_path / "x", content.encode())


def report(miou: float) -> bytes:
    summary = {"mean": miou, "std": 0.1, "per seed": [miou, miou + 0.1, None]}
    row = {"matching": "x", "miou": summary, "per class": [{"id": 1, "name": "cow", "iou": summary}]}
    content = {
        "task": "overclustering",
        "backbone": {"name": "net", "block": 9},
        "settings": {"k": [21], "data": "folder:x"},
        "scores": {"21": row, "100": row},
        "notes": [],
    }
    return json.dumps(content).encode()


def test_results_side_by_side(tmp_path: Path, tried: Callable[..., None]):
    (tmp_path / "b.json").write_bytes(report(0.4))

    def read(path: Path) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            show_comparison(compare(path, tmp_path / "b.json"))

    tried(read, tmp_path / "a.json", report(0.3))


def test_manifests_of_feature_stores(tmp_path: Path, tried: Callable[..., None]):
    recipe = FeatureRecipe("tiny", "01", 5, 3, {"size": 64, "keep_aspect": True}, "fp32")
    entries = [StoredPhoto("a.jpg", 10, 11, 2, 3), StoredPhoto("b/c.png", 20, 21, 4, 1)]
    FeatureStore.open(tmp_path, recipe, entries).close()

    def read(path: Path) -> None:
        with contextlib.suppress(LeopartError):
            FeatureStore.open(path.parent, recipe, entries)
        store = FeatureStore.load(path.parent)
        for index in range(len(store)):
            store.tokens_of(index)
            store.attention_of(index)

    path = tmp_path / "manifest.json"
    tried(read, path, path.read_bytes())


CARD = saved.Card("net", "f" * 64, Preprocessing(80), "fp32", 1, FitSettings())


def write_segmenter(folder: Path) -> None:
    rng = np.random.default_rng(0)

    def tensor(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))

    model = PartModel(
        Reduction(tensor(6), tensor(6, 4)),
        KMeans(tensor(5, 4), spherical=True, objective=0.0),
        torch.tensor([True, False, True, True, False]),
        KMeans(tensor(3, 4), spherical=False, objective=0.0),
        np.array([0, 1, 2, 2]),
        ObjectMixture(np.array([[1, 0, 0], [0, 0.5, 0.5]])),
        tensor(5),
        np.array([1, 1]),
    )
    saved.write(folder, model, CARD)


def use_segmenter(folder: Path) -> None:
    card, model = saved.read(folder)
    card.preprocessing.target(48, 64, 8)
    ids, _ = model.label_scored(np.ones((2, 3, len(model.reduction.offset)), np.float16))
    model.object_table(ids)


def test_cards_of_segmenters(tmp_path: Path, tried: Callable[..., None]):
    write_segmenter(tmp_path)
    path = tmp_path / "segmenter.json"
    tried(lambda path: use_segmenter(path.parent), path, path.read_bytes())


def test_arrays_of_segmenters_whose_hash_was_made_to_fit(tmp_path: Path, tried: Callable[..., None]):
    write_segmenter(tmp_path)
    card = json.loads((tmp_path / "segmenter.json").read_bytes())

    def read(path: Path) -> None:
        (tmp_path / "segmenter.json").write_text(json.dumps(card | {"arrays sha256": sha256(path)}))
        use_segmenter(tmp_path)

    path = tmp_path / "arrays.safetensors"
    tried(read, path, path.read_bytes())


def arrays(rng: np.random.Generator, name: str, array: torch.Tensor) -> torch.Tensor:
    """Another array in its place: of another shape, number format or with other values."""
    others = [
        array[:0],
        array[:1],
        array[None],
        torch.cat([array, array]),
        array.double(),
        array.to(torch.int64),
        array.bool(),
        torch.full_like(array, 3),
        array.float() * float("nan"),
        -array.float(),
    ]
    return others[int(rng.integers(len(others)))].contiguous()


@pytest.mark.parametrize("seed", range(4))
def test_other_arrays_in_segmenters(tmp_path: Path, seed: int):
    write_segmenter(tmp_path)
    card = json.loads((tmp_path / "segmenter.json").read_bytes())
    path = tmp_path / "arrays.safetensors"
    whole = safetensors.torch.load_file(path)
    rng = np.random.default_rng(seed)
    for number in range(60):
        name = str(rng.choice(list(whole)))
        changed = whole | {name: arrays(rng, name, whole[name])}
        if rng.random() < 0.1:
            del changed[name]
        path.write_bytes(safetensors.torch.save(changed, metadata={"card": saved._seal(card)}))
        (tmp_path / "segmenter.json").write_text(json.dumps(card | {"arrays sha256": sha256(path)}))
        is_refused(lambda path: use_segmenter(path.parent), path, f"{number} of {seed}: {name}")


def test_head_files(tmp_path: Path, tried: Callable[..., None]):
    state = {"finetune_head.weight": torch.zeros(3, 4, 1, 1), "finetune_head.bias": torch.zeros(3)}
    tried(read_head, tmp_path / "a.safetensors", safetensors.torch.save(state))


def test_head_files_of_torch(tmp_path: Path, tried: Callable[..., None]):
    state = {"finetune_head.weight": torch.zeros(3, 4, 1, 1), "finetune_head.bias": torch.zeros(3)}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    tried(read_head, tmp_path / "a.pth", buffer.getvalue())


def test_records_of_adaptations(tmp_path: Path):
    asked: dict[str, Any] = {"recipe": {"steps": 3}, "photos": [["a", 1, 2]]}
    valid = {"steps": 1, "seconds": 2.5, "stopped_early": False, "failures": [["a", "b"]], "done": False}
    content = json.dumps({"asked": asked, **valid}).encode()

    def read(path: Path) -> None:
        state = _State.open(path.parent, asked, replace_other=False)
        assert isinstance(state.steps + state.seconds, float)
        assert all(name and reason for name, reason in state.failures) or state.failures
        asdict(state)

    fuzz(read, tmp_path / "adaptation.json", [content])


def test_settings_of_runs_that_are_resumed(tmp_path: Path, tried: Callable[..., None]):
    words = ["quick", "--data", f"folder:{tmp_path}", "--out", str(tmp_path)]
    config = parse_train(words)
    record = {"photos": 3, "photos sha256": "0", "backbone": "1"}
    options, run = yaml.safe_dump(settings_of(config)).encode(), json.dumps(record).encode()
    for name, content, other, text in (
        ("config.yaml", options, "run.json", run),
        ("run.json", run, "config.yaml", options),
    ):
        (tmp_path / other).write_bytes(text)
        tried(lambda _: _refuse_other_run(config, record), tmp_path / name, content)


def test_curves_of_runs(tmp_path: Path, tried: Callable[..., None]):
    lines = "".join(json.dumps({"step": step, "loss": 1 / step, "lr": 0.1}) + "\n" for step in (1, 2, 3))

    def read(path: Path) -> None:
        read_metrics(path)
        MetricsFile(path, 2)

    tried(read, tmp_path / "metrics.jsonl", lines.encode())


def test_tables_of_earlier_runs(tmp_path: Path, tried: Callable[..., None]):
    numbers = {"published": 1.0, "ours": 2.0, "std": None, "difference": 1.0}
    cell = {"column": "miou", **numbers, "status": "equal", "reason": None}
    row = {
        "row": "ours",
        "network": "net",
        "stands for it": None,
        "cost at full size": "1 h",
        "cells": [cell],
    }
    content = {"title": "Table 1", "miniature": True, "rows": [row]}
    tried(lambda path: markdown(read_table(path)), tmp_path / "x.json", json.dumps(content).encode())


def test_locks_hold_or_are_taken_over(tmp_path: Path):
    folder = tmp_path / "out"
    with locked(folder):
        content = (folder / LOCK).read_bytes()
    folder.mkdir()

    def read(path: Path) -> None:
        with locked(path.parent):
            pass

    fuzz(read, folder / LOCK, [content])


def test_summaries_of_finished_runs(tmp_path: Path):
    config = SegmentConfig(images=(tmp_path,), out=tmp_path)
    counts = {"photos": 0, "failed": 0, "parts": 1, "objects": 1}
    Summary("segment", counts, [], ["a"], {}, settings_of(config), {"masks": 1.0}, inputs="0").write(
        tmp_path / "summary.json"
    )
    read = SimpleNamespace(found=0)

    def ask(_: Path) -> None:
        read.found += finished(config, [], "0") is not None

    for name in ("segmenter/segmenter.json", "segmenter/arrays.safetensors", "report.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    path = tmp_path / "summary.json"
    content = path.read_bytes()
    ask(path)
    assert read.found == 1
    fuzz(ask, path, [content])


def test_the_same_seed_damages_in_the_same_way():
    import random

    content = json.dumps(DOCUMENT).encode()
    first = [damaged(random.Random(7), content) for _ in range(3)]
    assert first == [damaged(random.Random(7), content) for _ in range(3)]
    assert any(one != content for one in first)


@pytest.mark.parametrize("fault", [ValueError("x"), LeopartError("two\nlines"), LeopartError("x" * 5000)])
def test_the_harness_finds_what_it_looks_for(tmp_path: Path, fault: Exception):
    def read(path: Path) -> None:
        if b"a" not in path.read_bytes():
            raise fault

    with pytest.raises(AssertionError, match="of seed 0"):
        fuzz(read, tmp_path / "x", [b"a"], seconds=0)
