"""Lightning's trainer for the machine at hand: devices, launchers, precision; and what ends a run badly."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy, Strategy

from leopart.errors import LeopartError
from leopart.features.extract import fast_precision
from leopart.processes import in_srun
from leopart.recipe import Recipe
from leopart.training.checkpoints import WholeFileIO
from leopart.training.methods.networks import TwoNetworks

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
_SHORT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


@dataclass(frozen=True)
class Hardware:
    """Where a training runs; none of it changes what is learned, but for rounding.

    Attributes:
        device: as `pick_device` gives it.
        devices: processes on each machine.
        nodes: machines.
        workers: processes that make views, for each device; None = a good number.
        augment_on_device: make crops and colours on the device.
        compile: compile the blocks.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    devices: int = 1
    nodes: int = 1
    workers: int | None = None
    augment_on_device: bool = False
    compile: bool = False

    @property
    def world(self) -> int:
        """Processes in all.

        Raises:
            LeopartError: see `layout`.
        """
        devices, nodes = layout(self)
        return devices * nodes


def make_trainer(
    recipe: Recipe, hardware: Hardware, steps: int, callbacks: Sequence[pl.Callback]
) -> pl.Trainer:
    """A trainer that does nothing but train: what is logged, kept and shown is up to the callbacks.

    The whole run is one epoch of Lightning's, whatever the photos' number: passes over them are the stream's
    matter.
    """
    kind = {"cuda": "gpu"}.get(hardware.device.type, hardware.device.type)
    devices, nodes = layout(hardware)
    one_gpu = kind == "gpu" and devices == 1 and hardware.device.index is not None
    with _quiet():
        return pl.Trainer(
            accelerator=kind,
            devices=[hardware.device.index] if one_gpu else devices,
            num_nodes=nodes,
            strategy=_strategy(devices * nodes),
            precision=_precision(recipe, hardware.device),
            max_steps=steps,
            max_epochs=1,
            accumulate_grad_batches=recipe.accumulate,
            gradient_clip_val=recipe.clip,
            callbacks=list(callbacks),
            plugins=[WholeFileIO(), *_environment()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            benchmark=kind == "gpu",
        )


def compile_blocks(networks: TwoNetworks) -> None:
    """Compile the transformer's blocks one by one: far quicker than the whole, and it gains as much.

    The teacher's last block stays as it is: its attention is read from inside.
    """
    blocks = list(networks.backbone.model.blocks)
    if networks.teacher is not None:
        known = set(map(id, blocks))
        teacher: Any = networks.teacher["backbone"]
        theirs = list(teacher.model.blocks)[:-1]
        blocks += [block for block in theirs if id(block) not in known]
    for block in blocks:
        block.compile()


@contextmanager
def explained(batch: int, accumulate: int, world: int) -> Iterator[None]:
    """Hide Lightning's advice, and explain what to change when memory runs out.

    Args:
        batch: photos of a step, over all processes.
        accumulate: forward passes of a step.
        world: number of processes.

    Raises:
        LeopartError: memory was short.
        KeyboardInterrupt: it came a second time; Lightning would end the program as if it had failed.
    """
    try:
        with _quiet():
            yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from error
        raise
    except (RuntimeError, MemoryError) as error:
        said = str(error).lower()
        if "dataloader worker" in said:
            message = (
                "a loading process was killed, most likely for want of memory: give fewer --workers, or 0"
            )
            raise LeopartError(message) from error
        if not isinstance(error, MemoryError) and not any(words in said for words in _SHORT_OF_MEMORY):
            raise
        raise LeopartError(_less_memory(batch, accumulate, world)) from error


def _less_memory(batch: int, accumulate: int, world: int) -> str:
    share = batch // accumulate // world
    ways = ["--train-blocks 3", "fewer --local-crops"]
    if share % 2 == 0:
        ways.insert(0, f"keep the batch and give --accumulate {accumulate * 2}")
    if share > 1:
        ways.insert(0, f"--batch-size {share // 2 * accumulate * world}")
    tried = f"{ways[0]}, or " + ", or ".join(ways[1:])
    return f"out of memory with {share} photos in a forward pass: try {tried}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning logs the devices it finds and warns of what is meant so here."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def layout(hardware: Hardware) -> tuple[int, int]:
    """Processes a machine, and machines: as torchrun or SLURM has started them, else as asked for.

    Raises:
        LeopartError: the launcher started another number than was asked for.
    """
    if TorchElasticEnvironment.detect():
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return _agreed(hardware, "torchrun", local, max(1, int(os.environ["WORLD_SIZE"]) // local))
    if in_srun():
        tasks, nodes = int(os.environ["SLURM_NTASKS"]), int(os.environ.get("SLURM_NNODES", "1"))
        if tasks > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ:
            message = (
                "SLURM does not say how many tasks a machine has: give it --ntasks-per-node, not --ntasks"
            )
            raise LeopartError(message)
        return _agreed(hardware, "SLURM", tasks // nodes, nodes)
    return hardware.devices, hardware.nodes


def _agreed(hardware: Hardware, launcher: str, devices: int, nodes: int) -> tuple[int, int]:
    """What the launcher says, unless other numbers were asked for."""
    for option, asked, found in (("devices", hardware.devices, devices), ("nodes", hardware.nodes, nodes)):
        if asked not in (1, found):
            started = f"{launcher} has started {devices} processes on each of {nodes} machines"
            raise LeopartError(f"{started}, not --{option} {asked}: leave that option out")
    return devices, nodes


def _environment() -> list[Any]:
    """Who has started the processes, where Lightning's own guess could be another."""
    if TorchElasticEnvironment.detect():
        return [TorchElasticEnvironment()]
    if in_srun():
        return [SLURMEnvironment(auto_requeue=False)]  # Lightning would save in the middle of a step
    return [LightningEnvironment()] if "SLURM_NTASKS" in os.environ else []


def _strategy(world: int) -> Strategy | str:
    if world == 1:
        return "auto"
    # The queue is the same on every process already; to send it around would take longer than a step.
    return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True, timeout=timedelta(minutes=30))


def precision_name(recipe: Recipe, device: torch.device) -> str:
    """The number format that a recipe's choice comes to on this device: `fp32`, `bf16` or `fp16`."""
    if recipe.precision == "fastest" or (recipe.precision == "auto" and device.type == "cuda"):
        return fast_precision(device)
    return "fp32" if recipe.precision == "auto" else recipe.precision


def _precision(recipe: Recipe, device: torch.device) -> Precision:
    names: dict[str, Precision] = {"bf16": "bf16-mixed", "fp16": "16-mixed"}
    name = precision_name(recipe, device)
    if name == "fp16" and device.type == "cpu":
        raise LeopartError("--precision fp16 needs a GPU: give bf16, fp32 or auto")
    return names.get(name, "32-true")
