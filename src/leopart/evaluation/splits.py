"""The photos that an evaluation learns from, and those that it scores."""

from __future__ import annotations

from leopart.config import EvaluateConfig, TrainedConfig
from leopart.data.datasets.labelled import SPLITS, labelled_photos
from leopart.data.labelled import LabelledPhotos
from leopart.data.photos import shown
from leopart.errors import LeopartError
from leopart.files import write_text
from leopart.processes import is_first_process

_DRAWN = "train10"
_TRAIN = {"voc": "trainaug", "coco-stuff": _DRAWN, "coco-thing": _DRAWN}
"""Default list to learn from, by data set; `train` for the others."""


def data_name(config: EvaluateConfig) -> str:
    """The name before the colon of `--data`; a path alone is a `folder`."""
    name, colon, _ = config.data.partition(":")
    return name if colon and name in SPLITS else "folder"


def scored_photos(config: EvaluateConfig, given: LabelledPhotos | None = None) -> LabelledPhotos:
    """The photos that are scored.

    Args:
        config: says which.
        given: the photos themselves, in place of those that `config` names.

    Raises:
        LeopartError: see `labelled_photos`.
    """
    if given is None:
        given = labelled_photos(config.data, config.masks, scored_split(config))
    return given.without(config.ignore)


def scored_split(config: EvaluateConfig) -> str | None:
    """The list of the photos that are scored; None = all of a folder."""
    if config.split is not None:
        return config.split
    if (name := data_name(config)) in SPLITS:
        return next(iter(SPLITS[name]))
    # The whole folder holds the photos that are learned from.
    return "val" if isinstance(config, TrainedConfig) else None


def learned_split(config: TrainedConfig) -> str:
    """The list of the photos that are learned from."""
    return config.train_split or _TRAIN.get(data_name(config), "train")


def learned_photos(
    config: TrainedConfig, scored: LabelledPhotos, given: LabelledPhotos | None = None
) -> LabelledPhotos:
    """The photos that are learned from; none of them is scored.

    The names of a drawn list (`train10`) are written beside the scores, as `.train10.txt`.

    Args:
        config: says which photos.
        scored: the photos that are scored.
        given: the photos themselves, in place of those that `config` names.

    Raises:
        LeopartError: see `labelled_photos`; or a photo is in both lists, or the list cannot be written.
    """
    split = learned_split(config)
    if given is None:
        given = labelled_photos(config.data, config.masks, split)
    learned = given.without(config.ignore)
    both = {photo.path for photo, _ in scored.pairs} & {photo.path for photo, _ in learned.pairs}
    if both:
        count = f"{len(both)} of {len(scored.pairs)} photos to score are among those to learn from"
        raise LeopartError(f"{count}; give --split and --train-split lists without common photos")
    if split == _DRAWN and is_first_process():
        names = "".join(f"{photo.name}\n" for photo, _ in learned.pairs)
        write_text(config.out.with_suffix(f".{_DRAWN}.txt"), shown(names))
    return learned


def notes_on(learned: LabelledPhotos) -> tuple[str, ...]:
    """Notes on the photos that are learned from, marked as such."""
    return tuple(f"photos to learn from: {note}" for note in learned.notes)
