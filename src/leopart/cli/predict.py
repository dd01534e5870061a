"""`leopart predict`: more photos -> masks with the ids of a saved segmenter."""

from __future__ import annotations

from collections.abc import Sequence

from leopart.cli.display import counted, say, say_failures, tracker
from leopart.cli.options import parse
from leopart.cli.segment import done_before
from leopart.config import PredictConfig


def main(argv: Sequence[str]) -> int:
    """Run the command; exit status 1 when some photos failed."""
    config = parse(PredictConfig, "predict", argv)
    from leopart.segment.photos_to_masks import predict_photos

    summary = predict_photos(config, track=tracker(config.quiet))
    if summary.repeated:
        done_before(config)
    say_failures([failure.reason for failure in summary.failures], config.out / "summary.json")
    for warning in summary.warnings:
        say(f"note: {warning}", quiet=config.quiet)
    done = summary.counts["photos"] - summary.counts["failed"]
    say(f"masks of {counted(done, 'photo')}: {config.out.resolve()}", quiet=config.quiet)
    say(f"report: {(config.out / 'report.html').resolve()}", quiet=config.quiet)
    return 1 if summary.failures else 0
