"""Checkpoints are whole files, and nothing that ends a run badly costs the last good one."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from leopart.errors import LeopartError
from leopart.settings import updated
from leopart.training.checkpoints import FOLDER, LAST, WholeFileIO, read_checkpoint
from leopart.training.methods.leopart.learner import LeopartLearner
from leopart.training.stopping import requeue


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / FOLDER).iterdir())


# --- when -----------------------------------------------------------------------------------------------


def test_the_newest_state_is_written_when_due_and_at_the_end_and_some_are_kept(
    train_tiny, tiny_recipe, tmp_path, monkeypatch
):
    written = []
    real = WholeFileIO.save_checkpoint

    def save(self, checkpoint, path, *rest, **options):
        written.append((checkpoint["global_step"], Path(path).name))
        real(self, checkpoint, path, *rest, **options)

    monkeypatch.setattr(WholeFileIO, "save_checkpoint", save)
    train_tiny(updated(tiny_recipe, steps=7), tmp_path, save_every=2, keep_every=3)
    last = [(step, LAST) for step in (2, 3, 4, 6, 7)]
    kept = [(step, f"step-000000{step}.ckpt") for step in (3, 6)]
    assert sorted(written) == sorted(last + kept)
    assert names(tmp_path) == [LAST, "step-0000003.ckpt", "step-0000006.ckpt"]
    assert read_checkpoint(tmp_path / FOLDER / "step-0000003.ckpt")["global_step"] == 3


def test_a_checkpoint_that_was_kept_can_take_the_place_of_the_last(
    train_tiny, tiny_recipe, tmp_path, state_of, same_to_the_bit
):
    train_tiny(tiny_recipe, tmp_path, keep_every=2)
    after = state_of(tmp_path)
    (tmp_path / FOLDER / "step-0000002.ckpt").replace(tmp_path / FOLDER / LAST)
    assert train_tiny(tiny_recipe, tmp_path, resume=True).step == 6
    same_to_the_bit(state_of(tmp_path), after)


def test_the_backbone_is_exported_with_every_state(train_tiny, tiny_recipe, tmp_path):
    exported = []
    train_tiny(tiny_recipe, tmp_path, save_every=2, export=lambda backbone: exported.append(backbone.name))
    assert exported == ["tiny_random"] * 3


# --- files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 10, 5000])
def test_a_file_that_was_cut_short_is_refused_by_name(train_tiny, tiny_recipe, tmp_path, cut: int):
    train_tiny(tiny_recipe, tmp_path)
    path = tmp_path / FOLDER / LAST
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(LeopartError, match=r"last\.ckpt cannot be read .*: put another checkpoint") as caught:
        train_tiny(tiny_recipe, tmp_path, resume=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {"other": torch.ones(2)}, 3])
def test_a_file_of_something_else_is_refused_by_name(tmp_path, content):
    torch.save(content, tmp_path / "x.ckpt")
    for mmap in (False, True):
        with pytest.raises(LeopartError, match=r"x\.ckpt cannot be read"):
            read_checkpoint(tmp_path / "x.ckpt", mmap=mmap)


def test_code_in_a_file_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"global_step": 1, "state_dict": Evil()}, tmp_path / "x.ckpt")
    with pytest.raises(LeopartError, match="cannot be read"):
        WholeFileIO().load_checkpoint(tmp_path / "x.ckpt")
    assert not (tmp_path / "ran").exists()


def test_a_full_disk_is_told_and_the_earlier_checkpoint_survives(
    train_tiny, tiny_recipe, tmp_path, monkeypatch, state_of
):
    train_tiny(tiny_recipe, tmp_path, stop_at=2)

    def full(_content: object, file) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(LeopartError, match=r"cannot write .*last\.ckpt: No space left on device"):
            train_tiny(tiny_recipe, tmp_path, resume=True, stop_at=4)
    assert names(tmp_path) == [LAST]
    assert state_of(tmp_path)["step"] == 2
    assert train_tiny(tiny_recipe, tmp_path, resume=True).step == 6


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child writes a few bytes and dies
def test_killed_while_writing_leaves_the_earlier_checkpoint(
    train_tiny, tiny_recipe, tmp_path, monkeypatch, state_of, same_to_the_bit
):
    train_tiny(tiny_recipe, tmp_path, stop_at=3)
    before = state_of(tmp_path)

    def die(_content: object, file) -> None:
        file.write(b"half a checkpoint")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", die)
        child = os.fork()
        if child == 0:
            WholeFileIO().save_checkpoint({}, tmp_path / FOLDER / LAST)
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert len(names(tmp_path)) == 2  # what was written aside stays, and disturbs nothing
    same_to_the_bit(state_of(tmp_path), before)
    assert train_tiny(tiny_recipe, tmp_path, resume=True).step == 6


# --- a loss that is no number ---------------------------------------------------------------------------


def poison(monkeypatch: pytest.MonkeyPatch, at: int, *, gradient: bool = False) -> None:
    """Let the loss of a step, or its gradient alone, become NaN."""
    real = LeopartLearner.forward

    def forward(self, views, step, *, diagnose=True):
        result = real(self, views, step, diagnose=diagnose)
        if step == at and gradient:
            result.loss.register_hook(lambda grad: grad * torch.nan)
        return replace(result, loss=result.loss * torch.nan) if step == at and not gradient else result

    monkeypatch.setattr(LeopartLearner, "forward", forward)


def test_a_loss_that_is_no_number_ends_the_run_before_it_reaches_the_weights(
    train_tiny, tiny_recipe, tmp_path, monkeypatch, state_of
):
    poison(monkeypatch, 5)
    with pytest.raises(LeopartError) as caught:
        train_tiny(tiny_recipe, tmp_path, save_every=4)
    failed = tmp_path / FOLDER / "failed.ckpt"
    assert str(caught.value) == (
        "the loss is not finite at step 5: begin another run with a lower --lr and --lr-head, or with "
        f"--precision fp32 (the state is in {failed}; an earlier last.ckpt stays as it was)"
    )
    assert state_of(tmp_path)["step"] == 4
    content = read_checkpoint(failed)
    assert content["global_step"] == 5
    assert all(bool(torch.isfinite(value).all()) for value in content["state_dict"].values())


def test_weights_that_are_no_numbers_are_never_the_last_state(
    train_tiny, tiny_recipe, tmp_path, monkeypatch, state_of
):
    poison(monkeypatch, 3, gradient=True)
    with pytest.raises(LeopartError, match=r"^weights are not finite at step 4: "):
        train_tiny(tiny_recipe, tmp_path, save_every=2)
    assert state_of(tmp_path)["step"] == 2
    assert names(tmp_path) == ["failed.ckpt", LAST]


# --- SLURM ----------------------------------------------------------------------------------------------


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SLURM job with a `scontrol` that writes down what it is asked."""
    tool = tmp_path / "bin" / "scontrol"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path / "asked"}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "123")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    return tmp_path / "asked"


