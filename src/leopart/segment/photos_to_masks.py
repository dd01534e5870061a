"""The main job: a folder of photos to masks, report and segmenter; and the same ids for more photos."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from leopart.config import FitConfig, PredictConfig, SegmentConfig
from leopart.data.photos import Photo, find_photos, output_stems
from leopart.errors import LeopartError, PhotoError
from leopart.features.extract import Failure, TokensAndAttention
from leopart.features.store import MANIFEST, FeatureStore, is_store_or_begun
from leopart.files import put_back, sha256, write_text
from leopart.locks import locked
from leopart.models.tuned import start_of
from leopart.models.weights.cards import card_path
from leopart.models.weights.spec import TUNED, BackboneSpec
from leopart.parallel import ordered_map, workers
from leopart.progress import Track, silent
from leopart.run_record import Stopwatch, settings_of
from leopart.segment.adapting import STATE, Watching, adaptation_results, minutes_of, unwatched
from leopart.segment.finished import finished, identity
from leopart.segment.outputs import MaskWriter, Wanted, Written
from leopart.segment.report.findings import fit_report, fit_results, fit_warnings
from leopart.segment.report.page import Credit, shown, write_report
from leopart.segment.segmenter import Segmenter
from leopart.segment.summary import Summary
from leopart.segment.survey import Patch

if TYPE_CHECKING:
    from leopart.training.adaptation import Adapted

#: Below the output folder, until the run is done.
_FEATURES = ".features"
_CONTEXTS: dict[str, bool | Literal["auto"]] = {"auto": "auto", "yes": True, "no": False}
_OTHER_FEATURES = "wait for it to end, or choose another --features"
#: What a run writes below its output folder, and never reads as photos.
_OUTPUTS = ("parts", "objects", "overlays", "segmenter", _FEATURES, STATE)


def segment_photos(
    config: SegmentConfig,
    *,
    title: str = "Parts and objects",
    credits: Sequence[Credit] = (),  # noqa: A002 - what it is
    track: Track = silent,
    watching: Watching = unwatched,
) -> Summary:
    """Learn parts and objects from photos and write everything that `leopart segment` leaves behind.

        OUT/  report.html  summary.json  config.yaml
              parts/…png  objects/…png  overlays/…jpg  segmenter/

    Returns:
        What is in `summary.json`.

    Raises:
        LeopartError: no photo can be used, or `out` cannot be written.
        KeyboardInterrupt: a signal ended the adaptation; the same call goes on.
    """
    config.check()
    features = nullcontext() if config.features is None else locked(config.features, _OTHER_FEATURES)
    with locked(config.out), features, _settings_of_masks(config.out):
        return _segmented(config, title, credits, track, watching)


def _segmented(
    config: SegmentConfig,
    title: str,
    credits: Sequence[Credit],  # noqa: A002 - what it is
    track: Track,
    watching: Watching,
) -> Summary:
    watch = Stopwatch()
    photos = _photos(config)
    segmenter = _segmenter(config)
    with watch.stage("loading the backbone"):
        started_from = segmenter.extractor.backbone
    minutes = minutes_of(config.adapt, len(photos), started_from)
    config = replace(config, adapt=minutes or False)
    inputs = identity(photos, started_from.fingerprint)
    if (done := finished(config, photos, inputs)) is not None:
        return replace(done, repeated=True)
    _write_settings(config)
    adapted = None
    if minutes is not None:
        with watch.stage("adaptation"):
            adapted = _adapt(config, segmenter, photos, minutes, watching)
    with watch.stage("features"):
        store, failures = _extract(config, segmenter, photos, track)
    with watch.stage("parts and objects"):
        fit = segmenter.fit_features(store, track=track).fit_
    _remove_earlier(config.out, started_from.source, config.attention_backbone)
    with watch.stage("masks"):
        written, patches = _write_masks(config, photos, segmenter, store, failures, track)
    _require_some(photos, failures)
    summary = Summary(
        command="segment",
        counts={"photos": len(photos), "failed": len(failures), **_sizes(segmenter)},
        failures=failures,
        warnings=[
            *fit_warnings(fit, len(written), segmenter.settings.n_parts, segmenter.settings.n_objects),
            *_spoilt(config, started_from.spec),
            *_stale(config.out, len(written)),
        ],
        results=_results(segmenter, adapted),
        settings=settings_of(config),
        seconds=watch.seconds,
        labels=segmenter.labels_,
        inputs=inputs,
    )
    with watch.stage("report"):
        report = fit_report(title, summary, fit, written, patches, credits, adapted)
        write_report(config.out / "report.html", report)
    segmenter.save(config.out / "segmenter")
    summary.write(config.out / "summary.json")
    if config.features is None:
        store.close()
        shutil.rmtree(store.folder, ignore_errors=True)
    shutil.rmtree(config.out / STATE, ignore_errors=True)
    return summary


def _spoilt(config: FitConfig, spec: BackboneSpec) -> list[str]:
    """That a network which has learned parts looks elsewhere than before, where nobody has thought of it."""
    start = start_of(spec)
    if start is None or config.attention_backbone is not None or config.foreground == "none":
        return []
    spoilt = f"{spec.name} was fine-tuned by Leopart, which spoils the attention that tells foreground"
    return [f"{spoilt}: give its start, --attention-backbone {start}."]


def predict_photos(config: PredictConfig, *, track: Track = silent) -> Summary:
    """Masks of more photos with a saved segmenter's ids: `parts/`, `objects/`, `overlays/`, `summary.json`.

    Returns:
        What is in `summary.json`.

    Raises:
        LeopartError: no photo can be used, `out` cannot be written, or the segmenter is not whole.
    """
    config.check()
    with locked(config.out), _settings_of_masks(config.out):
        return _predicted(config, track)


def _predicted(config: PredictConfig, track: Track) -> Summary:
    watch = Stopwatch()
    inside = config.segmenter / "segmenter"
    folder = inside if inside.is_dir() else config.segmenter
    if config.out.resolve() == folder.resolve().parent:
        raise LeopartError(f"--out {config.out} is the run that made the segmenter: choose another folder")
    photos = _photos(config)
    inputs = identity(photos, _hash_of_segmenter(folder))
    if (done := finished(config, photos, inputs)) is not None:
        return replace(done, repeated=True)
    _write_settings(config)
    with watch.stage("loading the segmenter"):
        batch_size = None if config.batch_size == "auto" else config.batch_size
        segmenter = Segmenter.load(
            folder, backbone=config.backbone, device=config.device, batch_size=batch_size
        )
    with watch.stage("masks"):
        failures = _predict_masks(config, photos, segmenter, track)
    _require_some(photos, failures)
    summary = Summary(
        command="predict",
        counts={"photos": len(photos), "failed": len(failures), **_sizes(segmenter)},
        failures=failures,
        warnings=_stale(config.out, len(photos) - len(failures)),
        results={"backbone": segmenter.extractor.backbone.name, "precision": segmenter.extractor.precision},
        settings=settings_of(config),
        seconds=watch.seconds,
        labels=segmenter.labels_,
        inputs=inputs,
    )
    summary.write(config.out / "summary.json")
    return summary


def _hash_of_segmenter(folder: Path) -> str:
    """Changes with the segmenter, whose arrays' hash is in this file; empty where loading it will fail."""
    path = folder / "segmenter.json"
    return sha256(path) if path.is_file() else ""


