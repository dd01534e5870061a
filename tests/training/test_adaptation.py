"""Adapting in a given time: planned once, ended early when nothing gets better, and resumable."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch

from leopart.data.photos import find_photos
from leopart.errors import LeopartError
from leopart.models.backbone import load_backbone
from leopart.settings import updated
from leopart.training import adaptation, budget
from leopart.training.adaptation import AdaptationPlan, adapt
from leopart.training.budget import Budget
from leopart.training.monitoring.progress import no_progress

CPU = torch.device("cpu")


@pytest.fixture
def recipe(tiny_recipe):
    return updated(tiny_recipe, steps=30)


@pytest.fixture
def adapted(tiny_weights, photos, recipe, monkeypatch):
    """`adapt` with the tiny network, in one process; there is time for the fewest steps alone."""
    monkeypatch.setattr(adaptation, "Hardware", partial(adaptation.Hardware, workers=0))
    monkeypatch.setattr(adaptation, "sheet_of", partial(adaptation.sheet_of, size=48))

    def run(folder, minutes=1e-9, **options):
        options = {"recipe": recipe, "device": CPU} | options
        on, progress = options.pop("on", photos), options.pop("progress", no_progress)
        plan = AdaptationPlan(minutes, **options)
        return adapt(str(tiny_weights), on, folder, plan, progress=progress)

    return run


def test_the_fewest_steps_are_done_however_short_the_time(adapted, tmp_path, fresh):
    result = adapted(tmp_path)
    assert (result.steps, result.stopped_early, result.interrupted) == (Budget.FEWEST, False, False)
    assert result.seconds > 0
    assert result.backbone.name == "tiny_random+adapted"
    assert not result.backbone.training
    before = fresh().state_dict()
    assert not any(torch.equal(value, before[name]) for name, value in result.backbone.state_dict().items())
    assert result.before.shape == result.after.shape
    loaded = load_backbone(tmp_path)
    assert all(torch.equal(v, loaded.state_dict()[n]) for n, v in result.backbone.state_dict().items())
    assert "without labels to 10 photos (20 steps, seed 0)" in loaded.spec.origin


def test_time_enough_does_all_steps_of_the_recipe(adapted, tmp_path):
    assert adapted(tmp_path, minutes=60).steps == 30


def test_the_same_call_again_takes_what_is_there(adapted, tmp_path, monkeypatch):
    first = adapted(tmp_path)
    monkeypatch.setattr(adaptation, "fit", lambda *_, **__: pytest.fail("trained again"))
    again = adapted(tmp_path)
    assert (again.steps, again.seconds, again.interrupted) == (first.steps, first.seconds, False)
    assert all(torch.equal(v, again.backbone.state_dict()[n]) for n, v in first.backbone.state_dict().items())


@pytest.mark.parametrize("other", [{"minutes": 60}, {"seed": 1}, {"on": None}])
def test_another_call_begins_anew(adapted, tmp_path, photos, other):
    if "on" in other:
        other = {"on": photos[:5]}
    adapted(tmp_path)
    (tmp_path / "left over").touch()
    adapted(tmp_path, **other)
    assert not (tmp_path / "left over").exists()


def test_a_damaged_record_begins_anew(adapted, tmp_path):
    (tmp_path / "adaptation.json").write_text("[")
    assert adapted(tmp_path).steps == Budget.FEWEST


class Interrupt(pl.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step + 1 == self.step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("step", [3, Budget.MEASURED, Budget.MEASURED + 1, 12])
def test_an_interrupted_call_goes_on_to_the_same_end(adapted, tmp_path, monkeypatch, step):
    whole = adapted(tmp_path / "whole")
    real = adaptation.fit

    def interrupted(*arguments, monitoring, **options):
        callbacks = [*monitoring.callbacks, Interrupt(step)]
        return real(*arguments, monitoring=replace(monitoring, callbacks=callbacks), **options)

    with monkeypatch.context() as patch:
        patch.setattr(adaptation, "fit", interrupted)
        part = adapted(tmp_path / "part")
    assert (part.steps, part.interrupted, part.after) == (step, True, None)
    assert not (tmp_path / "part" / "backbone.safetensors").exists()
    result = adapted(tmp_path / "part")
    assert (result.steps, result.interrupted) == (Budget.FEWEST, False)
    assert result.seconds > part.seconds
    if step > Budget.MEASURED:  # otherwise the plan was made one step later, and the schedules with it
        state = result.backbone.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in whole.backbone.state_dict().items())


def test_photos_that_cannot_be_read_are_told_and_remembered(adapted, tmp_path, paint_photos):
    folder = paint_photos(tmp_path / "photos", 5)
    (folder / "02.png").write_bytes(b"x")
    for _ in range(2):
        result = adapted(tmp_path / "out", on=find_photos([folder]))
        assert [failure.name for failure in result.failures] == ["02.png"]
    (folder / "only.png").write_bytes(b"x")
    with pytest.raises(LeopartError, match=r"^not one of the 1 photos can be read"):
        adapted(tmp_path / "other", on=find_photos([folder / "only.png"]))


def test_without_a_recipe_the_photos_and_the_machine_choose_one(adapted, tmp_path, monkeypatch, recipe):
    asked = []

    def choose(photos, device, patch):
        asked.append((photos, device, patch))
        return recipe

    monkeypatch.setattr(adaptation, "adaptation", choose)
    adapted(tmp_path, recipe=None)
    assert asked == [(10, "cpu", 8)]
    record = json.loads((tmp_path / "adaptation.json").read_text())["asked"]["recipe"]
    assert record["steps"] == 30


# --- the budget by itself -------------------------------------------------------------------------------


class Run:
    """What `Budget` sees of a run, a step after another."""

    def __init__(self, budget: Budget, total: int) -> None:
        self.budget, self.total = budget, total
        self.trainer = SimpleNamespace(
            global_step=0,
            accumulate_grad_batches=1,
            fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(max_steps=total)),
        )
        self.module = SimpleNamespace(total_steps=total, last=None)

    def steps(self, agreements: list[float | None]) -> None:
        for agreement in agreements:
            found = {} if agreement is None else {"agreement": torch.tensor(agreement)}
            self.module.last = SimpleNamespace(diagnostics=found)
            self.trainer.global_step += 1
            self.budget.on_train_batch_end(
                self.trainer, self.module, None, None, self.trainer.global_step - 1
            )


@pytest.fixture
def clock(monkeypatch):
    """A clock that each look moves by nothing; tests set it."""
    now = SimpleNamespace(value=0.0)
    monkeypatch.setattr(budget.time, "perf_counter", lambda: now.value)
    monkeypatch.setattr(budget, "_module", lambda module: module)
    return now


def test_the_speed_of_six_steps_after_the_first_plans_the_rest(clock):
    run = Run(Budget(limit=100.0, spent=10.0), total=10_000)
    for step in range(1, 8):
        clock.value = 20 + 2.0 * step  # a slow first step, then two seconds each
        run.steps([None])
    # At step 7, 34 s are gone here and 10 before: 56 s, or 28 steps, are left.
    assert run.module.total_steps == run.trainer.fit_loop.epoch_loop.max_steps == 7 + 28


def test_a_plan_never_goes_beyond_the_recipe(clock):
    run = Run(Budget(limit=1e6), total=50)
    for step in range(1, 8):
        clock.value = float(step)
        run.steps([None])
    assert run.module.total_steps == 50


def test_a_run_that_gets_no_better_ends_within_a_tenth(clock):
    run = Run(Budget(limit=1e9), total=10_000)
    clock.value = 1.0
    run.budget.planned = True
    run.steps([0.1 * step for step in range(23)])
    assert not run.budget.stopped_early
    run.steps([0.0] * 30)
    assert run.budget.stopped_early
    end = run.module.total_steps
    stopped_at = len(run.budget.agreements)
    assert end == stopped_at + max(1, stopped_at // 10)
    assert run.trainer.fit_loop.epoch_loop.max_steps == end


def test_a_run_that_gets_better_goes_on(clock):
    run = Run(Budget(limit=1e9), total=10_000)
    run.budget.planned = True
    run.steps([0.001 * step for step in range(200)])
    assert not run.budget.stopped_early
    assert run.module.total_steps == 10_000


def test_the_budget_is_part_of_a_checkpoint():
    budget = Budget(limit=5.0)
    budget.planned, budget.agreements = True, [0.25, 0.5]
    other = Budget(limit=5.0)
    other.load_state_dict(json.loads(json.dumps(budget.state_dict())))
    assert (other.planned, other.stopped_early, other.agreements) == (True, False, [0.25, 0.5])
