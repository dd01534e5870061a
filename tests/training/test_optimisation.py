from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from leopart.training.optimisation import ema_update, parameter_groups
from tolerances import assert_same


def test_biases_and_vectors_do_not_decay_and_tokens_and_prototypes_do():
    names = {
        "cls_token": (1, 1, 4),
        "pos_embed": (1, 5, 4),
        "blocks.0.norm1.weight": (4,),
        "blocks.0.attn.qkv.weight": (12, 4),
        "blocks.0.attn.qkv.bias": (12,),
        "odd.bias": (2, 2),
        "projection_head.0.weight": (8, 4),
        "projection_head.0.bias": (8,),
        "prototypes.weight": (3, 8),
    }

    groups = parameter_groups((name, torch.empty(shape)) for name, shape in names.items())

    assert groups == {
        "backbone_decayed": ["cls_token", "pos_embed", "blocks.0.attn.qkv.weight"],
        "backbone_undecayed": ["blocks.0.norm1.weight", "blocks.0.attn.qkv.bias", "odd.bias"],
        "head_decayed": ["projection_head.0.weight", "prototypes.weight"],
        "head_undecayed": ["projection_head.0.bias"],
    }


def test_all_groups_are_there_without_a_head():
    groups = parameter_groups([("blocks.0.weight", torch.empty(2, 2))])
    assert [len(names) for names in groups.values()] == [1, 0, 0, 0]


@pytest.mark.parametrize("momentum", [0.0, 0.25, 0.9995, 1.0])
def test_the_teacher_follows_in_place(momentum: float):
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4), (5,), (1, 2, 2)]
    teacher = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    student = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    pairs = list(zip(teacher, student, strict=True))
    expected = [momentum * t.detach().double() + (1 - momentum) * s.detach().double() for t, s in pairs]
    before = [parameter.detach().clone() for parameter in student]
    places = [parameter.data_ptr() for parameter in teacher]

    ema_update(iter(teacher), iter(student), momentum)

    for parameter, value in zip(teacher, expected, strict=True):
        assert_same(parameter, value, terms=2)
    assert [parameter.data_ptr() for parameter in teacher] == places
    assert all(torch.equal(now, then) for now, then in zip(student, before, strict=True))


def test_a_teacher_equal_to_its_student_stays_when_the_momentum_is_one():
    teacher = [torch.randn(50)]
    before = teacher[0].clone()
    ema_update(teacher, [torch.randn(50)], 1.0)
    assert torch.equal(teacher[0], before)
    ema_update([], [], 0.5)


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(ValueError, match="must be in"):
        ema_update([torch.ones(1)], [torch.ones(1)], 1.1)
    with pytest.raises(ValueError, match="2 parameters cannot follow 1"):
        ema_update([torch.ones(1), torch.ones(1)], [torch.ones(1)], 0.5)


def test_golden_groups(golden_folder: Path, adapter):
    case = json.loads((golden_folder / "optim_groups.json").read_text())
    names, shapes = zip(*case["parameters"], strict=True)
    groups = adapter.optim_groups(names, shapes)
    assert {name: sorted(members) for name, members in groups.items()} == {
        name: sorted(members) for name, members in case["groups"].items()
    }


def test_golden_ema(golden, adapter):
    case = golden("ema")
    teacher, student, after = (
        {key.partition("/")[2]: value for key, value in case.items() if key.startswith(f"{part}/")}
        for part in ("teacher", "student", "after")
    )
    moved = adapter.ema(teacher, student, float(case["momentum"]))
    for name, value in after.items():
        np.testing.assert_allclose(moved[name], value, atol=2e-6)
