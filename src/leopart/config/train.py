"""Options of `train`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from leopart.config.checks import Auto, Device, OptionalPath, require_folder
from leopart.errors import LeopartError
from leopart.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Recipe):
    """Fine-tune a backbone on photos without labels, with the dense clustering loss of Leopart.

    The preset gives every option below its default; `leopart train --presets` lists them. RUN then holds the
    backbone, which other commands take as `--backbone RUN`.
    """

    preset: tyro.conf.Positional[str]
    """Named settings, such as quick, single-gpu or in100k."""
    data: Annotated[str, tyro.conf.arg(metavar="NAME:PATH")]
    """Photos: folder:PATH, voc:PATH, coco:PATH, imagenet100:PATH or imagenet:PATH."""
    out: Path
    """Folder of the run; made if need be."""
    resume: bool = False
    """Go on from RUN/checkpoints/last.ckpt; with other settings it is refused."""
    stop_at: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Save and stop after this step, as an interruption would."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    devices: int = 1
    """GPUs, or processes on the CPU, on each machine. torchrun and SLURM say it themselves."""
    nodes: int = 1
    """Machines."""
    workers: int | Auto = "auto"
    """Processes that make views ahead, for each device."""
    augment_on: Literal["cpu", "gpu"] = "cpu"
    """Where crops and colours are made; gpu decodes and augments a whole batch on the device."""
    compile: bool = False
    """Compile the blocks: faster steps after minutes of preparation."""
    save_every: int = 1
    """Epochs between writings of the newest state; short ones are put together to 50 steps or more."""
    keep_every: int = 5
    """Epochs between checkpoints that are kept, together 500 steps or more; 0 keeps none."""
    validate: Annotated[str | None, tyro.conf.arg(metavar="NAME:PATH")] = None
    """Labelled photos to score on as training goes (k-means mIoU). Nothing is learned or chosen from it."""
    validate_masks: str = "masks"
    """Mask folder of the labelled photos."""
    validate_ignore: tuple[str, ...] = ()
    """Classes of the labelled photos to leave out."""
    validate_every: int = 1
    """Epochs between validations and contact sheets, together 50 steps or more."""
    validate_photos: int = 240
    """Photos of a validation, at most, drawn once."""
    validate_k: tuple[int, ...] = (500, 300, 21)
    """Numbers of clusters of a validation; one equal to the number of classes is matched one to one."""
    sheet_photos: int = 8
    """Photos on the contact sheet of clusters; 0 for none."""
    wandb: Annotated[str | None, tyro.conf.arg(metavar="PROJECT")] = None
    """Log to Weights & Biases too, if its package is installed."""
    config: OptionalPath = None
    """Read options from this YAML file, such as the config.yaml of an earlier run. The command line wins."""
    quiet: bool = False
    """No progress; errors are still told."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        super().check()
        require_folder(self.out)
        least = {"devices": 1, "nodes": 1, "save_every": 1, "keep_every": 0, "validate_every": 1}
        least |= {"validate_photos": 1, "sheet_photos": 0}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                option = name.replace("_", "-")
                raise LeopartError(f"--{option} must be at least {smallest}, got {getattr(self, name)}")
        if self.stop_at is not None and self.stop_at < 1:
            raise LeopartError(f"--stop-at must be at least 1, got {self.stop_at}")
        if self.workers != "auto" and self.workers < 0:
            raise LeopartError(f"--workers must be auto or at least 0, got {self.workers}")
