"""The folder of a run: begun with a record of what is trained, and continued only with the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from leopart.config import TrainConfig
from leopart.data.photos import Photo
from leopart.documents import read_json, read_yaml
from leopart.errors import LeopartError
from leopart.files import write_text
from leopart.models.backbone import Backbone
from leopart.recipe import Recipe, learning_options, recipe_of, renamed
from leopart.run_record import settings_of, versions
from leopart.settings import flat, option_word
from leopart.training.checkpoints import FOLDER, LAST, read_checkpoint

CONFIG, RECORD = "config.yaml", "run.json"
#: Options that limit this call, and do not change what is trained.
_NOT_SETTINGS = ("resume", "stop_at")


def prepare_folder(
    config: TrainConfig, photos: Sequence[Photo], backbone: Backbone, *, resume: bool, write: bool
) -> int:
    """Check and set up the run folder.

    Args:
        config: what is trained.
        photos: on these.
        backbone: from this one.
        resume: whether to continue a run that is there.
        write: False where another process writes.

    Returns:
        The step from which the run continues, 0 at the beginning.

    Raises:
        LeopartError: the folder holds a run that is not to be continued, or one of something else.
    """
    state = config.out / FOLDER / LAST
    if state.is_file() and not resume:
        message = f"{config.out} holds a run already: add --resume to continue it, or choose another --out"
        raise LeopartError(message)
    done = read_checkpoint(state, mmap=True)["global_step"] if state.is_file() else 0
    record = {"photos": len(photos), "photos sha256": _names_hash(photos), "backbone": backbone.fingerprint}
    if resume and (config.out / CONFIG).exists():
        _refuse_other_run(config, record)
    if write:
        left_out = {*_NOT_SETTINGS, *flat(recipe_of(config))} - learning_options(config).keys()
        settings = {name: value for name, value in settings_of(config).items() if name not in left_out}
        write_text(config.out / CONFIG, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
        start = {"started from": backbone.name, "labels used": backbone.spec.labels}
        content = {**record, **start, "versions": versions()}
        write_text(config.out / RECORD, json.dumps(content, indent=2) + "\n")
    return int(done)


def _refuse_other_run(config: TrainConfig, record: dict[str, Any]) -> None:
    """A run continues with its own recipe, photos and backbone, or not at all."""
    before, known = _known(config.out)
    # A run that was begun before there was an option did what its default does.
    before, now = settings_of(Recipe()) | renamed(before), settings_of(config)
    changed = [name for name in learning_options(config) if before[name] != now[name]]
    if changed:
        shown = ", ".join(f"{option_word(name)} was {before[name]}, now {now[name]}" for name in changed)
        raise LeopartError(
            f"{config.out} was begun with other settings: {shown}; give the old ones or another --out"
        )
    if known.get("photos sha256") != record["photos sha256"]:
        counts = f"{known.get('photos')} then, {record['photos']} now"
        message = f"{config.out} was begun on other photos ({counts}): give the same --data or another --out"
        raise LeopartError(message)
    if known.get("backbone") != record["backbone"]:
        raise LeopartError(
            f"{config.out} was begun from other weights of {config.backbone}: choose another --out"
        )


def _known(out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and record that a run was begun with."""
    remedy = f"{out} cannot be resumed, begin another run"
    settings = read_yaml(out / CONFIG, dict[str, Any], remedy)
    record = read_json(out / RECORD, dict[str, Any], remedy)
    return settings, record


def _names_hash(photos: Sequence[Photo]) -> str:
    return hashlib.sha256("\n".join(photo.name for photo in photos).encode()).hexdigest()
