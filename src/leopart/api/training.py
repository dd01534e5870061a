"""`leopart.train` and `leopart.adapt`: fine-tune a backbone on photos, without labels."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

from leopart.api.options import with_options
from leopart.api.progress import training_progress
from leopart.config import TrainConfig
from leopart.data.datasets.unlabelled import LAYOUTS
from leopart.data.given import PhotoLike, as_files
from leopart.locks import locked
from leopart.models.backbone import Backbone
from leopart.models.custom import BackboneLike, as_backbone
from leopart.models.device import pick_device
from leopart.presets import preset
from leopart.recipe import Recipe
from leopart.segment.adapting import adapt_backbone, minutes_of
from leopart.settings import flat
from leopart.training import train as training
from leopart.training.run import Trained

Photos = PhotoLike | Iterable[PhotoLike]
_GIVEN = "photos given from Python"


def train(
    recipe: str | Recipe,
    photos: Photos,
    out: str | Path,
    *,
    backbone: BackboneLike | None = None,
    progress: bool = False,
    **changes: Any,
) -> Trained:
    """Fine-tune a backbone on photos without labels, as `leopart train` does.

    Args:
        recipe: name of a preset (`leopart train --presets` lists them), or a recipe. One of a subclass of
            `leopart.Recipe` may hold the settings of a training method of your own.
        photos: `NAME:PATH` as `--data` takes it, a folder, or photos; those in memory are written to
            `OUT/photos`.
        out: folder of the run. It then holds the backbone: `leopart.load_backbone(out)`.
        backbone: to start from, in place of the recipe's: name, path, or a loaded one, which stays as it is.
        progress: show a bar.
        **changes: options of `leopart train`, such as `steps=100`, `batch_size=8` or `resume=True`.

    Returns:
        The result; `.backbone` is the fine-tuned one.

    Raises:
        LeopartError: there is no such preset or option, or photos, backbone and settings do not fit.
    """
    out = Path(out)
    found = preset(recipe) if isinstance(recipe, str) else recipe
    data, files = _named(photos), None
    if data is None:
        data, files = _GIVEN, as_files(photos, out / "photos")
    name = recipe if isinstance(recipe, str) else "python"
    config = _config_for(found)(preset=name, data=data, out=out)
    if isinstance(backbone, str | Path):
        changes["backbone"] = str(backbone)
    config = with_options(config, flat(found) | changes, "train")
    loaded = None if isinstance(backbone, str | Path | None) else as_backbone(backbone)
    with training_progress(progress) as shown:
        return training.train(config, photos=files, backbone=loaded, progress=shown)


def _config_for(recipe: Recipe) -> type[TrainConfig]:
    """The class of configurations that hold a recipe: one of its own for the recipe of a foreign method."""
    if type(recipe) is Recipe:
        return TrainConfig
    made: type[TrainConfig] = make_dataclass(
        "TrainConfig",
        [],
        bases=(TrainConfig, type(recipe)),
        namespace={"recipe_class": classmethod(lambda _: type(recipe))},
        frozen=True,
        kw_only=True,
    )
    return made


def _named(photos: Photos) -> str | None:
    """What `--data` takes for these photos; None where it takes nothing of the kind."""
    if isinstance(photos, str) and photos.partition(":")[0] in LAYOUTS:
        return photos
    if isinstance(photos, str | Path) and Path(photos).is_dir():
        return f"folder:{photos}"
    return None


def adapt(
    backbone: BackboneLike,
    photos: Photos,
    *,
    minutes: float | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: bool = False,
) -> Backbone:
    """Fine-tune a copy of a backbone on photos for some minutes, without labels, as `segment --adapt` does.

    Args:
        backbone: a vision transformer: name, path, or a loaded one, which stays as it is.
        photos: a folder, or photos. 50 or more are worth it.
        minutes: how long at most; None = 10 on a CPU, 5 on CUDA. It ends early where more is of no use.
        out: folder for the result, from which `load_backbone` takes it, and for the state from which the same
            call continues after an interruption; None keeps nothing on disk.
        seed: of every random choice.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        progress: show a bar.

    Returns:
        The adapted backbone. Its attention is spoilt for finding foreground, so give `Segmenter` the one it
        started from as `attention_backbone`.

    Raises:
        LeopartError: the backbone cannot be adapted, or no photo can be read.
        KeyboardInterrupt: a signal ended it.
    """
    start = as_backbone(backbone, pick_device(device))
    with _folder_for(out) as folder:
        files = as_files(photos, folder / "photos")
        adapted = adapt_backbone(
            start,
            files,
            folder,
            minutes=minutes_of(True if minutes is None else minutes, len(files), start) or 0.0,
            seed=seed,
            replace_other=False,
            open_progress=lambda: training_progress(progress),
        ).backbone
    if out is None:
        adapted.source = ""
    return adapted


@contextmanager
def _folder_for(out: str | Path | None) -> Iterator[Path]:
    """The folder, which nobody else writes to meanwhile; or one that is deleted afterwards."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="leopart-") as folder:
            yield Path(folder)
    else:
        with locked(Path(out)):
            yield Path(out)
