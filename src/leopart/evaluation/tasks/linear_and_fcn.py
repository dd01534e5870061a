"""The tasks `linear` and `fcn`: a head on frozen tokens, trained with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

import numpy as np

from leopart.config import FCNConfig, HeadConfig
from leopart.data.images import photo_size
from leopart.data.labelled import LabelledPhotos
from leopart.errors import LeopartError
from leopart.evaluation.case import Case, as_side
from leopart.evaluation.heads.examples import CachedExamples, Examples
from leopart.evaluation.heads.files import check_head_name, read_head, write_head
from leopart.evaluation.heads.networks import SegmentationHead
from leopart.evaluation.heads.recipes import HeadRecipe, Kind, fitting_recipe, head_recipe
from leopart.evaluation.heads.scoring import score_head
from leopart.evaluation.heads.training import TrainedHead, train_head
from leopart.evaluation.heads.views import AugmentedExamples
from leopart.evaluation.labels import LabelMap, LabelMaps
from leopart.evaluation.metrics.matching import Matching, score
from leopart.evaluation.report import Outcome, Score
from leopart.evaluation.splits import data_name, learned_photos, notes_on
from leopart.features.store import FeatureStore
from leopart.processes import rank

Grid = int | Literal["reference"]
_GRID: Grid = 100
"""Side of the grid for an FCN of unknown settings: as in the paper's training."""


def run(case: Case[HeadConfig]) -> Outcome:
    """See `leopart.evaluation.heads.training` and `scoring`.

    Raises:
        LeopartError: a photo, a mask, the head or the settings cannot be used, or a photo is in both splits.
    """
    return _given(case) if case.config.head is not None else _trained(case)


def _given(case: Case[HeadConfig]) -> Outcome:
    """Score a head that was read from a file."""
    config = case.config
    assert config.head is not None  # noqa: S101 - narrows the type
    file = read_head(config.head)
    for what, has, needs in (
        ("kind", file.kind, config.task),
        ("number of channels", file.dim, case.extractor.backbone.dim),
        ("number of classes", file.classes, case.num_classes),
    ):
        if has != needs:
            raise LeopartError(
                f"--head {config.head} has the {what} {has}, but {needs} is needed; give another"
            )
    labels, tokens = case.labels(case.labelled, as_side(config.eval_size)), case.features(case.labelled)
    grid = config.eval_grid if isinstance(config, FCNConfig) else None
    head = SegmentationHead.from_file(file).to(case.device).eval()
    matching = _scored(case, head, tokens, labels, grid or _GRID)
    used = {"head": "unknown: it is from a file", "scores": "those of the photos scored"}
    return Outcome((Score.of_matchings(config.task, [matching]),), used)


def _trained(case: Case[HeadConfig]) -> Outcome:
    """Train one head for each seed, and score them."""
    config, recipe = case.config, recipe_of(case.config, case.extractor.backbone.name)
    if config.save_head is not None:  # before the work
        check_head_name(config.save_head)
    learned = learned_photos(config, case.labelled, case.given.learned)
    labels = case.labels(case.labelled, as_side(config.eval_size))
    examples = _examples(case, learned, recipe)
    tokens = case.features(case.labelled)
    choosing = _choosing(case, tokens, recipe)
    seeds = tuple(range(recipe.seed, recipe.seed + config.seeds))
    matchings, heads = [], []
    for number, seed in enumerate(seeds):
        with case.watch.stage("training"):
            trained = train_head(
                examples(seed),
                case.num_classes,
                replace(recipe, seed=seed),
                validation=choosing,
                precision="bf16" if case.extractor.precision == "bf16" else "fp32",
                track=case.track,
            )
        if not number and config.save_head is not None and rank() == 0:
            write_head(config.save_head, trained.head.to_file())
        heads.append(trained)
        with case.watch.stage("scoring"):
            maps = not number  # those of the first seed
            matchings.append(_scored(case, trained.head, tokens, labels, recipe.eval_grid, maps=maps))
    used = {
        "settings": f"those that these were chosen with: {recipe.about}",
        "head": f"those of {len(learned.pairs)} training photos",
        "choice of the epoch": heads[0].chosen_by,
        "scores": "those of the photos scored",
    }
    extra = {"head": asdict(recipe), "training": [_curve(trained) for trained in heads]}
    row = Score.of_matchings(config.task, matchings)
    return Outcome((row,), used, seeds, extra, notes_on(learned))


def recipe_of(config: HeadConfig, backbone: str) -> HeadRecipe:
    """The settings of the preset, with the values that options replace.

    Args:
        config: options.
        backbone: name of the network, by which `auto` chooses.

    Raises:
        LeopartError: there is no such preset, or a value is invalid.
    """
    kind: Kind = "fcn" if isinstance(config, FCNConfig) else "linear"
    name = config.preset
    if name == "auto":
        name = fitting_recipe(data_name(config), backbone, kind)
    given: dict[str, Any] = {
        "lr": config.lr,
        "epochs": config.epochs,
        "drop_at": config.drop_at,
        "batch_size": config.head_batch_size,
        "augment": {"yes": True, "no": False}.get(config.augment),
        "select": config.select,
    }
    if isinstance(config, FCNConfig):
        given["eval_grid"] = config.eval_grid
    values = {key: value for key, value in given.items() if value is not None}
    recipe = head_recipe(name, kind)
    by_hand = f" By hand: {', '.join(values)}." if values else ""
    return replace(recipe, **values, about=recipe.about + by_hand)


def _examples(case: Case[HeadConfig], learned: LabelledPhotos, recipe: HeadRecipe) -> Any:
    """A function from a seed to what the head learns from."""
    labels = case.labels(learned, recipe.train_size)  # wrong masks are an error before the work

    def augmented(seed: int) -> Examples:
        return AugmentedExamples(case.extractor, learned, train_size=recipe.train_size, seed=seed)

    if recipe.augment:
        return augmented
    cached = CachedExamples(case.features(learned, "training features"), labels, device=case.device)
    return lambda _: cached


def _choosing(case: Case[HeadConfig], tokens: FeatureStore, recipe: HeadRecipe) -> CachedExamples | None:
    """The photos whose labels choose the epoch; None = no labels do."""
    if not recipe.select:
        return None
    labels = LabelMaps(case.labelled, recipe.train_size, case.config.size)
    photos = range(min(recipe.select, len(labels)))
    return CachedExamples(tokens, labels, photos=photos, device=case.device)


def _scored(
    case: Case[HeadConfig],
    head: SegmentationHead,
    tokens: FeatureStore,
    labels: Sequence[LabelMap],
    eval_grid: Grid,
    *,
    maps: bool = True,
) -> Matching:
    config = case.config
    photos = [photo for photo, _ in case.labelled.pairs]
    wanted = case.maps.wanted and maps
    confusion = score_head(
        head,
        tokens,
        labels,
        eval_grid=eval_grid,
        save=(lambda index, rows: case.maps.write(config.task, index, rows)) if wanted else None,
        size_of=lambda index: photo_size(photos[index].path),
        track=case.track,
    )
    return score(confusion.matrix, np.arange(case.num_classes), case.labelled.background, config.absent)


def _curve(trained: TrainedHead) -> dict[str, Any]:
    return {
        "epochs": [asdict(epoch) for epoch in trained.curve],
        "kept epoch": trained.kept,
        "chosen by": trained.chosen_by,
    }
