"""Label Studio: tasks with brushes and polygons, as its JSON export has them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from leopart.data.annotations.annotated import (
    LARGEST_TEXT,
    Annotated,
    Names,
    Rowed,
    Rows,
    unique_last_parts,
)
from leopart.data.annotations.shapes import Bools, brush, polygon
from leopart.data.photo_list import PhotoEntry
from leopart.documents import read_json
from leopart.errors import LeopartError
from leopart.paths import shown


@dataclass(frozen=True)
class _Value:
    rle: Sequence[int] = ()
    brushlabels: Sequence[str] = ()
    points: Sequence[tuple[float, float]] = ()
    """In percent of the photo's width and height."""
    polygonlabels: Sequence[str] = ()


@dataclass(frozen=True)
class _Result:
    value: _Value = field(default_factory=_Value)
    original_width: int | None = None
    original_height: int | None = None

    @property
    def label(self) -> str | None:
        """Name of a region; None for anything else, such as a choice or a relation."""
        names = [*self.value.brushlabels, *self.value.polygonlabels]
        return names[0] if names else None


@dataclass(frozen=True)
class _Answer:
    result: Sequence[_Result]
    was_cancelled: bool = False


@dataclass(frozen=True)
class _Task:
    data: Mapping[str, Any]
    annotations: Sequence[_Answer] = ()
    predictions: Sequence[_Answer] = ()

    @property
    def results(self) -> Sequence[_Result] | None:
        """The latest annotation that was not skipped; without any, the latest prediction."""
        kept = [one for one in self.annotations if not one.was_cancelled] or list(self.predictions)
        return kept[-1].result if kept else None


class LabelStudioTasks(Annotated):
    """Tasks of a JSON export; where two regions overlap, the later one counts.

    Args:
        path: the JSON file.
        entries: photos of the run.

    Raises:
        LeopartError: it cannot be read.
    """

    def __init__(self, path: Path, entries: Sequence[PhotoEntry]) -> None:
        self.path, self.rows = path, Rowed()
        tasks = read_json(path, list[_Task], "export it again as JSON", limit=LARGEST_TEXT)
        self.tasks = {place: task for task in tasks for place in _places(task.data)}
        for task in tasks:
            for result in task.results or ():
                if result.label is not None:
                    self.rows(result.label)
        self.classes, self.alone = self.rows.names, unique_last_parts(entries)
        self.names = Names(self.tasks)

    def read(self, entry: PhotoEntry) -> Rows | None:
        """See `Annotated.read`."""
        places = [place for place in self.tasks if place.endswith(f"/{entry.name}")]
        name = places[0] if len(places) == 1 else self.names.find(entry.name, entry.name in self.alone)
        if name is None or (results := self.tasks[name].results) is None:
            return None
        found = np.zeros((entry.height, entry.width), np.int32)
        for result in results:
            if result.label is None:
                continue
            size = (result.original_height or entry.height, result.original_width or entry.width)
            if size != found.shape:
                raise self.wrong(entry, size)
            try:
                found[_pixels(result.value, *found.shape)] = self.rows(result.label)
            except LeopartError as error:
                raise LeopartError(f"{shown(self.path)}, {entry.name}: {error}") from error
        return found


def _pixels(value: _Value, height: int, width: int) -> Bools:
    if value.brushlabels:
        return brush(value.rle, height, width)
    return polygon(np.array(value.points, float).reshape(-1, 2) * (width, height) / 100, height, width)


def _places(data: Mapping[str, Any]) -> list[str]:
    """Paths that the addresses of a task's photos lead to, as far as they say."""
    found = []
    for address in data.values():
        if not isinstance(address, str):
            continue
        parts = urlsplit(address)
        path = unquote(parts.path)
        path = parse_qs(parts.query).get("d", [path])[0]  # /data/local-files/?d=folder/photo.jpg
        found.append(re.sub(r"(?<=/)[0-9a-f]{8}-(?=[^/]+$)", "", path))  # of a photo that was uploaded
    return found
