"""Our functions behind the plain NumPy signatures that the golden vectors are checked with.

Used by the golden tests here, and by `check_golden.py GOLDEN_DIR tests/golden_adapter.py`.
"""

from __future__ import annotations

import numpy as np
import torch

from leopart.clustering.cooccurrence import Cooccurrence, edge_list
from leopart.clustering.foreground import cluster_precision as _cluster_precision
from leopart.clustering.kmeans import kmeans
from leopart.evaluation.confusion import Confusion
from leopart.evaluation.jaccard import mean_foreground_jaccard
from leopart.evaluation.matching import hungarian, many_to_one
from leopart.features.reduce import fit_reduction
from leopart.models.attention import attention_mask as _attention_mask
from leopart.models.backbone import build_backbone
from leopart.models.positions import resample_position_table
from leopart.models.registry import BackboneSpec


def pos_embed(table, height, width, patch_size):
    return resample_position_table(torch.from_numpy(np.asarray(table)), height, width, patch_size).numpy()


def vit(state, images, heads, patch_size):
    """A ViT as DINO publishes them: learned final norm, DINO's position rule."""
    blocks = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
    spec = BackboneSpec(
        name="golden",
        summary="",
        architecture="vit_small_patch16_224",
        patch_size=patch_size,
        dim=state["norm.weight"].shape[0],
        heads=heads,
        image_size=int(np.sqrt(state["pos_embed"].shape[1] - 1)) * patch_size,
        blocks=blocks,
        depth=blocks,
        feature_block=blocks - 1,
        final_norm="learned",
        position_resampling="dino",
        weights="golden",
        source=None,
        licence="",
        origin="",
        citation="",
    )
    weights = {key: torch.tensor(np.asarray(value, dtype=np.float32)) for key, value in state.items()}
    features = build_backbone(spec, weights).encode(torch.from_numpy(images))
    return features.tokens.flatten(1, 2).numpy(), features.attention.flatten(2).numpy()


def attention_mask(attn, keep):
    return _attention_mask(torch.from_numpy(np.asarray(attn)), keep).numpy().astype(np.uint8)


def jaccard(labels, pred):
    return mean_foreground_jaccard(zip(labels, pred, strict=True))


def matching(gt, pred, num_classes, num_clusters, ignore_index):
    confusion = Confusion(num_classes, num_clusters, ignore_index)
    confusion.update(gt, pred)
    by_iou, by_precision = (many_to_one(confusion.matrix, by) for by in ("iou", "precision"))
    return {
        "confusion": confusion.matrix,
        "miou_hungarian": hungarian(confusion.matrix).miou,
        "miou_many_to_one_iou": by_iou.miou,
        "miou_many_to_one_precision": by_precision.miou,
        "assign_iou": by_iou.assignment,
        "assign_precision": by_precision.assignment,
        "background_share_iou": by_iou.background_share,
        "background_share_precision": by_precision.background_share,
    }


def cluster_precision(ids, mask, num_clusters):
    return _cluster_precision(ids, mask, num_clusters)


def cooccurrence(ids, num_clusters, offsets, threshold):
    counts = Cooccurrence(num_clusters, offsets)
    for photo in ids:
        counts.add(photo)
    return counts.conditional, edge_list(counts.conditional, threshold)


def pca(features, dim):
    tokens = torch.from_numpy(np.asarray(features))
    return fit_reduction(tokens, dim)(tokens).numpy()


def kmeans_pipeline(features, gt, grid, num_classes, k, pca_dim, seeds, spherical):
    """Standardise, PCA, k-means, nearest upsampling, matching with void left out; a score a seed."""
    points, side = torch.from_numpy(pca(features, pca_dim)), gt.shape[1]
    nearest = np.arange(side) * grid // side
    scores = []
    for seed in seeds:
        model = kmeans(points, k, seed=seed, spherical=spherical, max_points_per_centroid=None)
        ids = model.assign(points).numpy().reshape(-1, grid, grid)[:, nearest][:, :, nearest]
        confusion = Confusion(num_classes, k, 255)
        confusion.update(gt, ids)
        match = hungarian if k == num_classes else many_to_one
        scores.append(match(confusion.matrix).miou)
    return np.array(scores)
