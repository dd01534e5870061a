"""Adapt the backbone to the photos before their features are taken: whether, how long, and what to say.

Training is imported only where it is done: its libraries take seconds to load.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from leopart.clustering.suitability import Suitability
from leopart.data.photos import Photo
from leopart.errors import LeopartError, interruption
from leopart.models.backbone import Backbone
from leopart.recipe import learning_options
from leopart.segment.judging import Judgement

if TYPE_CHECKING:
    from leopart.training.adaptation import Adapted
    from leopart.training.monitoring.progress import ProgressCallback

OpenProgress = Callable[[], AbstractContextManager["ProgressCallback"]]
"""Opens the progress callback of a training, for as long as it takes."""

STATE = ".adaptation"
"""Folder of an adaptation that is under way."""


@dataclass(frozen=True)
class AdaptationRequest:
    """How the backbone is to be adapted.

    Attributes:
        minutes: time for training, above 0.
        method: see `leopart.recipe.Recipe.method`.
        keep: use the adapted network even where it is no better, see `Judgement`.
    """

    minutes: float
    method: str = "leopart"
    keep: bool = False


AUTO_PHOTOS = 50
"""From this number of photos on, `auto` adapts."""
#: Minutes where no number is given.
_MINUTES, _MINUTES_ON_CUDA = 10.0, 5.0


def minutes_of(wanted: bool | float | Literal["auto"], photos: int, backbone: Backbone) -> float | None:
    """How long to adapt; None for not at all.

    Args:
        wanted: minutes; True for as many as are good on this machine; `auto` for these where there are enough
            photos and the network can be trained; False for none.
        photos: how many there are.
        backbone: on its device.

    Raises:
        LeopartError: the network cannot be trained.
    """
    if wanted is False or (wanted == "auto" and (photos < AUTO_PHOTOS or not backbone.spec.trainable)):
        return None
    _require_transformer(backbone)
    if isinstance(wanted, bool | str):
        return _MINUTES_ON_CUDA if _device_of(backbone).type == "cuda" else _MINUTES
    return wanted


@contextmanager
def without_progress() -> Iterator[ProgressCallback]:
    """Show nothing."""
    from leopart.training.monitoring.progress import no_progress

    yield no_progress


def adapt_backbone(
    backbone: Backbone,
    photos: Sequence[Photo],
    folder: Path,
    *,
    minutes: float,
    seed: int,
    method: str = "leopart",
    replace_other: bool = True,
    open_progress: OpenProgress = without_progress,
) -> Adapted:
    """Fine-tune a copy of the backbone on the photos; see `leopart.training.adaptation.adapt`.

    Raises:
        LeopartError: also if `minutes` make no sense.
        KeyboardInterrupt: a signal ended it; the same call continues.
    """
    if not 0 < minutes < math.inf:
        raise LeopartError(f"minutes to adapt must be above 0, got {minutes:g}")
    _require_transformer(backbone)
    with open_progress() as progress:
        many = "1 photo" if len(photos) == 1 else f"{len(photos)} photos"
        what = f"adapting {backbone.name} to {many}, without labels: about {minutes:g} min, or less"
        progress.note(f"{what}; --no-adapt skips this")
        from leopart.training.adaptation import AdaptationPlan, adapt

        plan = AdaptationPlan(minutes, _device_of(backbone), seed, replace_other=replace_other, method=method)
        try:
            adapted = adapt(backbone, photos, folder, plan, progress=progress)
        except LeopartError as error:
            raise _explained(error, backbone) from error
    if adapted.interrupted:
        raise interruption(adapted.signal)
    return adapted


def adaptation_results(adapted: Adapted, judgement: Judgement) -> dict[str, Any]:
    """What was done, for `summary.json`."""
    return {
        "recipe": "adaptation",
        "minutes": adapted.minutes,
        "steps": adapted.steps,
        "seconds": round(adapted.seconds, 3),
        "stopped_early": adapted.stopped_early,
        "kept": judgement.kept,
        "before": _numbers(judgement.before),
        "after": _numbers(judgement.after),
        "settings": learning_options(adapted.recipe),
    }


def _numbers(found: Suitability | None) -> dict[str, float | None] | None:
    """Rounded; JSON has no NaN."""
    if found is None:
        return None
    return {name: None if math.isnan(value) else round(value, 4) for name, value in vars(found).items()}


def measured(networks: Mapping[str, Suitability]) -> dict[str, dict[str, float | None] | None]:
    """The numbers of several networks, for `summary.json`."""
    return {name: _numbers(found) for name, found in networks.items()}


def _require_transformer(backbone: Backbone) -> None:
    if not backbone.spec.trainable:
        what = f"{backbone.name} is {backbone.spec.kind}, and only vision transformers can be adapted"
        raise LeopartError(f"{what} to the photos: choose another --backbone, or --no-adapt")


def _explained(error: LeopartError, backbone: Backbone) -> LeopartError:
    """The same error, with the options of this command instead of those of `leopart train`."""
    if not any(option in str(error) for option in ("--lr", "--train-blocks")):
        return error
    what = str(error).partition(":")[0]
    message = (
        f"{backbone.name} could not be adapted to the photos ({what}): choose another --backbone or "
        "--device, or --no-adapt"
    )
    return LeopartError(message)


def _device_of(backbone: Backbone) -> torch.device:
    return next(backbone.parameters()).device
