"""Random weights, for comparison."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from leopart.models.weights.networks import empty_network
from leopart.models.weights.spec import BackboneSpec


def random_weights(spec: BackboneSpec, seed: int) -> dict[str, Tensor]:
    """Fresh weights, the same for the same seed on every machine.

    Of a vision transformer: linear and convolution weights, tokens and positions are normal with deviation
    0.02, biases are 0 and norms 1, as DINO starts; its cut at the values -2 and 2 is a hundred deviations
    away. Of a ResNet: convolutions are normal with variance 2 / (outputs x kernel), as torchvision starts.

    Args:
        spec: the row.
        seed: of the random numbers; the global generator is left alone.

    Source: DINO, `VisionTransformer._init_weights`; He et al., Delving deep into
    rectifiers, 2015.
    """
    generator = torch.Generator().manual_seed(seed)
    draw = _convolutional if spec.convolutional else _transformer
    like = empty_network(spec).state_dict()
    return {
        key: draw(key, torch.zeros(value.shape, dtype=value.dtype), generator) for key, value in like.items()
    }


def _transformer(key: str, value: Tensor, generator: torch.Generator) -> Tensor:
    if "norm" in key and key.endswith("weight"):
        value += 1
    elif not key.endswith("bias"):
        nn.init.trunc_normal_(value, std=0.02, a=-2, b=2, generator=generator)
    return value


def _convolutional(key: str, value: Tensor, generator: torch.Generator) -> Tensor:
    if value.ndim == 4:
        nn.init.kaiming_normal_(value, mode="fan_out", nonlinearity="relu", generator=generator)
    elif key.endswith(("weight", "running_var")):  # of norms
        value += 1
    return value