def _photos(config: SegmentConfig | PredictConfig) -> list[Photo]:
    """The photos asked for, without earlier output."""
    if not (config.out / "config.yaml").exists():
        for name in _OUTPUTS:
            if os.path.lexists(config.out / name) and not _is_state(config.out / name):
                message = f"{config.out / name} is there, and not of an earlier run: choose another --out"
                raise LeopartError(message)
    # Not Path.resolve: Python before 3.13 raises for a link that leads to itself.
    outputs = [Path(os.path.realpath(config.out / name)) for name in _OUTPUTS]
    found = [(photo, Path(os.path.realpath(photo.path))) for photo in find_photos(config.images)]
    photos = [photo for photo, path in found if not any(path.is_relative_to(o) for o in outputs)]
    if not photos:
        raise LeopartError(f"all images are earlier output in {config.out}: give the folder of the photos")
    return photos


def _is_state(folder: Path) -> bool:
    """Whether a run that failed early may have left this: it takes its `config.yaml` back."""
    if folder.name == _FEATURES:
        return is_store_or_begun(folder)
    return folder.name == STATE and (folder / "adaptation.json").is_file()


def _settings_of_masks(out: Path) -> AbstractContextManager[None]:
    """Keep `config.yaml` as it was if the run fails before it has written masks."""
    was_done = (out / "summary.json").is_file()

    def has_masks() -> bool:
        return (out / "parts").is_dir() and not (was_done and (out / "summary.json").is_file())

    return put_back(out / "config.yaml", unless=has_masks)


