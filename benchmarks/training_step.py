"""One whole training step (networks, targets, loss, gradients, optimiser, teacher) against its transcription.

Also counts the multiplications of a step and says which share of this machine's own matrix product rate it
reaches.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import Comparison, compare
from benchmarks.training_naive import NaiveTrainer, naive_ema
from leopart.data.views import ViewBatch, collate_views
from leopart.models.backbone import Backbone, load_backbone
from leopart.recipe import Recipe
from leopart.settings import updated
from leopart.training.methods.leopart.learner import LeopartLearner
from leopart.training.optimisation import build_optimizer, ema_update, set_schedules
from leopart.training.run import view_maker

#: The paper's base setting with everything trained, on random weights; a batch that fits the machine.
_RECIPE = updated(Recipe(), backbone="random_vits16", queue=4096, drop_path=0.0)


def run() -> Iterator[Comparison]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch = 128 if device.type == "cuda" else 4
    views = _views(batch).to(device)
    precision = torch.bfloat16 if device.type == "cuda" else None
    ours, naive = _our_step(views, device, precision), _naive_step(views, device, precision)
    rate = _share_of_peak(ours, device, precision)
    note = f"batch {batch}, {device.type} {'bf16' if precision else 'fp32'}; {rate}"
    yield compare("training step / transcription", ours, naive, runs=3, note=note)
    if device.type == "cpu":
        fast = _our_step(views, device, torch.bfloat16)
        rate = _share_of_peak(fast, device, torch.bfloat16)
        note = f"batch {batch}, cpu, ours in bf16 against fp32; {rate}"
        yield compare("training step bf16 / transcription", fast, naive, runs=3, note=note)


def _views(batch: int) -> ViewBatch:
    generator = np.random.default_rng(0)
    maker = view_maker(_RECIPE)
    photos = generator.integers(0, 256, (batch, 240, 320, 3), np.uint8)
    return collate_views([(i, maker(photo, generator)) for i, photo in enumerate(photos)])


def _our_step(views: ViewBatch, device: torch.device, precision: torch.dtype | None) -> Callable[[], None]:
    learner = LeopartLearner(load_backbone(_RECIPE.backbone), _RECIPE).to(device).train()
    optimiser = build_optimizer(learner.networks.student)
    set_schedules(optimiser, _RECIPE, 0, 1000)
    _fill(learner.queue.rows)
    learner.queue.fill.fill_(_RECIPE.leopart.queue)

    def step() -> None:
        with torch.autocast(device.type, precision or torch.bfloat16, enabled=precision is not None):
            loss = learner(views, 0, diagnose=False).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        ema_update(*zip(*learner.networks.averaged(), strict=True), 0.9995)
        _wait(device)

    return step


def _naive_step(views: ViewBatch, device: torch.device, precision: torch.dtype | None) -> Callable[[], None]:
    learner = LeopartLearner(load_backbone(_RECIPE.backbone), _RECIPE)
    student: tuple[Backbone, nn.Module] = (learner.networks.backbone, learner.networks.head)
    teacher = copy.deepcopy(student)
    trainer = NaiveTrainer(student, teacher, _RECIPE.leopart.queue).requires_grad_(True).to(device).train()
    optimiser = torch.optim.AdamW(trainer.student.parameters(), lr=1e-5)
    trainer.queues = _fill(torch.zeros(2, _RECIPE.leopart.queue, _RECIPE.leopart.head_out, device=device))

    def step() -> None:
        with torch.autocast(device.type, precision or torch.bfloat16, enabled=precision is not None):
            loss = trainer(views)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        naive_ema(trainer.teacher, trainer.student, 0.9995)
        _wait(device)

    return step


def _fill(rows: Tensor) -> Tensor:
    """Unit rows: a queue that has run for a while."""
    with torch.no_grad():
        rows.normal_()
        rows /= rows.norm(dim=-1, keepdim=True)
    return rows


def _share_of_peak(step: Callable[[], None], device: torch.device, precision: torch.dtype | None) -> str:
    """Multiplications of a step, and their rate as a share of that of one large matrix product."""
    step()
    with FlopCounterMode(display=False) as counter:
        step()
    flops = counter.get_total_flops()
    begun = time.perf_counter()
    step()
    seconds = time.perf_counter() - begun
    side = 8192 if device.type == "cuda" else 2048
    left = torch.randn(side, side, device=device, dtype=precision or torch.float32)
    left @ left
    _wait(device)
    begun = time.perf_counter()
    for _ in range(5):
        left @ left
    _wait(device)
    peak = 5 * 2 * side**3 / (time.perf_counter() - begun)
    share = f"{flops / seconds / peak:.0%} of the {peak / 1e12:.2f} TFLOP/s of a matrix product"
    return f"{flops / 1e9:.0f} GFLOP a step, {share}"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
