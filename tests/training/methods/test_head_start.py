"""A head that starts from the photos' own clusters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from leopart.data.photos import find_photos
from leopart.errors import LeopartError
from leopart.models.heads import DenseHead
from leopart.training.methods.leopart.head_start import start_from_clusters
from leopart.training.methods.leopart.settings import LeopartSettings
from leopart.training.methods.tokens import sample_tokens

GROUPS, SIZE, DIM = 4, 50, 12


def planted() -> torch.Tensor:
    """Tokens in four tight groups, one after the other."""
    generator = torch.Generator().manual_seed(3)
    centres = 5 * torch.randn(GROUPS, 1, DIM, generator=generator)
    return (centres + 0.1 * torch.randn(GROUPS, SIZE, DIM, generator=generator)).flatten(0, 1)


def head(prototypes: int = GROUPS, out: int = 6) -> DenseHead:
    generator = torch.Generator().manual_seed(0)
    return DenseHead(DIM, prototypes=prototypes, out=out, layers=1, generator=generator)


def test_prototypes_tell_groups_of_tokens_apart_from_the_start():
    tokens, started = planted(), head(prototypes=2 * GROUPS)
    start_from_clusters(started, tokens, seed=0)
    _, scores = started(tokens)
    chosen = scores.argmax(1).reshape(GROUPS, SIZE).tolist()
    for group, others in ((set(chosen[g]), chosen[:g] + chosen[g + 1 :]) for g in range(GROUPS)):
        assert group.isdisjoint(set().union(*others))
    assert scores.max(1).values.min() > 0.9
    _, by_chance = head(prototypes=2 * GROUPS)(tokens)
    assert by_chance.max(1).values.min() < 0.9


def test_the_projection_is_a_principal_component_analysis_of_standardised_tokens():
    tokens, started = planted(), head(out=3)
    start_from_clusters(started, tokens, seed=0)
    found = F.linear(tokens, started.projection_head.weight, started.projection_head.bias).detach()
    standard = (tokens - tokens.mean(0)) / tokens.std(0, correction=0)
    left, values, _ = torch.linalg.svd(standard, full_matrices=False)
    expected = left[:, :3] * values[:3]
    torch.testing.assert_close(found.abs(), expected.abs(), atol=1e-3, rtol=1e-3)


def test_prototypes_are_unit_vectors_and_stay_so():
    started = head(prototypes=3)
    start_from_clusters(started, planted(), seed=0)
    torch.testing.assert_close(started.prototypes.weight.norm(dim=1), torch.ones(3))


def test_what_there_are_too_few_tokens_for_stays_as_it_was():
    started, before = head(prototypes=9, out=6), head(prototypes=9, out=6)
    start_from_clusters(started, planted()[:: GROUPS * SIZE // 4], seed=0)  # four tokens
    assert torch.equal(started.prototypes.weight[4:], before.prototypes.weight[4:])
    assert torch.equal(started.projection_head.weight[4:], before.projection_head.weight[4:])
    assert not torch.equal(started.prototypes.weight[:2], before.prototypes.weight[:2])
    untouched = head()
    start_from_clusters(untouched, torch.zeros(0, DIM), seed=0)
    assert torch.equal(untouched.prototypes.weight, head().prototypes.weight)


def test_tokens_of_unreadable_photos_are_left_out(tmp_path, tiny_backbone):
    side = 4 * tiny_backbone.patch_size
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "whole.png")
    (tmp_path / "broken.png").write_bytes(b"no photo")
    tokens = sample_tokens(tiny_backbone, find_photos([tmp_path]), side, seed=0)
    assert tokens.shape == (16, tiny_backbone.dim)


def test_clusters_need_a_head_of_one_layer():
    with pytest.raises(LeopartError, match="--head-layers 1"):
        LeopartSettings(head_init="clusters").check()
    LeopartSettings(head_init="clusters", head_layers=1).check()
