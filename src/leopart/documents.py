"""JSON and YAML files that a user may have written, edited or damaged: read whole and checked, or refused.

Every such file comes in through `read_json` or `read_yaml`. What they return has the type that was asked for;
whatever is wrong with the file is one sentence with the file, the place in it, the fault and the remedy.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Hashable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import yaml

from leopart.errors import LeopartError
from leopart.paths import clipped, shown

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

#: Bytes; our largest documents, the manifests of feature stores, have about 150 bytes a photo.
LARGEST = 2**28
#: Levels of lists and mappings; ours have fewer than ten.
_DEEPEST = 64
_TOO_DEEP = f"lists and mappings are nested deeper than {_DEEPEST} levels"
#: NUL ends a path; lone surrogates cannot be printed, but for those that stand for bytes of a file name.
_NO_TEXT = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")


@overload
def read_json(path: Path, kind: type[T], remedy: str, *, limit: int = ...) -> T: ...
@overload
def read_json(path: Path, kind: TypeAdapter[T], remedy: str, *, limit: int = ...) -> T: ...
def read_json(path: Path, kind: type[T] | TypeAdapter[T], remedy: str, *, limit: int = LARGEST) -> T:
    """Read a JSON file.

    Args:
        path: the file, UTF-8 with or without a byte order mark.
        kind: what it must hold: a type that pydantic knows (a dataclass, a `TypedDict`, `dict[str, Any]`), or
            a `TypeAdapter`.
        remedy: what the user can do about a bad file; the second half of every message.
        limit: most bytes; more are refused unread.

    Raises:
        LeopartError: the file cannot be read, is larger than `limit`, is no JSON, names a key twice, is
            nested too deeply, or does not hold what it must.
    """
    text = _text(path, remedy, limit)
    try:
        content = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _refusal(path, f"is not JSON: {where}: {error.msg}", remedy) from error
    except ValueError as error:  # a key that comes twice, a number of thousands of digits
        raise _refusal(path, f"is not JSON: {error}", remedy) from error
    except RecursionError as error:
        raise _refusal(path, f"cannot be used: {_TOO_DEEP}", remedy) from error
    return _checked(path, content, kind, remedy, limit)


@overload
def read_yaml(path: Path, kind: type[T], remedy: str, *, limit: int = ...) -> T: ...
@overload
def read_yaml(path: Path, kind: TypeAdapter[T], remedy: str, *, limit: int = ...) -> T: ...
def read_yaml(path: Path, kind: type[T] | TypeAdapter[T], remedy: str, *, limit: int = LARGEST) -> T:
    """Read a YAML file of plain values: text, whole and other numbers, yes and no, null, lists and mappings.

    What YAML would make a date, a time of day or an object stays text or is refused. Aliases are followed as
    long as the content, written without them, would not be larger than `limit`.

    Args:
        path: see `read_json`.
        kind: see `read_json`.
        remedy: see `read_json`.
        limit: see `read_json`.

    Raises:
        LeopartError: as `read_json`.
    """
    text = _text(path, remedy, limit)
    try:
        content = _PlainLoader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        reason = error.problem or error.context
        raise _refusal(path, f"is not YAML: {where}{clipped(str(reason), 360)}", remedy) from error
    except yaml.reader.ReaderError as error:
        where = f"character {error.position + 1} is not allowed"
        raise _refusal(path, f"is not YAML: {where}", remedy) from error
    return _checked(path, content, kind, remedy, limit)


def checked(content: Any, kind: type[T] | TypeAdapter[T]) -> T:
    """See that what a document holds is of a type.

    Args:
        content: plain values.
        kind: see `read_json`.

    Raises:
        ValueError: it is not; the message has the key path of the first fault, and what is wrong there.
    """
    from pydantic import TypeAdapter, ValidationError

    adapter: TypeAdapter[T] = kind if isinstance(kind, TypeAdapter) else _adapter(cast("Hashable", kind))
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        reason = first["msg"].replace("tuple", "list")
        where = clipped(".".join(str(part) for part in first["loc"]))
        found = "" if first["type"] == "missing" else f", not {clipped(repr(first['input']))}"
        raise ValueError(f"{where}: {reason}{found}" if where else f"{reason}{found}") from error


@lru_cache(maxsize=64)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Made once a type: that takes a millisecond, and a list of photos has a document on every line."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _checked(path: Path, content: Any, kind: type[T] | TypeAdapter[T], remedy: str, limit: int) -> T:
    try:
        _refuse_odd(content, limit)
        return checked(content, kind)
    except ValueError as error:
        raise _refusal(path, f"cannot be used: {error}", remedy) from error


def _text(path: Path, remedy: str, limit: int) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise LeopartError(f"cannot read {shown(path)}: {reason}; {remedy}") from error
    if len(raw) > limit:
        raise _refusal(path, f"is larger than {limit / 2**20:,.0f} MiB", remedy)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        utf16 = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
        kind = "UTF-16, not UTF-8" if utf16 else f"not UTF-8 from byte {error.start + 1} on"
        raise _refusal(path, f"holds text that is {kind}", remedy) from error


def _refuse_odd(content: Any, limit: int) -> None:
    """Look at all values, level by level: no deep nesting, no aliases that multiply, only printable text.

    Raises:
        ValueError: says what is wrong.
    """
    size, level = 0, [content]
    for _ in range(_DEEPEST):
        deeper: list[Any] = []
        for value in level:
            if isinstance(value, str):
                size += len(value)
                if _NO_TEXT.search(value):
                    raise ValueError(f"the text {clipped(ascii(value))} holds what is no character")
            elif isinstance(value, dict | list):
                size += len(value)
                deeper.extend(value)
                if isinstance(value, dict):
                    deeper.extend(value.values())
            if size > limit:
                raise ValueError(f"its aliases stand for more than {limit / 2**20:,.0f} MiB")
        if not deeper:
            return
        level = deeper
    raise ValueError(_TOO_DEEP)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, in which a name comes once."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError(f"the name {_twice(name for name, _ in pairs)} comes twice in one object")
    return content


def _twice(keys: Iterable[str]) -> str:
    return next(clipped(repr(key)) for key, count in Counter(keys).items() if count > 1)


_TAG = "tag:yaml.org,2002:"
_KINDS = (None, *(f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")))
#: None: what refuses all other tags.
_CONSTRUCTORS = {tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if tag in _KINDS}
_RESOLVERS = {
    first: [(tag, form) for tag, form in forms if tag in _KINDS[1:3]]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _PlainLoader(yaml.SafeLoader):
    """YAML's safe loader without dates, times of day, merge keys and tags for anything but plain values."""

    _TAG = "tag:yaml.org,2002:"
    _PLAIN = tuple(
        f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")
    )
    yaml_implicit_resolvers = _RESOLVERS
    yaml_constructors = _CONSTRUCTORS
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.depth > _DEEPEST:
            raise yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError) as error:  # `!!int x`, a number of thousands of digits
            problem = f"{clipped(repr(node.value))} is no {node.tag.removeprefix(_TAG)}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        content = {}
        for key_node, value_node in node.value:
            key, mark = self.construct_object(key_node, deep=True), key_node.start_mark
            if not isinstance(key, str):
                problem = f"the key {clipped(repr(key))} is no text (put it in quotes if it is meant as one)"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
            if key in content:
                problem = f"the key {clipped(repr(key))} comes twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
            content[key] = self.construct_object(value_node, deep)
        return content


_PlainLoader.add_implicit_resolver(
    f"{_TAG}int", re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)
_PlainLoader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(
        r"[-+]?((\.[0-9]+|[0-9][0-9_]*\.[0-9_]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(inf|Inf|INF))$"
        r"|\.(nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


def _refusal(path: Path, wrong: str, remedy: str) -> LeopartError:
    return LeopartError(f"{shown(path)} {wrong}; {remedy}")
