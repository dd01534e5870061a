"""Options of `view`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from annotated_types import Interval

from leopart.config.checks import OptionalPath
from leopart.settings import check_fields


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """Look through the masks of a run in the browser, name parts and objects, and save labels.

    The page is served on this machine alone until Ctrl-C. Needs the extra `view`.
    """

    out: tyro.conf.Positional[Path]
    """Folder that `leopart segment` wrote."""
    port: Annotated[int, Interval(ge=0, le=65535)] = 0
    """Where to serve the page; 0 takes a free port."""
    host: str = "127.0.0.1"
    """Address to listen on. With any but this machine's own, whoever has the printed address (it holds a
    token) can see the photos and change labels; it is not encrypted."""
    browser: bool = True
    """Open the page in the browser."""
    config: OptionalPath = None
    """Read options from this YAML file. The command line wins."""
    quiet: bool = False
    """Print the address alone."""

    def check(self) -> None:
        """Refuse values that make no sense.

        Raises:
            LeopartError: says which option, and what it takes.
        """
        check_fields(self)
