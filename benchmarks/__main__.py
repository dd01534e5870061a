"""`python -m benchmarks [NAME …]`: print a table of ratios, ours against a naive or peer version."""

from __future__ import annotations

import sys

from benchmarks import (
    boundary,
    clustering,
    communities,
    extraction,
    in_context,
    linear_head,
    loss,
    masks,
    matching,
    stages,
    training_step,
    views,
)

_SUITES = {
    "extraction": extraction.run,
    "stages": stages.run,
    "clustering": clustering.run,
    "communities": communities.run,
    "masks": masks.run,
    "boundary": boundary.run,
    "in-context": in_context.run,
    "matching": matching.run,
    "linear-head": linear_head.run,
    "loss": loss.run,
    "views": views.run,
    "step": training_step.run,
}


def main(names: list[str]) -> None:
    unknown = set(names) - set(_SUITES)
    if unknown:
        sys.exit(f"no benchmark called {', '.join(sorted(unknown))}: choose {', '.join(_SUITES)}")
    print(f"{'':<44} {'ours':>11}  {'peer':>11}  speed-up (least to most)")
    for name in names or _SUITES:
        for comparison in _SUITES[name]():
            print(comparison, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
