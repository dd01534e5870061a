"""What a run would do, and what it lacks; nothing is computed or fetched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leopart.config import TASKS, EvaluateConfig, TrainedConfig
from leopart.data.datasets.catalogue import CATALOGUE
from leopart.data.datasets.labelled import SPLITS, listed_photos
from leopart.data.datasets.unlabelled import EXPECTED, training_photos
from leopart.errors import LeopartError
from leopart.evaluation.splits import data_name, learned_split, scored_split
from leopart.models.cards import cache_folder
from leopart.models.downloads import local_folder
from leopart.models.registry import backbone_spec
from leopart.reproduction.rows import Network, Protocol, Table, work_of
from leopart.reproduction.setting import Lack, Setting
from leopart.reproduction.stages import Machine, is_scored, is_trained


@dataclass(frozen=True)
class Step:
    """Something that a run does, or need not do any more.

    Attributes:
        what: in words.
        state: `done`, `to do` or `missing`.
        about: what is missing, or how large the data are.
    """

    what: str
    state: str
    about: str = ""


def steps_of(tables: Sequence[Table], setting: Setting, machine: Machine) -> Iterator[Step]:
    """All steps, in the order in which they are done."""
    for network, protocols in work_of(row for table in tables for row in table.rows).items():
        yield from _steps(network, protocols, setting, machine)


def lacks_of(tables: Sequence[Table], setting: Setting) -> list[Lack]:
    """Everything that is missing, each once: data sets first."""
    work = work_of(row for table in tables for row in table.rows)
    found: dict[Lack, None] = {}
    for network, protocols in work.items():
        found |= dict.fromkeys(setting.lacks(network))
        found |= dict.fromkeys(lack for protocol in protocols for lack in setting.lacks_to_score(protocol))
    return sorted(found, key=lambda lack: lack.kind)


def remedy(lack: Lack) -> list[str]:
    """Where to get it, line by line."""
    if lack.kind == "data":
        known = CATALOGUE[lack.name]
        return [*(f"get    {part}" for part in known.parts), f"lay as {known.place}"]
    spec = backbone_spec(lack.name)
    lines = [f"leopart weights fetch {lack.name}    (done by itself at first use, where there is a network)"]
    folder = local_folder(spec, cache_folder())
    lines += [f"or put {file.file} from {file.place} into {folder}" for file in spec.files]
    return lines


def _steps(
    network: Network, protocols: Sequence[Protocol], setting: Setting, machine: Machine
) -> Iterator[Step]:
    lacks = setting.lacks(network)
    job = None if _no_data(lacks) else setting.job(network)
    known = job is not None and not lacks
    trained = known and job is not None and is_trained(job, machine.out)
    if job is None or job.recipe is not None:
        start = network.backbone if job is None else job.backbone
        what = f"train {start} by {network.preset} on {network.photos}"
        yield _step(what, trained, lacks, "" if job is None else _training_size(job.data))
    for protocol in protocols:
        lacking = setting.lacks_to_score(protocol)
        what = f"{protocol.task} of {network.name} on {protocol.data}"
        if _no_data(lacking):
            yield _step(what, False, lacking)
            continue
        options = setting.options(protocol)
        scored = trained and not lacking and job is not None and is_scored(options, job, machine.out)
        yield _with_photos(what, scored, [*lacks, *lacking], options)


def _no_data(lacks: Sequence[Lack]) -> bool:
    return any(lack.kind == "data" for lack in lacks)


def _step(what: str, done: bool, lacks: Sequence[Lack], size: str = "") -> Step:
    """Weights that are not here are fetched; data sets are not."""
    missing = [lack.name for lack in lacks if lack.kind == "data"]
    if missing:
        return Step(what, "missing", f"needs {', '.join(dict.fromkeys(missing))}")
    fetched = dict.fromkeys(lack.name for lack in lacks)
    about = [size, *(f"fetches {name}" for name in fetched)]
    return Step(what, "done" if done else "to do", "; ".join(filter(None, about)))


def _with_photos(what: str, done: bool, lacks: Sequence[Lack], options: dict[str, Any]) -> Step:
    """The step with its photos: those that are scored, and those that a head learns from."""
    config = TASKS[options["task"]](**options, out=Path("scores.json"))
    splits = [scored_split(config)]
    if isinstance(config, TrainedConfig):
        splits.append(learned_split(config))
    try:
        sizes = [_size(config, split) for split in splits]
    except LeopartError as error:
        return Step(what, "missing", str(error))
    return _step(what, done, lacks, ", learns from ".join(sizes))


def _training_size(data: str) -> str:
    name = data.partition(":")[0]
    return _counted(len(training_photos(data)), EXPECTED.get(name))


def _size(config: EvaluateConfig, split: str | None) -> str:
    """Photos of a list that are there with their masks, and how many the paper's has."""
    pairs = listed_photos(config.data, config.masks, split).pairs
    there = sum(photo.path.is_file() and mask.is_file() for photo, mask in pairs)
    return _counted(there, SPLITS.get(data_name(config), {}).get(split or ""))


def _counted(photos: int, expected: int | None) -> str:
    said = f"{photos:,} photo{'s' * (photos != 1)}"
    return said if expected in (None, photos) else f"{said} (the paper's set has {expected:,})"
