"""What each way of adapting a network gives: `python -m benchmarks.adaptation DATA WORK [--sets NAME ...]`.

DATA holds the labelled folders. For each set, method, number of steps and seed, a network is trained by
`leopart train quick` on the photos alone. Afterwards labels are read to score it (`leopart evaluate`), and
the label-free numbers by which `--adapt` decides are measured too. Results are added to
`results/adaptation.json`, and those there already are not made again; the table between the markers of
`results/adaptation.md` follows from it. WORK keeps the networks. The whole grid takes days on two cores:
`--sets`, `--methods`, `--steps` and `--seeds` choose a part of it, `--photos` a random part of each set.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from scipy.stats import spearmanr

from benchmarks.baseline import commit
from leopart.cli.main import main as leopart
from leopart.data.datasets.folder import open_folder
from leopart.data.photos import find_photos
from leopart.evaluation.metrics.masks import score_masks
from leopart.models.backbone import load_backbone
from leopart.segment.judging import judged

METHODS: dict[str, list[str]] = {
    "leopart": [],
    "leopart, all cells": ["--loss-mask", "all"],
    "leopart, a fifth of the rates": ["--lr", "2e-5", "--lr-head", "5e-4"],
    "leopart, Gram anchor": ["--anchor-gram", "10"],
    "leopart, token anchor": ["--anchor-tokens", "1"],
    "densecl": ["--method", "densecl"],
    "densecl, Gram anchor": ["--method", "densecl", "--anchor-gram", "10"],
    "hybrid": ["--method", "hybrid"],
    "paka": ["--method", "paka"],
    "neco": ["--method", "neco"],
    "neco, Gram anchor": ["--method", "neco", "--anchor-gram", "10"],
}
SETS = {"msrc21": ["horse", "mountain"], "garments": [], "driving": [], "coco100": []}
"""Labelled folders, and the classes that are left out."""
_PAGE = Path(__file__).parents[1] / "results" / "adaptation.md"
_BEGIN, _END = "<!-- adaptation table -->", "<!-- end of adaptation table -->"
_NUMBERS = {"k_classes": "K = classes", "k_100": "K = 100", "linear": "linear", "objects": "objects"}
_LABEL_FREE = {"stability": "stability", "gain": "gain"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--steps", nargs="+", type=int, default=[60, 380])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--photos", type=int, default=None)
    parser.add_argument("--size", type=int, default=448, help="side of the photos that are scored")
    parser.add_argument("--linear", action="store_true", help="train a linear head too")
    parser.add_argument("--objects", action="store_true", help="segment with each network, and score that")
    asked = parser.parse_args()
    rows = _known()
    for name in asked.sets:
        folder = _part(asked.data / name, asked.work / "sets" / name, asked.photos)
        for method, steps, seed in _runs(asked.methods, asked.steps, asked.seeds):
            key = {"set": name, "photos": asked.photos, "method": method, "steps": steps, "seed": seed}
            if not any(key.items() <= row.items() for row in rows):
                rows.append(key | _measured(folder, asked, name, method, steps, seed))
                _PAGE.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
                _write_table(rows)


def _runs(methods: list[str], steps: list[int], seeds: list[int]) -> Iterator[tuple[str, int, int]]:
    """The start, then every combination."""
    yield "start", 0, 0
    yield from product(methods, steps, seeds)


def _known() -> list[dict[str, Any]]:
    path = _PAGE.with_suffix(".json")
    return json.loads(path.read_text()) if path.exists() else []


def _part(data: Path, folder: Path, photos: int | None) -> Path:
    """A folder with links to some of the photos and to their masks; all where no number is given."""
    if photos is None:
        return data
    chosen = random.Random(0).sample(sorted((data / "images").iterdir()), photos)
    for photo in chosen:
        mask = data / "masks" / f"{photo.stem}.png"
        for file in (photo, mask):
            link = folder / file.parent.name / file.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(file.resolve())
    (folder / "classes.txt").write_text((data / "classes.txt").read_text())
    return folder


def _measured(
    folder: Path, asked: argparse.Namespace, name: str, method: str, steps: int, seed: int
) -> dict[str, Any]:
    run, begun = None, time.process_time()
    if method != "start":
        words = f"{name} {asked.photos} {method} {steps} {seed}"
        run = asked.work / words.replace(",", "").replace(" ", "-")
        if not (run / "backbone.safetensors").is_file():
            fixed = ["--steps", str(steps), "--seed", str(seed), "--sheet-photos", "0", "--quiet"]
            where = ["--data", f"folder:{folder / 'images'}", "--out", str(run)]
            _leopart("train", "quick", *METHODS[method], *fixed, *where)
    row = {"commit": commit(), "seconds": round(time.process_time() - begun)}
    row |= _scores(folder, asked, name, run)
    backbone = load_backbone() if run is None else load_backbone(run)
    found = judged(backbone, find_photos([folder / "images"]), seed=0)
    return row | ({} if found is None else asdict(found))


def _scores(folder: Path, asked: argparse.Namespace, name: str, run: Path | None) -> dict[str, float]:
    """What labels say about a network, in percent."""
    out = asked.work / "scores.json"
    classes = len(open_folder(folder).classes) - len(SETS[name])
    network = [] if run is None else ["--backbone", str(run)]
    task = ["--data", f"folder:{folder}", "--quiet", "--size", str(asked.size), "--out", str(out), *network]
    task += ["--ignore", *SETS[name]] if SETS[name] else []
    _leopart("evaluate", "overclustering", "--k", str(classes), "100", "--seeds", "1", *task)
    both = _miou(out)
    found = {"k_classes": both[str(classes)], "k_100": both["100"]}
    if asked.linear:
        _leopart("evaluate", "linear", *task)
        found["linear"] = next(iter(_miou(out).values()))
    if asked.objects:
        objects = asked.work / "segmented"
        attention = [] if run is None else ["--attention-backbone", "imgfocus_vits14"]
        photos = [
            str(folder / "images"),
            "--seed",
            "0",
            "--out",
            str(objects),
            "--refine",
            "--overwrite",
            "--quiet",
        ]
        _leopart("segment", *photos, *network, *attention)
        found["objects"] = score_masks(objects / "objects", open_folder(folder)).matching.miou
    return {key: round(100 * value, 2) for key, value in found.items()}


def _miou(file: Path) -> dict[str, float]:
    """Of each row of what `leopart evaluate` wrote, which is then removed."""
    scores = json.loads(file.read_text())["scores"]
    file.unlink()
    return {row: found["miou"]["mean"] for row, found in scores.items()}


def _leopart(*words: str) -> None:
    if status := leopart(words):
        raise SystemExit(f"leopart {' '.join(words)} ended with {status}")


def _write_table(rows: list[dict[str, Any]]) -> None:
    columns = _NUMBERS | _LABEL_FREE
    shown = [key for key in columns if any(key in row for row in rows)]
    lines = ["| set | method | steps | seed | " + " | ".join(columns[key] for key in shown) + " |"]
    lines.append("|---" * (4 + len(shown)) + "|")
    for row in rows:
        cells = [_cell(row.get(key), 3 if key in _LABEL_FREE else 1) for key in shown]
        lines.append(
            f"| {row['set']} | {row['method']} | {row['steps']} | {row['seed']} | " + " | ".join(cells) + " |"
        )
    lines += ["", *_correlations(rows)]
    before, _, rest = _PAGE.read_text().partition(_BEGIN)
    _PAGE.write_text("\n".join([before + _BEGIN, "", *lines, _END + rest.partition(_END)[2]]))


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _correlations(rows: list[dict[str, Any]]) -> Iterator[str]:
    """How the label-free numbers rank the networks of each set, against the labels."""
    yield "Rank correlation (Spearman) of the label-free numbers with the scores, over the rows of each set:"
    yield ""
    yield "| set | networks | number | " + " | ".join(_NUMBERS.values()) + " |"
    yield "|---" * (3 + len(_NUMBERS)) + "|"
    for name, number in product(dict.fromkeys(row["set"] for row in rows), _LABEL_FREE):
        of_set = [row for row in rows if row["set"] == name and row.get(number) == row.get(number)]
        cells = []
        for score in _NUMBERS:
            pairs = [(row[number], row[score]) for row in of_set if number in row and score in row]
            cells.append(_cell(spearmanr(pairs).statistic if len(pairs) > 2 else None, 2))
        yield f"| {name} | {len(of_set)} | {number} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
