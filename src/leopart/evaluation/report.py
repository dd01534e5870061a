"""The scores of an evaluation, and the JSON file that holds them.

Legend: S seeds, C classes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, with_config
from typing_extensions import TypedDict

from leopart.data.photos import shown
from leopart.documents import checked, read_json
from leopart.errors import LeopartError
from leopart.evaluation.metrics.matching import Floats, Matching
from leopart.evaluation.tables import show
from leopart.files import write_text

MIOU, ACCURACY = "miou", "pixel accuracy"


@dataclass(frozen=True)
class Score:
    """One row of a result.

    Attributes:
        name: of the row, such as the number of clusters.
        metrics: values of each seed, [S] fractions in [0, 1]; the first metric is the published one.
        about: other facts, such as the rule of matching.
        class_iou: IoU of each class, [S, C] in [0, 1]; None where classes are not scored.
    """

    name: str
    metrics: Mapping[str, Floats]
    about: Mapping[str, Any] = field(default_factory=dict)
    class_iou: Floats | None = None

    @classmethod
    def of_matchings(cls, name: str, matchings: Sequence[Matching], **about: Any) -> Score:
        """The row of a segmentation into classes, with one matching for each seed."""
        metrics = {
            MIOU: np.array([matching.miou for matching in matchings]),
            ACCURACY: np.array([matching.pixel_accuracy for matching in matchings]),
        }
        return cls(name, metrics, about, np.stack([matching.iou for matching in matchings]))

    @property
    def headline(self) -> Floats:
        """The metric that is published, [S]."""
        return next(iter(self.metrics.values()))


@dataclass(frozen=True)
class Outcome:
    """The result of a task.

    Attributes:
        scores: one for each row.
        labels_used: which labels each step used.
        seeds: of the random draws.
        extra: more content for the JSON file, such as a learning curve.
        notes: what a reader of the scores must know, besides the notes on the scored photos.
    """

    scores: tuple[Score, ...]
    labels_used: Mapping[str, str]
    seeds: tuple[int, ...] = (0,)
    extra: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Scores:
    """Scores of a backbone, and what was evaluated. Printing it shows them as a table, in percent.

    Attributes:
        task: name of the task.
        images: number of photos that were scored.
        classes: names by id, in the order of the rows.
        backbone: name of the backbone.
        outcome: see `Outcome`.
        notes: what a reader of the scores must know.
    """

    task: str
    images: int
    classes: Mapping[int, str]
    backbone: str
    outcome: Outcome
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = io.StringIO()
        show(self, text)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def __repr__(self) -> str:
        return str(self)

    def records(self) -> list[dict[str, Any]]:
        """The scores in the long form that statistics programs take: one number a record.

        Each has `task`, `backbone`, `row`, what else is known of the row (such as `matching`), `seed`,
        `metric`, `class` (None for a score of all classes) and `value`, a fraction in [0, 1].
        """
        return [
            {"task": self.task, "backbone": self.backbone, "row": score.name, **score.about, **number}
            for score in self.outcome.scores
            for number in _numbers(score, self.classes, self.outcome.seeds)
        ]

    def to_pandas(self) -> Any:
        """The records as a pandas `DataFrame`, which pandas must be installed for.

        Raises:
            LeopartError: it is not.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise LeopartError("to_pandas needs pandas: pip install pandas, or use records()") from error
        return pd.DataFrame(self.records())


def _numbers(score: Score, classes: Mapping[int, str], seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Each number of a row; a metric that does not depend on the seeds has one value, and no seed."""

    def each(metric: str, values: Floats, of_class: str | None) -> Iterator[dict[str, Any]]:
        known: Sequence[int | None] = seeds if len(seeds) == len(values) else [None] * len(values)
        for seed, value in zip(known, values, strict=True):
            yield {"seed": seed, "metric": metric, "class": of_class, "value": float(value)}

    for metric, values in score.metrics.items():
        yield from each(metric, values, None)
    if score.class_iou is not None:
        for name, values in zip(classes.values(), score.class_iou.T, strict=True):
            yield from each("iou", values, name)


def write_report(path: Path, found: Scores, facts: Mapping[str, Any]) -> None:
    """Write scores as fractions in [0, 1], and everything that they depend on.

    Args:
        path: the JSON file.
        found: scores.
        facts: data, backbone, settings, cost and versions.

    Raises:
        LeopartError: the file cannot be written.
    """
    outcome = found.outcome
    content = {
        "task": found.task,
        "images": found.images,
        **facts,
        "seeds": list(outcome.seeds),
        "scores": {score.name: _described(score, found.classes) for score in outcome.scores},
        **outcome.extra,
        "notes": list(found.notes),
        "labels used": dict(outcome.labels_used),
    }
    # Paths may hold bytes that are not UTF-8; JSON cannot.
    write_text(path, shown(json.dumps(content, indent=2, default=str, ensure_ascii=False)) + "\n")


def read_report(path: Path) -> dict[str, Any]:
    """Read a file that `write_report` wrote.

    Raises:
        LeopartError: the file cannot be read, or has other content.
    """
    return dict(read_json(path, _Report, "give a file of `leopart evaluate`"))


_Name = Annotated[str, Field(max_length=200)]
#: Fractions lie in [0, 1]; None is a score of nothing.
_Fraction = Annotated[float, Field(ge=-1, le=1)] | None
_Summary = TypedDict("_Summary", {"per seed": Annotated[list[_Fraction], Field(min_length=1)]})


class _ClassScore(TypedDict):
    name: str
    iou: _Summary


def _fitting_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose metrics, which are the objects in it, and classes have values of each seed."""
    for name, value in row.items():
        kind = list[_ClassScore] if name == "per class" else _Summary if isinstance(value, dict) else object
        try:
            checked(value, kind)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return row


@with_config(ConfigDict(extra="allow"))
class _Report(TypedDict):
    """What others rely on; there is more in a file."""

    task: NotRequired[_Name]
    scores: dict[_Name, Annotated[dict[str, Any], AfterValidator(_fitting_row)]]
    backbone: NotRequired[dict[str, Any]]
    settings: NotRequired[dict[str, Any]]


def _described(score: Score, classes: Mapping[int, str]) -> dict[str, Any]:
    described = {**score.about, **{name: _summed_up(values) for name, values in score.metrics.items()}}
    if score.class_iou is not None:
        per_class = zip(classes.items(), score.class_iou.T, strict=True)
        described["per class"] = [
            {"id": key, "name": name, "iou": _summed_up(of_seeds)} for (key, name), of_seeds in per_class
        ]
    return described


def _summed_up(of_seeds: Floats) -> dict[str, Any]:
    """Mean, standard deviation (of these seeds, not an estimate for others) and the value of each seed."""
    return {
        "mean": _number(of_seeds.mean()),
        "std": _number(of_seeds.std()),
        "per seed": [_number(value) for value in of_seeds],
    }


def _number(value: np.floating[Any]) -> float | None:
    """Rounded to six digits; None where there was nothing to score, since JSON has no NaN."""
    return None if np.isnan(value) else round(float(value), 6)
