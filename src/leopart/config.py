"""What the commands are asked to do: one frozen dataclass each, a docstring per field, checked here.

The docstrings are the commands' help texts. A resolved configuration is written beside the output as
`config.yaml`, and `--config` takes that file back.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from leopart.errors import LeopartError
from leopart.recipe import Recipe

#: The co-occurrence graph is dense: more parts would take gigabytes.
_MOST_PARTS = 2000

Device = Annotated[str, tyro.conf.arg(metavar="auto|cpu|cuda|cuda:N|mps")]
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]
Auto = Literal["auto"]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Options that every command with photos has."""

    out: Path
    """Folder for everything that is written. Made if need be; a run that was interrupted goes on."""
    overlays: bool = True
    """Write pictures of the masks over the photos, for looking at."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    batch_size: int | Auto = "auto"
    """Photos in one forward pass."""
    config: OptionalPath = None
    """Read options from this YAML file, such as the config.yaml of an earlier run. The command line wins."""
    quiet: bool = False
    """No progress and no summary; errors are still told."""

    def check(self) -> None:
        """Refuse values that make no sense.

        Raises:
            LeopartError: says which option, and what it takes.
        """
        if self.batch_size != "auto" and self.batch_size < 1:
            raise LeopartError(f"--batch-size must be at least 1 or auto, got {self.batch_size}")
        _require_folder(self.out)


@dataclass(frozen=True, kw_only=True)
class FitConfig(RunConfig):
    """Options of the commands that learn parts and objects."""

    backbone: str = "imgfocus_vits14"
    """Pretrained network that looks at the photos: a name from `leopart weights list`, or a file."""
    adapt: Annotated[bool | float | Auto, tyro.conf.arg(metavar="[MINUTES]")] = False
    """First fine-tune the network on these very photos, without labels, for at most so many minutes; without
    a number, 10 on the CPU and 5 on CUDA. auto does so from 50 photos on. Off by default: clusters get much
    better, but not yet the objects that are made of them."""
    size: int = 448
    """Side in pixels of the network's input. Larger finds smaller things and takes longer."""
    keep_aspect: bool = False
    """Keep the photos' aspect ratio (same number of pixels) instead of squeezing them into a square."""
    parts: int | Auto = "auto"
    """Number of parts; auto takes 100, fewer where there are few photos."""
    objects: int | Auto = "auto"
    """Number of objects; auto takes the number that is most stable when other photos are drawn."""
    foreground: float | Literal["auto", "none"] = "auto"
    """Least precision of a foreground cluster: the share of it, 0 to 1, that the network's attention covers.
    auto takes the cut that agrees best with the attention; none makes everything foreground."""
    communities: Literal["auto", "infomap", "louvain"] = "auto"
    """What joins parts to objects; auto takes Infomap if it is installed, else Louvain."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the network; auto takes the fastest that the device computes natively."""
    features: OptionalPath = None
    """Keep the photos' features (0.8 MB a photo) in this folder and use them again next time.
    By default they live in OUT/.features until the run is done."""
    seed: int = 0
    """Of every random choice: the same seed gives the same masks."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        super().check()
        if self.size < 1:
            raise LeopartError(f"--size must be at least 1 pixel, got {self.size}")
        if self.seed < 0:
            raise LeopartError(f"--seed must be 0 or more, got {self.seed}")
        if not isinstance(self.adapt, bool | str) and not 0 < self.adapt < math.inf:
            raise LeopartError(f"--adapt takes minutes above 0, or nothing, got {self.adapt:g}")
        for name, number in (("parts", self.parts), ("objects", self.objects)):
            if number != "auto" and not 1 <= number <= _MOST_PARTS:
                raise LeopartError(f"--{name} must be auto or from 1 to {_MOST_PARTS}, got {number}")
        if not isinstance(self.foreground, str) and not 0 <= self.foreground <= 1:
            raise LeopartError(f"--foreground must be auto, none or from 0 to 1, got {self.foreground:g}")


@dataclass(frozen=True, kw_only=True)
class SegmentConfig(FitConfig):
    """Folder of photos in, part masks and object masks out.

    Learns, without any label, which parts recur in the photos and which parts belong together, and writes
    masks that mean the same thing in every photo, a report to look at, and a segmenter for more photos.
    """

    images: tyro.conf.Positional[tuple[Path, ...]]
    """Folders (searched at any depth) and photos."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        _require_images(self.images)
        super().check()


