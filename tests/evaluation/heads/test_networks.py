from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from leopart.evaluation.heads.networks import (
    FCNHead,
    LinearHead,
    SegmentationHead,
    dropout_factors,
    resized,
)


def tokens(batch: int = 2, height: int = 5, width: int = 7, dim: int = 6) -> torch.Tensor:
    return torch.randn(batch, height, width, dim, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [11, (5, 7), (3, 20), (9, 2), 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_resizing_is_torch_s_bilinear_with_its_gradient(size, dtype: torch.dtype):
    ours = tokens().to(dtype).permute(0, 3, 1, 2).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    expected = F.interpolate(theirs, size, mode="bilinear", align_corners=False)
    found = resized(ours, size)
    factors = torch.randn_like(expected)
    (found * factors).sum().backward()
    (expected * factors).sum().backward()

    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert found.dtype == dtype


def test_resizing_keeps_its_type_under_autocast():
    maps = tokens().permute(0, 3, 1, 2)
    with torch.autocast("cpu", torch.bfloat16):
        found = resized(maps, 9)
    assert torch.equal(found, resized(maps, 9))


@pytest.mark.parametrize("size", [100, (30, 41), (4, 3)])
def test_a_linear_head_equals_a_convolution_of_enlarged_tokens(size):
    head, x = LinearHead(6, 4), tokens()
    enlarged = F.interpolate(x.permute(0, 3, 1, 2), size, mode="bilinear", align_corners=False)
    expected = F.conv2d(enlarged, head.weight, head.bias)
    torch.testing.assert_close(head(x, size), expected, atol=1e-5, rtol=1e-5)
    assert head.coarse(x).shape == (2, 4, 5, 7)
    assert torch.equal(head.coarse(x, 100), head.coarse(x))


def naive_convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """[C, h, w] by [M, C, 3, 3], place by place, with zeros around."""
    _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    result = np.zeros((len(weight), height, width))
    for row in range(height):
        for column in range(width):
            window = padded[:, row : row + 3, column : column + 3]
            result[:, row, column] = (weight * window).sum((1, 2, 3)) + bias
    return result


def test_an_fcn_is_what_its_formula_says():
    head, x = FCNHead(6, 4, width=3).double(), tokens(1).double()
    state = {name: value.detach().numpy() for name, value in head.state_dict().items()}

    def conv(name: str, maps: np.ndarray) -> np.ndarray:
        made = naive_convolution(maps, state[f"{name}.conv.weight"], state[f"{name}.conv.bias"])
        return np.maximum(made, 0)

    maps = x[0].permute(2, 0, 1).numpy()
    joined = np.concatenate([maps, conv("convs.1", conv("convs.0", maps))])
    z = conv("conv_cat", joined)
    channels = torch.tensor([[0.0, 2.0, 0.5]], dtype=torch.float64)
    for factors, given in ((np.ones(3), None), (channels[0].numpy(), channels)):
        seen = z * factors[:, None, None]
        expected = np.einsum("cm,mhw->chw", state["conv_seg.weight"][:, :, 0, 0], seen)
        expected += state["conv_seg.bias"][:, None, None]
        found = head.coarse(x, channels=given)[0].detach().numpy()
        np.testing.assert_allclose(found, expected, atol=1e-10)


def test_an_fcn_s_convolutions_run_on_the_grid_that_is_asked_for():
    head, x = FCNHead(6, 4, width=3), tokens()
    enlarged = resized(x.permute(0, 3, 1, 2), (12, 13)).permute(0, 2, 3, 1)
    torch.testing.assert_close(head.coarse(x, (12, 13)), head.coarse(enlarged))
    torch.testing.assert_close(head(x, (12, 13)), head.coarse(x, (12, 13)))


def test_an_fcn_starts_as_the_paper_s():
    """Kaiming's normal by fan-out: deviation sqrt(2 / (9 M)); the classifier uniform within 1 / sqrt(M)."""
    head = FCNHead(20, 50, width=64, generator=torch.Generator().manual_seed(1))
    for conv in (head.convs[0].conv, head.convs[1].conv, head.conv_cat.conv):
        assert conv.weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.03)
        assert not conv.bias.any()
    for values in (head.conv_seg.weight, head.conv_seg.bias):
        assert 0.11 < values.abs().max() <= 1 / 8


@pytest.mark.parametrize("make", [LinearHead, FCNHead])
def test_first_weights_follow_from_the_generator(make):
    first, second, third = (
        make(6, 4, generator=torch.Generator().manual_seed(seed)).state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)


def test_a_tenth_of_the_channels_is_left_out_and_the_mean_stays():
    factors = dropout_factors(100_000, np.random.default_rng(0))
    assert set(factors.tolist()) == {0.0, torch.tensor(1 / 0.9).item()}
    assert (factors == 0).float().mean().item() == pytest.approx(0.1, abs=0.005)
    assert factors.mean().item() == pytest.approx(1, abs=0.005)


@pytest.mark.parametrize("head", [LinearHead(6, 4), FCNHead(6, 4, width=3)])
def test_a_head_survives_its_file(head: SegmentationHead):
    file = head.to_file()
    again = SegmentationHead.from_file(file)

    assert (file.kind, file.dim, file.classes) == (head.kind, 6, 4)
    assert type(again) is type(head)
    assert again.width == head.width
    x = tokens()
    assert torch.equal(again(x, 9), head(x, 9))
    again.state_dict()["bias" if head.kind == "linear" else "conv_seg.bias"].add_(1)
    assert not torch.equal(again(x, 9), head(x, 9))  # a copy


def test_golden_linear(golden, adapter):
    case = floats(golden("linear_head"))
    found = adapter.linear_head(group(case, "sd/"), case["features"], int(case["size"]))
    np.testing.assert_allclose(found, case["logits"], atol=float(case["atol"]), rtol=float(case["rtol"]))


def test_golden_fcn(golden, adapter):
    case = floats(golden("fcn_head"))
    found = adapter.fcn_head(group(case, "sd/"), case["features"])
    np.testing.assert_allclose(found, case["logits"], atol=float(case["atol"]), rtol=float(case["rtol"]))


def floats(case: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        key: value.astype(np.float32) if value.dtype == np.float16 else value for key, value in case.items()
    }


def group(case: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): value for key, value in case.items() if key.startswith(prefix)}
