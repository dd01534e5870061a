from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchvision.ops import roi_align

from leopart.training.methods.alignment import alignment_matrix
from tolerances import assert_same


def aligned(maps: torch.Tensor, boxes: torch.Tensor, bins: int = 7) -> torch.Tensor:
    """[B, C, H, W] and [B, n, 4] to [B, n, C, bins, bins] by our matrices."""
    batch, channels, height, width = maps.shape
    matrices = alignment_matrix(boxes, height, width, bins)
    result = torch.einsum("bnct,bkt->bnkc", matrices, maps.reshape(batch, channels, -1))
    return result.reshape(batch, boxes.shape[1], channels, bins, bins)


def reference(maps: torch.Tensor, boxes: torch.Tensor, bins: int = 7) -> torch.Tensor:
    """The same by torchvision."""
    flat = roi_align(maps, list(boxes), bins, sampling_ratio=-1, aligned=True)
    return flat.reshape(*boxes.shape[:2], maps.shape[1], bins, bins)


def assert_near(found: torch.Tensor, expected: torch.Tensor, maps: torch.Tensor) -> None:
    """A bin is a mean of weighted tokens; a rounded coordinate, up to the map's length, moves the weights."""
    assert_same(found, expected, terms=4, scale=max(maps.shape[2:]) * float(maps.abs().max()))


def random_boxes(
    shape: tuple[int, ...], width: int, height: int, generator: np.random.Generator
) -> torch.Tensor:
    corners = np.sort(generator.random((*shape, 2, 2)), axis=-2) * [width, height]
    return torch.from_numpy(corners.reshape(*shape, 4)).float()


@pytest.mark.parametrize(
    ("height", "width"), [(14, 14), (6, 6), (28, 28), (12, 12), (16, 16), (7, 7), (5, 9), (1, 3)]
)
def test_it_is_torchvisions_on_fractional_boxes(height: int, width: int):
    generator = np.random.default_rng(height)
    maps = torch.from_numpy(generator.normal(size=(2, 3, height, width))).float()
    boxes = random_boxes((2, 40), width, height, generator)

    assert_near(aligned(maps, boxes), reference(maps, boxes), maps)


@pytest.mark.parametrize("bins", [1, 2, 5, 7, 9])
def test_it_is_torchvisions_for_any_number_of_bins(bins: int):
    generator = np.random.default_rng(bins)
    maps = torch.from_numpy(generator.normal(size=(1, 2, 14, 14))).float()
    boxes = random_boxes((1, 30), 14, 14, generator)

    assert_near(aligned(maps, boxes, bins), reference(maps, boxes, bins), maps)


def test_whole_maps_tiny_boxes_and_boxes_at_the_border():
    maps = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 2, 14, 14))).float()
    boxes = torch.tensor(
        [
            [0, 0, 14, 14],
            [0, 0, 7, 14],
            [7, 7, 14, 14],
            [3, 4, 3.01, 4.02],
            [0, 0, 0.001, 14],
            [13.9, 13.9, 14, 14],
            [2, 2, 9, 9],
            [5, 5, 5, 9],  # no width: nothing is sampled
        ]
    )[None]

    assert_near(aligned(maps, boxes), reference(maps, boxes), maps)
    assert not bool(aligned(maps, boxes)[0, -1].any())


def test_a_coordinate_map_gives_the_coordinates_of_the_bins():
    # Token i sits at i + 0.5; away from the border, the mean over a bin of a linear map is its centre.
    grid = torch.arange(14) + 0.5
    maps = torch.stack([grid.expand(14, 14), grid[:, None].expand(14, 14)])[None]
    box = torch.tensor([[[1.5, 2.25, 11.0, 12.75]]])

    x, y = aligned(maps, box)[0, 0]

    bins = (torch.arange(7) + 0.5) / 7
    torch.testing.assert_close(x, (1.5 + 9.5 * bins).expand(7, 7))
    torch.testing.assert_close(y, (2.25 + 10.5 * bins)[:, None].expand(7, 7))


@pytest.mark.parametrize("size", [6, 7, 14, 28])
def test_rows_sum_to_one_also_where_rounding_makes_a_box_a_little_too_large(size: int):
    side = math.nextafter(size, math.inf)
    boxes = torch.tensor([[0, 0, size, size], [0, 0, size * (1 + 2e-7), side], [0, 0, size + 1e-4, size]])

    matrices = alignment_matrix(boxes, size, size)

    assert matrices.dtype == torch.float32
    torch.testing.assert_close(matrices.sum(-1), torch.ones(3, 49))
    assert bool((matrices >= 0).all())


def test_leading_dimensions_and_other_types_are_kept_and_computed_in_float32():
    boxes = random_boxes((2, 3, 4), 14, 14, np.random.default_rng(1))

    matrices = alignment_matrix(boxes, 14, 14)

    assert matrices.shape == (2, 3, 4, 49, 196)
    assert_same(matrices[1, 2, 3], alignment_matrix(boxes[1, 2, 3], 14, 14), terms=16)
    assert torch.equal(alignment_matrix(boxes.double(), 14, 14), matrices)


def test_golden(golden, adapter):
    case = golden("roi_align")
    result = adapter.roi_align(case["x"], case["boxes"], int(case["output_size"]))
    np.testing.assert_allclose(result, case["y"], atol=1e-4)
