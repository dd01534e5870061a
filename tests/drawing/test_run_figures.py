from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from leopart.drawing.run_figures import training_figures
from leopart.errors import LeopartError

SHEETS = {"training-sheets.png", "training-sheets.gif"}
CURVES = {"training-curves.png", "training-curves.pdf"}


def trained(run: Path, *, sheets: bool = True, metrics: bool = True) -> Path:
    run.mkdir()
    if sheets:
        (run / "sheets").mkdir()
        for step in (1_000_000, 100, 999_999):
            shade = {100: 0, 999_999: 100, 1_000_000: 200}[step]
            Image.new("RGB", (20, 10), (shade, 0, 0)).save(run / "sheets" / f"step-{step:06d}.png")
        (run / "sheets" / "notes.png").write_bytes(b"not ours")
    if metrics:
        (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    return run


@pytest.mark.parametrize(
    ("there", "expected"),
    [({}, SHEETS | CURVES), ({"metrics": False}, SHEETS), ({"sheets": False}, CURVES)],
)
def test_what_there_is_is_drawn(tmp_path: Path, there: dict[str, bool], expected: set[str]):
    written = training_figures(trained(tmp_path / "run", **there), tmp_path / "out")
    assert {file.name for file in written} == expected
    assert {file.name for file in (tmp_path / "out").iterdir()} == expected


def test_sheets_are_in_the_order_of_their_steps(tmp_path: Path):
    training_figures(trained(tmp_path / "run"), tmp_path)
    with Image.open(tmp_path / "training-sheets.png") as still:
        assert np.asarray(still)[::10, 0, 0].tolist() == [0, 100, 200]
    with Image.open(tmp_path / "training-sheets.gif") as moving:
        reds = [frame.convert("RGB").getpixel((0, 0))[0] for frame in ImageSequence.Iterator(moving)]
    assert reds == [0, 100, 200]


def test_a_folder_that_no_training_wrote_is_refused(tmp_path: Path):
    with pytest.raises(LeopartError, match=r"has no sheets/ and no metrics\.jsonl"):
        training_figures(trained(tmp_path / "run", sheets=False, metrics=False), tmp_path / "out")
    with pytest.raises(LeopartError, match="there is no folder"):
        training_figures(tmp_path / "gone", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_matplotlib_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(LeopartError, match="matplotlib"):
        training_figures(trained(tmp_path / "run"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
