"""From photos to parts and objects: adapt the backbone, extract features, fit. The whole sequence, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leopart.clustering.communities import engine_name
from leopart.config.method import FitSettings
from leopart.data.photos import Photo
from leopart.errors import LeopartError
from leopart.features.extract import Extractor, Preprocessing
from leopart.features.failure import Failure
from leopart.features.store import MANIFEST, FeatureStore
from leopart.files import write_text
from leopart.models.backbone import Backbone
from leopart.models.custom import BackboneLike, as_backbone
from leopart.models.device import pick_device
from leopart.paths import shown
from leopart.progress import Track, silent
from leopart.run_record import Stopwatch
from leopart.segment import saved
from leopart.segment.adapting import AdaptationRequest, OpenProgress, adapt_backbone, without_progress
from leopart.segment.fit import Fit
from leopart.segment.fitting import fit_parts
from leopart.segment.judging import Judgement, judged

if TYPE_CHECKING:
    from leopart.training.adaptation import Adapted


#: Lines of an error that names photos; more of them go to a file.
_REASONS = 20


@dataclass(frozen=True)
class Workspace:
    """Where intermediate results are kept, so that an interrupted run can continue.

    Attributes:
        features: folder of the feature store.
        adaptation: folder of the adaptation's state.
        kept: the user keeps the features for other runs: whatever does not fit them is refused, not replaced.
    """

    features: Path
    adaptation: Path
    kept: bool = False


@dataclass(frozen=True)
class Learned:
    """What was learned from photos, and from what.

    Attributes:
        extractor: gives the tokens of more photos; its backbone is the adapted one, if there is one.
        fit: parts, objects, and the evidence for their numbers.
        settings: see `FitSettings`.
        store: features of the photos.
        failures: photos that could not be used, and why.
        labels: labels that the backbones learned from; `none` for none.
        attention_backbone: name or path of the backbone whose attention was used; None = that of
            `extractor`.
        adapted: how the backbone was adapted to the photos; None = not at all.
        judgement: whether that made it better, and so whether it is used; None = it was not adapted.
    """

    extractor: Extractor
    fit: Fit
    settings: FitSettings
    store: FeatureStore
    failures: list[Failure]
    labels: str
    attention_backbone: str | None = None
    adapted: Adapted | None = None
    judgement: Judgement | None = None

    @property
    def uses_adapted(self) -> bool:
        """Whether the backbone of `extractor` is the adapted one, which exists nowhere else."""
        return self.judgement is not None and self.judgement.kept

    def save(self, folder: Path, stretch: tuple[float, float] | None = None) -> None:
        """Write a segmenter, see `saved.save`."""
        saved.save(
            folder,
            self.extractor,
            self.fit.model,
            settings=self.settings,
            attention_backbone=self.attention_backbone,
            labels=self.labels,
            is_adapted=self.uses_adapted,
            stretch=stretch,
        )


def open_extractor(
    backbone: BackboneLike,
    attention_backbone: BackboneLike | None = None,
    *,
    preprocessing: Preprocessing,
    precision: str = "auto",
    batch_size: int | None = None,
    device: str = "auto",
) -> Extractor:
    """Load one or two backbones, unless they are loaded already, and set the forward pass up.

    Raises:
        LeopartError: a backbone cannot be loaded, or the two do not go together.
    """

    def loaded(asked: BackboneLike) -> Backbone:
        stays = device == "auto" and not isinstance(asked, str | Path)
        return as_backbone(asked, None if stays else pick_device(device))

    opened = loaded(backbone)
    attends = None
    if attention_backbone is not None:
        attends = loaded(attention_backbone).to(next(opened.parameters()).device)
    return Extractor(opened, preprocessing, precision=precision, batch_size=batch_size, attention_of=attends)


def learn(
    extractor: Extractor,
    photos: Sequence[Photo],
    settings: FitSettings,
    workspace: Workspace,
    *,
    adaptation: AdaptationRequest | None = None,
    track: Track = silent,
    open_progress: OpenProgress = without_progress,
    watch: Stopwatch | None = None,
) -> Learned:
    """Adapt the backbone to the photos if asked for, extract their features, and fit parts and objects.

    Args:
        extractor: over the backbone to start from; the attention comes from `extractor.attention_of`, or from
            that backbone as it is before it is adapted.
        photos: at least one.
        settings: see `FitSettings`.
        workspace: folders for intermediate results.
        adaptation: how to adapt; None = not at all.
        track: progress.
        open_progress: see `OpenProgress`.
        watch: measures the stages.

    Raises:
        LeopartError: no photo can be used, kept features do not fit, or the backbone cannot be adapted.
        KeyboardInterrupt: a signal ended the adaptation; the same call continues it.
    """
    settings.check()
    engine_name(settings.communities)  # before the work: Infomap may be missing
    watch = watch or Stopwatch()
    adapted = judgement = None
    if adaptation is not None:
        start = extractor.backbone
        with watch.stage("adaptation"):
            adapted, judgement = _adapt(
                start, photos, workspace, adaptation, seed=settings.seed, open_progress=open_progress
            )
        if judgement.kept:
            extractor = extractor.over(adapted.backbone, extractor.attention_of or start)
    attends = extractor.attention_of
    with watch.stage("features"):
        replace = not workspace.kept
        store, failures = extractor.extract(photos, workspace.features, replace=replace, track=track)
        require_some(photos, failures, workspace.features if workspace.kept else workspace.features.parent)
    with watch.stage("parts and objects"):
        fit = fit_parts(store, settings, track=track)
    source = None if attends is None else attends.source
    alone, labels = extractor.over(extractor.backbone), labels_of(extractor)
    return Learned(alone, fit, settings, store, failures, labels, source, adapted, judgement)


def require_some(photos: Sequence[Photo], failures: Sequence[Failure], folder: Path) -> None:
    """Refuse to go on where every photo has failed.

    Raises:
        LeopartError: with the first 20 reasons; if there are more, `failures.txt` in `folder` has them all.
    """
    if len(failures) < len(photos):
        return
    reasons = [failure.reason for failure in failures]
    if len(reasons) > _REASONS:
        write_text(folder / "failures.txt", shown("".join(f"{reason}\n" for reason in reasons)))
        reasons[_REASONS:] = [f"and {len(reasons) - _REASONS:,} more; all are in {folder / 'failures.txt'}"]
    lines = "\n".join(f"  {reason}" for reason in reasons)
    raise LeopartError(f"no photo could be used, of {len(photos)} given:\n{lines}")


def _adapt(
    start: Backbone,
    photos: Sequence[Photo],
    workspace: Workspace,
    asked: AdaptationRequest,
    *,
    seed: int,
    open_progress: OpenProgress,
) -> tuple[Adapted, Judgement]:
    """The adapted backbone, and whether it is better than the start."""
    folder, features = workspace.adaptation, workspace.features
    if workspace.kept and (features / MANIFEST).is_file() and not folder.is_dir():
        message = f"{features} holds features of a network that was not adapted to the photos"
        raise LeopartError(f"{message}: choose another folder, or give --no-adapt")
    adapted = adapt_backbone(
        start,
        photos,
        folder,
        minutes=asked.minutes,
        seed=seed,
        method=asked.method,
        replace_other=not workspace.kept,
        open_progress=open_progress,
    )
    before, after = (judged(network, photos, seed) for network in (start, adapted.backbone))
    return adapted, Judgement(before, after, asked.keep)


def labels_of(extractor: Extractor) -> str:
    """Labels that its backbones learned from, see `BackboneSpec.labels`; `none` for none."""
    backbones = [extractor.backbone, extractor.attention_of]
    labels = [backbone.spec.labels for backbone in backbones if backbone is not None]
    return "; ".join(dict.fromkeys(name for name in labels if name != "none")) or "none"
