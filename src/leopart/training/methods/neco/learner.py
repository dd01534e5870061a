"""One step of neighbour consistency, after NeCo.

Student and teacher encode crops of a photo. Each region that a crop shares with a large one is sampled on a
7 x 7 grid, by the student in the crop and by the teacher in the large one. Each cell is compared with
reference tokens of all photos of the batch, and the student's similarities must be the teacher's.

Differences from NeCo: similarities go through a softmax where NeCo sorts them; tokens are compared without a
head; each process draws its references from its own photos.

Source: Pariza et al., "Near, far: Patch-ordering enhances vision foundation models' scene understanding",
ICLR 2025.
"""

from __future__ import annotations

import torch
from torch import Tensor

from leopart.data.views import ViewBatch
from leopart.models.backbone import Backbone
from leopart.recipe import Recipe
from leopart.training.methods.diagnostics import rank_of_some
from leopart.training.methods.learner import Learner, StepResult, Tokens, network_options
from leopart.training.methods.neco.loss import Consistency, neighbour_consistency
from leopart.training.methods.queue import random_keys
from leopart.training.methods.regions import SharedRegions, aligned, partners_aligned, target_matrices
from leopart.training.methods.token_networks import TokenMaps, TokenNetworks


class NeCoLearner(Learner):
    """Two networks without heads, and nothing remembered; see `Learner`."""

    networks: TokenNetworks

    def __init__(self, backbone: Backbone, recipe: Recipe, tokens: Tokens | None = None) -> None:
        del tokens  # there is no head to start
        super().__init__()
        self.recipe, self.settings = recipe, recipe.neco
        self.networks = TokenNetworks(backbone, **network_options(recipe))

    def forward(self, views: ViewBatch, step: int, *, diagnose: bool = True) -> StepResult:
        """See `Learner`."""
        self.seed_step(step)
        maps: TokenMaps = self.networks([views.global_crops, views.local_crops])
        regions = SharedRegions.in_tokens(views.gc, views.all, self.networks.backbone.patch_size)
        found = self._consistency(maps, regions, step)
        diagnostics = {}
        if diagnose:
            rank = rank_of_some(maps.student[0].flatten(0, 3))
            diagnostics = {"agreement": found.agreement, "feature_rank": rank}
        return self.anchored(StepResult(found.loss, diagnostics), maps.student[0], maps.start)

    def _consistency(self, maps: TokenMaps, regions: SharedRegions, step: int) -> Consistency:
        settings = self.settings
        local = maps.student[1] if len(maps.student) > 1 else None
        with torch.autocast(maps.teacher.device.type, enabled=False):
            mine = partners_aligned(maps.student[0], local, regions, settings.neighbour_bins)
            with torch.no_grad():
                matrices = target_matrices(regions, maps.teacher.shape[2], settings.neighbour_bins)
                theirs = aligned(matrices, maps.teacher)
                references = self._references(maps.teacher.flatten(0, 3), step)
            return neighbour_consistency(
                mine.flatten(0, 3),
                theirs.flatten(0, 3),
                references,
                settings.neighbour_temperature,
                settings.neighbour_target_temperature,
            )

    def _references(self, tokens: Tensor, step: int) -> Tensor:
        """Some of the tokens [n, D]; which ones follows from seed and step."""
        count = min(self.settings.neighbour_references, len(tokens))
        keys = random_keys(1, len(tokens), self.recipe.seed, step, tokens.device)[0]
        return tokens[keys.topk(count).indices]