class Warn(pl.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step + 1 == self.step:
            os.kill(os.getpid(), signal.SIGUSR1)


def test_slurm_s_warning_saves_and_puts_the_job_back(train_tiny, tiny_recipe, tmp_path, slurm, state_of):
    stopped = train_tiny(tiny_recipe, tmp_path / "run", callbacks=[Warn(2)])
    assert (stopped.step, stopped.interrupted) == (2, True)
    assert slurm.read_text() == "requeue 123\n"
    assert state_of(tmp_path / "run")["step"] == 2


def test_a_job_that_is_done_is_not_put_back(train_tiny, tiny_recipe, tmp_path, slurm):
    assert not train_tiny(tiny_recipe, tmp_path / "run", callbacks=[Warn(6)]).interrupted
    assert not slurm.exists()


def test_an_array_job_is_put_back_by_its_own_number(slurm, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "77")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "4")
    requeue()
    assert slurm.read_text() == "requeue 77_4\n"


@pytest.mark.parametrize(
    ("script", "said"), [("echo no such partition >&2; exit 1", "no such partition"), (None, "scontrol: ")]
)
def test_a_job_that_slurm_does_not_take_back_is_told(slurm, tmp_path, monkeypatch, script, said):
    tool = tmp_path / "bin" / "scontrol"
    tool.write_text(f"#!/bin/sh\n{script}\n") if script else monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LeopartError, match=rf"saved, but SLURM did not take job 123 back \({said}"):
        requeue()


def test_the_module_keeps_the_number_of_steps_in_the_checkpoint(train_tiny, tiny_recipe, tmp_path):
    train_tiny(tiny_recipe, tmp_path, stop_at=1)
    assert read_checkpoint(tmp_path / FOLDER / LAST)["total_steps"] == 6
