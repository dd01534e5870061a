"""Columns of a pickle, read as plain data.

A pickle is a program for a stack machine, and Python's own reader runs it: it calls what the file names and
gives objects the state that the file holds, which is enough to take over the process
(`numpy.dtype.__setstate__` believes it). Here the instructions are read one by one; there are only those that
build containers, strings, numbers and numpy arrays, and nothing that the file names is imported or called.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from leopart.errors import LeopartError
from leopart.paths import shown

_PLAIN_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|[SU][0-9]{1,6}|O8?)")
_NUMPY = re.compile(r"numpy\._?core\.(multiarray|numeric)")
_MARK = object()
_Scalar = str | bytes | int | float | None


class _RefusedError(Exception):
    """The pickle asks for something that plain data does not need."""


class _GlobalName:
    """A class or function that the pickle names, and what stands for it here."""

    def __init__(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise _RefusedError("name something without text")
        numpy = _ARRAYS.get(name) if _NUMPY.fullmatch(module) else None
        make = numpy or _CONSTRUCTORS.get((module, name))
        if make is None:
            raise _RefusedError(f"run {module}.{name}"[:80])
        self.make = make


class _Dtype:
    """A dtype: its name and byte order are all that is taken from the file."""

    def __init__(self, name: Any) -> None:
        if not (isinstance(name, str) and _PLAIN_DTYPE.fullmatch(name)):
            raise _RefusedError("make numbers that are not plain")
        self.dtype = np.dtype(name)

    def build(self, state: Any) -> None:
        """Take the byte order out of the state (version, order, ...); the rest follows from the name."""
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array, as soon as `build` has been given its shape, dtype, order and content."""

    def __init__(self) -> None:
        self.values: npt.NDArray[Any] = np.zeros(0)

    def build(self, state: Any) -> None:
        """Make the array.

        Raises:
            ValueError: the content does not fill the shape.
        """
        shape, kind, fortran, data = state[-4:]  # a version may stand before these
        if any(type(side) is not int or side < 0 for side in shape):
            raise ValueError("the shape of an array is damaged")
        objects = isinstance(data, list)
        if objects != kind.dtype.hasobject or not isinstance(data, list | bytes | bytearray):
            raise ValueError("an array does not hold what its dtype says")
        if len(data) != math.prod(shape) * (1 if objects else kind.dtype.itemsize):
            raise ValueError("the content of an array does not fill it")
        if kind.dtype.kind == "U" and _beyond_unicode(bytes(data), kind.dtype):
            raise ValueError("an array holds characters that do not exist")
        flat: npt.NDArray[Any]
        flat = np.fromiter(data, object, len(data)) if objects else np.frombuffer(bytes(data), kind.dtype)
        self.values = flat.reshape(tuple(shape), order="F" if fortran else "C")


def _beyond_unicode(data: bytes, dtype: np.dtype[Any]) -> bool:
    return bool((np.frombuffer(data, f"{dtype.byteorder}u4") > 0x10FFFF).any())


def _frombuffer(data: Any, kind: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.build((shape, kind, order == "F", data))
    return array


def _bytes(content: Any = b"", _encoding: str = "latin-1") -> bytes:
    """Bytes, which are written as Latin-1 text up to protocol 2."""
    if not isinstance(content, str | bytes | bytearray):
        raise _RefusedError("make bytes of something else")
    return content.encode("latin-1") if isinstance(content, str) else bytes(content)


def _set(items: Any = ()) -> set[_Scalar]:
    return {_key(item) for item in items}


def _key(value: Any) -> _Scalar:
    """The hash of nested tuples can take for ever, and no column needs one."""
    if not isinstance(value, _Scalar):
        raise _RefusedError("use a key that is no text and no number")
    return value


_ARRAYS: dict[str, Callable[..., Any]] = {
    "_reconstruct": lambda *_: _Array(),
    "_frombuffer": _frombuffer,
    "scalar": lambda kind, data: np.frombuffer(data, kind.dtype)[0].item(),
}
_CONSTRUCTORS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): lambda name, *_: _Dtype(name),
    ("numpy", "ndarray"): lambda *_: _Array(),
    ("_codecs", "encode"): _bytes,
    **{
        (module, name): _bytes if name.startswith("byte") else _set
        for module in ("builtins", "__builtin__")  # the second is Python 2's name, used up to protocol 2
        for name in ("bytearray", "bytes", "set", "frozenset")
    },
}
"""What stands for the functions that a pickle of data names; all others are refused."""


