"""A timm ResNet as ONNX nodes."""

from __future__ import annotations

from typing import Any

from torch import nn

from leopart.export.graph import Graph, unknown
from leopart.models.backbone import Backbone

TINY = 1.1754943508222875e-38
"""The smallest normal float32, as in `norm_attention`."""


def write_resnet(graph: Graph, backbone: Backbone, pixels: str, attention: bool) -> tuple[str, str | None]:
    """Write the nodes from normalised pixels [B, 3, H, W] to features and their stand-in for attention.

    Returns:
        Features [B, h, w, D] as they are, and each one's share in the sum of lengths, [B, 1, h, w].

    Raises:
        LeopartError: the network has a part that is not known here.
    """
    model, x = backbone.model, pixels
    if not hasattr(model, "layer4"):
        raise unknown(f"a {type(model).__name__}")
    for module in (model.conv1, model.bn1, model.act1, model.maxpool):
        x = _layer(graph, module, x)
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        for block in stage:
            x = _block(graph, block, x)
    shares = None
    if attention:
        lengths = graph.add("ReduceL2", x, axes=[1], keepdims=1)
        total = graph.add("ReduceSum", lengths, [2, 3], keepdims=1)
        shares = graph.add("Div", lengths, graph.add("Max", total, TINY))
    return graph.add("Transpose", x, perm=[0, 2, 3, 1]), shares


def _block(graph: Graph, block: Any, x: str) -> str:
    """A bottleneck: three convolutions beside a shortcut."""
    if type(block).__name__ != "Bottleneck" or block.se is not None:
        raise unknown(f"a ResNet of {type(block).__name__} blocks or with attention")
    inner, shortcut = x, x
    first = (block.conv1, block.bn1, block.act1, block.conv2, block.bn2, block.act2)
    for module in (*first, block.aa, block.conv3, block.bn3):
        inner = _layer(graph, module, inner)
    if block.downsample is not None:
        shortcut = _layer(graph, block.downsample, shortcut)
    return _layer(graph, block.act3, graph.add("Add", inner, shortcut))


def _layer(graph: Graph, module: Any, x: str) -> str:
    """One layer of a convolutional network, or several in a row."""
    if isinstance(module, nn.Sequential):
        for part in module:
            x = _layer(graph, part, x)
        return x
    if isinstance(module, nn.Identity):
        return x
    if isinstance(module, nn.ReLU):
        return graph.add("Relu", x)
    if isinstance(module, nn.Conv2d) and isinstance(module.padding, tuple):
        bias = () if module.bias is None else (module.bias,)
        return graph.add(
            "Conv",
            x,
            module.weight,
            *bias,
            strides=list(module.stride),
            pads=[*module.padding, *module.padding],
            dilations=list(module.dilation),
            group=module.groups,
        )
    if isinstance(module, nn.BatchNorm2d):
        kept: Any = module  # the running numbers are None only where none were asked for
        numbers = (kept.weight, kept.bias, kept.running_mean, kept.running_var)
        return graph.add("BatchNormalization", x, *numbers, epsilon=kept.eps)
    if isinstance(module, nn.MaxPool2d):
        kernel, stride, padding = (
            value if isinstance(value, tuple) else (value, value)
            for value in (module.kernel_size, module.stride, module.padding)
        )
        return graph.add(
            "MaxPool", x, kernel_shape=list(kernel), strides=list(stride), pads=[*padding, *padding]
        )
    raise unknown(f"a {type(module).__name__} layer")
