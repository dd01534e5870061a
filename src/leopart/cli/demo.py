"""`leopart demo`: the main job on sample photos and a real pretrained backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import partial

from leopart.cli.display import say, tracker, training_progress
from leopart.cli.options import parse
from leopart.cli.segment import finish
from leopart.config import DemoConfig, FitConfig, SegmentConfig


def main(argv: Sequence[str]) -> int:
    """Write the sample photos to OUT/sample-photos and segment them."""
    config = parse(DemoConfig, "demo", argv, ignored=("images",))
    from leopart.data.samples import write_samples
    from leopart.segment.photos_to_masks import segment_photos
    from leopart.segment.report.page import Credit

    photos = config.out / "sample-photos"
    samples = write_samples(photos)
    options = {field.name: getattr(config, field.name) for field in fields(FitConfig)}
    summary = segment_photos(
        SegmentConfig(images=(photos,), **options),
        title="Leopart demo",
        credits=[Credit(s.name, s.author, s.licence, s.source) for s in samples],
        track=tracker(config.quiet),
        open_progress=partial(training_progress, config.quiet),
    )
    status = finish(config, summary)
    say(f"look through it and name its parts: leopart view {config.out}", quiet=config.quiet)
    return status
