"""A run's folder as the page sees it: photos by number, parts and objects with their colours."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leopart.data.masks import read_index_mask
from leopart.data.photo_list import PhotoEntry, read_photo_list
from leopart.documents import read_json
from leopart.drawing.palette import CONTRASTING, colours, part_colours
from leopart.errors import LeopartError
from leopart.segment.labelling import Ids, ids_of

CACHE = ".view"
"""Folder in OUT for what the page makes: small pictures, counts and the draft. It can be deleted."""


@dataclass(frozen=True)
class Run:
    """What `leopart segment` wrote, opened for the page.

    Attributes:
        out: the folder, resolved.
        ids: of its segmenter.
        entries: its photos; the page names a photo by its place here, never by a path.
        objects: main parts of each object id.
        scenes: object ids of each scene group.
        confidence: of photos, by name, where the run has computed it; the larger, the surer.
    """

    out: Path
    ids: Ids
    entries: tuple[PhotoEntry, ...]
    objects: dict[int, list[int]]
    scenes: list[list[int]]
    confidence: dict[str, float] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        """See `CACHE`."""
        return self.out / CACHE

    def masks(self, entry: PhotoEntry) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        """Part ids and object ids of a photo, uint16 [H, W] each.

        Raises:
            LeopartError: a mask is missing or damaged, lies outside the folder, holds ids that the segmenter
                does not have, or the two differ in size.
        """
        paths = [entry.mask_path(self.out, kind) for kind in ("parts", "objects")]
        strangers = [path for path in paths if not path.resolve().is_relative_to(self.out)]
        if strangers:
            raise LeopartError(f"{strangers[0]} leads out of {self.out}; put the mask itself there")
        parts, objects = (read_index_mask(path) for path in paths)
        fits = parts.max(initial=0) <= self.ids.n_parts and objects.max(initial=0) <= self.ids.n_objects
        if not fits or parts.shape != objects.shape:
            raise LeopartError(f"the masks of {entry.name} are of another run; run `leopart segment` again")
        return parts.astype(np.uint16), objects.astype(np.uint16)

    def by_confidence(self) -> list[int]:
        """Photos, the least sure first; those without a confidence last."""
        values = [self.confidence.get(entry.name, np.inf) for entry in self.entries]
        return [int(index) for index in np.argsort(values, kind="stable")]

    def described(self) -> dict[str, Any]:
        """The run in JSON types, for the page."""
        object_of_part = np.zeros(self.ids.n_parts + 1, np.int64)
        for number, parts in self.objects.items():
            object_of_part[parts] = number
        return {
            "folder": self.out.name,
            "photos": [[entry.name, entry.width, entry.height] for entry in self.entries],
            "parts": self.ids.n_parts,
            "objects": [[number, parts] for number, parts in self.objects.items()],
            "objectOfPart": object_of_part.tolist(),
            "scenes": self.scenes,
            "hasConfidence": bool(self.confidence),
            "ids": self.ids.fingerprint,
            "partColours": part_colours(object_of_part, self.ids.splits).tolist(),
            "contrasting": CONTRASTING.tolist(),
            "objectColours": colours(self.ids.n_objects + 1).tolist(),
        }


def open_run(out: Path) -> Run:
    """Open a run's folder.

    Raises:
        LeopartError: it is none, is damaged, or its folder for small pictures leads elsewhere.
    """
    out = out.resolve()
    ids, entries = ids_of(out), read_photo_list(out)
    remedy = "run `leopart segment` again"
    card = read_json(out / "segmenter" / "segmenter.json", dict[str, Any], remedy)
    try:
        objects = {int(one["id"]): [int(part) for part in one["parts"]] for one in card["objects"]}
        scenes = [[int(obj["id"]) for obj in one["objects"]] for one in card["tree"]]
        known = set(range(1, ids.n_parts + 1)).issuperset(
            part for parts in objects.values() for part in parts
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LeopartError(f"{out / 'segmenter'} does not list parts and objects; {remedy}") from error
    if not known or set(objects) != set(range(1, ids.n_objects + 1)):
        raise LeopartError(f"{out / 'segmenter'} lists ids that it does not have; {remedy}")
    if not (out / CACHE).resolve().is_relative_to(out):
        raise LeopartError(f"{out / CACHE} leads out of the folder; remove it, it is made anew")
    return Run(out, ids, tuple(entries), objects, scenes, _confidence(out))


@dataclass(frozen=True)
class _ResultsOfPhotos:
    confidence: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _SummaryOfPhotos:
    results: _ResultsOfPhotos = field(default_factory=_ResultsOfPhotos)


def _confidence(out: Path) -> dict[str, float]:
    """See `Run`; empty where the run has none."""
    path = out / "summary.json"
    if not path.is_file():
        return {}
    return read_json(path, _SummaryOfPhotos, "run `leopart segment` again").results.confidence
