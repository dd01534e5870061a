"""A fitted segmenter on disk.

FOLDER/
segmenter.json        settings, backbone, split parts and the hash of the arrays, for people and programs
arrays.safetensors    reduction, foreground clusters, parts, objects, scene groups; the settings as a check
backbone.safetensors  weights of a backbone that was adapted to the photos; backbone.json is its card
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import InstanceOf
from safetensors import SafetensorError, safe_open
from torch import Tensor

from leopart.clustering.contexts import ObjectMixture
from leopart.clustering.kmeans import KMeans
from leopart.clustering.reduce import Reduction
from leopart.config.method import FitSettings
from leopart.documents import checked, read_json
from leopart.errors import LeopartError
from leopart.features.extract import Extractor, Preprocessing
from leopart.files import sha256, whole_file, write_text
from leopart.models.backbone import Backbone
from leopart.models.tuned import save_tuned
from leopart.models.weights.spec import TUNED
from leopart.segment import saved_splits
from leopart.segment.array_checks import checked_arrays
from leopart.segment.part_model import PartModel

_FORMAT, _FORMAT_WITH_SPLITS = 3, 4
_JSON, _ARRAYS = "segmenter.json", "arrays.safetensors"
_MIXTURE = "parts_of_object"
_MARGIN = "clusters.margin"
_SCENES = "scene_of_object"
_PROTOTYPES = "object_prototypes"
#: Engine of earlier versions.
_REMOVED: Any = "louvain"
_SEALED = ("fingerprint", "preprocessing", "precision", "batch_size", "settings")
#: Options that came later: written where they are not at their default, so that a segmenter of an earlier
#: version is written again as it was.
_LATER = ("objects_by", "least_confidence")
_PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Card:
    """Everything about a segmenter that is not an array."""

    backbone: InstanceOf[str]  # a path may hold bytes that are not UTF-8
    """Registry name, path of its weights, or `backbone.safetensors`: then it lies in the folder."""
    fingerprint: str
    """Of that backbone, see `Backbone.fingerprint`."""
    preprocessing: Preprocessing
    precision: str
    """Number format of the forward pass."""
    batch_size: int
    """Photos in a forward pass; another one may change the last bit of a token."""
    settings: FitSettings
    attention_backbone: InstanceOf[str] | None = None
    """Name or path of the backbone whose attention was used, needed for another fit; None = the backbone."""
    labels: str = "none"
    """Labels that the two learned from, see `BackboneSpec.labels`."""
    stretch: tuple[float, float] | None = None
    """Percentiles that were made black and white in the photos, and are in more photos, see `load_photo`."""


def folder_of(path: Path) -> Path:
    """The folder of a segmenter, given itself or the output folder of `segment` that holds it."""
    inside = path / "segmenter"
    return inside if inside.is_dir() and not (path / _JSON).is_file() else path


def save(
    folder: Path,
    extractor: Extractor,
    model: PartModel,
    *,
    settings: FitSettings,
    attention_backbone: str | None,
    labels: str,
    is_adapted: bool,
    stretch: tuple[float, float] | None = None,
) -> None:
    """Write a segmenter; a backbone that exists nowhere else goes with it.

    Args:
        folder: made if need be.
        extractor: what the tokens of more photos come from.
        model: see `PartModel`.
        settings: see `Card`, as `attention_backbone` and `labels`.
        attention_backbone: see `Card`.
        labels: see `Card`.
        is_adapted: whether the backbone was adapted to the photos, and so exists nowhere else.
        stretch: see `Card`.

    Raises:
        LeopartError: the folder cannot be written.
    """
    backbone = extractor.backbone
    nowhere_else = is_adapted or not backbone.source
    inside = nowhere_else or Path(backbone.source) == (folder / TUNED).resolve()
    card = Card(
        backbone=TUNED if inside else backbone.source,
        fingerprint=backbone.fingerprint,
        preprocessing=extractor.preprocessing,
        precision=extractor.precision,
        batch_size=extractor.batch_size,
        settings=settings,
        attention_backbone=attention_backbone,
        labels=labels,
        stretch=stretch,
    )
    write(folder, model, card, backbone if inside else None)


def write(folder: Path, model: PartModel, card: Card, own: Backbone | None = None) -> None:
    """Write all files whole, the card last: without it there is no segmenter.

    Args:
        folder: made if need be.
        model: see `PartModel`.
        card: see `Card`.
        own: the backbone, where it is to lie in the folder.

    Raises:
        LeopartError: the folder cannot be written.
    """
    if own is not None:
        save_tuned(own, folder)
    described = asdict(card)
    later = {name: value for name, value in asdict(FitSettings()).items() if name in _LATER}
    for name, usual in later.items():
        if described["settings"][name] == usual:
            del described["settings"][name]
    described["labels used"] = described.pop("labels")
    with whole_file(folder / _ARRAYS) as file:
        file.write(safetensors.torch.save(_arrays(model), metadata={"card": _seal(described)}))
    objects = _objects(model)
    content = {
        "format": _FORMAT,
        "labels used": card.labels,
        **described,
        "parts": model.n_parts,
        "objects": objects,
        **_tree(model, objects),
        "arrays sha256": sha256(folder / _ARRAYS),
    }
    _write_json(folder, content, model)


def write_splits(folder: Path, model: PartModel) -> None:
    """Write a model that differs from the one in the folder in its splits only; one file changes.

    Raises:
        LeopartError: the folder holds no segmenter, or cannot be written.
    """
    content, objects = saved_splits.without(_read_json(folder)), _objects(model)
    content |= {"parts": model.n_parts, "objects": objects, **_tree(model, objects)}
    _write_json(folder, content, model)


def _write_json(folder: Path, content: dict[str, Any], model: PartModel) -> None:
    content["format"] = _FORMAT_WITH_SPLITS if model.splits else _FORMAT
    content |= saved_splits.described(model, content["arrays sha256"])
    write_text(folder / _JSON, json.dumps(content, indent=2) + "\n")


def _objects(model: PartModel) -> list[dict[str, Any]]:
    return [
        {"id": number, "parts": [int(p) for p in (model.object_of_part == number).nonzero()[0]]}
        for number in range(1, model.n_objects + 1)
    ]


def _tree(model: PartModel, objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The same objects below their scene groups, for people and programs; the arrays hold it too."""
    scenes = [
        {"scene": scene, "objects": [objects[number - 1] for number in members]}
        for scene, members in model.scenes.items()
    ]
    return {} if model.scene_of_object is None else {"tree": scenes}


