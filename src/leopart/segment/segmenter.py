"""Photos in, masks out, as an object with fit, predict, save and load."""

from __future__ import annotations

import inspect
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sized
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from leopart.config.method import FitSettings
from leopart.data.given import PhotoLike, as_files, each_photo, is_one_photo
from leopart.data.images import load_photo
from leopart.errors import LeopartError
from leopart.features.extract import Extractor, Preprocessing
from leopart.features.failure import Failure
from leopart.models.backbone import Backbone
from leopart.models.custom import BackboneLike
from leopart.models.weights.registry import DEFAULT_BACKBONE
from leopart.models.weights.spec import TUNED
from leopart.progress import Track, bars, silent
from leopart.segment import saved
from leopart.segment.adapting import AdaptationRequest
from leopart.segment.fit import Fit
from leopart.segment.labelling import LabelTable, labels_beside
from leopart.segment.learning import Workspace, learn, open_extractor
from leopart.segment.part_model import PartModel
from leopart.segment.photo_masks import photo_masks
from leopart.segment.picture import Picture
from leopart.segment.segmentation import Segmentation

if TYPE_CHECKING:
    from typing import Self

PathLike = str | Path


class NotFittedError(LeopartError):
    """A segmenter that has learned nothing yet was asked for masks, or to be saved."""