def _write_settings(config: SegmentConfig | PredictConfig) -> None:
    settings = yaml.safe_dump(settings_of(config), sort_keys=False, allow_unicode=True)
    write_text(config.out / "config.yaml", settings)


def _segmenter(config: FitConfig) -> Segmenter:
    return Segmenter(
        config.backbone,
        attention_backbone=config.attention_backbone,
        n_parts=None if config.parts == "auto" else config.parts,
        n_objects=None if config.objects == "auto" else config.objects,
        foreground=config.foreground,
        communities=config.communities,
        contexts=_CONTEXTS[config.contexts],
        size=config.size,
        keep_aspect=config.keep_aspect,
        precision=config.precision,
        batch_size=None if config.batch_size == "auto" else config.batch_size,
        device=config.device,
        seed=config.seed,
        refine=config.refine,
    )


def _adapt(
    config: SegmentConfig, segmenter: Segmenter, photos: Sequence[Photo], minutes: float, watching: Watching
) -> Adapted:
    """Adapt the backbone, going on with what an interrupted run left; kept features have it beside them."""
    kept = config.features is not None
    folder = (config.features or config.out) / STATE
    if config.features is not None and (config.features / MANIFEST).is_file() and not folder.is_dir():
        message = f"{config.features} holds features of a network that was not adapted to the photos"
        raise LeopartError(f"{message}: choose another folder, or give --no-adapt")
    return segmenter.adapt_to(photos, folder, minutes=minutes, replace_other=not kept, watching=watching)


def _results(segmenter: Segmenter, adapted: Adapted | None) -> dict[str, Any]:
    extractor = segmenter.extractor
    results = {"backbone": extractor.backbone.name, "precision": extractor.precision}
    more = {} if adapted is None else {"adaptation": adaptation_results(adapted)}
    return {**results, **more, **fit_results(segmenter.fit_)}


def _remove_earlier(out: Path, backbone: str, attention_of: str | None) -> None:
    """Of an earlier run, remove what would not fit the new masks; backbones in use stay."""
    inside = (out / "segmenter" / TUNED).resolve()
    used = {backbone} | ({str(Path(attention_of).resolve())} if attention_of else set())
    in_use = bool(used & {str(inside), str(inside.parent)})
    own = [] if in_use else [card_path(inside), inside]
    names = ("report.html", "summary.json", "segmenter/segmenter.json")
    for path in (*(out / name for name in names), *own):
        path.unlink(missing_ok=True)


def _extract(
    config: SegmentConfig, segmenter: Segmenter, photos: Sequence[Photo], track: Track
) -> tuple[FeatureStore, list[Failure]]:
    """Features of all photos, going on with what an interrupted run left."""
    kept = config.features is not None
    folder = config.features or config.out / _FEATURES
    store, failures = segmenter.extract(photos, folder, replace=not kept, track=track)
    _require_some(photos, failures)
    return store, failures