def read(folder: Path) -> tuple[Card, PartModel]:
    """Read and check a saved segmenter.

    Raises:
        LeopartError: a file is missing, unreadable or was altered.
    """
    content = _read_json(folder)
    arrays = folder / _ARRAYS
    if not arrays.is_file():
        raise LeopartError(f"{arrays} is missing: the segmenter is not whole, copy the folder again or refit")
    if sha256(arrays) != content.get("arrays sha256"):
        message = f"{arrays} is not the file that {_JSON} describes: copy the folder again or refit"
        raise LeopartError(message)
    try:
        card = _card(content)
        with safe_open(arrays, "pt") as file:
            if (file.metadata() or {}).get("card") != _seal(content):
                raise ValueError("its settings are not those of the arrays")
        model = checked_arrays(_model(safetensors.torch.load_file(arrays)))
        return card, saved_splits.with_splits(model, content)
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        message = f"{folder / _JSON} was altered ({error}): copy the folder again or refit"
        raise LeopartError(message) from error


def stretch_of(folder: Path) -> tuple[float, float] | None:
    """How the photos of a saved segmenter were stretched, see `Card`; loading it checks the rest.

    Raises:
        LeopartError: there is no segmenter, or this entry was altered.
    """
    try:
        given = _read_json(folder).get("stretch")
        return None if given is None else checked(given, tuple[float, float])
    except ValueError as error:
        message = f"{folder / _JSON} was altered (stretch): copy the folder again or refit"
        raise LeopartError(message) from error


def hash_of(folder: Path) -> str:
    """Changes with the segmenter, whose arrays' hash is in its card; empty where loading it will fail."""
    path = folder / _JSON
    return sha256(path) if path.is_file() else ""


