"""Student and teacher against the plain way: each crop by itself, through two whole networks."""

from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from networks_small import small, source_model
from timm.layers import DropPath
from torch import Tensor

from leopart.errors import LeopartError
from leopart.models.attention import attention_mask
from leopart.models.backbone import Backbone, build_backbone
from leopart.models.heads import DenseHead
from leopart.training.methods.leopart.networks import StudentTeacher
from tolerances import assert_same


def head_for(backbone: Backbone, seed: int = 0) -> DenseHead:
    generator = torch.Generator().manual_seed(seed)
    return DenseHead(backbone.dim, prototypes=5, hidden=12, out=6, generator=generator)


@pytest.fixture
def crops() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = (2, 3, 3, 32, 32), (2, 3, 3, 16, 16)
    large, little = (torch.randint(0, 256, shape, generator=generator).byte() for shape in shapes)
    return large, little


def other_network(name: str) -> Backbone:
    spec = small(name)
    return build_backbone(spec, source_model(spec).state_dict())


# --- what comes out -------------------------------------------------------------------------------------


@pytest.mark.parametrize("train_blocks", [None, 1, 2])
def test_outputs_are_those_of_each_crop_by_itself(fresh, crops, train_blocks):
    plain, head, other = fresh(), head_for(fresh()), head_for(fresh(), seed=1)
    networks = StudentTeacher(fresh(), head, teacher_head=other, train_blocks=train_blocks).eval()
    outputs = networks(*crops, 0.6)

    for name, kind in (("student_global", 0), ("student_local", 1)):
        for t, b in product(range(2), range(3)):
            tokens = plain(crops[kind][t, b][None]).tokens[0]
            expected = (
                F.normalize(head.projection_head(tokens), dim=-1) @ F.normalize(head.prototypes.weight).T
            )
            torch.testing.assert_close(getattr(outputs, name)[t, b], expected, atol=1e-5, rtol=1e-4)
    for t, b in product(range(2), range(3)):
        features = plain(crops[0][t, b][None])
        embeddings = F.normalize(other.projection_head(features.tokens[0]), dim=-1)
        scores = embeddings @ F.normalize(other.prototypes.weight).T
        torch.testing.assert_close(outputs.teacher_scores[t, b], scores, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            outputs.teacher_embeddings[t, b], embeddings.flatten(0, 1), atol=1e-5, rtol=1e-4
        )
        assert torch.equal(outputs.foreground[t, b], attention_mask(features.attention.mean(1), 0.6)[0])
        torch.testing.assert_close(outputs.tokens[t, b], features.tokens[0], atol=1e-5, rtol=1e-4)
    assert not outputs.teacher_scores.requires_grad
    assert not outputs.teacher_embeddings.requires_grad


def test_without_small_crops_there_are_none(fresh, crops):
    networks = StudentTeacher(fresh(), head_for(fresh()))
    assert networks(crops[0], None, 0.6).student_local is None


def test_prototypes_have_length_1_in_both_networks_after_a_forward(fresh, crops):
    networks = StudentTeacher(fresh(), head_for(fresh()), teacher_head=head_for(fresh(), 1))
    for head in (networks.head, networks.target_head):
        head.prototypes.weight.data.mul_(3)
    networks(*crops, 0.6)
    for head in (networks.head, networks.target_head):
        torch.testing.assert_close(head.prototypes.weight.norm(dim=1), torch.ones(5))


# --- what learns ----------------------------------------------------------------------------------------


