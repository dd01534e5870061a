"""What a run would do, and what it lacks; nothing is computed or fetched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from leopart.config import TASKS, EvaluateConfig, TrainedConfig
from leopart.data.datasets.catalogue import CATALOGUE
from leopart.data.datasets.labelled import SPLITS, labelled_photos
from leopart.data.datasets.unlabelled import EXPECTED, training_photos
from leopart.errors import LeopartError
from leopart.evaluation.splits import data_name
from leopart.models.weights.cards import cache_folder
from leopart.models.weights.downloads import local_folder
from leopart.models.weights.registry import BACKBONES
from leopart.reproduction.rows import Network, Protocol, Table, work_of
from leopart.reproduction.setting import Lack, Setting
from leopart.reproduction.stages import Machine, is_scored, is_trained, splits_of


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
    spec = BACKBONES.get(lack.name)
    if spec is None:
        return ["give a file that is there, or a row of `leopart weights list`"]
    folder = local_folder(spec, cache_folder())
    lines = [f"put {file.file} from {file.place} into {folder}" for file in spec.files]
    if _by_hand(lack):
        return lines
    fetch = f"leopart weights fetch {lack.name}    (done by itself at first use, where there is a network)"
    return [fetch, *(f"or {line}" for line in lines)]


def _by_hand(lack: Lack) -> bool:
    """Whether weights can be had with a browser only."""
    spec = BACKBONES.get(lack.name)
    if lack.kind == "data" or spec is None:
        return True
    return spec.source is None and not any(file.repository or file.direct for file in spec.files)


def _steps(
    network: Network, protocols: Sequence[Protocol], setting: Setting, machine: Machine
) -> Iterator[Step]:
    lacks, job, trained = setting.lacks(network), None, False
    size = problem = ""
    if not any(lack.kind == "data" for lack in lacks):
        job = setting.job(network)
        try:
            trained = not lacks and is_trained(job, machine.out)
            size = _training_size(job.data) if job.data else ""
        except LeopartError as error:
            problem = str(error)
    if job is None or job.recipe is not None:
        start = network.backbone if job is None else job.backbone
        what = f"train {start} by {network.preset} on {network.photos}"
        yield Step(what, "missing", problem) if problem else _step(what, trained, lacks, size)
    for protocol in protocols:
        lacking = setting.lacks_to_score(protocol)
        what = f"{protocol.task} of {network.name} on {protocol.data}"
        if problem or any(lack.kind == "data" for lack in lacking):  # without the network there is no score
            yield Step(what, "missing", problem) if problem else _step(what, False, lacking)
            continue
        options = setting.options(protocol)
        try:
            size = _scored_size(TASKS[options["task"]](**options, out=Path("scores.json")))
            scored = trained and not lacking and job is not None and is_scored(options, job, machine.out)
        except LeopartError as error:
            yield Step(what, "missing", str(error))
        else:
            yield _step(what, scored, [*lacks, *lacking], size)


def _step(what: str, done: bool, lacks: Sequence[Lack], size: str = "") -> Step:
    """Weights that are not here are fetched where they can be; data sets are not."""
    missing = dict.fromkeys(lack.name for lack in lacks if _by_hand(lack))
    if missing:
        return Step(what, "missing", f"needs {', '.join(missing)}")
    fetched = dict.fromkeys(lack.name for lack in lacks)
    about = [size, *(f"fetches {name}" for name in fetched)]
    return Step(what, "done" if done else "to do", "; ".join(filter(None, about)))


def _training_size(data: str) -> str:
    name = data.partition(":")[0]
    return _counted(len(training_photos(data)), EXPECTED.get(name))


def _scored_size(config: EvaluateConfig) -> str:
    """Photos that are scored, and those of the other lists that are read.

    Raises:
        LeopartError: a list is missing, or some of its photos or masks are.
    """
    sizes = [_size(config, split) for split in splits_of(config)]
    also = "learns from" if isinstance(config, TrainedConfig) else "looks at"
    return f", {also} ".join(sizes)


def _size(config: EvaluateConfig, split: str | None) -> str:
    found = labelled_photos(config.data, config.masks, split)
    return _counted(len(found.pairs), SPLITS.get(data_name(config), {}).get(split or ""))


def _counted(photos: int, expected: int | None) -> str:
    said = f"{photos:,} photo{'s' * (photos != 1)}"
    return said if expected in (None, photos) else f"{said} (the paper's set has {expected:,})"
