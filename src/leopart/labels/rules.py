"""Labels: names that people give to parts, objects, and parts within an object.

A label claims ids. The more special claim wins: a part within an object before a part, a part before an
object. Pixels that nothing claims, and those that are ignored, are background.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from leopart.errors import LeopartError

Colour = tuple[int, int, int]
"""sRGB, 0 to 255 each."""
BACKGROUND = "background"
"""Name of label 0."""
IGNORE_ID = 255
"""Never the id of a label: in label masks it stands for pixels without a label."""
LARGEST_ID = 2**16 - 1
"""Label masks are PNGs of at most 16 bits."""


@dataclass(frozen=True)
class Claim:
    """Ids that belong to a label."""

    objects: frozenset[int] = frozenset()
    """Whole objects."""
    parts: frozenset[int] = frozenset()
    """Parts, whatever object they belong to in a photo."""
    parts_of_objects: frozenset[tuple[int, int]] = frozenset()
    """Parts within one object: pairs of object and part."""

    def __bool__(self) -> bool:
        return bool(self.objects or self.parts or self.parts_of_objects)

    def __or__(self, other: Claim) -> Claim:
        return Claim(
            self.objects | other.objects,
            self.parts | other.parts,
            self.parts_of_objects | other.parts_of_objects,
        )

    def __sub__(self, other: Claim) -> Claim:
        return Claim(
            self.objects - other.objects,
            self.parts - other.parts,
            self.parts_of_objects - other.parts_of_objects,
        )

    def __and__(self, other: Claim) -> Claim:
        return self - (self - other)

    def __str__(self) -> str:
        """As on the command line: `objects:2,5`, `parts:3`, `parts:3@2` (part 3 within object 2)."""
        words = []
        if self.objects:
            words.append("objects:" + ",".join(map(str, sorted(self.objects))))
        within = [f"{part}@{number}" for number, part in sorted(self.parts_of_objects)]
        if self.parts or within:
            words.append("parts:" + ",".join([*map(str, sorted(self.parts)), *within]))
        return " ".join(words)


@dataclass(frozen=True)
class Label:
    """A name, its id in label masks, its colour, and what belongs to it."""

    id: int
    """1 to 65535 without 255. It never changes when other labels come or go."""
    name: str
    """Any Unicode text on one line."""
    colour: Colour
    claim: Claim


@dataclass(frozen=True)
class Labels:
    """All labels of a segmenter.

    Raises:
        LeopartError: a name or an id is used twice or is not allowed, a label claims nothing, or two labels
            claim the same.
    """

    labels: tuple[Label, ...] = ()
    """By ascending id."""
    ignored: Claim = field(default_factory=Claim)
    """What becomes background."""
    last_id: int = 0
    """Largest id that was ever given, also to a label that has gone."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(sorted(self.labels, key=lambda label: label.id)))
        object.__setattr__(self, "last_id", max([self.last_id, *(label.id for label in self.labels)]))
        names: dict[str, str] = {unicodedata.normalize("NFC", BACKGROUND).casefold(): BACKGROUND}
        ids: set[int] = set()
        for label in self.labels:
            check_name(label.name)
            key = unicodedata.normalize("NFC", label.name).casefold()
            if key in names:
                same = (
                    "background is what nothing claims" if names[key] == BACKGROUND else "two labels have it"
                )
                raise LeopartError(f"the name {label.name!r} cannot be used, {same}; choose another name")
            if label.id in ids:
                raise LeopartError(
                    f"the id {label.id} of label {label.name!r} is used twice; give it another"
                )
            if not 1 <= label.id <= LARGEST_ID or label.id == IGNORE_ID:
                message = f"the id {label.id} of label {label.name!r} is not allowed"
                raise LeopartError(f"{message}; ids are 1 to {LARGEST_ID} without {IGNORE_ID}")
            if not label.claim:
                raise LeopartError(
                    f"label {label.name!r} claims nothing; give it parts or objects, or remove it"
                )
            names[key] = label.name
            ids.add(label.id)
        self._refuse_conflicts()

    def _refuse_conflicts(self) -> None:
        seen: list[tuple[str, Claim]] = [("ignore", self.ignored)]
        for label in self.labels:
            for other, claim in seen:
                if both := claim & label.claim:
                    message = f"{other!r} and {label.name!r} both claim {both}"
                    raise LeopartError(f"{message}; leave it in one of the two")
            seen.append((label.name, label.claim))

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def named(self, name: str) -> Label | None:
        """The label of this name, upper and lower case alike; None where there is none."""
        key = unicodedata.normalize("NFC", name).casefold()
        return next(
            (one for one in self.labels if unicodedata.normalize("NFC", one.name).casefold() == key), None
        )

    @property
    def classes(self) -> dict[int, str]:
        """Names by id, the background (0) first."""
        return {0: BACKGROUND} | {label.id: label.name for label in self.labels}

    @property
    def palette(self) -> NDArray[np.uint8]:
        """Colour of every id up to the largest, sRGB uint8 [n, 3]; black where there is no label."""
        colours = np.zeros((max((label.id for label in self.labels), default=0) + 1, 3), np.uint8)
        for label in self.labels:
            colours[label.id] = label.colour
        return colours

    @property
    def next_id(self) -> int:
        """A new label's id: above all others, so that an id that was used keeps its meaning."""
        following = self.last_id + 1
        return following + (following == IGNORE_ID)

    def table(self, n_objects: int, n_parts: int) -> NDArray[np.uint16]:
        """Label id of every part within every object.

        Args:
            n_objects: M; objects are 1 to M, 0 = no object.
            n_parts: K; parts are 1 to K, 0 = background.

        Returns:
            uint16 [M + 1, K + 1]; column 0 is 0.

        Raises:
            LeopartError: a claim names an object or part that there is not.
        """
        rules = [(label.name, label.id, label.claim) for label in self.labels]
        return _filled([("ignore", 0, self.ignored), *rules], n_objects, n_parts)

    def ignored_table(self, n_objects: int, n_parts: int) -> NDArray[np.bool_]:
        """Which parts within which objects are ignored, bool [M + 1, K + 1]; see `table`."""
        rules = [(label.name, 0, label.claim) for label in self.labels]
        return _filled([*rules, ("ignore", 1, self.ignored)], n_objects, n_parts).astype(np.bool_)

    def moved(self, claim: Claim) -> Labels:
        """The same without anybody's claim to these ids; labels that are left with nothing go."""
        kept = [replace(label, claim=label.claim - claim) for label in self.labels]
        return replace(
            self, labels=tuple(label for label in kept if label.claim), ignored=self.ignored - claim
        )


