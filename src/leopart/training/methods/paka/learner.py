"""One step of patch-level kernel alignment (PaKA).

The teacher encodes a large crop whose colours are as they are, the student another large crop and small ones,
coloured and blurred. Each shares a region with the teacher's crop. Both are sampled on a 7 x 7 grid over it,
and the similarities among the cells must be the same: the loss is 1 - their centred kernel alignment.

Differences from the paper: the published training adds this to the losses of DINOv2; here it is the only
loss, and there is no head.

Source: Yeo, Jang and Kim, "Patch-level Kernel Alignment for Dense Self-Supervised Learning", arXiv
2509.05606, 2025.
"""

from __future__ import annotations

import torch

from leopart.data.views import ViewBatch
from leopart.models.backbone import Backbone
from leopart.recipe import Recipe
from leopart.training.methods.diagnostics import rank_of_some
from leopart.training.methods.learner import Learner, StepResult, Tokens, network_options
from leopart.training.methods.paka.loss import kernel_alignment
from leopart.training.methods.regions import views_aligned
from leopart.training.methods.token_networks import TokenNetworks


class PaKALearner(Learner):
    """Two networks without heads, and nothing remembered; see `Learner`."""

    networks: TokenNetworks

    def __init__(self, backbone: Backbone, recipe: Recipe, tokens: Tokens | None = None) -> None:
        del tokens  # there is no head to start
        super().__init__()
        self.recipe, self.settings = recipe, recipe.paka
        self.networks = TokenNetworks(backbone, **network_options(recipe))

    def forward(self, views: ViewBatch, step: int, *, diagnose: bool = True) -> StepResult:
        """See `Learner`."""
        self.seed_step(step)
        maps = self.networks([views.global_crops[1:], views.local_crops], views.global_crops[:1])
        bins, patch = self.settings.kernel_bins, self.networks.backbone.patch_size
        with torch.autocast(views.gc.device.type, enabled=False):
            mine = views_aligned(maps.student, views.all[:, 1:, 0] / patch, bins)
            with torch.no_grad():
                of_target = (maps.teacher.expand(len(mine), -1, -1, -1, -1),)
                theirs = views_aligned(of_target, views.gc[:, 0, 1:] / patch, bins)
            alignment = kernel_alignment(mine.flatten(0, 1), theirs.flatten(0, 1)).mean()
        diagnostics = {}
        if diagnose:
            rank = rank_of_some(maps.student[0].flatten(0, 3))
            diagnostics = {"kernel_alignment": alignment.detach(), "feature_rank": rank}
        return self.anchored(StepResult(1 - alignment, diagnostics), maps.student[0], maps.start)
