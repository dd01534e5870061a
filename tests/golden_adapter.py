"""Our functions behind the plain NumPy signatures that the golden vectors are checked with.

Used by the golden tests here, and by `check_golden.py GOLDEN_DIR tests/golden_adapter.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from leopart.clustering.cooccurrence import Cooccurrence, edge_list
from leopart.clustering.foreground import cluster_precision as _cluster_precision
from leopart.clustering.kmeans import kmeans
from leopart.clustering.reduce import fit_reduction
from leopart.data.crops import pair_boxes
from leopart.evaluation.heads.files import HeadFile
from leopart.evaluation.heads.networks import SegmentationHead
from leopart.evaluation.metrics.confusion import Confusion
from leopart.evaluation.metrics.jaccard import foreground_jaccard
from leopart.evaluation.metrics.matching import hungarian, many_to_one
from leopart.models.attention import attention_mask as _attention_mask
from leopart.models.backbone import build_backbone
from leopart.models.heads import DenseHead
from leopart.models.positions import resample_position_table
from leopart.models.weights.registry import BackboneSpec
from leopart.training.methods.alignment import alignment_matrix
from leopart.training.methods.leopart import loss as _loss
from leopart.training.methods.leopart.settings import LeopartSettings
from leopart.training.methods.leopart.sinkhorn import sinkhorn as _sinkhorn
from leopart.training.methods.regions import SharedRegions
from leopart.training.optimisation import cosine, ema_update, parameter_groups


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


def boxes(crops, n_gc, sizes):
    return pair_boxes(crops, int(n_gc), sizes)


def attention_mask(attn, keep):
    return _attention_mask(torch.from_numpy(np.asarray(attn)), keep).numpy().astype(np.uint8)


def jaccard(labels, pred):
    return float(np.mean([foreground_jaccard(*pair) for pair in zip(labels, pred, strict=True)]))


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


def sinkhorn(scores, n_last, eps, iterations):
    return _sinkhorn(torch.from_numpy(scores), eps, iterations)[-n_last:].numpy()


def dense_loss(
    teacher_scores,
    student_global,
    student_local,
    gc_boxes,
    all_boxes,
    patch_size,
    mask,
    queue_scores,
    temperature,
    eps,
    iterations,
    mask_threshold,
):
    views = [
        None if v is None else torch.tensor(v, requires_grad=True) for v in (student_global, student_local)
    ]
    assert mask_threshold == pytest.approx(_loss.MASK_THRESHOLD)
    loss = _loss.dense_loss(
        torch.from_numpy(teacher_scores),
        tuple(views),
        SharedRegions.in_tokens(torch.from_numpy(gc_boxes), torch.from_numpy(all_boxes), patch_size),
        mask=None if mask is None else torch.from_numpy(mask) > 0,
        queued=None if queue_scores is None else _loss.Queued(torch.from_numpy(queue_scores)),
        settings=LeopartSettings(temperature=temperature, epsilon=eps, sinkhorn_iterations=iterations),
    )
    loss.backward()
    return loss.item(), *(None if v is None else v.grad.numpy() for v in views)


def roi_align(x, boxes, output_size):
    batch, channels, height, width = x.shape
    matrices = alignment_matrix(torch.from_numpy(boxes), height, width, output_size)
    aligned = matrices @ torch.from_numpy(x).reshape(batch, 1, channels, -1).transpose(2, 3)
    return aligned.transpose(2, 3).reshape(*boxes.shape[:2], channels, output_size, output_size).numpy()


def head(state, tokens):
    weights = {key: torch.tensor(np.asarray(value, dtype=np.float32)) for key, value in state.items()}
    prototypes, out = weights["prototypes.weight"].shape
    hidden, dim = weights["projection_head.0.weight"].shape
    layers = sum(key.startswith("projection_head") and key.endswith("weight") for key in weights)
    network = DenseHead(dim, prototypes, hidden, out, layers)
    network.load_state_dict(weights)
    network.normalise_prototypes()
    with torch.no_grad():
        return tuple(part.numpy() for part in network(torch.from_numpy(tokens)))


def linear_head(state, features, size):
    return _segmentation_head("linear", state, "weight", features, size)


def fcn_head(state, features):
    return _segmentation_head("fcn", state, "conv_seg.weight", features, features.shape[2:])


def _segmentation_head(kind, state, last, features, size):
    weights = {key: torch.tensor(np.asarray(value, dtype=np.float32)) for key, value in state.items()}
    network = SegmentationHead.from_file(HeadFile(kind, weights, features.shape[1], len(weights[last])))
    with torch.no_grad():
        return network(torch.from_numpy(features).permute(0, 2, 3, 1), size).numpy()


def schedules(start, end, total_steps, steps):
    return np.array([cosine(start, end, int(step), total_steps) for step in steps])


def ema(teacher, student, momentum):
    moved = {name: torch.tensor(value) for name, value in teacher.items()}
    ema_update(moved.values(), [torch.tensor(student[name]) for name in moved], momentum)
    return {name: value.numpy() for name, value in moved.items()}


def optim_groups(names, shapes):
    with torch.device("meta"):
        return parameter_groups((name, torch.empty(shape)) for name, shape in zip(names, shapes, strict=True))
