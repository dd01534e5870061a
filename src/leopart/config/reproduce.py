"""Options of `reproduce`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from annotated_types import Ge

from leopart.config.checks import Device, OptionalPath, require_folder, require_known
from leopart.errors import LeopartError
from leopart.settings import check_fields

REPRODUCED = (
    "table1",
    "table2a",
    "table2b",
    "table2c",
    "table3",
    "table4",
    "table5",
    "densecl",
    "ablations",
    "all",
)
"""What `leopart reproduce` takes."""


@dataclass(frozen=True, kw_only=True)
class ReproduceConfig:
    """Fill a table of the paper: train the networks, score them, and compare with the published numbers.

    table1: thresholds of the foreground; table2a: overclustering of PASCAL VOC and COCO; table2b: fully
    unsupervised segmentation; table2c: foreground; table3: other initialisations; table4: queue; table5:
    parts of ADE20K; densecl: DenseCL's loss from the same start; ablations: queue, prototypes, crops,
    teacher, mask; all.

    Finished work is not repeated: run the command again to continue an interrupted run.
    """

    name: tyro.conf.Positional[str]
    """Name of the table, or all."""
    out: Path = Path("leopart-reproduction")
    """Folder for networks, scores, a JSON file for each table, and the page README.md."""
    data_root: OptionalPath = None
    """Folder with the data sets, each in its own folder; `leopart data list` names them."""
    data: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME:PATH")] = ()
    """Data sets in other places; with --mini the labelled folder that stands in for all of them."""
    row: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Only rows whose name contains these words."""
    dry_run: bool = False
    """Run nothing; print what would run, which data and weights are missing, and where to get them."""
    released_weights: bool = False
    """Score the weights that the paper's authors published instead of training, where they exist."""
    mini: bool = False
    """Run every row in miniature: on one labelled folder, with stand-ins for the networks and few steps."""
    masks: str = "masks"
    """With --mini: which masks of the folder; NAME takes masks_NAME/. They need a class called background."""
    backbone: str = "imgfocus_vits14"
    """With --mini: backbone that stands in for DINO."""
    steps: Annotated[int, Ge(1)] = 60
    """With --mini: training steps."""
    batch_size: Annotated[int, Ge(1)] = 8
    """With --mini: photos in a training step."""
    photos: Annotated[int, Ge(1)] = 300
    """With --mini: largest number of photos to score."""
    size: Annotated[int, Ge(1)] = 224
    """With --mini: side in pixels of the network's input in evaluations."""
    seeds: Annotated[int, Ge(1)] = 2
    """With --mini: number of seeds of an evaluation."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    config: OptionalPath = None
    """Read options from this YAML file. The command line wins."""
    quiet: bool = False
    """No progress and no table; errors are still printed."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        require_known("table", self.name, REPRODUCED)
        require_folder(self.out)
        check_fields(self)
        if self.mini and (len(self.data) != 1 or self.data_root is not None):
            raise LeopartError("--mini takes one labelled folder: --data folder:PATH, and no --data-root")
        if self.mini and self.released_weights:
            raise LeopartError("--mini trains in miniature; leave out --released-weights")
        if not self.mini and any(words.startswith("folder:") for words in self.data):
            raise LeopartError("the paper's tables need its data sets; a folder is for --mini")
        if not self.mini and self.data_root is None and not self.data:
            message = "no data sets are given: add --data-root DIR or --data NAME:PATH, or try --mini"
            raise LeopartError(message)
