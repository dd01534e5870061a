"""Weights that nobody trained, for comparison."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from leopart.models.networks import empty_network
from leopart.models.spec import BackboneSpec


def random_weights(spec: BackboneSpec, seed: int) -> dict[str, Tensor]:
    """Fresh weights of a vision transformer, the same for the same seed on every machine.

    Linear and convolution weights, tokens and positions are normal with deviation 0.02, biases are 0 and
    norms 1, as DINO starts; its cut at the values -2 and 2 is a hundred deviations away.

    Args:
        spec: the row.
        seed: of the random numbers; the global generator is left alone.

    Source: DINO, `VisionTransformer._init_weights`; spec/leopart-facts.md 2.1.
    """
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, like in empty_network(spec).state_dict().items():
        value = torch.zeros(like.shape)
        if "norm" in key and key.endswith("weight"):
            value += 1
        elif not key.endswith("bias"):
            nn.init.trunc_normal_(value, std=0.02, a=-2, b=2, generator=generator)
        state[key] = value
    return state
