"""One step of the hybrid: Leopart's dense clustering and DenseCL's contrast on the same passes.

    loss = (1 - c) * dense clustering + c * contrast,   c: --hybrid-contrast

DenseCL's whole crop is the mean of its tokens, as published, so that no pass is added to Leopart's.
"""

from __future__ import annotations

import torch

from leopart.data.views import ViewBatch
from leopart.errors import LeopartError
from leopart.models.backbone import Backbone
from leopart.models.heads import DenseHead
from leopart.recipe import Recipe
from leopart.training.methods.densecl.learner import contrast_queue, contrasted, push_keys
from leopart.training.methods.densecl.networks import ContrastHead
from leopart.training.methods.hybrid.networks import BothHeads, HybridNetworks
from leopart.training.methods.learner import StepResult, Tokens, network_options
from leopart.training.methods.leopart.learner import LeopartLearner


class HybridLearner(LeopartLearner):
    """Leopart's networks and queue, with DenseCL's head and queue beside them; see `Learner`."""

    networks: HybridNetworks

    def __init__(self, backbone: Backbone, recipe: Recipe, tokens: Tokens | None = None) -> None:
        if recipe.leopart.global_crops < 2:
            raise LeopartError("--method hybrid contrasts two large crops: give --global-crops 2 or more")
        super().__init__(backbone, recipe, tokens)
        self.keys = contrast_queue(recipe.densecl, recipe.seed)

    def forward(self, views: ViewBatch, step: int, *, diagnose: bool = True) -> StepResult:
        """See `Learner`; both queues move on."""
        self.seed_step(step)
        outputs = self._outputs(views)
        clustered = self._clustered(outputs, views, step, diagnose)
        query, key = self.networks.contrast(outputs, self.recipe.densecl.contrast_grid)
        contrast = contrasted(query, key, self.keys.rows, self.recipe.densecl)
        push_keys(self.keys, key, self.recipe.seed, step)
        loss = torch.lerp(clustered.loss, contrast.loss, self.recipe.hybrid.hybrid_contrast)
        parts = {"clustering_loss": clustered.loss.detach()}
        diagnostics = clustered.diagnostics | contrast.diagnostics | parts if diagnose else {}
        return self.anchored(StepResult(loss, diagnostics), outputs.tokens, outputs.start_tokens)

    def _networks(self, backbone: Backbone, heads: tuple[DenseHead, DenseHead | None]) -> HybridNetworks:
        generator = torch.Generator().manual_seed(self.recipe.seed)
        head, other = (None if head is None else self._both(backbone, head, generator) for head in heads)
        assert head is not None  # noqa: S101 - only the teacher's may be missing
        return HybridNetworks(backbone, head, teacher_head=other, **network_options(self.recipe))

    def _both(self, backbone: Backbone, head: DenseHead, generator: torch.Generator) -> BothHeads:
        out = self.recipe.densecl.contrast_out
        return BothHeads(head, ContrastHead(backbone.dim, self.recipe.head_hidden, out, generator))
