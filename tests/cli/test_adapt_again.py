"""`leopart segment --adapt` when photos fail, somebody presses Ctrl-C, or features are kept."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace

import lightning.pytorch as pl
import pytest

from leopart.features.extract import Extractor
from leopart.segment.outputs import MaskWriter
from leopart.training import adaptation
from leopart.training.run import Keeping, fit

pytestmark = pytest.mark.usefixtures("short_adaptation")


# --- photos that fail, and interruptions ----------------------------------------------------------------


def test_a_photo_that_cannot_be_read_is_named_once(run, photos, quick, tmp_path):
    (photos / "broken.png").write_bytes((photos / "0.png").read_bytes()[:60])
    ran = run("segment", photos, "--out", tmp_path / "o", *quick, "--adapt", "1")

    assert ran.status == 1
    assert ran.err.count("broken.png") == 1
    assert [
        failure["name"] for failure in json.loads((tmp_path / "o" / "summary.json").read_text())["failures"]
    ] == ["broken.png"]


def test_photos_of_which_none_can_be_read_are_told_in_one_sentence(run, photos, quick, tmp_path):
    for photo in photos.iterdir():
        photo.write_text("no photo")
    ran = run("segment", photos, "--out", tmp_path / "o", *quick, "--adapt", "1")

    assert ran.status == 2
    (line,) = ran.lines[1:]
    assert line.startswith("leopart: not one of the 6 photos can be read")


def test_short_memory_is_told_with_options_that_there_are(run, photos, quick, tmp_path, monkeypatch):
    def short(*_args, **_options):
        raise MemoryError

    monkeypatch.setattr("leopart.training.methods.leopart.learner.dense_loss", short)
    ran = run("segment", photos, "--out", tmp_path / "o", *quick, "--adapt", "1")

    assert ran.status == 2
    (line,) = ran.lines[1:]
    what = "out of memory with 2 photos in a forward pass"
    assert line.startswith(f"leopart: tiny_random could not be adapted to the photos ({what}): choose ")
    assert line.endswith(" another --backbone or --device, or --no-adapt")


def interrupted_after(steps: int) -> Callable:
    """`fit`, to which Ctrl-C comes after so many steps."""

    class Press(pl.Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == steps - 1:
                os.kill(os.getpid(), signal.SIGINT)

    def interrupted(*args, monitoring, **options):
        callbacks = [*monitoring.callbacks, Press()]
        return fit(*args, monitoring=replace(monitoring, callbacks=callbacks), **options)

    return interrupted


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Keeping]:
    """What every adaptation keeps that is begun or goes on."""
    begun: list[Keeping] = []

    def spied(*args, **options):
        begun.append(options["keeping"])
        return fit(*args, **options)

    monkeypatch.setattr(adaptation, "fit", spied)
    return begun


def test_ctrl_c_keeps_the_steps_done_and_the_same_command_goes_on(
    run, photos, quick, tmp_path, monkeypatch, adapted, masks_of, started
):
    words = ("segment", photos, "--out", tmp_path / "o", *quick, "--adapt", "1")
    with monkeypatch.context() as patch:
        patch.setattr(adaptation, "fit", interrupted_after(3))
        ran = run(*words)

    assert ran.status == 130
    assert ran.lines[-1] == "leopart: interrupted; run the same command again to finish"
    state = json.loads((tmp_path / "o" / ".adaptation" / "adaptation.json").read_text())
    assert (state["steps"], state["done"]) == (3, False)

    assert run(*words).status == 0
    assert [keeping.resume for keeping in started] == [True]
    assert json.loads((tmp_path / "o" / "summary.json").read_text())["results"]["adaptation"]["steps"] == 8
    assert not (tmp_path / "o" / ".adaptation").exists()
    assert masks_of(tmp_path / "o") == masks_of(adapted)


@pytest.mark.parametrize("change", ["nothing", "a photo", "the minutes", "the parts"])
def test_a_finished_adaptation_is_used_again_unless_photos_or_settings_change(
    run, photos, draw, quick, tmp_path, monkeypatch, change, started
):
    words = ["segment", photos, "--out", tmp_path / "o", *quick, "--adapt", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(MaskWriter, "write", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(*words).status == 130
    started.clear()
    looked, forward = [], Extractor.forward
    monkeypatch.setattr(Extractor, "forward", lambda *args: looked.append(1) or forward(*args))
    if change == "a photo":
        draw(99).save(photos / "3.png")
    elif change == "the minutes":
        words[-1] = "2"
    elif change == "the parts":
        words += ["--parts", "5"]

    assert run(*words).status == 0
    assert len(started) == (change in ("a photo", "the minutes"))
    assert bool(looked) == (change == "a photo"), "another network needs other features"


# --- with kept features ---------------------------------------------------------------------------------


def test_kept_features_are_used_again_with_the_network_that_made_them(
    run, photos, quick, tmp_path, masks_of, monkeypatch
):
    words = (*quick, "--adapt", "1", "--features", tmp_path / "kept")
    assert run("segment", photos, "--out", tmp_path / "a", *words).status == 0
    monkeypatch.setattr(Extractor, "forward", lambda *_: pytest.fail("the network was asked again"))
    monkeypatch.setattr(adaptation, "fit", lambda *_, **__: pytest.fail("the network was adapted again"))

    assert run("segment", photos, "--out", tmp_path / "b", *words).status == 0
    assert masks_of(tmp_path / "b") == masks_of(tmp_path / "a")


def test_kept_features_of_something_else_are_refused_before_any_work(
    run, photos, quick, tmp_path, monkeypatch, files_below
):
    plain, kept = tmp_path / "plain", tmp_path / "kept"
    start = ("segment", photos, "--out", tmp_path / "o", *quick)
    assert run(*start, "--features", plain).status == 0
    assert run(*start, "--features", kept, "--adapt", "1").status == 0
    before = {name: (kept / name).read_bytes() for name in files_below(kept)}
    monkeypatch.setattr(adaptation, "fit", lambda *_, **__: pytest.fail("began all the same"))

    ran = run(*start, "--features", plain, "--adapt", "1")
    assert ran.status == 2
    assert f"{plain} holds features of a network that was not adapted to the photos" in ran.err
    ran = run(*start, "--features", kept, "--adapt", "2")
    assert ran.status == 2
    assert "holds an adaptation to other photos or with other settings" in ran.err
    ran = run(*start, "--features", kept, "--no-adapt")
    assert ran.status == 2
    assert "holds features made with other settings or photos" in ran.err
    assert {name: (kept / name).read_bytes() for name in files_below(kept)} == before
