"""The work of `leopart evaluate`: labelled photos and a backbone in, one JSON file of scores out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml

from leopart.config import EvaluateConfig, HeadConfig
from leopart.errors import LeopartError
from leopart.evaluation.case import NOTHING_GIVEN, Case, Given
from leopart.evaluation.maps import MapWriter
from leopart.evaluation.report import Outcome, Scores, write_report
from leopart.evaluation.splits import scored_photos, scored_split
from leopart.evaluation.tasks import (
    attention,
    boundary,
    foreground,
    in_context,
    linear_and_fcn,
    overclustering,
    unsupervised,
)
from leopart.files import put_back, remove_unfinished_versions, write_text
from leopart.locks import locked_file
from leopart.models.device import pick_device
from leopart.processes import joined_processes, rank, wait_for_all, world_size
from leopart.progress import Track, silent
from leopart.run_record import git_commit, peak_memory, settings_of, versions

RUNNERS: dict[str, Callable[[Case[Any]], Outcome]] = {
    "overclustering": overclustering.run,
    "linear": linear_and_fcn.run,
    "fcn": linear_and_fcn.run,
    "in-context": in_context.run,
    "attention": attention.run,
    "boundary": boundary.run,
    "foreground": foreground.run,
    "unsupervised": unsupervised.run,
}
"""The function that does the work of each task."""


def evaluate(
    config: EvaluateConfig,
    *,
    track: Track = silent,
    maps: MapWriter | None = None,
    given: Given = NOTHING_GIVEN,
) -> Scores:
    """Score a backbone and write the JSON file, and the options beside it.

    A photo that cannot be read ends the evaluation: the score of the others would be that of another data
    set. An interrupted evaluation is continued from its features. Heads can be trained by several processes
    (`torchrun -m leopart evaluate linear ...`); the first one reports and writes.

    Args:
        config: options.
        track: progress.
        maps: takes the predictions for each photo, instead of `save_maps`.
        given: what a Python program holds already; see `Given`.

    Raises:
        LeopartError: data, backbone or options do not fit, or a file cannot be written.
    """
    with joined_processes(pick_device(config.device)) as device, _alone(config):
        if world_size() > 1 and not isinstance(config, HeadConfig):
            raise LeopartError(f"{config.task} runs in one process; start it without torchrun")
        first = rank() == 0
        case = Case(config, scored_photos(config, given.scored), device, track if first else silent, given)
        if maps is not None:
            case.maps = maps
        wait_for_all()  # all processes have checked the folder for features
        if first:  # before the work: an output that cannot be written is an error now, not later
            options = yaml.safe_dump(settings_of(config), sort_keys=False, allow_unicode=True)
            write_text(options_file(config.out), options)
        try:
            outcome = RUNNERS[config.task](case)
        finally:
            case.close()
        found = _evaluation(case, outcome)
        if first:
            write_report(config.out, found, _facts(case))
            case.tidy()
        return found


@contextmanager
def _alone(config: EvaluateConfig) -> Iterator[None]:
    """No other evaluation writes to the same file; one that fails leaves no options behind.

    Other processes of this evaluation rely on the first one, as it is the only one that writes.
    """
    if rank() > 0:
        yield
        return
    lock = config.out.with_name(f".{config.out.name}.lock")
    with (
        locked_file(lock, config.out, "wait for it to end, or choose another --out") as taken_over,
        put_back(options_file(config.out), unless=lambda: False),
    ):
        if taken_over:
            for file in (config.out, options_file(config.out)):
                remove_unfinished_versions(file)
        yield


def options_file(out: Path) -> Path:
    """Where the options of an evaluation are, beside its scores."""
    return out.with_suffix(".config.yaml")


def _evaluation(case: Case[Any], outcome: Outcome) -> Scores:
    backbone, labelled = case.extractor.backbone, case.labelled
    used = {"backbone": backbone.spec.labels, **outcome.labels_used}
    return Scores(
        task=case.config.task,
        images=len(labelled.pairs),
        classes=labelled.classes,
        backbone=backbone.name,
        outcome=replace(outcome, labels_used=used),
        notes=case.notes + outcome.notes + tuple(case.extractor.remarks.sentences()),
    )


def _facts(case: Case[Any]) -> dict[str, Any]:
    """Everything that the scores depend on, and their cost."""
    config, extractor = case.config, case.extractor
    backbone = extractor.backbone
    return {
        "dataset": config.data,
        "masks": config.masks,
        "split": scored_split(config),
        "ignored classes": list(case.labelled.ignored.values()),
        "backbone": {
            "name": backbone.name,
            "source": backbone.source,
            "fingerprint": backbone.fingerprint,
            "block": backbone.spec.feature_block if extractor.block is None else extractor.block,
            "precision": extractor.precision,
        },
        "settings": settings_of(config),
        "seconds": {stage: round(seconds, 3) for stage, seconds in case.watch.seconds.items()},
        "peak memory MiB": peak_memory(),
        "device": _device_name(extractor.device),
        "versions": versions(),
        "git commit": git_commit(),
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
