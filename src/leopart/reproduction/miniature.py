"""Every row on a laptop: one labelled folder for all data sets, stand-ins for the networks, few steps.

It shows that everything runs, and in which direction numbers move. The numbers are not the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from leopart.data.datasets.folder import splits_of
from leopart.data.datasets.labelled import labelled_photos, parse_data
from leopart.data.labelled import LabelledPhotos
from leopart.errors import LeopartError
from leopart.files import write_text
from leopart.models.weights.opening import open_weights
from leopart.models.weights.registry import BACKBONES, DEFAULT_BACKBONE, BackboneSpec
from leopart.presets import fitting, preset
from leopart.recipe import Recipe
from leopart.reproduction.rows import Cell, EvaluationProtocol, Network
from leopart.reproduction.setting import Job, MissingRequirement, weights_are_here
from leopart.settings import flat, updated

#: Stand-ins of networks, apart from the stand-in of DINO.
_RANDOM = {
    "random_vits16": "random_vits16",
    "mocov3_vits16": "random_vits16:1",
    "mae_vitb16": "random_vits16:2",
    "supervised_resnet50": "random_resnet50",
    "mocov2_resnet50": "random_resnet50:1",
    "densecl_resnet50": "random_resnet50:2",
}
_SUPERVISED = {DEFAULT_BACKBONE: f"{DEFAULT_BACKBONE}_full"}
"""Stand-in of a supervised network: all twelve blocks; the last two were trained with labels."""
#: Divisors: of the clusters of evaluations, of prototypes, of small crops.
_CLUSTERS, _PROTOTYPES, _CROPS = 5, 3, 2
#: Number of last blocks that are trained, as in `quick`.
_BLOCKS = 3
#: Settings that follow from the size of a training, not from what a row is about.
_SIZE = {
    *("backbone", "epochs", "steps", "batch_size", "lr", "lr_head", "momentum", "momentum_end"),
    *("prototypes", "local_crops", "queue"),
}
_SEED = 0
_SHARE_TO_LEARN = 2 / 3


@dataclass
class Miniature:
    """All rows on one labelled folder.

    Attributes:
        data: `folder:PATH`.
        masks: which masks; they need a class `background`.
        out: folder for the lists of photos.
        backbone: stands in for DINO.
        steps: of a training.
        size: side in pixels of the network's input in evaluations.
        seeds: of an evaluation.
        photos: largest number of photos to score; drawn at random.
        batch_size: photos of a training step.

    Raises:
        LeopartError: it is not a labelled folder, or is too small.
    """

    data: str
    masks: str
    out: Path
    backbone: str = DEFAULT_BACKBONE
    steps: int = 60
    size: int = 224
    seeds: int = 2
    photos: int = 300
    batch_size: int = 8

    def __post_init__(self) -> None:
        name, path = parse_data(self.data)
        if name != "folder":
            raise LeopartError(f"--mini takes a labelled folder: --data folder:PATH, not {name}")
        self.path = path
        labelled = labelled_photos(self.data, self.masks)
        self.all = self._list("all", _drawn(labelled, self.photos))
        self.train, self.val = self._halves(labelled)

    def job(self, network: Network) -> Job:
        """See `Setting`."""
        start = self.stand_in(network.backbone)
        if network.preset is None:
            return Job(start)
        recipe = self._recipe(network.preset, start)
        return Job(start, recipe, f"folder:{self.path}", f"{network.preset} in miniature")

    def options(self, protocol: EvaluationProtocol) -> dict[str, Any]:
        """See `Setting`."""
        given = dict(protocol.options)
        options = {
            "task": protocol.task,
            "data": f"folder:{self.path}",
            "masks": self.masks,
            "size": self.size,
        }
        options["split"] = self.all
        if protocol.task == "linear":
            return options | {"split": self.val, "train_split": self.train, "eval_size": self.size}
        if "k" in given:
            options["k"] = tuple(map(_fewer, given["k"]))
        for name in ("preset", "tune_on_labels", "noisy_foreground"):
            if name in given:
                options[name] = given[name]
        if "attention_backbone" in given:
            options["attention_backbone"] = self.backbone
        if protocol.task != "foreground":
            options["seeds"] = self.seeds
        return options

    def here(self, cell: Cell) -> Cell:
        """See `Setting`: with fewer clusters, as its name says, and without a published number."""
        *above, name, metric = ("", *cell.path)
        column = cell.column
        if name.isdecimal():
            name = str(_fewer(int(name)))
            column = f"K={name}" if column.startswith("K=") else f"{column}, K={name}"
        return replace(cell, column=column, path=(*above[1:], name, metric), published=None, source="")

    def missing(self, network: Network) -> list[MissingRequirement]:
        """See `Setting`."""
        backbone = self.stand_in(network.backbone)
        return [] if weights_are_here(backbone) else [MissingRequirement("weights", backbone)]

    def missing_to_score(self, protocol: EvaluationProtocol) -> list[MissingRequirement]:
        """See `Setting`."""
        del protocol
        return []

    def stands_for(self, network: Network) -> str:
        """See `Setting`."""
        return self.stand_in(network.backbone)

    def stand_in(self, backbone: str) -> str:
        """The stand-in of a row of `leopart weights list`."""
        backbone = backbone.removesuffix("_paper")
        if backbone.startswith("supervised_vit"):
            return _SUPERVISED.get(self.backbone, self.backbone)
        return _RANDOM.get(backbone, self.backbone)

    def _recipe(self, name: str, start: str) -> Recipe:
        """The preset `quick`, changed as the named preset differs from the paper's base."""
        wanted, base, small = flat(preset(name)), flat(Recipe()), preset("quick")
        spec = _spec(start)
        own = {option: value for option, value in wanted.items() if value != base[option]}
        size = {
            "backbone": start,
            "steps": self.steps,
            "batch_size": self.batch_size,
            "train_blocks": min(_BLOCKS, spec.depth),
            "prototypes": max(2, wanted["prototypes"] // _PROTOTYPES),
            "local_crops": wanted["local_crops"] // _CROPS,
            "queue": small.leopart.queue if wanted["queue"] else 0,
        }
        recipe = updated(small, **{option: own[option] for option in own.keys() - _SIZE} | size)
        return fitting(recipe, spec.patch_size)

    def _halves(self, labelled: LabelledPhotos) -> tuple[str, str]:
        """Lists of the photos to learn from and to score: the folder's own, or drawn at random."""
        if {"train", "val"} <= set(splits_of(labelled.path)):
            return "train", "val"
        names = _drawn(labelled, self.photos)
        count = round(_SHARE_TO_LEARN * len(names))
        if not 0 < count < len(names):
            raise LeopartError(f"{self.data} has {len(names)} labelled photo; --mini needs two or more")
        order = np.random.default_rng(_SEED).permutation(len(names))
        learned = [names[i] for i in sorted(order[:count])]
        scored = [names[i] for i in sorted(order[count:])]
        return self._list("train", learned), self._list("val", scored)

    def _list(self, name: str, names: Sequence[str]) -> str:
        file = self.out / "lists" / f"{name}.txt"
        write_text(file, "".join(f"{one}\n" for one in names))
        return str(file.resolve())


def _fewer(clusters: int) -> int:
    return max(2, clusters // _CLUSTERS)


def _drawn(labelled: LabelledPhotos, most: int) -> list[str]:
    """Stems of at most `most` photos, in their order."""
    names = [Path(photo.name).with_suffix("").as_posix() for photo, _ in labelled.pairs]
    if len(names) <= most:
        return names
    chosen = np.random.default_rng(_SEED).choice(len(names), most, replace=False)
    return [names[i] for i in sorted(chosen)]


def _spec(backbone: str) -> BackboneSpec:
    return BACKBONES.get(backbone.partition(":")[0]) or open_weights(backbone).spec