def check_name(name: str) -> None:
    """See that a text can be a label's name.

    Raises:
        LeopartError: it is empty, has white space at an end, or holds a control character or line break.
    """
    if not name or name != name.strip():
        raise LeopartError(f"{name!r} is no name for a label: it is empty or has spaces at an end; mend it")
    strange = [character for character in name if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")]
    if strange:
        what = f"the name {name!r} holds a control character, a line break or half a character"
        raise LeopartError(f"{what}; leave it out")


def _filled(rules: list[tuple[str, int, Claim]], n_objects: int, n_parts: int) -> NDArray[np.uint16]:
    """A number for every part within every object, the more special claims last; see `Labels.table`."""
    for name, _, claim in rules:
        _refuse_unknown(name, claim, n_objects, n_parts)
    table = np.zeros((n_objects + 1, n_parts + 1), np.uint16)
    for _, number, claim in rules:
        table[sorted(claim.objects)] = number
    for _, number, claim in rules:
        table[:, sorted(claim.parts)] = number
    for _, number, claim in rules:
        for obj, part in claim.parts_of_objects:
            table[obj, part] = number
    table[:, 0] = 0
    return table


def _refuse_unknown(name: str, claim: Claim, n_objects: int, n_parts: int) -> None:
    objects = set(claim.objects) | {obj for obj, _ in claim.parts_of_objects}
    parts = set(claim.parts) | {part for _, part in claim.parts_of_objects}
    for kind, ids, last in (("object", objects, n_objects), ("part", parts, n_parts)):
        unknown = sorted(number for number in ids if not 1 <= number <= last)
        if unknown:
            there = f"{kind}s are 1 to {last}" if last else f"there are no {kind}s"
            raise LeopartError(f"{name!r} claims {kind} {unknown[0]}, which is not there; {there}")


def claim_of(words: str) -> Claim:
    """Read a claim: `objects:2,5`, `parts:3,7-9`, `parts:3@2` (part 3 within object 2); several, with spaces.

    Raises:
        LeopartError: it is written otherwise.
    """
    claim = Claim()
    for word in words.replace("+", " ").split():
        kind, colon, numbers = word.partition(":")
        if kind.rstrip("s") not in ("object", "part") or not colon or not numbers:
            message = f"{word!r} names no parts or objects"
            raise LeopartError(
                f"{message}; write parts:3,7 or objects:2, or parts:3@2 for part 3 within object 2"
            )
        claim |= _claim_of(kind.rstrip("s"), numbers, word)
    if not claim:
        raise LeopartError("no parts or objects are named; write parts:3,7 or objects:2")
    return claim


def _claim_of(kind: str, numbers: str, word: str) -> Claim:
    objects: set[int] = set()
    parts: set[int] = set()
    within: set[tuple[int, int]] = set()
    for item in numbers.split(","):
        ids, at, obj = item.partition("@")
        first, dash, last = ids.partition("-")
        whole = first.isdecimal() and (last.isdecimal() or not dash) and (obj.isdecimal() or not at)
        if not whole or (at and kind == "object") or (dash and int(last) - int(first) > LARGEST_ID):
            raise LeopartError(
                f"{item!r} in {word!r} is no id; write numbers such as 3,7 or 3-9, or 3@2 for parts"
            )
        span = range(int(first), int(last if dash else first) + 1)
        if kind == "object":
            objects |= set(span)
        elif at:
            within |= {(int(obj), part) for part in span}
        else:
            parts |= set(span)
    return Claim(frozenset(objects), frozenset(parts), frozenset(within))


def union(claims: Iterable[Claim]) -> Claim:
    """Everything that any of them claims."""
    result = Claim()
    for claim in claims:
        result |= claim
    return result
