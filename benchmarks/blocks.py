"""Which block's tokens cluster best: `python -m benchmarks.blocks DATA`, DATA a labelled folder.

K-means of L2-normalised tokens of 300 photos at 448 px, each cluster named after the class most of its
pixels have. Labels are used, to choose once which block a backbone's registry row names; no run uses them.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from leopart.clustering.kmeans import kmeans
from leopart.data.datasets.folder import open_folder
from leopart.evaluation.metrics.confusion import Confusion
from leopart.evaluation.metrics.matching import many_to_one
from leopart.features.extract import Extractor, Preprocessing, fast_precision
from leopart.models.backbone import Backbone, load_backbone

_SIDE = 100
_BLOCKS = range(7, 12)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--masks", default="masks")
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--k", type=int, nargs="+", default=[100, 500])
    arguments = parser.parse_args()
    labelled = open_folder(arguments.data, arguments.masks)
    pairs = random.Random(0).sample(labelled.pairs, min(arguments.photos, len(labelled.pairs)))
    backbone = load_backbone("imgfocus_vits14_full")
    extractor = Extractor(backbone, Preprocessing(448))
    tokens = [_tokens(backbone, extractor.prepare(photo.path)) for photo, _ in pairs]
    truth = [_small(labelled.rows(labelled.read_mask(*pair))) for pair in pairs]
    print(f"{len(pairs)} photos, many-to-one mIoU in percent, {len(labelled.classes)} classes, seed 0")
    for place, block in enumerate(_BLOCKS):
        points = torch.stack([t[place] for t in tokens]).float()
        scores = [_score(F.normalize(points, dim=-1), truth, k, len(labelled.classes)) for k in arguments.k]
        columns = "  ".join(f"K={k}: {100 * s:.1f}" for k, s in zip(arguments.k, scores, strict=True))
        print(f"block {block:2d}  {columns}", flush=True)


@torch.inference_mode()
def _tokens(backbone: Backbone, image: np.ndarray) -> torch.Tensor:
    """Tokens of the blocks, from one pass, [blocks, h * w, D] float16; the last is normed as learned."""
    caught: list[torch.Tensor] = []
    layers = [backbone.model.blocks[block] for block in _BLOCKS]
    hooks = [layer.register_forward_hook(lambda _m, _i, output: caught.append(output)) for layer in layers]
    images = torch.from_numpy(image)[None].permute(0, 3, 1, 2)
    with torch.autocast("cpu", torch.bfloat16, enabled=fast_precision(images.device) == "bf16"):
        final = backbone(images, _BLOCKS[-1]).tokens[0].flatten(0, 1)
    for hook in hooks:
        hook.remove()
    plain = [F.layer_norm(tokens[0, 1:].float(), (backbone.dim,)) for tokens in caught[:-1]]
    return torch.stack([*plain, final]).half()


def _small(mask: np.ndarray) -> np.ndarray:
    rows, columns = (np.arange(_SIDE) * side // _SIDE for side in mask.shape)
    return mask[np.ix_(rows, columns)]


def _score(points: torch.Tensor, truth: list[np.ndarray], k: int, num_classes: int) -> float:
    fitted = kmeans(points.flatten(0, 1), k, seed=0, restarts=1)
    side = round(points.shape[1] ** 0.5)
    near = np.arange(_SIDE) * side // _SIDE
    confusion = Confusion(num_classes, k)
    for tokens, mask in zip(points, truth, strict=True):
        ids = fitted.assign(tokens).reshape(side, side).numpy()
        confusion.update(mask, ids[np.ix_(near, near)])
    return many_to_one(confusion.matrix, "precision").miou


if __name__ == "__main__":
    main()