def _card(content: dict[str, Any]) -> Card:
    """The card in a file's content.

    Raises:
        LookupError, ValueError: an entry is missing, or does not fit.
    """
    written = [field.name for field in fields(Card) if field.name not in ("labels", "stretch")]
    values = {name: content[name] for name in written} | {"stretch": content.get("stretch")}
    settings = values["settings"]
    is_older = isinstance(settings, dict) and settings.get("communities") == _REMOVED
    if is_older:
        values["settings"] = settings | {"communities": "auto"}
    card = checked(values | {"labels": content["labels used"]}, Card)
    if is_older:  # masks need no engine; another fit refuses it
        card = replace(card, settings=replace(card.settings, communities=_REMOVED))
    for name, part in (("preprocessing", card.preprocessing), ("settings", card.settings)):
        if unknown := content[name].keys() - asdict(part).keys():  # of a later version, or a slip
            raise ValueError(f"{name} has {', '.join(sorted(unknown))}")
    if card.precision not in _PRECISIONS or card.batch_size < 1 or card.preprocessing.size < 1:
        raise ValueError("its precision, batch_size or size is out of range")
    return card


def backbone_of(folder: Path, card: Card) -> str:
    """What `load_backbone` takes to load the segmenter's backbone, wherever the folder is now.

    Raises:
        LeopartError: it should lie in the folder and does not.
    """
    if card.backbone != TUNED:
        return card.backbone
    path = folder / TUNED
    if not path.is_file():
        raise LeopartError(f"{path} is missing: the segmenter is not whole, copy the folder again or refit")
    return str(path)


def check_backbone(folder: Path, card: Card, backbone: Backbone) -> None:
    """Refuse another backbone than the one the segmenter was fitted on: its ids would mean nothing."""
    if backbone.fingerprint != card.fingerprint:
        message = (
            f"{folder} was fitted on other weights than this {card.backbone}: "
            "bring back those weights, or fit a new segmenter"
        )
        raise LeopartError(message)


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / _JSON
    if not path.is_file():
        message = f"{folder} holds no segmenter ({_JSON} cannot be read): give the output folder of `segment`"
        raise LeopartError(message)
    content = read_json(path, dict[str, Any], "copy the folder again or refit")
    if content.get("format") not in (_FORMAT, _FORMAT_WITH_SPLITS):
        message = f"{path} is of a format this version does not read: refit, or use the version that wrote it"
        raise LeopartError(message)
    return content


def _seal(described: dict[str, Any]) -> str:
    """What the arrays file remembers of the card: all but where the backbones lie, which may move.

    It goes by what is written, not by `Card`: a version with one more option still reads older files.
    """
    sealed = {name: described[name] for name in _SEALED}
    return json.dumps(sealed | {"labels": described["labels used"]}, sort_keys=True)


def _arrays(model: PartModel) -> dict[str, Tensor]:
    arrays = {
        "reduction.offset": model.reduction.offset,
        "reduction.projection": model.reduction.projection,
        "clusters.centroids": model.clusters.centroids,
        "clusters.is_foreground": model.is_foreground,
        "parts.centroids": model.parts.centroids,
        "object_of_part": torch.from_numpy(model.object_of_part[: len(model.parts.centroids) + 1]),
    }
    if model.mixture is not None:
        arrays[_MIXTURE] = torch.from_numpy(model.mixture.parts_of_object)
    if model.margin is not None:
        arrays[_MARGIN] = model.margin
    if model.scene_of_object is not None:
        arrays[_SCENES] = torch.from_numpy(model.scene_of_object)
    if model.prototypes is not None:
        arrays[_PROTOTYPES] = model.prototypes.centroids
    return {name: array.contiguous() for name, array in arrays.items()}


def _model(arrays: dict[str, Tensor]) -> PartModel:
    mixture, scenes, prototypes = (arrays.get(name) for name in (_MIXTURE, _SCENES, _PROTOTYPES))
    return PartModel(
        Reduction(arrays["reduction.offset"], arrays["reduction.projection"]),
        KMeans(arrays["clusters.centroids"], spherical=True, objective=float("nan")),
        arrays["clusters.is_foreground"],
        KMeans(arrays["parts.centroids"], spherical=False, objective=float("nan")),
        arrays["object_of_part"].numpy(),
        None if mixture is None else ObjectMixture(mixture.numpy()),
        arrays.get(_MARGIN),
        None if scenes is None else scenes.numpy(),
        None if prototypes is None else KMeans(prototypes, spherical=True, objective=float("nan")),
    )
