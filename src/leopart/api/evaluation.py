"""`leopart.evaluate` and `leopart.overcluster`: scores of backbones and of features."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from leopart.api.options import with_options
from leopart.api.progress import tracker
from leopart.config import TASKS
from leopart.data.given import MaskLike, PhotoLike, labelled_of
from leopart.data.labelled import LabelledPhotos
from leopart.errors import LeopartError
from leopart.evaluation import overclustering
from leopart.evaluation.case import Given
from leopart.evaluation.evaluate import evaluate as run
from leopart.evaluation.overclustering import Clusterer, Settings
from leopart.evaluation.report import Outcome, Score, Scores
from leopart.evaluation.tokens import Tokens
from leopart.models.custom import BackboneLike, as_backbone
from leopart.models.device import pick_device
from leopart.models.weights.registry import DEFAULT_BACKBONE

Classes: TypeAlias = Sequence[str] | dict[int, str]
Labelled: TypeAlias = str | Path | LabelledPhotos | Iterable[tuple[PhotoLike, MaskLike]]
"""Labelled photos: `NAME:PATH`, a folder, a set of `leopart.datasets`, or pairs of a photo and its mask."""


def evaluate(
    task: str,
    data: Labelled,
    backbone: BackboneLike = DEFAULT_BACKBONE,
    *,
    classes: Classes | None = None,
    train_data: Labelled | None = None,
    out: str | Path | None = None,
    progress: bool = False,
    **options: Any,
) -> Scores:
    """Score a backbone on labelled photos, as `leopart evaluate` does. Printing the result gives a table.

    Args:
        task: `overclustering`, `linear`, `fcn`, `in-context`, `attention`, `boundary`, `foreground` or
            `unsupervised`; `leopart evaluate --help` describes them.
        data: photos to score on.
        backbone: name, path, a loaded one, or any callable, see `leopart.models.custom.TokenNetwork`.
        classes: names by id, or in the order of the ids, where `data` are pairs; None = their `classes`.
        train_data: photos to learn from, for `linear`, `fcn` and `in-context`, where `data` has no lists.
        out: JSON file for the scores and everything they depend on; None writes none.
        progress: show bars.
        **options: of `leopart evaluate TASK`, such as `k=(21, 500)`, `seeds=3`, `size=224` or `split="val"`.

    Raises:
        LeopartError: there is no such task or option, or data, backbone and options do not fit.
    """
    if task not in TASKS:
        raise LeopartError(f"there is no task {task!r}; there is: {', '.join(TASKS)}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leopart-")))
        loaded = None if isinstance(backbone, str | Path) else as_backbone(backbone)
        given = Given(
            loaded,
            _given(data, classes, folder / "scored"),
            None if train_data is None else _given(train_data, classes, folder / "learned"),
        )
        config = TASKS[task](
            task=task,
            data=str(data) if given.scored is None else f"folder:{given.scored.path}",
            out=folder / "scores.json" if out is None else Path(out),
            backbone=str(backbone) if loaded is None else loaded.source,
        )
        config = with_options(config, options, f"evaluate {task!r}")
        config.check()
        return run(config, track=tracker(progress), given=given)


def _given(data: Labelled, classes: Classes | None, folder: Path) -> LabelledPhotos | None:
    """A labelled set that a program holds; None for one that is named."""
    if isinstance(data, str | Path):
        return None
    if isinstance(data, LabelledPhotos):
        return data
    named = getattr(data, "classes", None) if classes is None else classes
    if named is None:
        message = "pairs of photos and masks need names of their classes"
        raise LeopartError(f"{message}: give classes=['background', 'cat', ...] in the order of the ids")
    return labelled_of(data, named, folder)


def overcluster(
    tokens: Tokens,
    labels: Sequence[Any],
    *,
    k: int | Sequence[int] = 500,
    seeds: int = 1,
    classes: Classes | None = None,
    clusterer: Clusterer | None = None,
    eval_size: int | None = 100,
    matching: Literal["precision", "iou"] = "precision",
    normalise: bool = False,
    device: str = "auto",
    progress: bool = False,
) -> Scores:
    """Cluster the tokens of all photos, give each cluster a class, and score: the paper's protocol.

    Args:
        tokens: one array or tensor [h, w, D] a photo, or [N, h, w, D], such as `extract(...).tokens`.
        labels: class ids of each photo, integers [H, W] of any size, 0 .. C-1, 255 = no label.
        k: numbers of clusters. With as many clusters as classes the matching is one to one.
        seeds: runs of k-means, with the seeds 0, 1, ...
        classes: names of the C classes, in the order of their ids; None = as many as `labels` hold.
        clusterer: in place of k-means; then `k` and `seeds` do not matter. See `Clusterer`.
        eval_size: side of the square at which clusters and labels are compared; None = the labels' size.
        matching: how a cluster gets its class, where classes may have several: by the majority vote of its
            pixels, or by the largest IoU.
        normalise: make every token a unit vector first.
        device: where to compute.
        progress: show bars.

    Raises:
        LeopartError: the clusterer gives no cluster ids.
        ValueError: tokens and labels differ in number, or there are none.

    Source: Leopart, CVPR 2022, overclustering protocol; see `leopart.evaluation.overclustering`.
    """
    maps = [np.asarray(label) for label in labels]
    named = _named(classes, maps)
    settings = Settings(
        ks=(k,) if isinstance(k, int) else tuple(k),
        seeds=tuple(range(seeds)),
        eval_size=eval_size,
        many_to_one=matching,
        normalise=normalise,
    )
    found = overclustering.overcluster(
        tokens,
        maps,
        len(named),
        settings,
        clusterer=clusterer,
        device=pick_device(device),
        track=tracker(progress),
    )
    scores = tuple(Score.of_matchings(str(of.k), of.matchings, matching=of.rule) for of in found)
    used = {"clusters": "none", "matching": "those given"}
    return Scores("overclustering", len(maps), named, "tokens given", Outcome(scores, used, found[0].seeds))


def _named(classes: Classes | None, maps: Sequence[np.ndarray[Any, Any]]) -> dict[int, str]:
    """Names by id, 0 .. C-1."""
    if classes is not None:
        return dict(classes) if isinstance(classes, dict) else dict(enumerate(classes))
    highest = max((int(of[of != 255].max()) for of in maps if (of != 255).any()), default=-1)
    return {index: f"class {index}" for index in range(highest + 1)}
