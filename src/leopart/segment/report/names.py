"""Names of parts and objects in a report that was written before they had any."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from leopart.files import write_text

REPORT = "report.html"
_BLOCK = re.compile(r'(<script type="application/json" id="names">)[^<]*(</script>)')


def show_names(out: Path, names: Mapping[str, str]) -> None:
    """Put names into `report.html`, in place of those it has; its script shows them beside the ids.

    A report of an earlier version has no room for them, and stays as it is.

    Args:
        out: folder of the run.
        names: by `part P`, `object O` and `part P of object O`; no other name is shown.

    Raises:
        LeopartError: the report cannot be written.
    """
    path = out / REPORT
    if not path.is_file():
        return
    page = path.read_text(encoding="utf-8")
    # In a page, text of a script may hold no `<`; in JSON, it may be written otherwise.
    block = json.dumps(dict(names), separators=(",", ":")).replace("<", "\\u003c")
    named = _BLOCK.sub(lambda found: f"{found[1]}{block}{found[2]}", page, count=1)
    if named != page:
        write_text(path, named)
