"""`labels.yaml`: labels on disk, with every version before beside it.

OUT/labels.yaml      in force, or changed by hand since
OUT/labels.1.yaml    versions before; the one with the largest number is the latest
OUT/.labels.yaml     as last applied: the version before when somebody changes `labels.yaml` by hand
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from leopart.documents import read_yaml
from leopart.drawing.palette import colours
from leopart.errors import LeopartError
from leopart.files import whole_file, write_text
from leopart.labels.rules import IGNORE_ID, Claim, Colour, Label, Labels

LABELS = "labels.yaml"
_APPLIED = ".labels.yaml"
_FORMAT = 1
_REMEDY = "mend it, or go back with `leopart label OUT --undo`"
_HEAD = """\
# Names for what Leopart found in these photos. Change this file and run `leopart label OUT`, or use
# `leopart label OUT --name shirt=parts:3,7 --ignore parts:12`; `leopart label --help` says more.
#
# A label claims objects, parts, or parts within one object. The more special claim wins.
# What nothing claims, and what is ignored, is background.
"""


@dataclass(frozen=True)
class _Claimed:
    objects: Sequence[int] = ()
    parts: Sequence[int] = ()
    parts_of_objects: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Entry(_Claimed):
    id: int
    name: str
    colour: str


@dataclass(frozen=True, kw_only=True)
class _Content:
    format: int
    segmenter: str
    largest_id: int = 0
    labels: Sequence[_Entry] = ()
    ignore: _Claimed = field(default_factory=_Claimed)


def starter(n_objects: int) -> Labels:
    """A label for every object, named `object 1` and so on, in the object's colour."""
    tints = colours(n_objects + 1)
    ids = [number for number in range(1, n_objects + 2) if number != IGNORE_ID]
    every = zip(ids, range(1, n_objects + 1), strict=False)
    return Labels(
        tuple(Label(i, starter_name(o), rgb(tints[o]), Claim(objects=frozenset([o]))) for i, o in every)
    )


def starter_name(obj: int) -> str:
    """Name of an object that nobody has named."""
    return f"object {obj}"


def read_labels(path: Path, segmenter: str) -> Labels:
    """Read a file of labels.

    Args:
        path: the file.
        segmenter: fingerprint of the segmenter whose ids they are.

    Raises:
        LeopartError: the file cannot be read, is of another segmenter, or its labels contradict each other.
    """
    content = read_yaml(path, _Content, _REMEDY)
    if content.format != _FORMAT:
        raise LeopartError(
            f"{path} is of format {content.format}, which this version cannot read; update Leopart"
        )
    if content.segmenter != segmenter:
        message = f"{path} names the parts of another segmenter, where the same ids mean something else"
        raise LeopartError(
            f"{message}; give the OUT folder it was made for, or remove it and name parts again"
        )
    try:
        labels = tuple(
            Label(entry.id, entry.name, colour_of(entry.colour), _claim(entry)) for entry in content.labels
        )
        return Labels(labels, _claim(content.ignore), content.largest_id)
    except LeopartError as error:
        raise LeopartError(f"{path}: {error}") from error


def made_for(path: Path) -> str:
    """Fingerprint of the segmenter that a file of labels is of.

    Raises:
        LeopartError: the file cannot be read.
    """
    return read_yaml(path, _Content, _REMEDY).segmenter


def write_labels(folder: Path, labels: Labels, segmenter: str) -> Path:
    """Put labels in force, and keep the version before as `labels.N.yaml`.

    A `labels.yaml` that says the same stays as it is, comments included.

    Raises:
        LeopartError: the folder cannot be written.
    """
    path, applied = folder / LABELS, folder / _APPLIED
    present = [earlier for earlier in (applied, path) if earlier.is_file()]
    for earlier in present:
        if _means(earlier, segmenter) != labels:
            _keep(folder, earlier.read_bytes())
    if path not in present or _means(path, segmenter) != labels:
        write_text(path, labels_text(labels, segmenter))
    _write_bytes(applied, path.read_bytes())
    return path


def version_before(folder: Path) -> Path:
    """The version that `undo` brings back.

    Raises:
        LeopartError: there is none.
    """
    versions = _versions(folder)
    if not versions:
        raise LeopartError(f"{folder} has no earlier version of {LABELS}; nothing can be undone")
    return folder / f"labels.{max(versions)}.yaml"


def undo(folder: Path) -> Path:
    """Bring the version before back; the one in force goes.

    Raises:
        LeopartError: there is no version before.
    """
    earlier = version_before(folder)
    _write_bytes(folder / _APPLIED, earlier.read_bytes())
    earlier.replace(folder / LABELS)
    return folder / LABELS


def _means(path: Path, segmenter: str) -> Labels | None:
    """What a file says; None where it cannot be used."""
    try:
        return read_labels(path, segmenter)
    except LeopartError:
        return None


def _keep(folder: Path, content: bytes) -> None:
    """Keep a version, unless it is the latest already."""
    last = max(_versions(folder), default=0)
    if not last or (folder / f"labels.{last}.yaml").read_bytes() != content:
        _write_bytes(folder / f"labels.{last + 1}.yaml", content)


def _write_bytes(path: Path, content: bytes) -> None:
    with whole_file(path) as file:
        file.write(content)


def _versions(folder: Path) -> list[int]:
    found = (
        re.fullmatch(r"labels\.([1-9][0-9]{0,8})\.yaml", path.name) for path in folder.glob("labels.*.yaml")
    )
    return [int(match[1]) for match in found if match]


def labels_text(labels: Labels, segmenter: str) -> str:
    """Labels of a segmenter as the text of their file."""
    content = {
        "format": _FORMAT,
        "segmenter": segmenter,
        "largest_id": labels.last_id,
        "labels": [
            {"id": one.id, "name": one.name, "colour": "#{:02x}{:02x}{:02x}".format(*one.colour)}
            | _plain(one.claim)
            for one in labels
        ],
        "ignore": _plain(labels.ignored),
    }
    return _HEAD + yaml.safe_dump(
        content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110
    )


def _plain(claim: Claim) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    if claim.objects:
        plain["objects"] = sorted(claim.objects)
    if claim.parts:
        plain["parts"] = sorted(claim.parts)
    if claim.parts_of_objects:
        within: dict[str, list[int]] = {}
        for obj, part in sorted(claim.parts_of_objects):
            within.setdefault(str(obj), []).append(part)
        plain["parts_of_objects"] = within
    return plain


def _claim(entry: _Claimed) -> Claim:
    for kind, ids in (("objects", entry.objects), ("parts", entry.parts)):
        if len(set(ids)) < len(ids):
            raise LeopartError(f"an id comes twice in {kind}: {list(ids)}; write it once")
    strange = [key for key in entry.parts_of_objects if not key.isdecimal()]
    if strange:
        raise LeopartError(f"parts_of_objects: {strange[0]!r} is no object; write '2': [3, 4]")
    within = {(int(obj), part) for obj, parts in entry.parts_of_objects.items() for part in parts}
    return Claim(frozenset(entry.objects), frozenset(entry.parts), frozenset(within))


def colour_of(text: str) -> Colour:
    """Read a colour written as `#rrggbb`.

    Raises:
        LeopartError: it is written otherwise.
    """
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise LeopartError(f"{text!r} is no colour; write it as #rrggbb, such as #c86432")
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def rgb(colour: Sequence[int] | NDArray[np.uint8]) -> Colour:
    """Three numbers as a colour."""
    return int(colour[0]), int(colour[1]), int(colour[2])
