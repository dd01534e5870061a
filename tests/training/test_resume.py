"""A run that was interrupted and goes on is, to the bit, the run that was not."""

from __future__ import annotations

import os
import signal

import lightning.pytorch as pl
import pytest

from leopart.data.photos import find_photos
from leopart.settings import updated
from leopart.training.checkpoints import FOLDER, LAST, read_checkpoint

DENSECL = {"method": "densecl", "contrast_queue": 30}
SETTINGS = {
    "drop path, queue and mask": ({}, 0),
    "a loading process": ({}, 1),
    "steps in two parts": ({"accumulate": 2}, 0),
    "last block only, in bfloat16": ({"train_blocks": 1, "precision": "bf16"}, 0),
    "a head that starts from the photos": ({"head_layers": 1, "head_init": "clusters"}, 0),
    "no teacher and no queue": ({"use_teacher": False, "queue": 0}, 0),
    "DenseCL": (DENSECL, 0),
    "DenseCL on the last block, in two parts": (
        DENSECL | {"train_blocks": 1, "accumulate": 2, "precision": "bf16"},
        1,
    ),
    "Leopart and DenseCL, anchored": (
        DENSECL | {"method": "hybrid", "train_blocks": 1, "anchor_gram": 1.0, "anchor_tokens": 0.1},
        0,
    ),
    "PaKA": ({"method": "paka"}, 0),
    "NeCo": ({"method": "neco", "neighbour_references": 20}, 0),
    "warm-up, clipping and the authors' code": (
        {"warmup": 3, "clip": 0.1, "reference": "code"},
        0,
    ),
}


class Kill(pl.Callback):
    """Sends this process a signal during a step, counted from 1, as somebody outside would."""

    def __init__(self, step: int, number: signal.Signals) -> None:
        self.step, self.number = step, number

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step + 1 == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("name", SETTINGS)
def test_stopped_twice_and_resumed_equals_uninterrupted(
    name, train_tiny, tiny_recipe, tmp_path, state_of, lines_of, same_to_the_bit
):
    changes, workers = SETTINGS[name]
    recipe = updated(tiny_recipe, steps=14, **changes)
    train_tiny(recipe, tmp_path / "whole")
    assert train_tiny(recipe, tmp_path / "parts", workers=workers, stop_at=3).step == 3
    assert train_tiny(recipe, tmp_path / "parts", workers=workers, resume=True, stop_at=11).step == 11
    assert train_tiny(recipe, tmp_path / "parts", workers=workers, resume=True).step == 14

    same_to_the_bit(state_of(tmp_path / "parts"), state_of(tmp_path / "whole"))
    assert lines_of(tmp_path / "parts") == lines_of(tmp_path / "whole")
    assert [line["step"] for line in lines_of(tmp_path / "whole")] == [1, 11, 14]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_its_step_and_it_resumes_to_the_bit(
    number, train_tiny, tiny_recipe, tmp_path, state_of, lines_of, same_to_the_bit
):
    before = signal.getsignal(number)
    train_tiny(tiny_recipe, tmp_path / "whole")
    stopped = train_tiny(tiny_recipe, tmp_path / "parts", callbacks=[Kill(4, number)])
    assert (stopped.step, stopped.interrupted) == (4, True)
    assert signal.getsignal(number) is before
    resumed = train_tiny(tiny_recipe, tmp_path / "parts", resume=True)
    assert (resumed.step, resumed.interrupted) == (6, False)

    same_to_the_bit(state_of(tmp_path / "parts"), state_of(tmp_path / "whole"))
    assert lines_of(tmp_path / "parts") == lines_of(tmp_path / "whole")


def test_a_signal_in_the_middle_of_a_divided_step_waits_for_its_other_part(
    train_tiny, tiny_recipe, tmp_path, state_of, same_to_the_bit
):
    recipe = updated(tiny_recipe, accumulate=2)

    class Early(pl.Callback):
        def on_train_batch_start(
            self, trainer: pl.Trainer, module: object, batch: object, index: int
        ) -> None:
            if index == 4:  # the first part of the third step
                os.kill(os.getpid(), signal.SIGTERM)

    assert train_tiny(recipe, tmp_path / "parts", callbacks=[Early()]).step == 3
    train_tiny(recipe, tmp_path / "parts", resume=True)
    train_tiny(recipe, tmp_path / "whole")
    same_to_the_bit(state_of(tmp_path / "parts"), state_of(tmp_path / "whole"))


def test_a_signal_at_the_last_step_is_no_interruption(train_tiny, tiny_recipe, tmp_path):
    trained = train_tiny(tiny_recipe, tmp_path, callbacks=[Kill(6, signal.SIGTERM)])
    assert (trained.step, trained.interrupted) == (6, False)


def test_a_second_ctrl_c_ends_at_once_and_leaves_the_earlier_checkpoint(
    train_tiny, tiny_recipe, tmp_path, state_of
):
    class Twice(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
            if trainer.global_step == 3:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(tiny_recipe, tmp_path, save_every=2, callbacks=[Twice()])
    assert signal.getsignal(signal.SIGINT) is before
    assert state_of(tmp_path)["step"] == 2
    assert train_tiny(tiny_recipe, tmp_path, resume=True).step == 6


def test_a_photo_that_cannot_be_read_changes_nothing_about_resuming(
    train_tiny, tiny_recipe, tmp_path, paint_photos, state_of, lines_of, same_to_the_bit, heard
):
    folder = paint_photos(tmp_path / "photos", 8)
    (folder / "03.png").write_bytes(b"no photo")
    on = find_photos([folder])
    whole = train_tiny(tiny_recipe, tmp_path / "whole", on=on)
    train_tiny(tiny_recipe, tmp_path / "parts", on=on, stop_at=3, workers=1)
    parts = train_tiny(tiny_recipe, tmp_path / "parts", on=on, resume=True, workers=1, progress=heard)

    same_to_the_bit(state_of(tmp_path / "parts"), state_of(tmp_path / "whole"))
    assert lines_of(tmp_path / "parts") == lines_of(tmp_path / "whole")
    assert [failure.name for failure in parts.failures] == ["03.png"]
    assert parts.failures == whole.failures
    assert heard.notes == []  # named when it was found


def test_a_run_resumes_from_where_it_ends(train_tiny, tiny_recipe, tmp_path, state_of, same_to_the_bit):
    train_tiny(tiny_recipe, tmp_path)
    before, exported = state_of(tmp_path), []
    again = train_tiny(tiny_recipe, tmp_path, resume=True, export=exported.append)
    assert (again.step, again.total) == (6, 6)
    same_to_the_bit(state_of(tmp_path), before)
    assert len(exported) == 1


def test_a_step_to_stop_at_that_is_behind_does_no_step(train_tiny, tiny_recipe, tmp_path):
    train_tiny(tiny_recipe, tmp_path, stop_at=4)
    assert train_tiny(tiny_recipe, tmp_path, resume=True, stop_at=4).step == 4
    assert train_tiny(tiny_recipe, tmp_path, resume=True, stop_at=2).step == 4


def test_other_processes_of_a_resumed_run_see_the_same_photos(train_tiny, tiny_recipe, tmp_path):
    """What is kept is the place in the stream of all processes."""
    train_tiny(tiny_recipe, tmp_path, stop_at=3)
    loops = read_checkpoint(tmp_path / FOLDER / LAST)["loops"]["fit_loop"]
    assert loops["state_dict"]["combined_loader"] == [{"taken": 3}]
