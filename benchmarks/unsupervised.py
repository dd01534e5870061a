"""Segmentation without labels, step by step: `python -m benchmarks.unsupervised DATA/msrc21 --masks voclike`.

What every step is worth, over several seeds, with the settings that `leopart segment` finds from the photos:
as many clusters of all tokens as classes; of the foreground's (CBFE); communities of parts (CD); a part's
object by its context, with as many objects; with the number that predicts best; refined in the photo. Labels
only score. Writes FILE (`--out`), and with `--pictures` the masks of 24 photos, chosen by a seed, at each
step.

With `--parts 20 50`, parts instead: so many of them, each named after the labelled part that most of it is
(many to one), over the whole photo and inside the foreground that was found.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.baseline import commit
from leopart.config.method import FitSettings
from leopart.data.datasets.folder import open_folder
from leopart.data.labelled import LabelledPhotos
from leopart.data.masks import IGNORE
from leopart.data.photos import Photo
from leopart.drawing import palette
from leopart.evaluation.metrics.confusion import Confusion
from leopart.evaluation.metrics.masks import score_maps
from leopart.evaluation.metrics.matching import many_to_one
from leopart.features.extract import Preprocessing
from leopart.features.store import FeatureStore
from leopart.segment.fitting import fit_parts
from leopart.segment.learning import labels_of, open_extractor
from leopart.segment.part_model import PartModel
from leopart.segment.photo_masks import photo_masks

_SIDE, _COLUMNS = 176, 2
_WHITE = np.uint8(255)
Ids = NDArray[np.int32]
Step = Callable[[int, Photo], Ids]
Rows = dict[str, dict[str, list[float]]]
"""Of each step, by what was measured: one value a seed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--masks", default="masks")
    parser.add_argument("--backbone", default="imgfocus_vits14")
    parser.add_argument("--attention-backbone")
    parser.add_argument("--features", type=Path, help="keep features here")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--parts", type=int, nargs="+", default=[], help="score so many parts instead")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, help="PNG of 24 photos at each step, of seed 0")
    parser.add_argument("--photos", action="store_true", help="show the photos too: not for publishing")
    arguments = parser.parse_args()
    labelled = open_folder(arguments.data, arguments.masks)
    photos = [photo for photo, _ in labelled.pairs]
    with tempfile.TemporaryDirectory() as folder:
        extractor = open_extractor(
            arguments.backbone, arguments.attention_backbone, preprocessing=Preprocessing()
        )
        store, failures = extractor.extract(photos, arguments.features or Path(folder))
        if failures:  # tokens would be another photo's
            parser.error(f"{failures[0].name} cannot be used: {failures[0].reason}")
        rows: Rows = {}
        for seed in range(arguments.seeds):
            if arguments.parts:
                steps = dict(_parts(arguments, store, seed))
                scored = {name: part_scores(step, labelled) for name, step in steps.items()}
            else:
                steps = dict(_steps(store, len(labelled.classes), seed))
                scored = {name: step_scores(step, labelled) for name, step in steps.items()}
            for name, scores in scored.items():
                print(seed, name, scores, flush=True)
                for what, value in scores.items():
                    rows.setdefault(name, {}).setdefault(what, []).append(round(value, 4))
            if seed == 0 and arguments.pictures:
                _draw(arguments.pictures, steps, labelled, arguments.photos)
            _write(arguments, labelled, rows, labels_of(extractor))
        store.close()


def _masks(store: FeatureStore, model: PartModel, kind: str, refine: bool = False) -> Step:
    """Part or object masks of a model, at each photo's own size."""

    def step(index: int, photo: Photo) -> Ids:
        masks = photo_masks(model, store.tokens_of(index), photo.path, refine=refine)
        return masks.parts if kind == "parts" else masks.objects

    return step


def _steps(store: FeatureStore, classes: int, seed: int) -> Iterator[tuple[str, Step]]:
    """Name and masks of each step, fitted on the same features."""

    def fitted(**settings: Any) -> PartModel:
        return fit_parts(store, FitSettings(seed=seed, objects_by="communities", **settings)).model

    yield "all tokens", _masks(store, fitted(n_parts=classes, foreground="none"), "parts")
    yield "+ CBFE", _masks(store, fitted(n_parts=classes - 1), "parts")
    communities = fitted(contexts=False)
    yield "+ CD", _masks(store, communities, "objects")
    alike = fitted(n_objects=communities.n_objects)
    yield "+ contexts", _masks(store, alike, "objects")
    predicted = fitted()
    yield "+ prediction", _masks(store, predicted, "objects")
    yield "+ refine", _masks(store, predicted, "objects", refine=True)
    segments = fit_parts(store, FitSettings(seed=seed, refine=True)).model
    yield "+ segments", _masks(store, segments, "objects", refine=True)


def _parts(arguments: argparse.Namespace, store: FeatureStore, seed: int) -> Iterator[tuple[str, Step]]:
    """Part masks with each number of parts, refined."""
    for count in arguments.parts:
        model = fit_parts(store, FitSettings(seed=seed, n_parts=count)).model
        yield f"{count} parts", _masks(store, model, "parts", refine=True)


