"""Pickles of plain data and numpy arrays, read without running what else they may hold."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from leopart.data.photos import shown
from leopart.errors import LeopartError

_CONSTRUCTORS = {  # numpy's own, whatever its version calls the modules they are in
    "_reconstruct": np.zeros(1).__reduce__()[0],
    "_frombuffer": np.zeros(1).__reduce_ex__(5)[0],
    "scalar": np.float64(0).__reduce__()[0],
}
_CONTAINERS = {"set": set, "frozenset": frozenset, "bytearray": bytearray}
_ALLOWED: dict[tuple[str, str], Any] = {
    (f"numpy.{core}.{module}", name): constructor
    for name, constructor in _CONSTRUCTORS.items()
    for core in ("core", "_core")
    for module in ("multiarray", "numeric")
}
_ALLOWED |= {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}
# Up to protocol 2, pickles have the names of Python 2, and write bytes as Latin-1 text.
_ALLOWED |= {(m, name): kind for name, kind in _CONTAINERS.items() for m in ("builtins", "__builtin__")}
_ALLOWED["_codecs", "encode"] = lambda text, _encoding: text.encode("latin-1")
"""All that a pickle may call: constructors of arrays, numbers and containers."""


class _RefusedError(Exception):
    """The pickle asks for something else."""


class _Plain(pickle.Unpickler):
    """An unpickler that calls nothing but `_ALLOWED`."""

    def find_class(self, module: str, name: str) -> Any:
        """The constructor that the pickle names; nothing is imported."""
        if (module, name) not in _ALLOWED:
            raise _RefusedError(f"{module}.{name}")
        return _ALLOWED[module, name]


def read_plain_pickle(path: Path) -> Any:
    """What a pickle of containers, strings, numbers and numpy arrays holds.

    Raises:
        LeopartError: the file cannot be read, is no pickle, or wants to call anything else: that is refused
            before it is called.
    """
    try:
        with path.open("rb") as file:
            return _Plain(file).load()
    except _RefusedError as error:
        what = f"{shown(path)} asks to run {error}, which data never needs, and was not read further"
        raise LeopartError(f"{what}; do not trust this file, and get it again from its makers") from error
    except OSError as error:
        raise LeopartError(f"cannot read {shown(path)}: {error.strerror}; check the file") from error
    except Exception as error:
        raise LeopartError(f"{shown(path)} is no complete pickle: {error}; copy it again") from error
