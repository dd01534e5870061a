"""A whole training: its length, what it refuses, and what ends it badly told as what to do."""

from __future__ import annotations

import os

import pytest
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.strategies import DDPStrategy
from PIL import Image
from torch import nn

from leopart.data.photos import find_photos
from leopart.errors import LeopartError
from leopart.models.backbone import Backbone
from leopart.processes import is_first_process
from leopart.recipe import Recipe
from leopart.settings import updated
from leopart.training import hardware as hardware_module
from leopart.training.hardware import (
    Hardware,
    compile_blocks,
    explained,
    layout,
    make_trainer,
    precision_name,
)
from leopart.training.methods.leopart.learner import LeopartLearner
from leopart.training.run import check_fit, length_of

# --- how long -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "photos", "world", "expected"),
    [
        ({"batch_size": 4, "epochs": 3}, 10, 1, (4, 6, 2)),
        ({"batch_size": 4, "epochs": 3, "steps": 100}, 10, 1, (4, 100, 2)),
        ({"batch_size": 64, "epochs": 5}, 10, 1, (10, 5, 1)),
        ({"batch_size": 64, "epochs": 5}, 1, 1, (1, 5, 1)),
        ({"batch_size": 64, "accumulate": 4}, 11, 1, (8, 50, 1)),
        ({"batch_size": 64, "epochs": 1}, 11, 2, (10, 1, 1)),
        ({"batch_size": 64, "epochs": 50}, 126_689, 2, (64, 50 * 1979, 1979)),  # the paper's
    ],
)
def test_length_follows_from_photos_batch_and_epochs(changes, photos, world, expected):
    length = length_of(Recipe(**changes), photos, world)
    assert (length.batch, length.steps, length.epoch) == expected


@pytest.mark.parametrize(("photos", "accumulate", "world"), [(3, 1, 4), (3, 2, 2)])
def test_fewer_photos_than_shares_are_refused(photos, accumulate, world):
    with pytest.raises(
        LeopartError, match=rf"^{photos} photos in a batch cannot be shared by {world} processes"
    ):
        length_of(Recipe(batch_size=8, accumulate=accumulate), photos, world)


# --- odd photos -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (9, 140), (600, 20)])
def test_one_photo_of_any_size_trains(train_tiny, tiny_recipe, tmp_path, size):
    Image.new("RGB", size, (10, 200, 90)).save(tmp_path / "one.png")
    trained = train_tiny(updated(tiny_recipe, steps=2), on=find_photos([tmp_path]))
    assert trained.step == 2
    assert all(bool(torch.isfinite(p).all()) for p in trained.backbone.parameters())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_without_one_photo_that_can_be_read_ends_in_one_sentence(train_tiny, tmp_path, workers):
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(LeopartError, match=r"^not one of the 1 photos can be read; the first: [^\n]+$"):
        train_tiny(on=find_photos([tmp_path]), workers=workers)


@pytest.mark.parametrize("changes", [{"local_crops": 0}, {"global_crops": 1}, {"global_crops": 3}])
def test_other_numbers_of_crops_train(train_tiny, tiny_recipe, changes):
    assert train_tiny(updated(tiny_recipe, steps=2, **changes)).step == 2


def test_views_made_on_the_device_train(train_tiny, tiny_recipe, tmp_path, paint_photos):
    folder = paint_photos(tmp_path / "photos", 5)
    (folder / "02.png").write_bytes(b"x")
    recipe = updated(tiny_recipe, steps=3)
    trained = train_tiny(recipe, on=find_photos([folder]), hardware={"augment_on_device": True})
    assert [failure.name for failure in trained.failures] == ["02.png"]


# --- what comes out -------------------------------------------------------------------------------------


def test_the_student_comes_back_frozen_and_changed(train_tiny, fresh):
    trained = train_tiny()
    assert isinstance(trained.backbone, Backbone)
    assert not trained.backbone.training
    assert not any(p.requires_grad for p in trained.backbone.parameters())
    before = fresh().state_dict()
    assert not any(torch.equal(value, before[name]) for name, value in trained.backbone.state_dict().items())


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before(train_tiny, tiny_recipe):
    def weights(recipe: Recipe) -> torch.Tensor:
        return train_tiny(recipe).backbone.model.blocks[1].mlp.fc1.weight

    torch.manual_seed(0)
    first = weights(tiny_recipe)
    torch.rand(3)
    assert torch.equal(weights(tiny_recipe), first)
    assert not torch.equal(weights(updated(tiny_recipe, seed=2**40)), first)


def test_a_run_leaves_the_program_around_it_as_it_was(train_tiny, tiny_recipe):
    before = dict(os.environ), torch.are_deterministic_algorithms_enabled()
    train_tiny(updated(tiny_recipe, steps=1))
    assert (dict(os.environ), torch.are_deterministic_algorithms_enabled()) == before