def _maps(step: Step, labelled: LabelledPhotos) -> Iterator[tuple[NDArray[np.uint8], Ids]]:
    for index, pair in enumerate(labelled.pairs):
        yield labelled.rows(labelled.read_mask(*pair)), step(index, pair[0])


def step_scores(step: Step, labelled: LabelledPhotos) -> dict[str, float]:
    """Of object masks: number of ids, Hungarian mIoU, foreground Jaccard; empty masks where nothing is."""
    without: list[bool] = []

    def maps() -> Iterator[tuple[NDArray[np.uint8], Ids]]:
        for labels, ids in _maps(step, labelled):
            if not ((labels != labelled.background) & (labels != IGNORE)).any():
                without.append(not ids.any())
            yield labels, ids

    scores = score_maps(maps(), len(labelled.classes), labelled.background)
    return {
        "ids": scores.clusters - 1,
        "hungarian miou": scores.matching.miou,
        "foreground jaccard": scores.jaccard,
        "photos without an object": len(without),
        "empty masks of these": sum(without),
    }


def part_scores(step: Step, labelled: LabelledPhotos) -> dict[str, float]:
    """Of part masks: many-to-one mIoU over the labelled parts, background left out."""
    classes, background = len(labelled.classes), labelled.background
    maps = list(_maps(step, labelled))
    clusters = 1 + max(int(ids.max()) for _, ids in maps)
    everywhere, inside = Confusion(classes, clusters, IGNORE), Confusion(classes, clusters, IGNORE)
    for labels, ids in maps:
        everywhere.update(labels, ids)
        inside.update(np.where(ids > 0, labels, IGNORE).astype(np.uint8), ids)
    found = [many_to_one(counts.matrix, "precision", background) for counts in (everywhere, inside)]
    counted = [row for row in range(classes) if row != background]
    whole, within = (float(one.iou[counted].mean()) for one in found)
    return {"part miou": whole, "part miou inside the foreground": within}


def _write(arguments: argparse.Namespace, labelled: LabelledPhotos, rows: Rows, labels: str) -> None:
    content = {
        "command": _command(arguments),
        "backbone": Path(arguments.backbone).name,
        "attention": Path(arguments.attention_backbone or arguments.backbone).name,
        "labels used": f"{labels} for the masks; all for these scores",
        "commit": commit(),
        "photos": len(labelled.pairs),
        "classes": len(labelled.classes),
        "seeds": max(len(values) for row in rows.values() for values in row.values()),
        "rows": rows,
    }
    arguments.out.write_text(json.dumps(content, indent=2) + "\n")


def _command(arguments: argparse.Namespace) -> str:
    """What to type, without the folders of this machine."""
    options = {
        "masks": arguments.masks,
        "backbone": Path(arguments.backbone).name,
        "attention-backbone": arguments.attention_backbone and Path(arguments.attention_backbone).name,
        "seeds": arguments.seeds,
        "parts": " ".join(map(str, arguments.parts)),
    }
    given = " ".join(f"--{name} {value}" for name, value in options.items() if value)
    return f"python -m benchmarks.unsupervised DATA/{arguments.data.name} {given}"


def _draw(path: Path, steps: dict[str, Step], labelled: LabelledPhotos, with_photos: bool) -> None:
    """Masks of 24 photos in two columns, a row of steps each; colours stand for ids."""
    chosen = np.sort(
        np.random.default_rng(0).choice(len(labelled.pairs), min(24, len(labelled.pairs)), replace=False)
    )
    tables = palette.colours(256)
    tiles = []
    for index in chosen:
        photo, mask = labelled.pairs[index]
        row = [_tile(tables[step(int(index), photo)]) for step in steps.values()]
        truth = labelled.rows(labelled.read_mask(photo, mask))
        row.append(_tile(np.where(truth[..., None] == _WHITE, _WHITE, tables[truth])))
        if with_photos:
            row.insert(0, _tile(cv2.imread(str(photo.path))[..., ::-1]))
        tiles.append(np.hstack(row))
        print(photo.name, end=" ")
    rows = [np.hstack(tiles[i : i + _COLUMNS]) for i in range(0, len(tiles), _COLUMNS)]
    header = _header([*(["photo"] if with_photos else []), *steps, "labels"])
    picture = np.vstack([np.hstack([header] * _COLUMNS), *rows])
    cv2.imwrite(str(path), np.ascontiguousarray(picture[..., ::-1]))


def _tile(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    tile = np.full((_SIDE * 3 // 4, _SIDE, 3), _WHITE)
    height, width = picture.shape[:2]
    scale = min((_SIDE - 4) / width, (len(tile) - 4) / height)
    size = (round(width * scale), round(height * scale))
    small = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_NEAREST)
    tile[: size[1], : size[0]] = small
    return tile


def _header(names: list[str]) -> NDArray[np.uint8]:
    line = np.full((24, _SIDE * len(names), 3), _WHITE)
    for number, name in enumerate(names):
        place = (number * _SIDE + 2, 17)
        cv2.putText(line, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return line


if __name__ == "__main__":
    main()
