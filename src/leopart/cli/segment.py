"""`leopart segment`: folder of photos -> part masks, object masks, report and a saved segmenter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from leopart.cli.display import counted, duration, say, say_failures, tracker, training_progress
from leopart.cli.options import parse
from leopart.config import FitConfig, RunConfig, SegmentConfig

if TYPE_CHECKING:
    from leopart.segment.summary import Summary


def main(argv: Sequence[str]) -> int:
    """Run the command; exit status 1 when some photos failed."""
    config = parse(SegmentConfig, "segment", argv)
    from leopart.segment.photos_to_masks import segment_photos

    open_progress = partial(training_progress, config.quiet)
    summary = segment_photos(config, track=tracker(config.quiet), open_progress=open_progress)
    return finish(config, summary)


def done_before(config: RunConfig) -> None:
    """Tell that the same command had finished its work before."""
    again = "nothing was done, --overwrite does it again"
    say(f"{config.out} is finished already: {again}", quiet=config.quiet)


def finish(config: FitConfig, summary: Summary) -> int:
    """Tell what came out and what did not; the exit status."""
    counts = summary.counts
    if summary.repeated:
        done_before(config)
    say_failures([failure.reason for failure in summary.failures], config.out / "summary.json")
    for warning in summary.warnings:
        say(f"note: {warning}", quiet=config.quiet)
    if (networks := summary.results.get("backbones")) is not None:
        many = counted(len(networks), "network")
        say(f"of {many} on this machine {next(iter(networks))} was taken", quiet=config.quiet)
    if (adapted := summary.results.get("adaptation")) is not None:
        what = f"{adapted['steps']} steps in {duration(adapted['seconds'])}"
        early = ", ended early" if adapted["stopped_early"] else ""
        say(f"network adapted to the photos: {what}{early}{_judged(adapted)}", quiet=config.quiet)
    done = counts["photos"] - counts["failed"]
    seconds = sum(summary.seconds.values())
    found = f"{counted(done, 'photo')}, {counted(counts['parts'], 'part')}, "
    found += f"{counted(counts['objects'], 'object')} (by {_objects_by(summary.results)})"
    say(f"{found} in {seconds:.0f} s; labels used: {summary.labels}", quiet=config.quiet)
    say(f"report: {(config.out / 'report.html').resolve()}", quiet=config.quiet)
    return 1 if summary.failures else 0


def _judged(adapted: Mapping[str, Any]) -> str:
    """Whether that made it better, and what follows."""
    before, after = adapted.get("before"), adapted.get("after")
    if before is None or after is None:
        return ""
    name = "stability" if None in (before["gain"], after["gain"]) else "gain"
    change = f"; {name} on the photos {before[name]:.3f} -> {after[name]:.3f}"
    if adapted["kept"]:
        return change
    return f"{change}: no better, so the network stays as it was (--keep-adapted uses the adapted one)"


def _objects_by(results: Mapping[str, Any]) -> str:
    """What objects are, or the engine that found them; runs of earlier versions only knew the engine."""
    by = str(results.get("objects by", "communities"))
    return str(results["communities"]) if by == "communities" else by