@pytest.mark.parametrize("precision", ["bf16"])
def test_training_in_bfloat16_keeps_weights_in_float32(train_tiny, tiny_recipe, precision):
    trained = train_tiny(updated(tiny_recipe, precision=precision, use_teacher=False))
    assert {p.dtype for p in trained.backbone.parameters()} == {torch.float32}


# --- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"local_size": 20}, "--local-size 20 does not divide into patches of 8 (tiny_random): give 16"),
        ({"global_size": 30}, "--global-size 30 does not divide into patches of 8 (tiny_random): give 32"),
        ({"local_size": 3}, "--local-size 3 does not divide into patches of 8 (tiny_random): give 8"),
    ],
)
def test_crops_that_do_not_divide_into_patches_are_refused_with_the_nearest_size(
    train_tiny, tiny_recipe, fresh, changes, message
):
    recipe = updated(tiny_recipe, **changes)
    for function in (lambda: check_fit(recipe, fresh()), lambda: train_tiny(recipe)):
        with pytest.raises(LeopartError) as caught:
            function()
        assert str(caught.value) == message


def test_blocks_that_are_not_there_are_refused(train_tiny, tiny_recipe):
    with pytest.raises(LeopartError, match=r"^--train-blocks must be all or from 1 to the 2 of tiny_random"):
        train_tiny(updated(tiny_recipe, train_blocks=3))


# --- memory ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_memory_that_is_short_is_told_with_the_batch_to_try(train_tiny, tiny_recipe, monkeypatch, error):
    def short(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(LeopartLearner, "forward", short)
    with pytest.raises(LeopartError) as caught:
        train_tiny(tiny_recipe)
    assert str(caught.value) == (
        "out of memory with 4 photos in a forward pass: try --batch-size 2, or keep the batch and give "
        "--accumulate 2, or --train-blocks 3, or fewer --local-crops"
    )


@pytest.mark.parametrize(
    ("batch", "accumulate", "world", "advice"),
    [
        (
            64,
            1,
            2,
            "32 photos in a forward pass: try --batch-size 32, or keep the batch and give --accumulate 2,",
        ),
        (
            48,
            2,
            1,
            "24 photos in a forward pass: try --batch-size 24, or keep the batch and give --accumulate 4,",
        ),
        (3, 1, 1, "3 photos in a forward pass: try --batch-size 1, or --train-blocks 3,"),
        (1, 1, 1, "1 photos in a forward pass: try --train-blocks 3, or fewer --local-crops"),
    ],
)
def test_the_advice_can_be_followed(batch, accumulate, world, advice):
    with pytest.raises(LeopartError) as caught, explained(batch, accumulate, world):
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert advice in str(caught.value)


def test_a_loading_process_that_was_killed_is_told():
    with pytest.raises(LeopartError, match=r"^a loading process was killed"), explained(1, 1, 1):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")


def test_other_errors_are_left_as_they_are():
    with pytest.raises(RuntimeError, match="shapes"), explained(1, 1, 1):
        raise RuntimeError("shapes differ")
    with pytest.raises(SystemExit), explained(1, 1, 1):
        raise SystemExit(3)


# --- machines -------------------------------------------------------------------------------------------


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch):
    """Pretend that a launcher has started this process."""

    def pretend(**variables: object) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))

    for name in list(os.environ):
        if name.startswith("SLURM_") or name in ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name)
    return pretend


