"""Options of a command, given by name from Python."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from leopart.errors import LeopartError
from leopart.settings import option_types, updated

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


def with_options(config: Config, options: Mapping[str, Any], function: str) -> Config:
    """The configuration with other values of some options.

    Args:
        config: of a command.
        options: by name; lists are taken for tuples.
        function: who takes them, for messages.

    Raises:
        LeopartError: there is no such option, or it does not take the value; says which.
    """
    known = option_types(type(config), bounds=False)
    values = {}
    for name, value in options.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there is: {', '.join(known)}"
            raise LeopartError(f"{function} has no option {name!r}; {hint}")
        try:
            values[name] = TypeAdapter(known[name]).validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise LeopartError(f"{function}: {name} cannot be {value!r}: {reason}") from error
    return updated(config, **values)
