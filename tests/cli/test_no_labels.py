"""`leopart segment` beside labels: it opens none of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

#: Runs the command line, and writes down every path that anything in the process opens or lists.
_RECORDER = """
import sys
record = open(sys.argv[1], "w")
def hook(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], (str, bytes)):
        print(event, arguments[0], file=record, flush=True)
sys.addaudithook(hook)
from leopart.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def test_no_label_file_is_opened(tmp_path: Path, tiny_weights: Path):
    data = tmp_path / "data"
    for name in ("images", "masks", "masks_coarse"):
        (data / name).mkdir(parents=True)
    for seed in range(4):
        pixels = np.random.default_rng(seed).integers(0, 256, (48, 64, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(data / "images" / f"{seed}.png")
        for masks in ("masks", "masks_coarse"):
            Image.fromarray(pixels[..., 0] // 128).save(data / masks / f"{seed}.png")
    for classes in ("classes.txt", "classes_coarse.txt"):
        (data / classes).write_text("0\tbackground\n1\tthing\n")
    out, record = tmp_path / "out", tmp_path / "record.txt"
    command = [
        sys.executable,
        "-c",
        _RECORDER,
        str(record),
        "segment",
        str(data / "images"),
        "--out",
        str(out),
    ]
    options = [
        "--backbone",
        str(tiny_weights),
        "--size",
        "64",
        "--parts",
        "4",
        "--contexts",
        "yes",
        "--refine",
    ]
    subprocess.run([*command, *options, "--device", "cpu", "--quiet"], check=True)

    opened = record.read_text().splitlines()
    for seed in range(4):  # the recorder does see what is opened
        assert f"open {data / 'images' / f'{seed}.png'}" in opened
    assert not [line for line in opened if str(data) in line and ("masks" in line or "classes" in line)]
    assert json.loads((out / "summary.json").read_text())["labels used"] == "none"
