"""Names, addresses and numbers as the report shows them."""

from __future__ import annotations

import os
from urllib.parse import quote


def href(link: str | None) -> str | None:
    """Quoted relative address; `./` keeps `//host`, `/root` and `javascript:` from meaning anything else."""
    return None if link is None else "./" + quote(_bytes(link))


def _bytes(name: str) -> bytes:
    """Bytes of a file name as the system stores it; a name no system could hold has `?` for what is wrong."""
    try:
        return os.fsencode(name)
    except UnicodeEncodeError:
        return name.encode("utf-8", "replace")


# Control characters as their Unicode pictures, so that a name stays on one line and all of it is seen.
_PICTURES = {**{i: 0x2400 + i for i in range(32)}, 0x7F: 0x2421}


def readable(name: str) -> str:
    """A file name that can be shown: undecodable bytes and control characters replaced."""
    return _bytes(name).decode("utf-8", "replace").translate(_PICTURES)


def seconds(value: float) -> str:
    """Duration: `0.4 s`, `12 s`, `3 min 05 s`."""
    if value < 9.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def share(value: float) -> str:
    """Share of all pixels in percent, two significant digits for small ones."""
    percent = 100.0 * value
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:.2g} %" if percent >= 0.01 else "< 0.01 %"