def srun(tasks: int, nodes: int, rank: int = 0) -> dict[str, object]:
    return {
        "SLURM_JOB_ID": 9,
        "SLURM_JOB_NAME": "train",
        "SLURM_STEP_ID": 0,
        "SLURM_NTASKS": tasks,
        "SLURM_NTASKS_PER_NODE": tasks // nodes,
        "SLURM_NNODES": nodes,
        "SLURM_PROCID": rank,
        "SLURM_LOCALID": rank % (tasks // nodes),
        "SLURM_NODEID": rank // (tasks // nodes),
    }


def torchrun(world: int, local: int, rank: int = 0) -> dict[str, object]:
    return {
        "TORCHELASTIC_RUN_ID": "1",
        "WORLD_SIZE": world,
        "LOCAL_WORLD_SIZE": local,
        "RANK": rank,
        "LOCAL_RANK": rank % local,
        "GROUP_RANK": rank // local,
    }


@pytest.mark.parametrize(
    ("variables", "hardware", "expected"),
    [
        ({}, Hardware(devices=3, nodes=2), (3, 2)),
        (torchrun(8, 4), Hardware(), (4, 2)),
        (torchrun(8, 4), Hardware(devices=4, nodes=2), (4, 2)),
        (srun(6, 3), Hardware(), (2, 3)),
        (srun(2, 2) | torchrun(8, 4), Hardware(), (4, 2)),  # one torchrun on each machine
        ({"SLURM_NTASKS": 4, "SLURM_JOB_ID": 9}, Hardware(devices=2), (2, 1)),  # a batch script without srun
        (srun(4, 1) | {"SLURM_JOB_NAME": "interactive"}, Hardware(devices=2), (2, 1)),
    ],
)
def test_processes_are_those_that_a_launcher_has_started(launched, variables, hardware, expected):
    launched(**variables)
    assert layout(hardware) == expected
    assert hardware.world == expected[0] * expected[1]


@pytest.mark.parametrize(
    ("variables", "hardware", "message"),
    [
        (torchrun(4, 4), Hardware(devices=2), "torchrun has started 4 processes .*not --devices 2"),
        (srun(4, 2), Hardware(nodes=3), "SLURM has started 2 processes on each of 2 machines, not --nodes 3"),
    ],
)
def test_other_numbers_than_the_launcher_s_are_refused(launched, variables, hardware, message):
    launched(**variables)
    with pytest.raises(LeopartError, match=message):
        layout(hardware)


def test_tasks_that_slurm_spreads_as_it_likes_are_refused(launched, monkeypatch):
    launched(**srun(4, 2))
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(LeopartError, match="give it --ntasks-per-node, not --ntasks"):
        layout(Hardware())


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, True),
        (torchrun(4, 2, 0), True),
        (torchrun(4, 2, 2), False),
        (srun(4, 2, 0), True),
        (srun(4, 2, 2), False),
        ({"LOCAL_RANK": 1, "WORLD_SIZE": 2}, False),  # started by Lightning itself
        ({"LOCAL_RANK": 0, "NODE_RANK": 1}, False),
    ],
)
def test_one_process_writes_and_talks(launched, variables, first):
    launched(**variables)
    assert is_first_process() == first


def test_under_srun_slurm_s_processes_are_taken_and_its_signals_left_to_us(launched, tiny_recipe):
    launched(**srun(1, 1))
    environment = make_trainer(tiny_recipe, Hardware(), 3, [])._accelerator_connector.cluster_environment
    assert isinstance(environment, SLURMEnvironment)
    assert not environment.auto_requeue


def test_in_a_batch_script_lightning_starts_the_processes(launched, tiny_recipe):
    launched(SLURM_NTASKS=4, SLURM_JOB_ID=9, SLURM_PROCID=0)
    trainer = make_trainer(tiny_recipe, Hardware(devices=2), 3, [])
    assert isinstance(trainer._accelerator_connector.cluster_environment, LightningEnvironment)
    assert isinstance(trainer.strategy, DDPStrategy)
    assert trainer.world_size == 2


@pytest.mark.parametrize(
    ("asked", "device", "fast", "expected"),
    [
        ("auto", "cpu", "bf16", "fp32"),
        ("auto", "cuda", "bf16", "bf16"),
        ("fastest", "cpu", "bf16", "bf16"),
        ("fastest", "cpu", "fp32", "fp32"),
        ("fp32", "cuda", "bf16", "fp32"),
        ("fp16", "cuda", "bf16", "fp16"),
    ],
)
def test_number_formats(monkeypatch, asked, device, fast, expected):
    monkeypatch.setattr(hardware_module, "fast_precision", lambda _: fast)
    assert precision_name(Recipe(precision=asked), torch.device(device)) == expected


def test_half_precision_on_a_cpu_is_refused(train_tiny, tiny_recipe):
    with pytest.raises(LeopartError, match=r"^--precision fp16 needs a GPU: give bf16, fp32 or auto$"):
        train_tiny(updated(tiny_recipe, precision="fp16"))


def test_blocks_are_compiled_but_for_the_one_that_is_looked_into(fresh, tiny_recipe, monkeypatch):
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))  # noqa: PLW0108 - a builtin would not be bound
    whole = LeopartLearner(fresh(), tiny_recipe).networks
    compile_blocks(whole)
    teacher = whole.teacher["backbone"].model.blocks
    assert compiled == [*whole.backbone.model.blocks, teacher[0]]

    compiled.clear()
    part = LeopartLearner(fresh(), updated(tiny_recipe, train_blocks=1)).networks
    compile_blocks(part)
    assert compiled == [*part.backbone.model.blocks]


def test_compiling_is_asked_for_by_the_hardware(train_tiny, tiny_recipe, monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))  # noqa: PLW0108 - a builtin would not be bound
    train_tiny(updated(tiny_recipe, steps=1), hardware={"compile": True})
    assert len(compiled) == 3
