"""Ctrl-C, photos that vanish and disks that fill up, through `leopart segment`."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable

import pytest
from PIL import Image

from leopart.features.extract import Extractor
from leopart.segment import learning
from leopart.segment.outputs import MaskWriter


def after(calls: int, function: Callable, error: BaseException) -> Callable:
    """The function, raising `error` at every call after the first `calls`."""
    count = iter(range(10**6))

    def counted(*args, **options):
        if next(count) >= calls:
            raise error
        return function(*args, **options)

    return counted


def test_ctrl_c_while_looking_keeps_the_features_and_the_next_run_goes_on(
    run, segmented, quick, tmp_path, masks_of, monkeypatch
):
    words = ("segment", segmented.parent / "photos", "--out", tmp_path / "out", *quick, "--quiet")
    real = Extractor.forward
    monkeypatch.setattr(Extractor, "forward", after(4, real, KeyboardInterrupt()))
    ran = run(*words)

    assert ran.status == 130
    assert ran.err == "\nleopart: interrupted; run the same command again to finish\n"
    assert (tmp_path / "out" / ".features" / "manifest.json").is_file()
    looked = []
    monkeypatch.setattr(Extractor, "forward", lambda *args: looked.append(1) or real(*args))

    assert run(*words).status == 0
    assert len(looked) == 2
    assert masks_of(tmp_path / "out") == masks_of(segmented)
    assert not (tmp_path / "out" / ".features").exists()


def test_ctrl_c_while_writing_leaves_whole_files_and_the_next_run_goes_on(
    run, segmented, quick, tmp_path, masks_of, monkeypatch
):
    words = ("segment", segmented.parent / "photos", "--out", tmp_path / "out", *quick, "--quiet")
    with monkeypatch.context() as patch:
        patch.setattr(MaskWriter, "write", after(3, MaskWriter.write, KeyboardInterrupt()))
        assert run(*words).status == 130

    whole = masks_of(segmented)
    part_way = masks_of(tmp_path / "out")
    assert len(part_way) == 6
    assert part_way.items() <= whole.items()
    assert not list((tmp_path / "out").rglob("*.part"))
    monkeypatch.setattr(Extractor, "forward", lambda *_: pytest.fail("the backbone was asked again"))
    assert run(*words).status == 0
    assert masks_of(tmp_path / "out") == whole


def test_other_settings_after_an_interruption_begin_anew(run, photos, quick, tmp_path, monkeypatch):
    words = ("segment", photos, "--out", tmp_path / "out", *quick)
    with monkeypatch.context() as patch:
        patch.setattr(Extractor, "forward", after(2, Extractor.forward, KeyboardInterrupt()))
        assert run(*words).status == 130

    assert run(*words, "--size", "48").status == 0
    assert len(list((tmp_path / "out" / "parts").iterdir())) == 6


def test_a_photo_that_vanishes_after_it_was_looked_at_is_named_and_the_rest_is_done(
    run, photos, quick, tmp_path, monkeypatch
):
    real = learning.fit_parts

    def fit(*args, **options):
        (photos / "3.png").unlink()
        return real(*args, **options)

    monkeypatch.setattr(learning, "fit_parts", fit)
    ran = run("segment", photos, "--out", tmp_path / "out", *quick, "--quiet")

    assert ran.status == 1
    assert ran.lines == [f"leopart: {photos / '3.png'} is not there (any more); put it back or leave it out"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [failure["name"] for failure in summary["failures"]] == ["3.png"]
    assert sorted(f.stem for f in (tmp_path / "out" / "parts").iterdir()) == ["0", "1", "2", "4", "5"]


# --- full disks -----------------------------------------------------------------------------------------

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="room is reserved on POSIX only")
def test_no_room_for_the_features_is_told_before_any_work(run, photos, quick, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", after(0, os.posix_fallocate, FULL))
    monkeypatch.setattr(Extractor, "forward", lambda *_: pytest.fail("began without room"))
    ran = run("segment", photos, "--out", tmp_path / "out", *quick)

    assert ran.status == 2
    (line,) = ran.lines
    assert line.startswith(f"leopart: cannot keep features in {tmp_path / 'out' / '.features'} (")
    assert "MiB needed): No space left on device; free some space" in line
    monkeypatch.undo()
    assert run("segment", photos, "--out", tmp_path / "out", *quick).status == 0


def test_a_disk_that_fills_up_is_told_and_files_already_written_stay_whole(
    run, segmented, quick, tmp_path, masks_of, monkeypatch
):
    words = ("segment", segmented.parent / "photos", "--out", tmp_path / "out", *quick, "--quiet")
    real = Image.Image.save

    def save(self, file, *args, **options):
        if getattr(self, "mode", "") == "P" and len(list(tmp_path.rglob("*.png"))) >= 5:
            file.write(b"\x89PNG half a mask")
            raise FULL
        real(self, file, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", save)
        ran = run(*words)

    assert ran.status == 2
    (line,) = ran.lines
    assert line.startswith(f"leopart: cannot write {tmp_path / 'out'}/")
    assert ".png: No space left on device; free some space or choose another output folder" in line
    whole, written = masks_of(segmented), masks_of(tmp_path / "out")
    assert 0 < len(written) < 12
    assert written.items() <= whole.items()
    assert not list((tmp_path / "out").rglob("*.part"))
    assert not (tmp_path / "out" / "summary.json").exists()

    monkeypatch.setattr(Extractor, "forward", lambda *_: pytest.fail("the backbone was asked again"))
    assert run(*words).status == 0
    assert masks_of(tmp_path / "out") == whole
