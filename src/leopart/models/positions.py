"""Position tables at other sizes than the one they were learned at.

Libraries differ here, and the difference reaches the tokens, so every registry row says which rule its model
was trained or published with:

- `timm`: bicubic to the target size, with antialiasing (timm's own `dynamic_img_size`);
- `bicubic`: bicubic to the target size, without antialiasing (Hugging Face's DINOv2, and ONNX files made from
  it);
- `dino`: bicubic without antialiasing by the scale factor (n + 0.1) / n0 per axis. DINO adds 0.1 so that
  rounding cannot lose a row; since the factor, not the size, then fixes where samples fall, the values differ
  too.
"""

from __future__ import annotations

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, cat

from leopart.errors import LeopartError


def resample_position_table(
    table: Tensor,
    height: int,
    width: int,
    patch_size: int,
    rule: Literal["bicubic", "dino"] = "dino",
) -> Tensor:
    """Position table for an image of `height` x `width` pixels.

    Bicubic with a = -0.75 and half-pixel centres; prefix rows are copied. Asked for the size it already has,
    the table comes back unchanged.

    Args:
        table: [P + g * g, D] float, prefix rows (CLS, registers) first, then a square grid row by row.
            P is what is left over by the largest square.
        height: pixels, a multiple of `patch_size`.
        width: pixels, a multiple of `patch_size`.
        patch_size: pixels.
        rule: see the module's text.

    Returns:
        [P + h * w, D] with the table's dtype; h, w = height, width // patch_size.

    Raises:
        LeopartError: the image is smaller than one patch.

    Source: DINO, `interpolate_pos_encoding`.
    """
    rows, columns = height // patch_size, width // patch_size
    if min(rows, columns) < 1:
        message = f"an image of {height}x{width} pixels is smaller than one patch of {patch_size}; enlarge it"
        raise LeopartError(message)
    side = math.isqrt(table.shape[0])
    if (rows, columns) == (side, side):
        return table
    prefix, grid = table[: -side * side], table[-side * side :]
    # Interpolation in bfloat16 would cost half the digits of a table that is computed once per batch.
    image = grid.float().reshape(side, side, -1).permute(2, 0, 1)[None]
    if rule == "dino":
        factors = ((rows + 0.1) / side, (columns + 0.1) / side)
        image = F.interpolate(image, scale_factor=factors, mode="bicubic")
    else:
        image = F.interpolate(image, size=(rows, columns), mode="bicubic")
    return cat([prefix, image[0].flatten(1).T.to(table.dtype)])
