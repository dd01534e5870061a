"""The output folder of `segment` and `predict`: what a run may read, and what it may replace."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

import yaml

from leopart.config import PredictConfig, SegmentConfig
from leopart.data.developing import Development, develop
from leopart.data.photos import PhotoSearch, search_photos
from leopart.errors import LeopartError
from leopart.features.store import is_store_or_begun
from leopart.files import put_back, write_text
from leopart.models.weights.cards import card_path
from leopart.models.weights.spec import TUNED
from leopart.progress import Track, silent
from leopart.run_record import settings_of
from leopart.segment.adapting import STATE

FEATURES = ".features"
"""Below the output folder, until the run is done."""
DEVELOPED = "developed"
"""Below the output folder: photos as `--stretch` and `--pages all` make them."""
#: What a run writes below its output folder, and never reads as photos.
_OUTPUTS = ("parts", "objects", "labels", "overlays", "segmenter", DEVELOPED, FEATURES, STATE)


def photos_for(config: SegmentConfig | PredictConfig, *, track: Track = silent) -> PhotoSearch:
    """The photos asked for, developed, without earlier output of this folder, which needs no note.

    Raises:
        LeopartError: there is no photo, or the output folder holds something that no run has written.
    """
    if not (config.out / "config.yaml").exists():
        for name in _OUTPUTS:
            if os.path.lexists(config.out / name) and not _is_state(config.out / name):
                message = f"{config.out / name} is there, and not of an earlier run: choose another --out"
                raise LeopartError(message)
    # Not Path.resolve: Python before 3.13 raises for a link that leads to itself.
    outputs = [Path(os.path.realpath(config.out / name)) for name in _OUTPUTS]
    search = search_photos(config.images)
    found = [(photo, Path(os.path.realpath(photo.path))) for photo in search.photos]
    photos = [photo for photo, path in found if not any(path.is_relative_to(o) for o in outputs)]
    if not photos:
        raise LeopartError(f"all photos are earlier output in {config.out}: give the folder of the photos")
    others = [path for path in search.left_out if Path(os.path.realpath(path)) not in outputs]
    how = Development(config.stretch, config.pages == "all")
    return develop(PhotoSearch(photos, others), config.out / DEVELOPED, how, track=track)


def _is_state(folder: Path) -> bool:
    """Whether a run that failed early may have left this: it takes its `config.yaml` back."""
    if folder.name == FEATURES:
        return is_store_or_begun(folder)
    return folder.name == STATE and (folder / "adaptation.json").is_file()


def settings_of_masks(out: Path) -> AbstractContextManager[None]:
    """Keep `config.yaml` as it was if the block fails before it has written masks."""
    was_done = (out / "summary.json").is_file()

    def has_masks() -> bool:
        return (out / "parts").is_dir() and not (was_done and (out / "summary.json").is_file())

    return put_back(out / "config.yaml", unless=has_masks)


def write_settings(config: SegmentConfig | PredictConfig) -> None:
    """Write the resolved configuration, which `--config` takes back."""
    settings = yaml.safe_dump(settings_of(config), sort_keys=False, allow_unicode=True)
    write_text(config.out / "config.yaml", settings)


def remove_earlier(out: Path, backbone: str, attention_of: str | None) -> None:
    """Remove what an earlier run wrote and would not fit the new masks; backbones in use stay.

    Args:
        out: the output folder.
        backbone: where the run's backbone comes from, see `Backbone.source`.
        attention_of: likewise of the one whose attention is used.
    """
    inside = (out / "segmenter" / TUNED).resolve()
    used = {backbone} | ({str(Path(attention_of).resolve())} if attention_of else set())
    in_use = bool(used & {str(inside), str(inside.parent)})
    own = [] if in_use else [card_path(inside), inside]
    names = ("report.html", "summary.json", "areas.csv", "segmenter/segmenter.json")
    for path in (*(out / name for name in names), *own):
        path.unlink(missing_ok=True)


def stale_masks(out: Path, n_written: int) -> list[str]:
    """A warning about masks of an earlier run: their ids mean something else."""
    extra = sum(path.is_file() for path in (out / "parts").rglob("*.png")) - n_written
    if extra <= 0:
        return []
    masks = "1 mask" if extra == 1 else f"{extra} masks"
    return [f"{out} also holds {masks} of an earlier run, whose ids mean something else: delete them."]
