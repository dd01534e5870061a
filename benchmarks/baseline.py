"""What `leopart segment` reaches without labels: `python -m benchmarks.baseline DATA [--only NAME …]`.

DATA holds the labelled folders named in `_SETS`. Each is segmented by the command line
in a process of its own, with default options; labels are read afterwards, to score. Writes
`results/segment.json`, and the table between the markers of `results/README.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from leopart.data.datasets.folder import open_folder
from leopart.evaluation.metrics.masks import score_masks

_RESULTS = Path(__file__).parents[1] / "results"
_SETS = {
    "msrc21": "masks_voclike",
    "car_parts": "masks",
    "coco100": "masks_thing12",
    "garments": "masks",
    "driving": "masks",
    "micrographs": "masks",
}
_BEGIN, _END = "<!-- segment table -->", "<!-- end of segment table -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(_SETS), default=list(_SETS))
    arguments = parser.parse_args()
    path = _RESULTS / "segment.json"
    rows = json.loads(path.read_text()) if path.exists() else {}
    for name in arguments.only:
        rows[name] = _measure(arguments.data / name, _SETS[name])
        path.write_text(json.dumps(rows, indent=2) + "\n")
    _write_table(rows)


def _measure(data: Path, masks: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [sys.executable, "-m", "leopart", "segment", str(data / "images"), "--out", str(out)]
        subprocess.run(command, check=True)
        summary = json.loads((out / "summary.json").read_text())
        scores = score_masks(out / "objects", open_folder(data, masks))
    names = list(open_folder(data, masks).classes.values())
    return {
        "command": f"leopart segment {data.name}/images --out OUT",
        "data": data.name,
        "masks": masks,
        "labels used": "none for the masks; all for these scores",
        "commit": commit(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, no GPU used",
        "seed": summary["settings"]["seed"],
        "images": scores.images,
        "parts": summary["counts"]["parts"],
        "objects": summary["counts"]["objects"],
        "communities": summary["results"]["communities"],
        "precision": summary["results"]["precision"],
        "hungarian miou": round(scores.matching.miou, 4),
        "iou per class": dict(zip(names, scores.matching.iou.round(4).tolist(), strict=True)),
        "foreground jaccard": round(scores.jaccard, 4),
        "foreground truth": round(scores.foreground_truth, 4),
        "seconds": summary["seconds"],
        "peak memory MiB": summary["peak memory MiB"],
        "versions": summary["versions"],
    }


def commit() -> str:
    command = ["git", "-C", str(_RESULTS.parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _write_table(rows: dict[str, dict[str, Any]]) -> None:
    columns = ("data", "masks", "photos", "parts", "objects", "Hungarian mIoU", "foreground Jaccard")
    columns += ("all foreground", "seconds", "peak MiB", "commit")
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for row in rows.values():
        cells = (
            row["data"],
            row["masks"],
            row["images"],
            row["parts"],
            row["objects"],
            f"{100 * row['hungarian miou']:.1f}",
            f"{100 * row['foreground jaccard']:.1f}",
            f"{100 * row['foreground truth']:.1f}",
            f"{sum(row['seconds'].values()):.0f}",
            row["peak memory MiB"],
            f"`{row['commit']}`",
        )
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    page = _RESULTS / "README.md"
    before, _, rest = page.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    page.write_text("\n".join([before + _BEGIN, *lines, _END + after]))


if __name__ == "__main__":
    main()