@dataclass(frozen=True, kw_only=True)
class DemoConfig(FitConfig):
    """The main job on sample photos: a report to look at, in a minute."""

    out: Path = Path("demo")
    """Folder for everything that is written."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig(RunConfig):
    """Masks of more photos, with the part and object ids that a saved segmenter has learned."""

    segmenter: tyro.conf.Positional[Path]
    """Folder that `leopart segment` wrote: OUT or OUT/segmenter."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Folders (searched at any depth) and photos."""
    backbone: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """Where the segmenter's network is now, if it was a file that has moved; other weights are refused."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        _require_images(self.images)
        super().check()


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """A backbone, or a segmenter that `leopart segment` saved, in a form that other programs take.

    The result is compared with Leopart before it is written, and a model card is put beside it.
    """

    model: tyro.conf.Positional[Path]
    """Backbone (a name from `leopart weights list`, a file, or the folder of a training run), or the folder
    of a saved segmenter: OUT or OUT/segmenter."""
    format: Literal["timm", "safetensors", "onnx"]
    """timm: what timm loads; safetensors: what Leopart loads; onnx: one graph for onnxruntime and others.
    A segmenter has the last only."""
    out: Path
    """Folder for the files; made if need be."""
    photos: OptionalPath = None
    """Folder of photos, or a photo: compare a segmenter's ids on up to 20 of them, not on made-up images."""
    config: OptionalPath = None
    """Read options from this YAML file. The command line wins."""
    quiet: bool = False
    """Print nothing; errors are still told."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        _require_folder(self.out)


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
    validate: Annotated[str | None, tyro.conf.arg(metavar="folder:PATH")] = None
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
        _require_folder(self.out)
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


def _require_folder(out: Path) -> None:
    is_folder = os.path.isdir(out)  # noqa: PTH112 - Path's own raises where a parent may not be entered
    if os.path.lexists(out) and not is_folder:
        raise LeopartError(f"--out {out} is a file: give a folder")


def _require_images(images: tuple[Path, ...]) -> None:
    if not images:
        raise LeopartError("no photos are given: name their folder, or files, before --out")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Score a backbone on labelled photos; writes one JSON file.

    overclustering: k-means on the tokens of all photos, each cluster named after a class, mean IoU over the
    classes; mean over seeds. Labels name the clusters and score them, and are used for nothing else.
    """

    task: tyro.conf.Positional[str]
    """What to score: overclustering."""
    data: Annotated[str, tyro.conf.arg(metavar="NAME:PATH")]
    """Labelled photos: folder:PATH, where PATH has images/, masks/ (index PNGs) and classes.txt."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """JSON file for the scores; the options go beside it as .config.yaml."""
    backbone: str = "imgfocus_vits14"
    """What to score: a name from `leopart weights list`, a file, or the folder of a training run."""
    masks: str = "masks"
    """Which masks: NAME takes masks_NAME/ and classes_NAME.txt."""
    split: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Only the photos that NAME.txt lists; by default all."""
    ignore: tuple[str, ...] = ()
    """Classes to leave out: their pixels count nowhere, as those without a label."""
    k: tuple[int, ...] = (500,)
    """Numbers of clusters. One equal to the number of classes is matched one to one, others by precision."""
    seeds: int = 5
    """Runs of k-means, with the seeds 0, 1, ..."""
    size: int = 448
    """Side in pixels of the network's input; photos are squeezed into a square."""
    eval_size: int = 100
    """Side in pixels of the square at which clusters and labels are compared."""
    features: int | Literal["final"] = "final"
    """Block of the network whose tokens are scored, from 0; final takes the last one kept."""
    normalise: bool = False
    """Make every token a unit vector first."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the network; auto takes the fastest that the device computes natively."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    batch_size: int | Auto = "auto"
    """Photos in one forward pass."""
    config: OptionalPath = None
    """Read options from this YAML file, such as the .config.yaml of an earlier run. The command line wins."""
    quiet: bool = False
    """No progress and no table; errors are still told."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        _require_known("task", self.task, TASKS)
        if self.out.is_dir():
            raise LeopartError(
                f"--out {self.out} is a folder: give a file, such as {self.out / 'scores.json'}"
            )
        if not self.k or min(self.k) < 1:
            raise LeopartError(f"--k takes numbers of clusters, at least 1, got {' '.join(map(str, self.k))}")
        for name in ("seeds", "size", "eval_size"):
            if getattr(self, name) < 1:
                raise LeopartError(
                    f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}"
                )
        if self.batch_size != "auto" and self.batch_size < 1:
            raise LeopartError(f"--batch-size must be at least 1 or auto, got {self.batch_size}")


@dataclass(frozen=True, kw_only=True)
class FigureConfig:
    """Pictures and curves from what a run has left.

    training: an animation of the contact sheets, a strip of the first, middle and last of them, and curves
    of loss, prototypes in use and validation scores.
    """

    name: tyro.conf.Positional[str]
    """Which figure: training."""
    run: tyro.conf.Positional[Path]
    """Folder that `leopart train` wrote."""
    out: Path
    """Folder for the figures; made if need be."""
    milliseconds: int = 600
    """How long the animation shows each sheet; the last one stays three times as long."""
    config: OptionalPath = None
    """Read options from this YAML file. The command line wins."""
    quiet: bool = False
    """Print nothing; errors are still told."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        _require_known("figure", self.name, FIGURES)
        if self.milliseconds < 20:
            raise LeopartError(f"--milliseconds must be at least 20, got {self.milliseconds}")
        _require_folder(self.out)


TASKS = ("overclustering",)
"""What `leopart evaluate` scores."""
FIGURES = ("training",)
"""What `leopart figure` draws."""


def _require_known(kind: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise LeopartError(f"there is no {kind} {name!r}; there is: {', '.join(known)}")
