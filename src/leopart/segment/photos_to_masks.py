"""The main job: a folder of photos to masks, report and segmenter; and the same ids for more photos."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leopart.config import FitConfig, PredictConfig, SegmentConfig
from leopart.data.photo_list import write_photo_list
from leopart.data.photos import Photo, PhotoSearch, output_stems
from leopart.data.replaced import check_unchanged, file_mark
from leopart.errors import LeopartError, PhotoError
from leopart.features.extract import Extractor, Preprocessing, TokensAndAttention
from leopart.features.failure import Failure
from leopart.features.store import FeatureStore
from leopart.locks import locked
from leopart.models.tuned import start_of
from leopart.models.weights.spec import BackboneSpec
from leopart.parallel import side_by_side
from leopart.progress import Track, silent
from leopart.run_record import Stopwatch, settings_of
from leopart.segment import run_folder, saved
from leopart.segment.adapting import (
    STATE,
    AdaptationRequest,
    OpenProgress,
    adaptation_results,
    measured,
    minutes_of,
    without_progress,
)
from leopart.segment.areas import write_areas
from leopart.segment.finished import finished, identity
from leopart.segment.judging import best_here
from leopart.segment.labelling import LabelTable, copied_to, start_labels
from leopart.segment.learning import Learned, Workspace, learn, open_extractor, require_some
from leopart.segment.outputs import MaskWriter, Wanted, Written
from leopart.segment.part_model import PartModel
from leopart.segment.report.findings import fit_report, fit_results, fit_warnings
from leopart.segment.report.page import Credit, shown, write_report
from leopart.segment.report.predicted import prediction_report
from leopart.segment.segmenter import Segmenter
from leopart.segment.summary import Summary
from leopart.segment.survey import Patch

#: What to do while another run uses the same features.
_OTHER_FEATURES = "wait for it to end, or choose another --features"


def segment_photos(
    config: SegmentConfig,
    *,
    title: str = "Parts and objects",
    credits: Sequence[Credit] = (),  # noqa: A002 - what it is
    track: Track = silent,
    open_progress: OpenProgress = without_progress,
) -> Summary:
    """Learn parts and objects from photos and write everything that `leopart segment` leaves behind.

        OUT/  report.html  summary.json  config.yaml
              parts/…png  objects/…png  overlays/…jpg  segmenter/
              photos.jsonl  areas.csv  labels.yaml

    Returns:
        What is in `summary.json`.

    Raises:
        LeopartError: no photo can be used, or `out` cannot be written.
        KeyboardInterrupt: a signal ended the adaptation; the same call continues it.
    """
    config.check()
    features = nullcontext() if config.features is None else locked(config.features, _OTHER_FEATURES)
    with locked(config.out), features, run_folder.settings_of_masks(config.out):
        return _segmented(config, title, credits, track, open_progress)


def _segmented(
    config: SegmentConfig,
    title: str,
    credits: Sequence[Credit],  # noqa: A002 - what it is
    track: Track,
    open_progress: OpenProgress,
) -> Summary:
    watch = Stopwatch()
    search = run_folder.photos_for(config, track=track)
    photos = search.photos
    with watch.stage("loading the backbone"):
        networks = best_here(photos, config.seed, config.device) if config.backbone == "auto" else {}
        config = replace(config, backbone=next(iter(networks), config.backbone))
        extractor = _open(config)
    minutes = minutes_of(config.adapt, len(photos), extractor.backbone)
    config = replace(config, adapt=minutes or False)
    inputs = identity(photos, extractor.backbone.fingerprint)
    if (done := finished(config, photos, inputs)) is not None:
        return replace(done, repeated=True)
    run_folder.write_settings(config)
    learned = learn(
        extractor,
        photos,
        config.settings,
        _workspace(config),
        adaptation=_adaptation(config, minutes),
        track=track,
        open_progress=open_progress,
        watch=watch,
    )
    run_folder.remove_earlier(config.out, extractor.backbone.source, config.attention_backbone)
    with watch.stage("masks"):
        written, patches = _write_masks(config, photos, learned, track)
        write_photo_list(config.out, [item.entry for item in written])
        write_areas(config.out, written)
    learned.save(config.out / "segmenter", stretch=config.stretch)
    notes = start_labels(config.out)
    summary = _summary(config, search, learned, written, extractor.backbone.spec, watch)
    results = {**summary.results, **({"backbones": measured(networks)} if networks else {})}
    summary = replace(summary, inputs=inputs, results=results, warnings=[*summary.warnings, *notes])
    with watch.stage("report"):
        report = fit_report(title, summary, learned.fit, written, patches, credits, learned.adapted)
        write_report(config.out / "report.html", report)
    summary.write(config.out / "summary.json")
    _remove_intermediate(config, learned.store)
    return summary


def predict_photos(config: PredictConfig, *, track: Track = silent) -> Summary:
    """Masks of more photos with a saved segmenter's ids.

    Writes `parts/`, `objects/`, `overlays/`, `report.html` and `summary.json`.

    Where labels were applied to the run that made the segmenter, there are `labels/` and `classes.txt` too.

    Returns:
        What is in `summary.json`.

    Raises:
        LeopartError: no photo can be used, `out` cannot be written, or the segmenter is not whole.
    """
    config.check()
    with locked(config.out), run_folder.settings_of_masks(config.out):
        return _predicted(config, track)


def _predicted(config: PredictConfig, track: Track) -> Summary:
    watch = Stopwatch()
    folder = saved.folder_of(config.segmenter)
    if config.out.resolve() == folder.resolve().parent:
        raise LeopartError(f"--out {config.out} is the run that made the segmenter: choose another folder")
    config = replace(config, stretch=config.stretch or saved.stretch_of(folder))
    search = run_folder.photos_for(config, track=track)
    photos = search.photos
    inputs = identity(photos, saved.hash_of(folder))
    if (done := finished(config, photos, inputs)) is not None:
        return replace(done, repeated=True)
    run_folder.write_settings(config)
    with watch.stage("loading the segmenter"):
        batch_size = None if config.batch_size == "auto" else config.batch_size
        segmenter = Segmenter.load(
            folder, backbone=config.backbone, device=config.device, batch_size=batch_size
        )
    labels = copied_to(config.out, folder.parent)
    with watch.stage("masks"):
        written = _predict_masks(config, photos, segmenter, labels, track)
        failures = [item for item in written if isinstance(item, Failure)]
        good = [item for item in written if isinstance(item, Written)]
        write_photo_list(config.out, [item.entry for item in good])
        write_areas(config.out, good)
    require_some(photos, failures, config.out)
    summary = Summary(
        command="predict",
        counts=_counts(photos, failures, segmenter.model_),
        failures=failures,
        warnings=[
            *run_folder.stale_masks(config.out, len(photos) - len(failures)),
            *segmenter.extractor.remarks.sentences(),
            *search.notes,
        ],
        results={**_forward(segmenter.extractor), **_confidence(segmenter.model_, good)},
        settings=settings_of(config),
        seconds=watch.seconds,
        labels=segmenter.labels_used_,
        inputs=inputs,
    )
    with watch.stage("report"):
        report = prediction_report(
            f"Masks by {folder.resolve().parent.name}", summary, segmenter.model_, good
        )
        write_report(config.out / "report.html", report)
    summary.write(config.out / "summary.json")
    return summary


def _open(config: FitConfig) -> Extractor:
    return open_extractor(
        config.backbone,
        config.attention_backbone,
        preprocessing=Preprocessing(config.size, config.keep_aspect),
        precision=config.precision,
        batch_size=None if config.batch_size == "auto" else config.batch_size,
        device=config.device,
    )


def _adaptation(config: FitConfig, minutes: float | None) -> AdaptationRequest | None:
    if minutes is None:
        return None
    return AdaptationRequest(minutes, config.adapt_method, config.keep_adapted)


def _workspace(config: FitConfig) -> Workspace:
    """Below the output folder; the state of an adaptation lies beside features that are kept."""
    kept = config.features is not None
    features = config.features or config.out / run_folder.FEATURES
    return Workspace(features, (config.features or config.out) / STATE, kept)


def _remove_intermediate(config: FitConfig, store: FeatureStore) -> None:
    if config.features is None:
        store.close()
        shutil.rmtree(store.folder, ignore_errors=True)
    shutil.rmtree(config.out / STATE, ignore_errors=True)


def _summary(
    config: FitConfig,
    search: PhotoSearch,
    learned: Learned,
    written: Sequence[Written],
    start: BackboneSpec,
    watch: Stopwatch,
) -> Summary:
    settings, results = learned.settings, fit_results(learned.fit)
    if learned.adapted is not None and learned.judgement is not None:
        results = {"adaptation": adaptation_results(learned.adapted, learned.judgement), **results}
    return Summary(
        command="segment",
        counts=_counts(search.photos, learned.failures, learned.fit.model),
        failures=learned.failures,
        warnings=[
            *fit_warnings(learned.fit, len(written), settings.n_parts, settings.n_objects),
            *_spoilt_attention(config, start),
            *run_folder.stale_masks(config.out, len(written)),
            *learned.extractor.remarks.sentences(),
            *search.notes,
        ],
        results={
            **_forward(learned.extractor),
            **results,
            **_confidence(learned.fit.model, written),
        },
        settings=settings_of(config),
        seconds=watch.seconds,
        labels=learned.labels,
    )


def _counts(photos: Sequence[Photo], failures: Sequence[Failure], model: PartModel) -> dict[str, int]:
    sizes = {"parts": model.n_parts, "objects": model.n_objects}
    return {"photos": len(photos), "failed": len(failures), **sizes}


def _confidence(model: PartModel, written: Sequence[Written]) -> dict[str, Any]:
    """Of each photo, that of its surest segment, -1 without one; nothing where segments are not used."""
    if model.prototypes is None:
        return {}
    surest = {item.row.name: max(item.confidence.values(), default=-1.0) for item in written}
    return {"confidence": {name: round(value, 4) for name, value in surest.items()}}


def _forward(extractor: Extractor) -> dict[str, Any]:
    return {"backbone": extractor.backbone.name, "precision": extractor.precision}


def _spoilt_attention(config: FitConfig, spec: BackboneSpec) -> list[str]:
    """A warning where the attention of a network that Leopart has trained decides what is foreground."""
    start = start_of(spec)
    if start is None or config.attention_backbone is not None or config.foreground == "none":
        return []
    spoilt = f"{spec.name} was fine-tuned by Leopart, which spoils the attention that decides the foreground"
    return [f"{spoilt}: give the network it started from, --attention-backbone {start}."]


def _write_masks(
    config: SegmentConfig, photos: Sequence[Photo], learned: Learned, track: Track
) -> tuple[list[Written], dict[Patch, NDArray[np.uint8]]]:
    """Masks and overlays of all stored photos; what the report shows of them. Adds to `learned.failures`."""
    store, failures = learned.store, learned.failures
    stems = dict(zip(photos, output_stems(photos), strict=True))
    index_of = {entry.name: index for index, entry in enumerate(store.entries) if store.done[index]}
    usable = [photo for photo in photos if photo.name in index_of]
    wanted = _wanted(learned, [index_of[photo.name] for photo in usable])
    writer = MaskWriter(
        config.out,
        learned.fit.model,
        overlays=config.overlays,
        refine=learned.settings.refine,
        least_confidence=learned.settings.least_confidence,
    )

    def write(photo: Photo) -> Written | Failure:
        index = index_of[photo.name]
        entry = store.entries[index]
        try:
            check_unchanged(photo, entry.size, entry.modified)
            return writer.write(photo, stems[photo], store.tokens_of(index), wanted[index])
        except PhotoError as error:  # it was readable a moment ago
            return Failure(photo.name, str(error))

    written: list[Written] = []
    patches: dict[Patch, NDArray[np.uint8]] = {}
    results = side_by_side(write, usable)
    for photo, item in zip(usable, track(results, len(usable), "masks"), strict=True):
        if isinstance(item, Failure):
            failures.append(item)
        else:
            written.append(item)
            patches.update(zip(wanted[index_of[photo.name]].patches, item.patches, strict=True))
    require_some(photos, failures, config.out)
    return written, patches


def _wanted(learned: Learned, indices: Sequence[int]) -> dict[int, Wanted]:
    """What the report shows of each stored photo."""
    patches: dict[int, list[Patch]] = defaultdict(list)
    survey = learned.fit.survey
    for part in range(survey.n_parts):
        for patch in survey.best_patches(part):
            patches[patch.photo].append(patch)
    rows = {indices[i] for i in shown(len(indices))}
    return {index: Wanted(index in rows, tuple(patches[index])) for index in range(len(learned.store))}


def _predict_masks(
    config: PredictConfig,
    photos: Sequence[Photo],
    segmenter: Segmenter,
    labels: LabelTable | None,
    track: Track,
) -> list[Written | Failure]:
    """Masks and overlays of all photos, written while the next ones are looked at."""
    stems = dict(zip(photos, output_stems(photos), strict=True))
    writer = MaskWriter(
        config.out,
        segmenter.model_,
        overlays=config.overlays,
        refine=segmenter.refine,
        least_confidence=segmenter.least_confidence,
        labels=labels,
    )

    pictured = {photos[index] for index in shown(len(photos))}
    before = {photo: mark for photo in photos if (mark := file_mark(photo)) is not None}

    def write(item: tuple[Photo, TokensAndAttention | PhotoError]) -> Written | Failure:
        photo, features = item
        try:
            if isinstance(features, PhotoError):
                raise features
            if photo in before:
                check_unchanged(photo, *before[photo])
            return writer.write(photo, stems[photo], features[0], Wanted(row=photo in pictured))
        except PhotoError as error:
            return Failure(photo.name, str(error))

    stream = segmenter.extractor.stream(photos, track=track, title="masks")
    return list(side_by_side(write, stream))