class _Machine:
    """Stack and memo of a pickle, and what each instruction does with them.

    Args:
        room: bytes and items that calls may copy: a small file could ask for the same copy for ever.
    """

    def __init__(self, room: int) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.room = room

    def step(self, name: str, value: Any) -> None:
        """Carry out one instruction.

        Raises:
            _RefusedError: it is none that plain data needs.
        """
        if name in _PUSHES:
            self.stack.append(value)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _STEPS:
            _STEPS[name](self, value)
        else:
            raise _RefusedError(f"carry out {name}")

    def pop(self, count: int = 1) -> list[Any]:
        """Take so many items off the stack."""
        if len(self.stack) < count:
            raise ValueError("it takes more from its stack than is there")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def to_mark(self) -> list[Any]:
        """Take everything off the stack down to the last mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                items = self.stack[place + 1 :]
                del self.stack[place:]
                return items
        raise ValueError("it has no mark")

    def top(self, kind: type[Any] | tuple[type[Any], ...]) -> Any:
        """The item on top, which must be of this kind."""
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise _RefusedError("change something that is no container")
        return self.stack[-1]

    def build(self, _: Any) -> None:
        (state,) = self.pop()
        self.top((_Dtype, _Array)).build(state)

    def reduce(self, _: Any) -> None:
        function, arguments = self.pop(2)
        if not isinstance(function, _GlobalName):
            raise _RefusedError("call something that is no function")
        self.room -= sum(len(item) for item in arguments if isinstance(item, str | bytes | list))
        if self.room < 0:
            raise _RefusedError("copy its data again and again")
        self.stack.append(function.make(*arguments))

    def put(self, place: int) -> None:
        self.memo[place] = self.stack[-1]


def _extend(machine: _Machine, items: list[Any]) -> None:
    machine.top(list).extend(items)


def _assign(machine: _Machine, items: list[Any]) -> None:
    machine.top(dict).update(_paired(items))


def _update(machine: _Machine, items: list[Any]) -> None:
    machine.top(set).update(_set(items))


def _paired(items: list[Any]) -> dict[_Scalar, Any]:
    return {_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


_PUSHES = frozenset(
    op.name
    for op in pickletools.opcodes
    if op.arg is not None and [kind.name for kind in op.stack_after] != ["any"] and op.stack_after
)
"""Instructions that put the number or text beside them on the stack."""
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
    "MARK": lambda: _MARK,
}
_STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda *_: None),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, place: m.stack.append(m.memo[place])),
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    "POP": lambda m, _: m.pop(),
    "POP_MARK": lambda m, _: m.to_mark(),
    "DUP": lambda m, _: m.stack.append(m.stack[-1]),
    "APPEND": lambda m, _: _extend(m, m.pop()),
    "APPENDS": lambda m, _: _extend(m, m.to_mark()),
    "SETITEM": lambda m, _: _assign(m, m.pop(2)),
    "SETITEMS": lambda m, _: _assign(m, m.to_mark()),
    "LIST": lambda m, _: m.stack.append(m.to_mark()),
    "DICT": lambda m, _: m.stack.append(_paired(m.to_mark())),
    "ADDITEMS": lambda m, _: _update(m, m.to_mark()),
    "FROZENSET": lambda m, _: m.stack.append(_set(m.to_mark())),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.to_mark())),
    "TUPLE1": lambda m, _: m.stack.append(tuple(m.pop(1))),
    "TUPLE2": lambda m, _: m.stack.append(tuple(m.pop(2))),
    "TUPLE3": lambda m, _: m.stack.append(tuple(m.pop(3))),
    "GLOBAL": lambda m, value: m.stack.append(_GlobalName(*value.split(" ", 1))),
    "STACK_GLOBAL": lambda m, _: m.stack.append(_GlobalName(*m.pop(2))),
    "BUILD": _Machine.build,
    "REDUCE": _Machine.reduce,
}


def read_plain_pickle(path: Path) -> Any:
    """What a pickle of containers, strings, numbers and numpy arrays holds.

    Arrays may be the content itself or the values of a dict; deeper down they are not looked for.

    Raises:
        LeopartError: the file cannot be read, is no pickle, or asks for anything that data does not need:
            that is never carried out.
    """
    try:
        # Mapped, so that a damaged length cannot ask for more than the file has.
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:
            machine = _Machine(room=2 * len(mapped))
            for instruction, value, _ in pickletools.genops(cast("IO[bytes]", mapped)):
                machine.step(instruction.name, value)
        (content,) = machine.pop()
    except _RefusedError as error:
        what = f"{shown(path)} asks to {_one_line(error)}, which data never needs, and was not read further"
        raise LeopartError(f"{what}; do not trust this file, and get it again from its makers") from error
    except OSError as error:
        raise LeopartError(f"cannot read {shown(path)}: {error.strerror}; check the file") from error
    except Exception as error:  # what is damaged can fail in any way
        raise LeopartError(
            f"{shown(path)} is no complete pickle: {_one_line(error)}; copy it again"
        ) from error
    if isinstance(content, dict):
        return {name: _plain(value) for name, value in content.items()}
    return _plain(content)


def _one_line(error: Exception) -> str:
    return shown(" ".join(str(error).split()))[:200]


def _plain(value: Any) -> Any:
    return value.values if isinstance(value, _Array) else value
