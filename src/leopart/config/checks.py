"""What options of several commands share: their types, and checks in one sentence."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from leopart.errors import LeopartError

Device = Annotated[str, tyro.conf.arg(metavar="auto|cpu|cuda|cuda:N|mps")]
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]
Auto = Literal["auto"]


@dataclass(frozen=True)
class Unused:
    """Default of `--out`: the first of `name`, `name-2`, `name-3`, ... that is not there yet.

    Attributes:
        name: of a folder or a file, in the working directory.
    """

    name: str

    def __call__(self) -> Path:
        """The path, chosen anew with each call."""
        path = first = Path(self.name)
        number = 1
        while os.path.lexists(path):
            number += 1
            path = first.with_name(f"{first.stem}-{number}{first.suffix}")
        return path


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
