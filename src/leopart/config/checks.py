"""What options of several commands share: their types, and checks in one sentence.

Bounds of numbers stand at their fields, such as `Annotated[int, Ge(1)]`; `check_fields` reads them there.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro
from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt

from leopart.errors import LeopartError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Device = Annotated[str, tyro.conf.arg(metavar="auto|cpu|cuda|cuda:N|mps")]
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]
Auto = Literal["auto"]


#: Of each kind of bound: its attribute, its test, and the words for it.
_BOUNDS: dict[type, tuple[str, Callable[[Any, Any], bool], str]] = {
    Ge: ("ge", operator.ge, "at least"),
    Gt: ("gt", operator.gt, "above"),
    Le: ("le", operator.le, "at most"),
    Lt: ("lt", operator.lt, "below"),
}


def check_fields(options: DataclassInstance, *, command_line: bool = True) -> None:
    """Refuse the first number that lies outside the bounds at its field; NaN and infinity always do.

    Args:
        options: its bounded fields hold numbers, None, words or truth values; only numbers are checked.
        command_line: name the field as an option, `--batch-size`, instead of as it is.

    Raises:
        LeopartError: names the option, the values it takes, and the one it got.
    """
    for name, hint in get_type_hints(type(options), include_extras=True).items():
        value, bounds = getattr(options, name), list(_bounds(hint))
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if bounds and not (math.isfinite(value) and all(_within(value, bound) for bound in bounds)):
            option = f"--{name.replace('_', '-')}" if command_line else name
            finite = " and finite" if math.isinf(value) else ""
            choices = ", ".join([*_words(hint), _range(bounds) + finite])
            got = value if isinstance(value, int) else f"{value:g}"
            raise LeopartError(f"{option} must be {' or '.join(choices.rsplit(', ', 1))}, got {got}")


def _bounds(hint: Any) -> Iterator[Any]:
    """Bounds anywhere in a type hint, a union's members included."""
    if get_origin(hint) is Annotated:
        for extra in hint.__metadata__:
            every = extra if isinstance(extra, GroupedMetadata) else [extra]
            yield from (bound for bound in every if type(bound) in _BOUNDS)
    for part in get_args(hint):
        yield from _bounds(part)


def _words(hint: Any) -> Iterator[str]:
    """Words that are taken instead of a number."""
    if get_origin(hint) is Literal:
        yield from get_args(hint)
    else:
        for part in get_args(hint):
            yield from _words(part)


def _within(value: float, bound: Any) -> bool:
    attribute, test, _ = _BOUNDS[type(bound)]
    return test(value, getattr(bound, attribute))


def _range(bounds: list[Any]) -> str:
    """The bounds in words: `at least 1`, `from 0 to 1`, `above 0 and at most 1`."""
    ends = {type(bound): f"{getattr(bound, _BOUNDS[type(bound)][0]):g}" for bound in bounds}
    if ends.keys() == {Ge, Le}:
        return f"from {ends[Ge]} to {ends[Le]}"
    return " and ".join(f"{_BOUNDS[kind][2]} {end}" for kind, end in ends.items())


def require_folder(out: Path) -> None:
    """Refuse a file where a folder is written."""
    is_folder = os.path.isdir(out)  # noqa: PTH112 - Path's own raises where a parent may not be entered
    if os.path.lexists(out) and not is_folder:
        raise LeopartError(f"--out {out} is a file: give a folder")


def require_file(out: Path, name: str) -> None:
    """Refuse a folder where a file is written; `name` is that of a file to suggest."""
    if out.is_dir():
        raise LeopartError(f"--out {out} is a folder: give a file, such as {out / name}")


def require_images(images: tuple[Path, ...]) -> None:
    """Refuse a command without photos."""
    if not images:
        raise LeopartError("no photos are given: name their folder, or files, before --out")


def require_known(kind: str, name: str, known: tuple[str, ...]) -> None:
    """Refuse a name that is none of those known."""
    if name not in known:
        raise LeopartError(f"there is no {kind} {name!r}; there is: {', '.join(known)}")