def gradients(networks: StudentTeacher, crops: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    outputs = networks(*crops, 0.6)
    (outputs.student_global.square().sum() + outputs.student_local.exp().sum()).backward()
    return {name: p.grad for name, p in networks.student.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", ["tiny", "dino_vits16", "dinov3_vits16"])
def test_a_shared_trunk_gives_the_gradients_of_whole_networks(name, fresh, crops):
    make = fresh if name == "tiny" else lambda: other_network(name)
    if name != "tiny":
        large, little = crops
        crops = (
            F.pad(large, (0, 0, 0, 0)).repeat_interleave(2, 3).repeat_interleave(2, 4)[..., :48, :48],
            little,
        )
    whole = gradients(StudentTeacher(make(), head_for(make())), crops)
    part = gradients(StudentTeacher(make(), head_for(make()), train_blocks=1), crops)

    assert {n for n in whole if ".blocks.1." in n or n.startswith("head.") or ".norm." in n} == set(part)
    assert any(".blocks.0." in name for name in whole)
    for key, gradient in part.items():
        torch.testing.assert_close(gradient, whole[key], msg=key)


def test_every_parameter_that_learns_gets_a_gradient(fresh, crops):
    """DDP waits for each of them."""
    for make, blocks in ((fresh, None), (fresh, 1), (lambda: other_network("dinov2_vits14_reg"), None)):
        networks = StudentTeacher(make(), head_for(make()), train_blocks=blocks)
        given = crops
        if blocks is None and make is not fresh:
            given = torch.zeros(2, 1, 3, 42, 42).byte(), torch.ones(2, 1, 3, 14, 14).byte()
        learning = {name for name, p in networks.student.named_parameters() if p.requires_grad}
        assert set(gradients(networks, given)) == learning


def test_all_blocks_without_the_embedding_can_be_trained(fresh):
    networks = StudentTeacher(fresh(), head_for(fresh()), train_blocks=2)
    learning = [name for name, p in networks.backbone.model.named_parameters() if p.requires_grad]
    assert {name.split(".")[1] for name in learning} == {"0", "1"}
    assert networks.teacher["backbone"].model.patch_embed is networks.backbone.model.patch_embed


def test_the_teacher_shares_what_is_frozen_and_follows_the_rest(fresh):
    networks = StudentTeacher(fresh(), head_for(fresh()), train_blocks=1)
    student, teacher = networks.backbone.model, networks.teacher["backbone"].model
    assert teacher.blocks[0] is student.blocks[0]
    assert teacher.pos_embed is student.pos_embed
    assert teacher.blocks[1] is not student.blocks[1]
    pairs = list(networks.averaged())
    assert len(pairs) == len(list(student.blocks[1].parameters())) + len(list(networks.head.parameters()))
    for theirs, mine in pairs:
        assert torch.equal(theirs, mine)
        assert theirs is not mine
        assert (theirs.requires_grad, mine.requires_grad) == (False, True)


def test_without_a_teacher_the_student_gives_the_targets(fresh, crops):
    networks = StudentTeacher(fresh(), head_for(fresh()), use_teacher=False)
    outputs = networks(*crops, 0.6)
    torch.testing.assert_close(outputs.teacher_scores, outputs.student_global.detach())
    assert not outputs.teacher_scores.requires_grad
    assert list(networks.averaged()) == []
    assert networks.target_head is networks.head


def test_without_a_teacher_the_student_still_learns_under_autocast(fresh, crops):
    networks = StudentTeacher(fresh(), head_for(fresh()), use_teacher=False)
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(networks, crops)
    assert set(found) == {name for name, _ in networks.student.named_parameters()}


# --- stochastic depth -----------------------------------------------------------------------------------


def rates(model: torch.nn.Module) -> list[float]:
    return [
        m.drop_prob if isinstance(m, DropPath) else 0.0 for block in model.blocks for m in (block.drop_path1,)
    ]


def test_the_rate_rises_over_the_student_s_blocks_and_the_teacher_drops_nothing(fresh):
    networks = StudentTeacher(fresh(), head_for(fresh()), drop_path=0.2)
    assert rates(networks.backbone.model) == [0.0, 0.2]
    assert rates(networks.teacher["backbone"].model) == [0.0, 0.0]
    assert networks.backbone.training
    assert not any(module.training for module in networks.teacher.modules())
    assert not any(module.training for module in networks.eval().modules())
    assert networks.train().backbone.training
    assert not networks.teacher["backbone"].training


@pytest.mark.parametrize("train_blocks", [None, 1])
def test_the_student_drops_paths_and_the_teacher_does_not(fresh, crops, train_blocks):
    networks = StudentTeacher(fresh(), head_for(fresh()), train_blocks=train_blocks, drop_path=0.5)
    torch.manual_seed(0)
    first, second = (networks(*crops, 0.6) for _ in range(2))
    assert not torch.equal(first.student_global, second.student_global)
    assert not torch.equal(first.student_local, second.student_local)
    assert_same(first.teacher_scores, second.teacher_scores, terms=6)  # prototypes are normalised each time


# --- what is refused ------------------------------------------------------------------------------------


def test_a_resnet_is_refused():
    backbone = other_network("mocov2_resnet50")
    with pytest.raises(LeopartError, match=r"is a ResNet, and only vision transformers are trained"):
        StudentTeacher(backbone, head_for(backbone))


@pytest.mark.parametrize("blocks", [0, 3])
def test_more_blocks_than_there_are_are_refused(fresh, blocks: int):
    with pytest.raises(LeopartError, match=rf"all or from 1 to the 2 of tiny_random, got {blocks}"):
        StudentTeacher(fresh(), head_for(fresh()), train_blocks=blocks)
