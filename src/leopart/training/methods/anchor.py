"""An anchor to the start: the student must not move too far from the network that training began with.

Legend: B crops, n tokens of a crop, D channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def anchor_terms(tokens: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """How far tokens are from those of the start: by their similarities in a crop, and each by itself.

    Naive form, for each crop b, with all tokens divided by their length:
        gram_b   = mean over pairs i, j of (tokens[i] . tokens[j] - start[i] . start[j]) ** 2
        cosine_b = mean over i of 1 - tokens[i] . start[i]

    Tokens may all turn together without a change of the first term: it keeps what is similar to what. The
    second keeps the tokens themselves, and so whatever was trained on them.

    Args:
        tokens: of the student, [B, n, D], any float type.
        start: of the network before training, [B, n, D]; gets no gradient.

    Returns:
        Means over the crops, float32 []: the first from 0 to 4, the second from 0 to 2.

    Source: Simeoni et al., DINOv3, 2025, Gram anchoring. There the anchor is an earlier teacher and the
    squares are added up; here it is the start and they are averaged, so that a weight means the same at any
    number of tokens.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        mine, other = F.normalize(tokens.float(), dim=-1), F.normalize(start.detach().float(), dim=-1)
        gram = (mine @ mine.transpose(1, 2) - other @ other.transpose(1, 2)).square().mean()
        return gram, 1 - (mine * other).sum(-1).mean()
