"""The record of a run of `segment` or `predict`: `summary.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leopart.data.photos import shown
from leopart.documents import read_json
from leopart.features.failure import Failure
from leopart.files import write_text
from leopart.run_record import peak_memory, versions


@dataclass(frozen=True)
class Summary:
    """One run, as it is written to `summary.json`.

    Attributes:
        command: `segment` or `predict`.
        counts: photos, failed, parts, objects.
        failures: photos that could not be used, and why.
        warnings: what the user should know before trusting the masks.
        results: what was chosen: threshold, engine and the like.
        settings: the resolved configuration.
        seconds: per stage.
        labels: labels used anywhere, the backbone's own training included.
        inputs: of which photos and network, see `leopart.segment.finished`; empty where it was not kept.
        repeated: whether the run was done already and this is what it had said.
    """

    command: str
    counts: Mapping[str, int]
    failures: Sequence[Failure]
    warnings: Sequence[str]
    results: Mapping[str, Any]
    settings: Mapping[str, Any]
    seconds: Mapping[str, float]
    labels: str = "none"
    inputs: str = ""
    repeated: bool = False

    def write(self, path: Path) -> None:
        """Write the summary as JSON.

        Raises:
            LeopartError: the file cannot be written.
        """
        content = {
            **asdict(self),
            "labels used": self.labels,
            "versions": versions(),
            "peak memory MiB": peak_memory(),
        }
        for name in ("labels", "repeated"):
            del content[name]
        content["seconds"] = {stage: round(seconds, 3) for stage, seconds in self.seconds.items()}
        # Paths may hold bytes that are not UTF-8; JSON cannot.
        write_text(path, shown(json.dumps(content, indent=2, default=str, ensure_ascii=False)) + "\n")


def update_summary(out: Path, facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Change some facts in a run's `summary.json`; without that file, nothing.

    Args:
        out: folder of the run.
        facts: values by their key, by the section that holds them; None removes one.

    Raises:
        LeopartError: the file is damaged, or cannot be written.
    """
    path = out / "summary.json"
    if not path.is_file():
        return
    content = read_json(path, dict[str, Any], "run `leopart segment` again")
    for section, values in facts.items():
        before = content.get(section)
        after = {**(before if isinstance(before, Mapping) else {}), **values}
        content[section] = {
            key: value for key, value in after.items() if key not in values or value is not None
        }
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
