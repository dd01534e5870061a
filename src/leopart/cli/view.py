"""`leopart view`: look through the masks of a run, name what was found, save labels."""

from __future__ import annotations

from collections.abc import Sequence

from leopart.cli.display import say
from leopart.cli.options import parse
from leopart.config import ViewConfig


def main(argv: Sequence[str]) -> int:
    """Serve the page until Ctrl-C."""
    config = parse(ViewConfig, "view", argv)
    from leopart.viewer.serve import serve

    def tell(address: str) -> None:
        print(address, flush=True)  # noqa: T201 - what a script reads
        say("Ctrl-C ends it; what is not saved is kept as a draft.", quiet=config.quiet)

    serve(config.out, config.host, config.port, browser=config.browser, say=tell)
    return 0
