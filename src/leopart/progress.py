"""How long work reports how far it is: the caller hands in a `Track`, which wraps an iterable."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Track(Protocol):
    """Wraps an iterable of `total` items and reports each one taken, under a short `title`."""

    def __call__(self, items: Iterable[T], total: int, title: str) -> Iterable[T]:
        """The same items, counted as they are taken."""
        ...


def silent(items: Iterable[T], total: int, title: str) -> Iterable[T]:  # noqa: ARG001 - the protocol's names
    """Report nothing."""
    return items


def bars(items: Iterable[T], total: int, title: str) -> Iterable[T]:
    """A bar of tqdm, which finds out by itself whether it is in a terminal or a notebook.

    Args:
        items: see `Track`.
        total: 0 = not known.
        title: see `Track`.
    """
    from tqdm.auto import tqdm

    counted: Iterable[T] = tqdm(items, total=total or None, desc=title)
    return counted
