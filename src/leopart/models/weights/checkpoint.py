"""Read a checkpoint that somebody else wrote, without ever running code that it holds."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from leopart.errors import LeopartError

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar")
"""Endings of files that are read as weights."""


class _Name:
    """Stands in for a class that a checkpoint only names."""


_HARMLESS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [argparse.Namespace]
for _package in ("pytorch_lightning", "lightning.pytorch"):
    _HARMLESS += [
        (dict, f"{_package}.utilities.parsing.AttributeDict"),
        (_Name, f"{_package}.callbacks.model_checkpoint.ModelCheckpoint"),
    ]
"""What hyper-parameters and callback states of published checkpoints are made of, besides plain values.
Lightning's names are given to classes that do nothing, so none of its code is imported or run."""

_NEEDS_CODE = re.compile(
    r"GLOBAL ([\w.]+)|[Uu]nsupported (?:class|function) ([\w.]+)|but got <class '([\w.]+)'>"
)


def read_checkpoint(file: Path) -> dict[str, Any]:
    """What a checkpoint holds: tensors by name, or containers of them beside training state.

    Args:
        file: `.safetensors`, or a file that `torch.save` wrote, of any ending.

    Returns:
        The outermost dictionary; tensors lie on the CPU.

    Raises:
        LeopartError: there is no such file, it cannot be read, it was cut short or is no checkpoint, or
            it could only be read by running code that it holds.
    """
    if not file.is_file():
        message = f"there is no file {file}; give a checkpoint that is on this machine"
        raise LeopartError(message)
    content = _read_safetensors(file) if file.suffix == ".safetensors" else _read_pickle(file)
    if not isinstance(content, Mapping):
        message = f"{file} holds a {type(content).__name__}, not weights by name; give a state dict"
        raise LeopartError(message)
    return {str(key): value for key, value in content.items()}


def _read_safetensors(file: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except OSError as error:
        raise LeopartError(_unreadable(file, error)) from error
    # So do the number formats that safetensors has and torch has not.
    except (SafetensorError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise LeopartError(_damaged(file, error)) from error


def _read_pickle(file: Path) -> object:
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not (wanted := _NEEDS_CODE.search(str(error))):
            raise LeopartError(_damaged(file, error)) from error
        name = next(name for name in wanted.groups() if name)
        message = (
            f"{file} was not read: it asks to run {name} while it is unpickled, and weights need no code. "
            "Get a .safetensors of it; or, if you trust its makers, save only the tensors with "
            f"held = torch.load({str(file.absolute())!r}, weights_only=False, map_location='cpu'); "
            "torch.save({k: v for k, v in held.items() if torch.is_tensor(v)}, NEW), and give NEW (where "
            "held is a dictionary of dictionaries, use the one with the weights, such as held['state_dict'] "
            "or held['teacher'], in place of held; where it is a module, held.state_dict())"
        )
        raise LeopartError(message) from error
    except OSError as error:
        raise LeopartError(_unreadable(file, error)) from error
    # What torch raises on bytes that are no checkpoint depends on where in them it stumbles.
    except Exception as error:
        raise LeopartError(_damaged(file, error)) from error


def _unreadable(file: Path, error: OSError) -> str:
    """The system's own reason, such as missing permission; without one, it is the bytes that are wrong."""
    if error.errno is None:
        return _damaged(file, error)
    return f"cannot read {file}: {error.strerror or error}; check its permissions and its disk"


def _damaged(file: Path, error: Exception) -> str:
    said = (
        str(error).rpartition("WeightsUnpickler error:")[2].strip()
    )  # torch's advice before it is not for users
    reason = (said.splitlines() or [type(error).__name__])[0].rstrip(".")[:120]
    return f"{file} was cut short or is no checkpoint ({reason}); get it again, whole"
