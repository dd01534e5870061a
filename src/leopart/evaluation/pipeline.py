"""The work of `leopart evaluate`: labelled photos and a backbone in, one JSON file of scores out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import yaml

from leopart.config import EvaluateConfig
from leopart.data.datasets.labelled import labelled_photos
from leopart.evaluation.case import Case
from leopart.evaluation.report import Evaluation, Outcome, write_report
from leopart.evaluation.tasks import overclustering
from leopart.files import write_text
from leopart.progress import Track, silent
from leopart.run_record import git_commit, peak_memory, settings_of, versions

RUNNERS: dict[str, Callable[[Case[Any]], Outcome]] = {
    "overclustering": overclustering.run,
}
"""What does the work of each task."""


def evaluate(config: EvaluateConfig, *, track: Track = silent) -> Evaluation:
    """Score a backbone and write the JSON file, and the options beside it.

    A photo that cannot be read ends the evaluation: the score of the rest would be that of another set. What
    an evaluation that was interrupted has left is taken up again.

    Raises:
        LeopartError: data, backbone or options do not fit, or a file cannot be written.
    """
    labelled = labelled_photos(config.data, config.masks, config.split).without(config.ignore)
    case = Case(config, labelled, track)
    options = yaml.safe_dump(settings_of(config), sort_keys=False, allow_unicode=True)
    # Before the work: a folder that cannot be written to must not be noticed after it.
    write_text(config.out.with_suffix(".config.yaml"), options)
    try:
        outcome = RUNNERS[config.task](case)
    finally:
        case.close()
    backbone = case.extractor.backbone
    outcome = replace(outcome, labels_used={"backbone": backbone.spec.labels, **outcome.labels_used})
    found = Evaluation(
        config.task, len(labelled.pairs), labelled.classes, backbone.name, outcome, labelled.notes
    )
    write_report(config.out, found, _facts(case))
    case.tidy()
    return found


def _facts(case: Case[Any]) -> dict[str, Any]:
    """Everything that the scores depend on, and what they cost."""
    config, extractor = case.config, case.extractor
    backbone = extractor.backbone
    return {
        "dataset": config.data,
        "masks": config.masks,
        "split": config.split,
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
