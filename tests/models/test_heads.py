from __future__ import annotations

import numpy as np
import pytest
import torch

from leopart.models.heads import DenseHead
from tolerances import assert_same


def small(layers: int = 3, seed: int = 0) -> DenseHead:
    return DenseHead(6, 9, 12, 5, layers, torch.Generator().manual_seed(seed))


def test_parameters_have_the_names_and_shapes_of_the_published_files():
    assert {name: tuple(value.shape) for name, value in DenseHead(384).state_dict().items()} == {
        "projection_head.0.weight": (2048, 384),
        "projection_head.0.bias": (2048,),
        "projection_head.2.weight": (2048, 2048),
        "projection_head.2.bias": (2048,),
        "projection_head.4.weight": (256, 2048),
        "projection_head.4.bias": (256,),
        "prototypes.weight": (300, 256),
    }
    # With the 21,665,664 parameters of a ViT-S/16, the 27,251,840 that the authors' network has.
    assert sum(p.numel() for p in DenseHead(384).parameters()) == 27_251_840 - 21_665_664


@pytest.mark.parametrize("layers", [0, 1])
def test_one_layer_is_a_single_linear_map(layers: int):
    head = small(layers)
    tokens = torch.randn(4, 6)
    flat = head.projection_head

    assert list(head.state_dict()) == ["projection_head.weight", "projection_head.bias", "prototypes.weight"]
    expected = tokens @ flat.weight.T + flat.bias
    torch.testing.assert_close(head.embed(tokens), expected / expected.norm(dim=1, keepdim=True))


def test_fresh_weights_are_narrow_and_biases_zero_and_follow_the_generator():
    head, same, other = (
        DenseHead(64, hidden=256, generator=torch.Generator().manual_seed(1)),
        small(),
        small(seed=2),
    )

    for name, parameter in head.projection_head.named_parameters():
        if name.endswith("bias"):
            assert not bool(parameter.any())
        else:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.05)
    assert all(torch.equal(a, b) for a, b in zip(small().parameters(), same.parameters(), strict=True))
    assert not torch.equal(same.prototypes.weight, other.prototypes.weight)


def test_scores_are_cosines_for_any_leading_shape():
    head = small()
    tokens = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))

    embeddings, scores = head(tokens)

    assert embeddings.shape == (2, 3, 4, 5)
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(2, 3, 4))
    flat, rows = embeddings.detach().reshape(-1, 5).numpy(), head.prototypes.weight.detach().numpy()
    expected = [[float(np.dot(a, b) / np.linalg.norm(b)) for b in rows] for a in flat]
    assert_same(scores.reshape(-1, 9), np.array(expected), terms=5)
    assert torch.equal(head.score(embeddings), scores)


def test_prototypes_are_brought_to_length_one_in_place():
    head = small()
    weight = head.prototypes.weight
    with torch.no_grad():
        weight.mul_(torch.rand(9, 1) + 0.5)
    direction = weight.detach() / weight.detach().norm(dim=1, keepdim=True)

    head.normalise_prototypes()

    assert head.prototypes.weight is weight
    assert weight.requires_grad
    torch.testing.assert_close(weight.detach(), direction)


def test_under_autocast_lengths_are_taken_in_float32():
    head = small()
    with torch.autocast("cpu", torch.bfloat16):
        embeddings, scores = head(torch.randn(50, 6))

    assert embeddings.dtype == torch.float32
    assert scores.dtype == torch.bfloat16
    assert_same(embeddings.norm(dim=1), torch.ones(50), terms=5)


def test_golden(golden, adapter):
    case = golden("head")
    state = {key.removeprefix("sd/"): value for key, value in case.items() if key.startswith("sd/")}
    embeddings, scores = adapter.head(state, case["tokens"].astype(np.float32))
    np.testing.assert_allclose(embeddings, case["embeddings"], atol=1e-5)
    np.testing.assert_allclose(scores, case["scores"], atol=1e-5)
