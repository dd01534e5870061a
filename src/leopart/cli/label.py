"""`leopart label`: names for parts and objects, and label masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from leopart.cli.display import counted, say, tracker
from leopart.cli.options import parse
from leopart.config import LabelConfig

if TYPE_CHECKING:
    from leopart.labels.rules import Labels
    from leopart.segment.labelling import Applied


def main(argv: Sequence[str]) -> int:
    """Run the command; exit status 1 when masks of some photos could not be read."""
    config = parse(LabelConfig, "label", argv)
    from leopart.segment.label_run import label_run

    found = label_run(config, track=tracker(config.quiet))
    for note in found.notes:
        say(note, quiet=config.quiet)
    if found.applied is None:
        _show(found.labels)
        return 0
    _show(found.labels, found.applied, quiet=config.quiet)
    for failure in found.applied.failures:
        say(f"leopart: {failure.reason}")
    where = (config.out / "labels").resolve()
    say(
        f"{counted(found.applied.written, 'label mask')}: {where}; photos with them: {where}.html",
        quiet=config.quiet,
    )
    return 1 if found.applied.failures else 0


def _show(labels: Labels, applied: Applied | None = None, *, quiet: bool = False) -> None:
    """A line for each label."""
    total = sum(applied.pixels.values()) if applied else 0
    width = max((len(label.name) for label in labels), default=0)
    for label in labels:
        line = f"{label.id:>4}  {label.name:<{width}}"
        if applied and total:
            share = applied.pixels[label.id] / total
            line += f"  {share:>6.1%} of the area, {counted(applied.photos[label.id], 'photo')}"
        say(f"{line}  {label.claim}", quiet=quiet)
    if labels.ignored:
        say(f"      ignored: {labels.ignored}", quiet=quiet)
