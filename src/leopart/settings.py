"""Settings as frozen dataclasses: bounds stand at the fields, and fields may be groups of settings.

A group is a field whose value is a dataclass. Command lines and YAML files are flat: they know an option by
its own name, whichever group it stands in, so names are unique in a whole configuration. `check_fields` reads
the bounds of numbers, such as `Annotated[int, Ge(1)]`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt

from leopart.errors import LeopartError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")

AtLeast0 = Annotated[int, Ge(0)]
AtLeast1 = Annotated[int, Ge(1)]
Above0 = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
PositiveShare = Annotated[float, Gt(0), Le(1)]
PartialShare = Annotated[float, Ge(0), Lt(1)]

#: Of each kind of bound: its attribute, its test, and the words for it.
_BOUNDS: dict[type, tuple[str, Callable[[Any, Any], bool], str]] = {
    Ge: ("ge", operator.ge, "at least"),
    Gt: ("gt", operator.gt, "above"),
    Le: ("le", operator.le, "at most"),
    Lt: ("lt", operator.lt, "below"),
}


def flat(config: DataclassInstance) -> dict[str, Any]:
    """Values by the options' names, those in groups included."""
    values: dict[str, Any] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        values |= flat(value) if _is_group(value) else {field.name: value}
    return values


def updated(config: Config, **values: Any) -> Config:
    """A copy with other values of some options, whichever groups they stand in.

    Raises:
        TypeError: there is no such option.
    """
    inner = {
        field.name: updated(group, **given)
        for field in fields(config)
        if _is_group(group := getattr(config, field.name))
        and (given := {name: values.pop(name) for name in flat(group) if name in values})
    }
    return replace(config, **values, **inner)


def option_types(config: type[DataclassInstance], *, bounds: bool = True) -> dict[str, Any]:
    """Types by the options' names, those in groups included; with the bounds and other extras, or bare."""
    hints, types = get_type_hints(config, include_extras=bounds), dict[str, Any]()
    for field in fields(config):
        kind = hints[field.name]
        bare = kind.__origin__ if get_origin(kind) is Annotated else kind
        inner = option_types(bare, bounds=bounds) if is_dataclass(bare) and isinstance(bare, type) else None
        types |= {field.name: kind} if inner is None else inner
    return types


def check_fields(options: DataclassInstance, *, command_line: bool = True) -> None:
    """Refuse the first number that lies outside the bounds at its field; NaN and infinity always do.

    Args:
        options: its bounded fields hold numbers, None, words or truth values; only numbers are checked.
        command_line: name the field as an option, `--batch-size`, instead of as it is.

    Raises:
        LeopartError: names the option, the values it takes, and the one it got.
    """
    values = flat(options)
    for name, hint in option_types(type(options)).items():
        value, bounds = values[name], list(_bounds(hint))
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if bounds and not (math.isfinite(value) and all(_within(value, bound) for bound in bounds)):
            option = option_word(name) if command_line else name
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


def option_word(name: str) -> str:
    """`--batch-size` for `batch_size`."""
    return f"--{name.replace('_', '-')}"


def _is_group(value: object) -> bool:
    return is_dataclass(value) and not isinstance(value, type)
