"""Whether a folder holds the finished output of this very command, so that there is nothing left to do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leopart.config import PredictConfig, SegmentConfig
from leopart.data.photos import Photo, output_stems
from leopart.documents import checked, read_json
from leopart.errors import LeopartError
from leopart.run_record import settings_of, versions
from leopart.segment.summary import Summary

Asked = SegmentConfig | PredictConfig


def identity(photos: Sequence[Photo], made_with: str) -> str:
    """Changes when a photo comes, goes or is replaced, or when the masks are made with something else.

    Args:
        photos: all that were given.
        made_with: fingerprint of the network or the segmenter.

    Returns:
        A SHA-256, 64 hexadecimal digits.
    """
    digest = hashlib.sha256(made_with.encode())
    for photo in photos:
        try:
            stat = photo.path.stat()
            facts = [photo.name, stat.st_size, stat.st_mtime_ns]
        except OSError:  # it fails by name when it is looked at
            facts = [photo.name]
        digest.update(json.dumps(facts).encode())
    return digest.hexdigest()


def finished(config: Asked, photos: Sequence[Photo], inputs: str) -> Summary | None:
    """What an earlier run of the same command says, if all it has written is still there; else None.

    Args:
        config: what is asked for now.
        photos: all of them.
        inputs: see `identity`.
    """
    path = config.out / "summary.json"
    if config.overwrite or not path.is_file():
        return None
    try:
        content = read_json(path, dict[str, Any], "")
        summary = checked({**content, "labels": content.get("labels used", "none")}, Summary)
    except (LeopartError, ValueError):  # damaged: done again
        return None
    same = json.loads(json.dumps(settings_of(config), default=str)) == content["settings"]
    before: Any = content.get("versions")
    made_now = isinstance(before, Mapping) and before.get("leopart") == versions()["leopart"]
    if not (same and made_now and summary.inputs == inputs and _is_whole(config, photos, summary)):
        return None
    return summary


def _is_whole(config: Asked, photos: Sequence[Photo], summary: Summary) -> bool:
    failed = {failure.name for failure in summary.failures}
    stems = zip(photos, output_stems(photos), strict=True)
    done = [stem for photo, stem in stems if photo.name not in failed]
    kinds = [("parts", ".png"), ("objects", ".png"), *([("overlays", ".jpg")] if config.overlays else [])]
    files = [config.out / kind / f"{stem}{suffix}" for kind, suffix in kinds for stem in done]
    if summary.command == "segment":
        folder = config.out / "segmenter"
        files += [config.out / "report.html", folder / "segmenter.json", folder / "arrays.safetensors"]
    return all(map(Path.is_file, files))
