"""Options of `train`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from leopart.config.checks import Auto, Device, OptionalPath, Unused, require_folder
from leopart.recipe import Recipe
from leopart.settings import AtLeast0, AtLeast1


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Recipe):
    """Fine-tune a backbone on photos without labels, by Leopart's dense clustering or another method.

    The preset sets the default of every option below; `leopart train --presets` lists the presets. RUN then
    holds the backbone, which other commands take as `--backbone RUN`.
    """

    preset: tyro.conf.Positional[str]
    """Named settings, such as quick, single-gpu or in100k."""
    data: Annotated[str, tyro.conf.arg(metavar="NAME:PATH")]
    """Photos: folder:PATH, voc:PATH, coco:PATH, imagenet100:PATH or imagenet:PATH."""
    out: Path = field(default_factory=Unused("leopart-run"))
    """Folder of the run; made if it does not exist. The default is a new one: leopart-run, then
    leopart-run-2, ..."""
    resume: bool = False
    """Continue from RUN/checkpoints/last.ckpt; other settings than before are refused."""
    stop_at: Annotated[AtLeast1 | None, tyro.conf.arg(metavar="N")] = None
    """Save and stop after this step, as an interruption would."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    devices: AtLeast1 = 1
    """GPUs, or processes on the CPU, on each machine. Not needed under torchrun and SLURM."""
    nodes: AtLeast1 = 1
    """Machines."""
    workers: AtLeast0 | Auto = "auto"
    """Processes that prepare views ahead of time, for each device."""
    augment_on: Literal["cpu", "gpu"] = "cpu"
    """Where crops and colours are made; gpu decodes and augments a whole batch on the device."""
    compile: bool = False
    """Compile the blocks: faster steps after minutes of preparation."""
    save_every: AtLeast1 = 1
    """Epochs between saves of the newest state, at least 50 steps."""
    keep_every: AtLeast0 = 5
    """Epochs between checkpoints that are kept for good, at least 500 steps; 0 keeps none."""
    validate: Annotated[str | None, tyro.conf.arg(metavar="NAME:PATH")] = None
    """Labelled photos to score on during training (k-means mIoU). Nothing is learned or chosen from them."""
    validate_masks: str = "masks"
    """Mask folder of the labelled photos."""
    validate_ignore: tuple[str, ...] = ()
    """Classes of the labelled photos to leave out."""
    validate_every: AtLeast1 = 1
    """Epochs between validations and contact sheets, at least 50 steps."""
    validate_photos: AtLeast1 = 240
    """Maximum number of photos of a validation, drawn once."""
    validate_k: tuple[int, ...] = (500, 300, 21)
    """Numbers of clusters of a validation; one equal to the number of classes is matched one to one."""
    sheet_photos: AtLeast0 = 8
    """Photos on the contact sheet of clusters; 0 for no sheet."""
    wandb: Annotated[str | None, tyro.conf.arg(metavar="PROJECT")] = None
    """Log to Weights & Biases too, if its package is installed."""
    config: OptionalPath = None
    """Read options from this YAML file, such as the config.yaml of an earlier run. The command line wins."""
    quiet: bool = False
    """No progress; errors are still printed."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        super().check()
        require_folder(self.out)
