"""What a run would do, and what is missing for it; nothing is computed or fetched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
from leopart.reproduction.rows import EvaluationProtocol, Network, Row, Table, work_of
from leopart.reproduction.setting import MissingRequirement, Setting
from leopart.reproduction.stages import Machine, is_scored, is_trained, splits_of


@dataclass(frozen=True)
class Step:
    """One step of a run, done or still to do.

    Attributes:
        what: the step in words.
        state: `done`, `to do` or `missing`.
        about: what is missing, or how many photos there are.
        network: what it is for.
        protocol: of the evaluation; None for a training.
    """

    what: str
    state: str
    about: str = ""
    network: Network | None = None
    protocol: EvaluationProtocol | None = None

    def serves(self, row: Row) -> bool:
        """Whether the row needs it."""
        scored = {cell.protocol for cell in row.cells}
        return self.network == row.network and (self.protocol is None or self.protocol in scored)


def steps_of(tables: Sequence[Table], setting: Setting, machine: Machine) -> Iterator[Step]:
    """All steps in the order of the run."""
    for network, protocols in work_of(row for table in tables for row in table.rows).items():
        steps = list(_steps(network, protocols, setting, machine))
        trained: list[EvaluationProtocol | None] = [None] * (len(steps) - len(protocols))
        for step, protocol in zip(steps, [*trained, *protocols], strict=True):
            yield replace(step, network=network, protocol=protocol)


def state_of(row: Row, steps: Sequence[Step]) -> str:
    """What has to be done for a row, in words: `done`, `to do`, or what it needs."""
    needed = [step for step in steps if step.serves(row)]
    missing = list(dict.fromkeys(step.about for step in needed if step.state == "missing"))
    if missing:
        return "; ".join(missing)
    return "done" if all(step.state == "done" for step in needed) else "to do"


def missing_of(tables: Sequence[Table], setting: Setting) -> list[MissingRequirement]:
    """Everything that is missing, each thing once, data sets first."""
    work = work_of(row for table in tables for row in table.rows)
    found: dict[MissingRequirement, None] = {}
    for network, protocols in work.items():
        found |= dict.fromkeys(setting.missing(network))
        for protocol in protocols:
            found |= dict.fromkeys(setting.missing_to_score(protocol))
    return sorted(found, key=lambda requirement: requirement.kind)


def remedy(requirement: MissingRequirement) -> list[str]:
    """Where to get a missing requirement, line by line."""
    if requirement.kind == "data":
        known = CATALOGUE[requirement.name]
        return [*(f"get    {part}" for part in known.parts), f"lay as {known.place}"]
    spec = BACKBONES.get(requirement.name)
    if spec is None:
        return ["give an existing file, or a row of `leopart weights list`"]
    folder = local_folder(spec, cache_folder())
    lines = [f"put {file.file} from {file.place} into {folder}" for file in spec.files]
    if _by_hand(requirement):
        return lines
    fetch = f"leopart weights fetch {requirement.name}    (done at first use, with a network connection)"
    return [fetch, *(f"or {line}" for line in lines)]


def _by_hand(requirement: MissingRequirement) -> bool:
    """Whether weights can be had with a browser only."""
    spec = BACKBONES.get(requirement.name)
    if requirement.kind == "data" or spec is None:
        return True
    return spec.source is None and not any(file.repository or file.direct for file in spec.files)


def _steps(
    network: Network, protocols: Sequence[EvaluationProtocol], setting: Setting, machine: Machine
) -> Iterator[Step]:
    missing, job, trained = setting.missing(network), None, False
    size = problem = ""
    if not any(one.kind == "data" for one in missing):
        job = setting.job(network)
        try:
            trained = not missing and is_trained(job, machine.out)
            size = _training_size(job.data) if job.data else ""
        except LeopartError as error:
            problem = str(error)
    if job is None or job.recipe is not None:
        start = network.backbone if job is None else job.backbone
        what = f"train {start} by {network.preset} on {network.photos}"
        yield Step(what, "missing", problem) if problem else _step(what, trained, missing, size)
    for protocol in protocols:
        also_missing = setting.missing_to_score(protocol)
        what = f"{protocol.task} of {network.name} on {protocol.data}"
        if problem or any(one.kind == "data" for one in also_missing):
            yield Step(what, "missing", problem) if problem else _step(what, False, also_missing)
            continue
        options = setting.options(protocol)
        try:
            size = _scored_size(TASKS[options["task"]](**options, out=Path("scores.json")))
            scored = trained and not also_missing and job is not None and is_scored(options, job, machine.out)
        except LeopartError as error:
            yield Step(what, "missing", str(error))
        else:
            yield _step(what, scored, [*missing, *also_missing], size)


def _step(what: str, done: bool, missing: Sequence[MissingRequirement], size: str = "") -> Step:
    """The step; missing weights are fetched where that is possible, data sets are not."""
    by_hand = dict.fromkeys(one.name for one in missing if _by_hand(one))
    if by_hand:
        return Step(what, "missing", f"needs {', '.join(by_hand)}")
    fetched = dict.fromkeys(one.name for one in missing)
    about = [size, *(f"fetches {name}" for name in fetched)]
    return Step(what, "done" if done else "to do", "; ".join(filter(None, about)))


def _training_size(data: str) -> str:
    name = data.partition(":")[0]
    return _counted(len(training_photos(data)), EXPECTED.get(name))


def _scored_size(config: EvaluateConfig) -> str:
    """Number of photos that are scored, and of those in the other lists that are read.

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
