from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from leopart.errors import LeopartError
from leopart.evaluation.heads.files import HeadFile, read_head, write_head

State = dict[str, torch.Tensor]


def linear(dim: int = 8, classes: int = 21) -> State:
    return {"weight": torch.randn(classes, dim, 1, 1), "bias": torch.randn(classes)}


def fcn(dim: int = 8, middle: int = 6, classes: int = 21) -> State:
    """Shapes of the published heads with 512 made small."""
    layers = {
        "convs.0.conv": torch.nn.Conv2d(dim, middle, 3),
        "convs.1.conv": torch.nn.Conv2d(middle, middle, 3),
        "conv_cat.conv": torch.nn.Conv2d(dim + middle, middle, 3),
        "conv_seg": torch.nn.Conv2d(middle, classes, 1),
    }
    return {
        f"{name}.{key}": value for name, layer in layers.items() for key, value in layer.state_dict().items()
    }


def published(head: State) -> State:
    return {f"finetune_head.{key}": value for key, value in head.items()}


@pytest.mark.parametrize(("kind", "head"), [("linear", linear()), ("fcn", fcn())])
@pytest.mark.parametrize("training", [False, True])
def test_a_published_head_is_read_whole(kind: str, head: State, training: bool, tmp_path: Path):
    content: dict[str, object] = dict(published(head))
    if training:
        content = {"state_dict": {**published(head), "model.cls_token": torch.ones(2)}, "epoch": 25}
    torch.save(content, tmp_path / "head.ckpt")

    read = read_head(tmp_path / "head.ckpt")

    assert (read.kind, read.dim, read.classes) == (kind, 8, 21)
    assert read.state.keys() == head.keys()
    assert all(torch.equal(read.state[key], value) for key, value in head.items())


def without(head: State, key: str) -> State:
    return {name: value for name, value in head.items() if name != key}


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        (without(linear(), "bias"), r"is not a linear head .*missing: bias"),
        (without(fcn(), "conv_cat.conv.bias"), r"is not a fcn head .*missing: conv_cat\.conv\.bias"),
        ({**linear(), "scale": torch.ones(1)}, r"unexpected: scale"),
        ({**fcn(), "conv_seg.weight": torch.ones(21, 5, 1, 1)}, r"of another shape: conv_seg\.weight"),
        (
            {**fcn(), "conv_cat.conv.weight": torch.ones(6, 6, 3, 3)},
            r"of another shape: conv_cat\.conv\.weight",
        ),
        ({**linear(), "weight": torch.ones(21, 8)}, r"of another shape: weight"),
        ({**linear(), "bias": torch.full((21,), float("nan"))}, r"not finite: bias"),
        ({"cls_token": torch.ones(1)}, r"missing: bias, weight; unexpected: cls_token"),
    ],
)
def test_what_is_no_head_is_refused(head: State, complaint: str, tmp_path: Path):
    torch.save(published(head), tmp_path / "head.ckpt")

    with pytest.raises(LeopartError, match=complaint):
        read_head(tmp_path / "head.ckpt")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".ckpt"])
@pytest.mark.parametrize("state", [linear(), fcn()])
def test_a_head_is_written_as_its_authors_do_and_read_back(state: State, suffix: str, tmp_path: Path):
    kind = "fcn" if "conv_seg.weight" in state else "linear"
    file = tmp_path / "new" / f"head{suffix}"
    write_head(file, HeadFile(kind, state, 8, 21))

    held = load_file(file) if suffix == ".safetensors" else torch.load(file, weights_only=True)
    assert held.keys() == published(state).keys()
    assert all(torch.equal(held[key], value) for key, value in published(state).items())
    read = read_head(file)
    assert (read.kind, read.dim, read.classes) == (kind, 8, 21)
    assert all(torch.equal(read.state[key], value) for key, value in state.items())


def test_a_head_is_written_under_known_suffixes_only(tmp_path: Path):
    with pytest.raises(LeopartError, match=r"head\.json has an unknown suffix for a head; choose one"):
        write_head(tmp_path / "head.json", HeadFile("linear", linear(), 8, 21))
    assert not list(tmp_path.iterdir())
