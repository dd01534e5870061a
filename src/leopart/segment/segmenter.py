"""Photos in, masks out, as an object to fit, ask, save and load."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from leopart.data.photos import Photo, find_photos
from leopart.errors import LeopartError
from leopart.features.extract import Extractor, Failure, Preprocessing
from leopart.features.store import FeatureStore
from leopart.models.backbone import Backbone, load_backbone
from leopart.models.device import pick_device
from leopart.models.weights.registry import DEFAULT_BACKBONE
from leopart.models.weights.spec import TUNED
from leopart.progress import Track, silent
from leopart.segment import saved
from leopart.segment.adapting import Watching, adapt_backbone, unwatched
from leopart.segment.fitting import Fit, FitSettings, fit_parts
from leopart.segment.outputs import part_masks
from leopart.segment.part_model import PartModel

if TYPE_CHECKING:
    from typing import Self

    from leopart.training.adaptation import Adapted

PathLike = str | Path


@dataclass(frozen=True)
class Segmentation:
    """Masks of one photo at its own size.

    Attributes:
        parts: part ids, 0 = background, 1..K; int32 [H, W].
        objects: object ids, 0 = background, 1.. ; int32 [H, W].
    """

    parts: NDArray[np.int32]
    objects: NDArray[np.int32]


class Segmenter:
    """Learns parts and objects from photos without labels, then finds the same ones in any photo.

    Args:
        backbone: name, path, or a loaded `Backbone`; see `leopart weights list`.
        attention_backbone: whose attention tells foreground while fitting: name, path, or a loaded one; None
            = that of `backbone` before it is adapted. Fine-tuning spoils it, so for a backbone that Leopart
            has trained, its start is right.
        adapt: minutes for which `fit` first fine-tunes a copy of the backbone on the photos, without labels;
            None = not at all.
        n_parts: number of parts; None = chosen from the photos, at most 200.
        n_objects: number of objects; None = chosen from the photos.
        foreground: least precision of a foreground cluster, the share of it in [0, 1] that the attention
            covers; `auto` = chosen from the photos; `none` = everything is foreground.
        communities: engine that joins parts to objects: `auto`, `map-equation`, `infomap` or
            `louvain`.
        contexts: whether a part may belong to several objects, so that the parts around it in a photo decide;
            `auto` = from 10 photos an object on.
        size: side in pixels of the backbone's input.
        keep_aspect: keep the photos' aspect ratio instead of squeezing them into a square.
        precision: number format of the backbone: `auto`, `fp32`, `bf16` or `fp16`.
        batch_size: photos in one forward pass; None = chosen for the device.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; with a loaded backbone, `auto` is where it is.
        seed: of every random choice; the same seed gives the same masks.
        refine: refine the foreground of every photo in the photo itself, see `leopart.segment.refinement`.

    Attributes:
        model_: the learned `PartModel`, after `fit` or `load`.
        fit_: what it was decided on (`Fit`), after `fit`.
        failures_: photos that could not be read, and why, after `fit`.
        extractor_: the backbone at its settings, after `fit`, `extractor` or `load`.
        labels_: labels that the backbone, and the one whose attention was taken, learned from; `none` for
            none.
        start_: the backbone before it was adapted, whose attention tells foreground.
        backbone_: the adapted backbone, after `fit` with `adapt`, or `load` of what that has saved; `save`
            keeps it inside.
    """

    model_: PartModel
    fit_: Fit
    failures_: list[Failure]
    backbone_: Backbone
    start_: Backbone
    labels_: str

    def __init__(  # noqa: PLR0913 - options, by name
        self,
        backbone: PathLike | Backbone = DEFAULT_BACKBONE,
        *,
        attention_backbone: PathLike | Backbone | None = None,
        adapt: float | None = None,
        n_parts: int | None = None,
        n_objects: int | None = None,
        foreground: float | Literal["auto", "none"] = "auto",
        communities: str = "auto",
        contexts: bool | Literal["auto"] = "auto",
        size: int = 448,
        keep_aspect: bool = False,
        precision: str = "auto",
        batch_size: int | None = None,
        device: str = "auto",
        seed: int = 0,
        refine: bool = False,
    ) -> None:
        self.backbone, self.attention_backbone, self.adapt = backbone, attention_backbone, adapt
        self.preprocessing = Preprocessing(size, keep_aspect)
        self.settings = FitSettings(
            n_parts, n_objects, foreground, communities, contexts, seed=seed, refine=refine
        )
        self.precision, self.batch_size, self.device = precision, batch_size, device

    @property
    def extractor(self) -> Extractor:
        """The backbone, loaded when first asked for, with its preprocessing."""
        if not hasattr(self, "extractor_"):
            self.extractor_ = self._extractor(self._loaded(getattr(self, "backbone_", self.backbone)))
        return self.extractor_

    def extract(
        self, photos: Sequence[Photo], folder: Path, *, replace: bool = False, track: Track = silent
    ) -> tuple[FeatureStore, list[Failure]]:
        """Features to fit on, see `Extractor.extract`; the attention is the `attention_backbone`'s.

        Raises:
            LeopartError: see there, or the two backbones do not go together.
        """
        backbone, looks = self.extractor.backbone, self.attention_backbone
        if looks is None:
            looks = getattr(self, "start_", None)
        if looks is not None:
            looks = self._loaded(looks).to(next(backbone.parameters()).device)
        if looks is not None and looks.fingerprint == backbone.fingerprint:
            looks = None
        self.labels_ = _labels_of(backbone, looks)
        extractor = self._extractor(backbone, looks)
        return extractor.extract(photos, folder, replace=replace, track=track)

    def _extractor(self, backbone: Backbone, attention_of: Backbone | None = None) -> Extractor:
        return Extractor(
            backbone,
            self.preprocessing,
            precision=self.precision,
            batch_size=self.batch_size,
            attention_of=attention_of,
        )

    def _loaded(self, backbone: PathLike | Backbone) -> Backbone:
        if not isinstance(backbone, Backbone):
            return load_backbone(backbone, device=pick_device(self.device))
        return backbone if self.device == "auto" else backbone.to(pick_device(self.device))

    def fit(self, photos: PathLike | Sequence[PathLike], *, track: Track = silent) -> Self:
        """Learn parts and objects from a folder, files, or several of them.

        Photos that cannot be read are left out, with one warning; `failures_` names them.

        Raises:
            LeopartError: there is no photo, or none can be used.
        """
        inputs = [photos] if isinstance(photos, str | Path) else photos
        with tempfile.TemporaryDirectory(prefix="leopart-") as folder:
            found = find_photos([Path(item) for item in inputs])
            if self.adapt is not None:
                self.adapt_to(found, Path(folder) / "adaptation", minutes=self.adapt)
            store, self.failures_ = self.extract(found, Path(folder) / "features", track=track)
            try:
                self.fit_features(store, track=track)
            finally:
                store.close()
        if self.failures_:
            text = f"{len(self.failures_)} of {len(found)} photos left out: {self.failures_[0].reason}"
            warnings.warn(text, stacklevel=2)
        return self

    def adapt_to(
        self,
        photos: Sequence[Photo],
        folder: Path,
        *,
        minutes: float,
        replace_other: bool = True,
        watching: Watching = unwatched,
    ) -> Adapted:
        """Fine-tune the backbone on photos; everything afterwards uses the result. `fit` does it by itself.

        Args:
            photos: at least one.
            folder: for the state; see `leopart.training.adaptation.adapt`.
            minutes: above 0.
            replace_other: see there.
            watching: gives who is told.

        Raises:
            LeopartError: see there.
            KeyboardInterrupt: a signal ended it; the same call goes on.
        """
        if hasattr(self, "backbone_"):  # of an earlier fit
            del self.backbone_, self.extractor_
        self.start_ = self.extractor.backbone
        adapted = adapt_backbone(
            self.start_,
            photos,
            folder,
            minutes=minutes,
            seed=self.settings.seed,
            replace_other=replace_other,
            watching=watching,
        )
        self.backbone_ = adapted.backbone
        del self.extractor_
        return adapted

    def fit_features(self, store: FeatureStore, *, track: Track = silent) -> Self:
        """Learn parts and objects from features that this segmenter's `extract` has stored."""
        self.fit_ = fit_parts(store, self.settings, track=track)
        self.model_ = self.fit_.model
        return self

    def predict(self, photo: PathLike | NDArray[np.uint8]) -> Segmentation:
        """Masks of one photo, a path or an RGB array uint8 [H, W, 3], at its own upright size.

        Raises:
            PhotoError: the file cannot be read.
        """
        source = photo if isinstance(photo, np.ndarray) else Path(photo)
        ((tokens, _),) = self.extractor.forward([self.extractor.prepare(source)])
        return self.masks(source, tokens)

    def masks(self, photo: PathLike | NDArray[np.uint8], tokens: NDArray[np.float16]) -> Segmentation:
        """Masks of a photo whose tokens [h, w, D] are known.

        Raises:
            PhotoError: the file cannot be read.
        """
        model = self._fitted()
        source = photo if isinstance(photo, np.ndarray) else Path(photo)
        coarse, parts = part_masks(model, tokens, source, refine=self.settings.refine)
        return Segmentation(parts, model.object_table(coarse).astype(np.int32)[parts])

    def save(self, folder: PathLike) -> None:
        """Write the fitted segmenter: `segmenter.json` and `arrays.safetensors`, no pickle.

        A backbone that was adapted to the photos goes with it, as `backbone.safetensors` and `backbone.json`.

        Raises:
            LeopartError: the folder cannot be written.
        """
        model = self._fitted()
        extractor = self.extractor
        backbone = extractor.backbone
        inside = hasattr(self, "backbone_") or Path(backbone.source) == (Path(folder) / TUNED).resolve()
        card = saved.Card(
            backbone=TUNED if inside else backbone.source,
            fingerprint=backbone.fingerprint,
            preprocessing=extractor.preprocessing,
            precision=extractor.precision,
            batch_size=extractor.batch_size,
            settings=self.settings,
            attention_backbone=self._attention_source(),
            labels=getattr(self, "labels_", backbone.spec.labels),
        )
        saved.write(Path(folder), model, card, backbone if inside else None)

    def _attention_source(self) -> str | None:
        looks = self.attention_backbone or getattr(self, "start_", None)
        return looks.source if isinstance(looks, Backbone) else looks and str(looks)

    def _fitted(self) -> PartModel:
        if not hasattr(self, "model_"):
            raise LeopartError("this segmenter has learned nothing yet: call fit, or Segmenter.load")
        return self.model_

    @classmethod
    def load(
        cls,
        folder: PathLike,
        *,
        backbone: PathLike | Backbone | None = None,
        device: str = "auto",
        batch_size: int | None = None,
    ) -> Segmenter:
        """A segmenter as `save` wrote it; its backbone is found inside or by name, and checked by its hash.

        Args:
            folder: holds `segmenter.json` and `arrays.safetensors`.
            backbone: where it is now, or loaded already, if it was a file that has moved.
            device: see the class.
            batch_size: see the class; None = as when it was fitted.

        Raises:
            LeopartError: a file is missing or was altered, or the backbone is not the one it was fitted on.
        """
        card, model = saved.read(Path(folder))
        chosen = card.settings
        segmenter = cls(
            backbone or saved.backbone_of(Path(folder), card),
            attention_backbone=card.attention_backbone,
            n_parts=chosen.n_parts,
            n_objects=chosen.n_objects,
            foreground=chosen.foreground,
            communities=chosen.communities,
            contexts=chosen.contexts,
            size=card.preprocessing.size,
            keep_aspect=card.preprocessing.keep_aspect,
            precision=card.precision,
            batch_size=batch_size or card.batch_size,
            device=device,
            seed=chosen.seed,
            refine=chosen.refine,
        )
        saved.check_backbone(Path(folder), card, segmenter.extractor.backbone)
        segmenter.model_, segmenter.labels_ = model, card.labels
        if backbone is None and card.backbone == TUNED:
            segmenter.backbone_ = segmenter.extractor.backbone
        return segmenter


def _labels_of(backbone: Backbone, attention_of: Backbone | None) -> str:
    """Labels that one of them, or both, learned from."""
    every = [backbone.spec.labels] + ([] if attention_of is None else [attention_of.spec.labels])
    return "; ".join(dict.fromkeys(labels for labels in every if labels != "none")) or "none"
