"""The linear head against scikit-learn: `python -m benchmarks.linear_head DATA [--lists TRAIN TEST] [--fcn]`.

DATA is a labelled folder, such as `msrc21`. Its photos are split by two text files of names, or into two
halves that share out every class alike; a head is trained on one by the settings `small`, and so is
scikit-learn's LogisticRegression on the same features (token by token, each with the label in its middle, to
convergence). Both are scored on the other half at 100 x 100, logits enlarged bilinearly. Prints both.

`run` is for `python -m benchmarks`: a step of training in our order and in the paper's.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.harness import Comparison, compare
from leopart.data.datasets.folder import open_folder
from leopart.data.labelled import LabelledPhotos
from leopart.evaluation.heads.examples import CachedExamples
from leopart.evaluation.heads.networks import LinearHead
from leopart.evaluation.heads.recipes import head_recipe
from leopart.evaluation.heads.scoring import score_head
from leopart.evaluation.heads.training import train_head
from leopart.evaluation.labels import small_labels
from leopart.evaluation.metrics.matching import score
from leopart.features.extract import Extractor, Preprocessing
from leopart.features.store import FeatureStore
from leopart.models.backbone import load_backbone

_PHOTOS, _GRID, _DIM, _CLASSES = 16, 32, 384, 21


def run() -> Iterator[Comparison]:
    """One gradient of a linear head on stored tokens, ours and with the tokens enlarged first."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(_PHOTOS, _GRID, _GRID, _DIM, generator=generator).half()
    labels = torch.randint(0, _CLASSES, (_PHOTOS, 100, 100), generator=generator)
    head, conv = LinearHead(_DIM, _CLASSES), torch.nn.Conv2d(_DIM, _CLASSES, 1)

    def ours() -> None:
        for part, truth in zip(tokens.split(4), labels.split(4), strict=True):
            F.cross_entropy(head(part.float(), 100), truth, reduction="sum").backward()

    def peer() -> None:
        maps = F.interpolate(tokens.float().permute(0, 3, 1, 2), (100, 100), mode="bilinear")
        F.cross_entropy(conv(maps), labels, reduction="sum").backward()

    yield compare("linear head, gradient / tokens enlarged first", ours, peer, note=f"{_PHOTOS} photos")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--ignore", nargs="*", default=["horse", "mountain"])
    parser.add_argument("--store", type=Path, help="features of all photos, kept; made if need be")
    parser.add_argument("--lists", nargs=2, type=Path, help="names of photos to learn from and to score on")
    parser.add_argument("--fcn", action="store_true", help="train an FCN, too")
    arguments = parser.parse_args()
    labelled = open_folder(arguments.data)
    labelled = labelled.without(set(arguments.ignore) & set(labelled.classes.values()))
    labels = np.stack(small_labels(labelled))
    halves = _halves(labels, len(labelled.classes))
    if arguments.lists:
        halves = tuple(_listed(labelled, file) for file in arguments.lists)
    print(f"{len(halves[0])} to learn from, {len(halves[1])} to score on, {len(labelled.classes)} classes")
    with contextlib.ExitStack() as stack:
        folder = arguments.store or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "features"
        store = _features(labelled, folder)
        for kind in ("linear", "fcn") if arguments.fcn else ("linear",):
            _report(f"{kind} head, settings small", *_ours(kind, store, labels, halves))
        _report("scikit-learn's LogisticRegression", *_peer(store, labels, halves))
        store.close()


def _halves(labels: np.ndarray, classes: int) -> tuple[list[int], list[int]]:
    """Photos in two halves: each, those that matter most for a class first, goes where its classes lack."""
    counts = np.stack([np.bincount(ids.ravel(), minlength=256)[:classes] for ids in labels])
    share = counts / np.maximum(counts.sum(axis=0), 1)
    held, halves = np.zeros((2, classes)), ([], [])
    for photo in sorted(range(len(share)), key=lambda photo: (-share[photo].max(), photo)):
        costs = [((held[side] + share[photo]) ** 2).sum() + (held[1 - side] ** 2).sum() for side in (0, 1)]
        side = int(costs[1] < costs[0])
        side = 1 - side if 2 * len(halves[side]) >= len(share) else side
        held[side] += share[photo]
        halves[side].append(photo)
    return sorted(halves[0]), sorted(halves[1])


def _listed(labelled: LabelledPhotos, file: Path) -> list[int]:
    """Indices of the photos that a text file names, a stem a line."""
    index_of = {Path(photo.name).stem: index for index, (photo, _) in enumerate(labelled.pairs)}
    return [index_of[stem] for stem in file.read_text(encoding="utf-8").split()]


def _features(labelled: LabelledPhotos, folder: Path) -> FeatureStore:
    extractor = Extractor(load_backbone(), Preprocessing(448))
    return extractor.extract([photo for photo, _ in labelled.pairs], folder)[0]


def _ours(kind: str, store: FeatureStore, labels: np.ndarray, halves: tuple[list[int], list[int]]):
    start = time.perf_counter()
    examples = CachedExamples(store, labels, photos=halves[0])
    trained = train_head(examples, int(labels[labels < 255].max()) + 1, head_recipe("small", kind))
    return time.perf_counter() - start, score_head(trained.head, store, labels, photos=halves[1])


def _peer(store: FeatureStore, labels: np.ndarray, halves: tuple[list[int], list[int]]):
    """Standardised tokens in float32, no regularisation but scikit-learn's default."""
    from sklearn.linear_model import LogisticRegression

    start = time.perf_counter()
    classes = int(labels[labels < 255].max()) + 1
    tokens = np.stack([store.tokens_of(photo) for photo in halves[0]]).astype(np.float32)
    side = tokens.shape[1]
    middle = (2 * np.arange(side) + 1) * labels.shape[1] // (2 * side)
    truth = labels[halves[0]][:, middle][:, :, middle].ravel()
    rows = tokens.reshape(len(truth), -1)[truth < 255]
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    model = LogisticRegression(max_iter=5000).fit((rows - mean) / deviation, truth[truth < 255])
    print(f"LogisticRegression: {len(rows)} tokens, {model.n_iter_[0]} iterations")
    head, known = LinearHead(rows.shape[1], classes), model.classes_.astype(np.int64)
    weight = model.coef_ / deviation
    with torch.no_grad():
        head.bias.fill_(-1e9)  # a class that no token has
        head.weight.zero_()
        head.weight[known] = torch.from_numpy(weight).float()[:, :, None, None]
        head.bias[known] = torch.from_numpy(model.intercept_ - weight @ mean).float()
    return time.perf_counter() - start, score_head(head, store, labels, photos=halves[1])


def _report(name: str, seconds: float, confusion) -> None:
    found = score(confusion.matrix, np.arange(confusion.num_classes))
    print(
        f"{name:<40} mIoU {100 * found.miou:.2f}  accuracy {100 * found.pixel_accuracy:.2f}  {seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
