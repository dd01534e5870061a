from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from timm.layers import resample_abs_pos_embed

from leopart.errors import LeopartError
from leopart.models.positions import resample_position_table
from tolerances import assert_same


def cubic(x: float, a: float = -0.75) -> float:
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def naive_axis(old: int, new: int, scale: float) -> np.ndarray:
    """Weights [new, old] of bicubic resampling along one axis, borders repeated."""
    weights = np.zeros((new, old))
    for i in range(new):
        centre = (i + 0.5) / scale - 0.5
        for j in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            weights[i, min(max(j, 0), old - 1)] += cubic(centre - j)
    return weights


@pytest.mark.parametrize("size", [(4, 9), (7, 5), (2, 3), (5, 5)])
@pytest.mark.parametrize("rule", ["dino", "bicubic"])
def test_resampling_is_the_naive_bicubic_sum(size: tuple[int, int], rule: str):
    table = torch.from_numpy(np.random.default_rng(0).standard_normal((1 + 36, 4)))
    extra = 0.1 if rule == "dino" else 0.0
    rows, columns = (naive_axis(6, n, (n + extra) / 6) for n in size)
    expected = np.einsum("iy,jx,yxd->ijd", rows, columns, table[1:].reshape(6, 6, 4).numpy()).reshape(-1, 4)

    result = resample_position_table(table, 14 * size[0], 14 * size[1], 14, rule)

    # Weights are computed in float32 from coordinates up to 6.
    assert_same(result[1:], expected, terms=16, scale=6 * np.abs(expected).max())
    assert torch.equal(result[0], table[0])


def test_the_size_it_has_comes_back_unchanged():
    table = torch.randn(4 + 25, 3, generator=torch.Generator().manual_seed(0))

    assert resample_position_table(table, 80, 80, 16) is table


def test_registers_keep_their_rows():
    table = torch.arange(29.0)[:, None].expand(29, 3)

    result = resample_position_table(table, 32, 48, 16)

    assert result.shape == (4 + 6, 3)
    assert torch.equal(result[:4], table[:4])


def test_half_precision_tables_are_interpolated_in_single():
    table = torch.randn(1 + 25, 3, generator=torch.Generator().manual_seed(0)).bfloat16()

    result = resample_position_table(table, 112, 64, 16)

    assert torch.equal(result, resample_position_table(table.float(), 112, 64, 16).bfloat16())


def test_the_rules_differ_where_antialiasing_matters():
    table = torch.randn(1 + 400, 8, generator=torch.Generator().manual_seed(0))

    timm = resample_abs_pos_embed(table[None], new_size=[8, 8], old_size=[20, 20])[0]

    assert float((resample_position_table(table, 64, 64, 8, "bicubic") - timm).abs().max()) > 0.1


def test_an_image_below_one_patch_is_refused():
    with pytest.raises(LeopartError, match="8x40 pixels is smaller than one patch of 16"):
        resample_position_table(torch.zeros(1 + 25, 3), 8, 40, 16)


def test_golden(golden_folder: Path, adapter: ModuleType):
    case = np.load(golden_folder / "pos_embed.npz")
    for index, (height, width) in enumerate(case["sizes"]):
        result = adapter.pos_embed(case["table"], int(height), int(width), int(case["patch_size"]))
        np.testing.assert_allclose(result, case[f"out_{index}"], atol=5e-5)