class Segmenter:
    """Learns parts and objects from photos without labels, then finds the same ones in any photo.

    It follows scikit-learn: parameters are stored as they are given and can be cloned, `fit` may be called
    any number of times, and what it learns ends in `_`.

    Args:
        backbone: name, path, a loaded `Backbone`, or any callable from images to tokens, see
            `leopart.models.custom.TokenNetwork`; `leopart weights list` has names.
        attention_backbone: whose attention decides what is foreground while fitting: name, path, or a loaded
            one; None = that of `backbone` before it is adapted. Fine-tuning spoils the attention, so for a
            backbone that Leopart has trained, give the one it started from.
        adapt: minutes for which `fit` first fine-tunes a copy of the backbone on the photos, without labels;
            None = not at all. The copy is used if it is better on the photos, see `Judgement`.
        n_parts: number of parts; None = chosen from the photos, at most 200.
        n_objects: number of objects; None = chosen from the photos.
        foreground: minimum precision of a foreground cluster, the share of it in [0, 1] that the attention
            covers; `auto` = chosen from the photos; `none` = everything is foreground.
        communities: what joins parts to objects: `auto`, `map-equation` or `infomap`.
        contexts: whether a part may belong to several objects, so that the parts around it in a photo decide;
            `auto` = from 10 photos per object on.
        size: side in pixels of the backbone's input.
        keep_aspect: keep the photos' aspect ratio instead of squeezing them into a square.
        precision: number format of the backbone: `auto`, `fp32`, `bf16` or `fp16`.
        batch_size: photos in one forward pass; None = chosen for the device.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; with a loaded backbone, `auto` is where it is.
        seed: of every random choice; the same seed gives the same masks.
        objects_by: what an object is: `segments` (a kind of region that hangs together), `similarity` (a kind
            of parts that look alike), `communities` (parts that lie beside each other, as in the paper), or
            `auto`.
        least_confidence: a segment of less is no object, from -1 to 1.
        refine: refine the foreground of each photo in the photo itself, see `leopart.segment.refinement`.

    Attributes:
        model_: the learned `PartModel`, after `fit` or `load`, as all but the last two.
        extractor_: the backbone with its preprocessing; gives the tokens of more photos.
        settings_: the `FitSettings` that the model was learned with.
        labels_used_: labels that the backbone, and the one whose attention was used, learned from, or `none`.
        labels_: names of parts and objects, after `load` of a run's folder that has them; otherwise None.
        attention_backbone_: name or path of the latter; None = the backbone itself.
        stretch_: percentiles that become black and white in photos given as files; None = as they are.
        adapted_: whether the backbone was adapted to the photos; then `save` keeps it inside.
        fit_: evidence for what was chosen (`Fit`), after `fit` only.
        failures_: photos that could not be read, and why, after `fit` only.
        photos_: files that it was fitted on, those that could not be read included, after `fit` only; arrays
            are not kept.
        opened_from_: folder of the segmenter, after `load` only.
    """

    model_: PartModel
    extractor_: Extractor
    settings_: FitSettings
    labels_used_: str
    labels_: LabelTable | None = None
    attention_backbone_: str | None
    stretch_: tuple[float, float] | None = None
    adapted_: bool
    fit_: Fit
    failures_: list[Failure]
    photos_: tuple[Path, ...] = ()
    opened_from_: Path | None = None

    def __init__(  # noqa: PLR0913 - all options by name, so that editors, `help` and scikit-learn see them
        self,
        backbone: BackboneLike = DEFAULT_BACKBONE,
        *,
        attention_backbone: BackboneLike | None = None,
        adapt: float | None = None,
        n_parts: int | None = None,
        n_objects: int | None = None,
        foreground: float | Literal["auto", "none"] = "auto",
        communities: Literal["auto", "map-equation", "infomap"] = "auto",
        contexts: bool | Literal["auto"] = "auto",
        size: int = 448,
        keep_aspect: bool = False,
        precision: str = "auto",
        batch_size: int | None = None,
        device: str = "auto",
        seed: int = 0,
        refine: bool = False,
        objects_by: Literal["auto", "segments", "similarity", "communities"] = "auto",
        least_confidence: float = 0.1,
    ) -> None:
        self.backbone, self.attention_backbone, self.adapt = backbone, attention_backbone, adapt
        self.n_parts, self.n_objects, self.foreground = n_parts, n_objects, foreground
        self.communities, self.contexts = communities, contexts
        self.size, self.keep_aspect, self.precision = size, keep_aspect, precision
        self.batch_size, self.device, self.seed, self.refine = batch_size, device, seed, refine
        self.objects_by, self.least_confidence = objects_by, least_confidence

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 - scikit-learn passes it
        """All parameters by name, as they were given."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Change parameters by name; all but `refine` and `least_confidence` take effect at the next `fit`.

        Raises:
            LeopartError: there is no such parameter.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise LeopartError(f"Segmenter has no parameter {name!r}; there is: {', '.join(known)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """The parameters that are not at their defaults."""
        parameters = inspect.signature(type(self)).parameters
        given = {
            name: f"<Backbone {value.name}>" if isinstance(value, Backbone) else repr(value)
            for name, value in self.get_params().items()
            if value is not parameters[name].default and value != parameters[name].default
        }
        return f"Segmenter({', '.join(f'{name}={text}' for name, text in given.items())})"

    @property
    def settings(self) -> FitSettings:
        """The parameters that are options of the method."""
        shared = {field.name for field in fields(FitSettings)} & self.get_params().keys()
        return FitSettings(**{name: getattr(self, name) for name in shared})

    @property
    def extractor(self) -> Extractor:
        """The backbone with its preprocessing, after `fit` or `load`.

        Raises:
            NotFittedError: nothing has been learned yet.
        """
        self._require_fitted()
        return self.extractor_

    def fit(self, photos: PhotoLike | Iterable[PhotoLike], y: None = None, *, track: Track = silent) -> Self:  # noqa: ARG002 - pipelines of scikit-learn pass it
        """Learn parts and objects from photos.

        Photos that cannot be read are left out, with one warning; `failures_` names them.

        Args:
            photos: folders and files, arrays, tensors and PIL images, one or an iterable of them; see
                `leopart.data.given`.
            y: there for scikit-learn; not used.
            track: progress.

        Raises:
            LeopartError: there is no photo, none can be used, or a parameter makes no sense.
        """
        with tempfile.TemporaryDirectory(prefix="leopart-") as folder:
            found = as_files(photos, Path(folder) / "photos")
            learned = learn(
                self._open(self.attention_backbone),
                found,
                self.settings,
                Workspace(Path(folder) / "features", Path(folder) / "adaptation"),
                adaptation=None if self.adapt is None else AdaptationRequest(self.adapt),
                track=track,
            )
            learned.store.close()
        self.extractor_, self.settings_ = learned.extractor, learned.settings
        self.fit_, self.model_ = learned.fit, learned.fit.model
        self.labels_used_, self.attention_backbone_ = learned.labels, learned.attention_backbone
        self.labels_, self.stretch_, self.opened_from_ = None, None, None
        self.photos_ = tuple(photo.path for photo in found if not photo.path.is_relative_to(folder))
        self.adapted_, self.failures_ = learned.uses_adapted, learned.failures
        if self.failures_:
            text = f"{len(self.failures_)} of {len(found)} photos left out: {self.failures_[0].reason}"
            warnings.warn(text, stacklevel=2)
        return self

    @overload  # a folder has several photos, which its type does not say
    def predict(self, photos: PhotoLike, *, progress: bool = False) -> Segmentation: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, photos: Iterable[PhotoLike], *, progress: bool = False) -> list[Segmentation]: ...

    def predict(
        self, photos: PhotoLike | Iterable[PhotoLike], *, progress: bool = False
    ) -> Segmentation | list[Segmentation]:
        """Masks of one photo, or of each of several, at their own upright sizes.

        Args:
            photos: one photo; or a folder or an iterable of photos, for a list. See `predict_each` for more
                photos than memory holds masks of.
            progress: show a bar.

        Raises:
            PhotoError: a photo cannot be read.
            NotFittedError: nothing has been learned yet.
        """
        found = list(self.predict_each(photos, progress=progress))
        return found[0] if is_one_photo(photos) else found

    def predict_each(
        self, photos: PhotoLike | Iterable[PhotoLike], *, progress: bool = False
    ) -> Iterator[Segmentation]:
        """Masks of one photo after the other, in their order; in batches, and decoded ahead.

        Args:
            photos: see `predict`; the iterable may be endless.
            progress: show a bar.

        Raises:
            PhotoError: a photo cannot be read.
            NotFittedError: nothing has been learned yet.
        """
        shown = bars if progress else silent
        sources = map(self._stretched, each_photo(photos))
        total = len(photos) if isinstance(photos, Sized) and not isinstance(photos, str) else 0
        for source, (tokens, _) in shown(self.extractor.each(sources), total, "masks"):
            masks = photo_masks(
                self.model_, tokens, source, refine=self.refine, least_confidence=self.least_confidence
            )
            parts, objects = masks.parts, masks.objects
            picture = Picture(source, self.model_.object_of_part)
            if self.labels_ is None:
                yield Segmentation(parts, objects, picture=picture)
            else:
                labels, names = self.labels_.of(parts, objects), self.labels_.labels.classes
                yield Segmentation(parts, objects, labels, names, picture)

    def _stretched(self, photo: Path | NDArray[np.uint8]) -> Path | NDArray[np.uint8]:
        """A file as pixels, if the segmenter was fitted on stretched photos."""
        if isinstance(photo, Path) and self.stretch_ is not None:
            return load_photo(photo, stretch=self.stretch_)
        return photo

    def save(self, folder: PathLike) -> None:
        """Write the fitted segmenter: `segmenter.json` and `arrays.safetensors`, no pickle.

        A backbone that was adapted to the photos goes with it, as `backbone.safetensors` and `backbone.json`.

        Raises:
            LeopartError: the folder cannot be written.
            NotFittedError: nothing has been learned yet.
        """
        saved.save(
            Path(folder),
            self.extractor,
            self.model_,
            settings=replace(self.settings_, refine=self.refine, least_confidence=self.least_confidence),
            attention_backbone=self.attention_backbone_,
            labels=self.labels_used_,
            is_adapted=self.adapted_,
            stretch=self.stretch_,
        )

    @classmethod
    def load(
        cls,
        folder: PathLike,
        *,
        backbone: BackboneLike | None = None,
        device: str = "auto",
        batch_size: int | None = None,
    ) -> Segmenter:
        """A segmenter as `save` wrote it; its backbone is found inside or by name, and checked by its hash.

        Args:
            folder: the segmenter's, or the output folder of `leopart segment`.
            backbone: where it is now, or loaded already, if it was a file that has moved.
            device: see the class.
            batch_size: see the class; None = as when it was fitted.

        Raises:
            LeopartError: a file is missing or was altered, or the backbone is not the one it was fitted on.
        """
        folder = saved.folder_of(Path(folder))
        card, model = saved.read(folder)
        options = {field.name: getattr(card.settings, field.name) for field in fields(FitSettings)}
        parameters = inspect.signature(cls).parameters
        segmenter = cls(
            backbone or saved.backbone_of(folder, card),
            attention_backbone=card.attention_backbone,
            size=card.preprocessing.size,
            keep_aspect=card.preprocessing.keep_aspect,
            precision=card.precision,
            batch_size=batch_size or card.batch_size,
            device=device,
            **{name: value for name, value in options.items() if name in parameters},
        )
        segmenter.extractor_ = segmenter._open()
        saved.check_backbone(folder, card, segmenter.extractor_.backbone)
        segmenter.model_, segmenter.settings_, segmenter.labels_used_ = model, card.settings, card.labels
        segmenter.labels_, segmenter.opened_from_ = labels_beside(folder), folder
        segmenter.attention_backbone_, segmenter.stretch_ = card.attention_backbone, card.stretch
        segmenter.adapted_ = backbone is None and card.backbone == TUNED
        return segmenter

    def _open(self, attention_backbone: BackboneLike | None = None) -> Extractor:
        return open_extractor(
            self.backbone,
            attention_backbone,
            preprocessing=Preprocessing(self.size, self.keep_aspect),
            precision=self.precision,
            batch_size=self.batch_size,
            device=self.device,
        )

    def _require_fitted(self) -> None:
        if "model_" not in vars(self):
            raise NotFittedError("this segmenter has learned nothing yet: call fit, or Segmenter.load")