def _require_some(photos: Sequence[Photo], failures: Sequence[Failure]) -> None:
    if len(failures) == len(photos):
        reasons = "\n".join(f"  {failure.reason}" for failure in failures)
        raise LeopartError(f"no photo could be used, of {len(photos)} given:\n{reasons}")


def _write_masks(
    config: SegmentConfig,
    photos: Sequence[Photo],
    segmenter: Segmenter,
    store: FeatureStore,
    failures: list[Failure],
    track: Track,
) -> tuple[list[Written], dict[Patch, NDArray[np.uint8]]]:
    """Masks and overlays of all stored photos; what the report shows of them. Adds to `failures`."""
    stems = dict(zip(photos, output_stems(photos), strict=True))
    index_of = {entry.name: index for index, entry in enumerate(store.entries) if store.done[index]}
    usable = [photo for photo in photos if photo.name in index_of]
    wanted = _wanted(segmenter, store, [index_of[photo.name] for photo in usable])
    writer = MaskWriter(
        config.out, segmenter.model_, overlays=config.overlays, refine=segmenter.settings.refine
    )

    def write(photo: Photo) -> Written | Failure:
        index = index_of[photo.name]
        try:
            return writer.write(photo, stems[photo], store.tokens_of(index), wanted[index])
        except PhotoError as error:  # it was readable a moment ago
            return Failure(photo.name, str(error))

    written: list[Written] = []
    patches: dict[Patch, NDArray[np.uint8]] = {}
    results = ordered_map(write, usable, workers=workers())
    for photo, item in zip(usable, track(results, len(usable), "masks"), strict=True):
        if isinstance(item, Failure):
            failures.append(item)
        else:
            written.append(item)
            patches.update(zip(wanted[index_of[photo.name]].patches, item.patches, strict=True))
    return written, patches


def _wanted(segmenter: Segmenter, store: FeatureStore, indices: Sequence[int]) -> dict[int, Wanted]:
    """What the report shows of each stored photo."""
    patches: dict[int, list[Patch]] = defaultdict(list)
    survey = segmenter.fit_.survey
    for part in range(survey.n_parts):
        for patch in survey.best_patches(part):
            patches[patch.photo].append(patch)
    rows = {indices[i] for i in shown(len(indices))}
    return {index: Wanted(index in rows, tuple(patches[index])) for index in range(len(store))}


def _predict_masks(
    config: PredictConfig, photos: Sequence[Photo], segmenter: Segmenter, track: Track
) -> list[Failure]:
    """Masks and overlays of all photos, written while the next ones are looked at."""
    stems = dict(zip(photos, output_stems(photos), strict=True))
    writer = MaskWriter(
        config.out, segmenter.model_, overlays=config.overlays, refine=segmenter.settings.refine
    )

    def write(item: tuple[Photo, TokensAndAttention | PhotoError]) -> Failure | None:
        photo, features = item
        try:
            if isinstance(features, PhotoError):
                raise features
            writer.write(photo, stems[photo], features[0])
        except PhotoError as error:
            return Failure(photo.name, str(error))
        return None

    stream = segmenter.extractor.stream(photos, track=track, title="masks")
    results = ordered_map(write, stream, workers=workers())
    return [failure for failure in results if failure is not None]


def _stale(out: Path, n_written: int) -> list[str]:
    """A warning about masks of an earlier run: their ids mean something else."""
    extra = sum(1 for _ in (out / "parts").rglob("*.png")) - n_written
    if extra <= 0:
        return []
    return [f"{out} also holds {extra} masks of an earlier run, whose ids mean something else: delete them."]


def _sizes(segmenter: Segmenter) -> dict[str, int]:
    model = segmenter.model_
    return {"parts": len(model.parts.centroids), "objects": model.n_objects}
