"""COCO's panoptic masks: PNGs whose colours number the segments, and a JSON file that names categories."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from leopart.data.masks import IndexMask, read_colour_mask
from leopart.data.photos import shown
from leopart.errors import LeopartError

_reading = threading.Lock()


@dataclass(frozen=True)
class PanopticIds:
    """Reads panoptic masks as category ids.

    Attributes:
        annotations: the JSON file. It is read once, with the first mask, and kept: 8 bytes per segment.
    """

    annotations: Path

    def __call__(self, path: Path) -> IndexMask:
        """Category ids [H, W], int32, 0 where there is no segment.

        Raises:
            LeopartError: mask or JSON cannot be read, or they do not belong together.

        Source: COCO's panoptic format: segment id = red + 256 green + 65536 blue.
        """
        colours = read_colour_mask(path).astype(np.int32)
        segments, where = np.unique(colours @ np.array([1, 256, 65536], np.int32), return_inverse=True)
        with _reading:  # one thread reads the JSON, the others wait for it
            listed = _segments(self.annotations).get(path.name)
        if listed is None:
            raise LeopartError(f"{shown(self.annotations)} says nothing of {path.name}; {_SAME_DOWNLOAD}")
        category = dict(zip(*listed.tolist(), strict=True)) | {0: 0}
        strangers = [segment for segment in segments.tolist() if segment not in category]
        if strangers:
            what = f"{shown(path)} holds the segment {strangers[0]}, of which {shown(self.annotations)} says"
            raise LeopartError(f"{what} nothing; {_SAME_DOWNLOAD}")
        ids = np.array([category[segment] for segment in segments.tolist()], np.int32)
        return ids[where.reshape(colours.shape[:2])]


_MOST_CATEGORIES = 2**16 - 1
_SAME_DOWNLOAD = "copy masks and JSON from the same download"


@lru_cache(maxsize=2)
def _segments(path: Path) -> dict[str, npt.NDArray[np.int32]]:
    """Segment ids and their categories, [2, segments], by the name of the mask."""
    try:
        with path.open(encoding="utf-8") as file:
            content = json.load(file, object_pairs_hook=_slim)
        return dict(map(_checked, content["annotations"]))
    except OSError as error:
        raise LeopartError(f"cannot read {shown(path)}: {error.strerror}; check the file") from error
    except Exception as error:  # what is damaged can fail in any way: too deep, too large, of another kind
        reason = str(error).split("\n")[0][:200] or type(error).__name__
        message = f"cannot read {shown(path)} as COCO's panoptic annotations: {reason}; copy it again"
        raise LeopartError(message) from error


def _checked(annotation: Any) -> tuple[str, npt.NDArray[np.int32]]:
    name, segments = annotation
    if not isinstance(name, str) or not isinstance(segments, np.ndarray):
        raise ValueError("an annotation names no mask, or lists no segments")
    if segments.size and (segments.min() < 0 or segments[1].max() > _MOST_CATEGORIES):
        raise ValueError(f"a segment of {name[:80]} has a category that cannot be one")
    return name, segments


def _slim(pairs: list[tuple[str, Any]]) -> Any:
    """What is kept of a JSON object, at once: in full the objects of train2017 take gigabytes."""
    content = dict(pairs)
    if "segments_info" in content:
        segments = np.array(content["segments_info"], np.int32).reshape(-1, 2).T
        return content["file_name"], segments
    if "category_id" in content:
        return content["id"], content["category_id"]
    return content if "annotations" in content else None
