"""Neighbour consistency: two descriptions of a cell must rank the same references first.

Legend: n cells, r references, D channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Consistency:
    """The loss, and how often it is met.

    Attributes:
        loss: mean over the cells, in nats, float32 [].
        agreement: share of cells to which both find the same reference nearest, [], no gradient.
    """

    loss: Tensor
    agreement: Tensor


def neighbour_consistency(
    cells: Tensor, targets: Tensor, references: Tensor, temperature: float, target_temperature: float
) -> Consistency:
    """Divergence of the student's similarities to the references from the teacher's.

    Naive form, with all vectors divided by their length, for each cell i:
        p = softmax over the references k of targets[i] . references[k] / target_temperature
        q = softmax over the references k of cells[i] . references[k] / temperature
        loss_i = sum over k of p[k] * log(p[k] / q[k])

    Args:
        cells: by the student, [n, D], any float type.
        targets: the same cells by the teacher, [n, D]; no gradient.
        references: tokens by the teacher, [r, D]; no gradient.
        temperature: of the student, above 0.
        target_temperature: of the teacher, above 0.

    Source: Pariza et al., Near, far: Patch-ordering enhances vision foundation models' scene understanding
    (NeCo), ICLR 2025. NeCo sorts the references by a differentiable network and compares the permutations;
    a divergence of softmaxes asks for nearly the same at a fraction of the cost.
    """
    with torch.autocast(cells.device.type, enabled=False):
        known = F.normalize(references.detach().float(), dim=-1).T
        mine = F.normalize(cells.float(), dim=-1) @ known
        theirs = F.normalize(targets.detach().float(), dim=-1) @ known
        wanted, found = (theirs / target_temperature).log_softmax(-1), (mine / temperature).log_softmax(-1)
        loss = (wanted.exp() * (wanted - found)).sum(-1).mean()
        return Consistency(loss, (mine.argmax(-1) == theirs.argmax(-1)).float().mean().detach())
