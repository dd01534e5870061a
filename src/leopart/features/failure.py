"""A photo that could not be used; apart from networks, so that what only reads results need not load them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """A photo that could not be used, and why, in one sentence."""

    name: str
    reason: str
