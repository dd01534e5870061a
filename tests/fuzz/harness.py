"""Damage small valid files at random, by seed, and see that a reader reads or refuses them, in one sentence.

`LEOPART_FUZZ_SECONDS` is how long each reader is tried (2 by default, 60 in `make test-all`). The same seed
gives the same files in the same order, so a failure is found again by its number.
"""

from __future__ import annotations

import copy
import json
import os
import random
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leopart.errors import LeopartError

SECONDS = float(os.environ.get("LEOPART_FUZZ_SECONDS", "2"))
#: A reader that takes longer on a file of a few kilobytes hangs.
_LONGEST = 10.0
#: What a message may have beyond the path and the remedy.
_LONGEST_MESSAGE = 1500

Read = Callable[[Path], object]
_TOKENS = (
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b"-", b"null", b"true", b"NaN", b"-Infinity", b"1e999"),
    *(b"\\u0000", b"\\ud800", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\t", b"'", b"#", b"&a ", b"*a"),
    *(
        b"!!python/name:os.system ",
        b"2024-01-31",
        b"12:30",
        b"yes",
        b"? ",
        b"<<: ",
        b"- ",
        b"| ",
        b"../",
        b"%",
    ),
    *(b"9" * 30, b"-1", b"0", b"1.5", b"\xc3\xa4"),
)
_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**63,
        10**40,
        -(10**40),
        0.5,
        -0.5,
        1e308,
        float("nan"),
        float("inf"),
    ),
    *("", "x", "x" * 5000, "../..", "/etc/passwd", "\0", "\ud800", "ä", [], {}, [[]], [None], {"": 0}),
)


@dataclass(frozen=True)
class Tried:
    """What came of a campaign.

    Attributes:
        inputs: files tried.
        refused: of them, refused in a sentence.
    """

    inputs: int
    refused: int


def fuzz(read: Read, path: Path, valid: Sequence[bytes], *, seed: int = 0, seconds: float = SECONDS) -> Tried:
    """Damage the valid contents, one after the other, and give them to the reader for so many seconds.

    Args:
        read: opens `path`, and uses what it has read as a command would.
        path: where the damaged file is put.
        valid: contents that are read without complaint.
        seed: of the damage.
        seconds: how long; at least 50 files are tried.

    Raises:
        AssertionError: something else than one sentence came out; says which number and content it was.
    """
    rng, inputs, refused = random.Random(seed), 0, 0
    end = time.monotonic() + seconds
    while inputs < 50 or time.monotonic() < end:
        content = damaged(rng, valid[inputs % len(valid)])
        path.write_bytes(content)
        refused += is_refused(read, path, f"input {inputs} of seed {seed}, {content[:300]!r}")
        inputs += 1
    print(f"{inputs} inputs, {refused} refused")
    return Tried(inputs, refused)


def is_refused(read: Read, path: Path, what: str) -> bool:
    """Whether the reader refuses a file in one sentence.

    Raises:
        AssertionError: it does something else than that or reading it.
    """
    begun = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read(path)
    except LeopartError as error:
        said = str(error)
        assert said
        assert "\n" not in said.strip(), f"{what}: several lines: {said}"
        assert len(said) < _LONGEST_MESSAGE, f"{what}: {len(said)} characters"
        said.encode("utf-8", "surrogateescape")
        return True
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    finally:
        assert time.monotonic() - begun < _LONGEST, f"{what}: it took too long"
    return False


def damaged(rng: random.Random, content: bytes) -> bytes:
    """The content with a few faults: in its values, one time in two where it is JSON, else in its bytes."""
    if rng.random() < 0.5:
        try:
            value = json.loads(content)
        except ValueError:
            pass
        else:
            for _ in range(rng.randint(1, 2)):
                value = _other_value(rng, value)
            return json.dumps(value).encode()
    raw = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        _DAMAGES[rng.randrange(len(_DAMAGES))](rng, raw)
    return bytes(raw)


def _other_value(rng: random.Random, value: Any) -> Any:
    """One value somewhere inside is another one, is missing, or has another key."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        return copy.deepcopy(rng.choice(_VALUES))  # damage must not add up in it
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key: Any = rng.choice(keys)
    if rng.random() < 0.15:
        del value[key]
    elif isinstance(value, dict) and rng.random() < 0.1:
        value[rng.choice(("", "x", "\0", "name"))] = value.pop(key)
    else:
        value[key] = _other_value(rng, value[key])
    return value


def _flip(rng: random.Random, raw: bytearray) -> None:
    if raw:
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)


def _overwrite(rng: random.Random, raw: bytearray) -> None:
    if raw:
        raw[rng.randrange(len(raw))] = rng.randrange(256)


def _insert(rng: random.Random, raw: bytearray) -> None:
    at = rng.randint(0, len(raw))
    raw[at:at] = rng.choice(_TOKENS)


def _replace(rng: random.Random, raw: bytearray) -> None:
    at = rng.randint(0, len(raw))
    raw[at : at + rng.randint(1, 8)] = rng.choice(_TOKENS)


def _delete(rng: random.Random, raw: bytearray) -> None:
    at = rng.randint(0, len(raw))
    del raw[at : at + rng.choice((1, 2, 8, 64))]


def _repeat(rng: random.Random, raw: bytearray) -> None:
    at = rng.randint(0, len(raw))
    piece = raw[at : at + rng.choice((1, 4, 32))]
    raw[at:at] = piece * rng.choice((1, 2, 100))


def _cut(rng: random.Random, raw: bytearray) -> None:
    del raw[rng.randint(0, len(raw)) :]


_DAMAGES = (_flip, _overwrite, _insert, _replace, _delete, _repeat, _cut)
