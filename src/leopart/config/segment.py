"""Options of `segment`, `demo` and `predict`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro
from annotated_types import Ge, Gt

from leopart.config.checks import (
    Auto,
    Device,
    OptionalPath,
    Unused,
    require_folder,
    require_images,
)
from leopart.config.method import Count, FitSettings, MethodOptions
from leopart.errors import LeopartError
from leopart.settings import check_fields

_CONTEXTS: dict[str, bool | Literal["auto"]] = {"auto": "auto", "yes": True, "no": False}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Options that every command with photos has."""

    out: Path = field(default_factory=Unused("leopart-out"))
    """Folder for all output. It is made if it does not exist; a run that was interrupted continues. The
    default is a new one: leopart-out, then leopart-out-2, ..."""
    overlays: bool = True
    """Also write pictures of the masks over the photos."""
    stretch: tuple[float, float] | None = None
    """Two percentiles that become black and white in every photo, such as 1 99, for photos that come out
    nearly black or flat. What is used then lies in OUT/developed."""
    pages: Literal["first", "all"] = "first"
    """Whether each page of a TIFF is a photo (they are written to OUT/developed), or only the first one."""
    overwrite: bool = False
    """Do everything again, even if OUT holds the finished output of this very command."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    batch_size: Annotated[int, Ge(1)] | Auto = "auto"
    """Photos in one forward pass."""
    config: OptionalPath = None
    """Read options from this YAML file, such as the config.yaml of an earlier run. The command line wins."""
    quiet: bool = False
    """No progress and no summary; errors are still printed."""

    def check(self) -> None:
        """Refuse values that make no sense.

        Raises:
            LeopartError: says which option, and what it takes.
        """
        check_fields(self)
        require_folder(self.out)
        if self.stretch is not None and not 0 <= self.stretch[0] < self.stretch[1] <= 100:
            given = " ".join(f"{value:g}" for value in self.stretch)
            raise LeopartError(f"--stretch takes two percentiles in 0..100, the lower first, not {given}")


@dataclass(frozen=True, kw_only=True)
class LearningConfig(RunConfig):
    """Options of learning that only commands have, or spell in their own way."""

    backbone: str = "imgfocus_vits14"
    """Pretrained network that turns photos into features: a name from `leopart weights list`, or a file. auto
    takes, of the label-free ones on this machine, the one that measures best on the photos."""
    attention_backbone: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """Network whose attention decides what is foreground; by default that of --backbone, before it is
    adapted. For a network that Leopart has trained, give the one it started from: training on parts spoils
    the attention."""
    adapt: Annotated[bool | Annotated[float, Gt(0)] | Auto, tyro.conf.arg(metavar="[MINUTES]")] = False
    """First fine-tune the network on these photos, without labels, for at most this many minutes; without a
    number, 10 on a CPU and 5 on CUDA. auto does this if there are 50 photos or more. Off by default because
    it takes long: clusters get much better, objects somewhat."""
    adapt_method: Literal["leopart", "densecl", "hybrid", "paka", "neco"] = "leopart"
    """What --adapt trains with, see --method of `leopart train`."""
    keep_adapted: bool = False
    """Use the adapted network even where one half of a photo says no more about the other than with the
    network it started from."""
    size: Annotated[int, Ge(1)] = 448
    """Side in pixels of the network's input. Larger finds smaller things and takes longer."""
    keep_aspect: bool = False
    """Keep the photos' aspect ratio (same number of pixels) instead of squeezing them into a square."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the network; auto takes the fastest that the device computes natively."""
    features: OptionalPath = None
    """Keep the photos' features (0.8 MB a photo) in this folder and use them again next time.
    By default they stay in OUT/.features until the run is done."""
    parts: Count | Auto = "auto"
    """Number of parts. auto takes the number with which one half of a photo best predicts the other; 100 (or
    fewer) where there are too few photos to measure that, or --objects is given."""
    objects: Count | Auto = "auto"
    """Number of objects. auto takes the number that two halves of the photos agree on; of communities, the
    number that predicts best or is most stable."""
    contexts: Literal["auto", "yes", "no"] = "auto"
    """Let a part belong to several objects: the parts around it in a photo decide which one. auto does so if
    there are at least 10 photos per object."""


@dataclass(frozen=True, kw_only=True)
class FitConfig(MethodOptions, LearningConfig):
    """Options of the commands that learn parts and objects."""

    @property
    def settings(self) -> FitSettings:
        """The options of the method, as `Segmenter` spells them."""
        shared = {option.name: getattr(self, option.name) for option in fields(MethodOptions)}
        return FitSettings(
            n_parts=None if self.parts == "auto" else self.parts,
            n_objects=None if self.objects == "auto" else self.objects,
            contexts=_CONTEXTS[self.contexts],
            **shared,
        )


@dataclass(frozen=True, kw_only=True)
class SegmentConfig(FitConfig):
    """Folder of photos in, part masks and object masks out.

    Learns without labels which parts recur in the photos and which parts belong together. Writes masks whose
    ids mean the same in every photo, a report, and a segmenter for more photos.
    """

    images: tyro.conf.Positional[tuple[Path, ...]]
    """Folders (searched at any depth) and photos."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        require_images(self.images)
        super().check()


@dataclass(frozen=True, kw_only=True)
class DemoConfig(FitConfig):
    """`leopart segment` on sample photos: a report to look at, in a minute."""

    out: Path = Path("demo")
    """Folder for all output."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig(RunConfig):
    """Masks of more photos, with the part and object ids of a saved segmenter."""

    segmenter: tyro.conf.Positional[Path]
    """Folder that `leopart segment` wrote: OUT or OUT/segmenter."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Folders (searched at any depth) and photos."""
    backbone: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """Where the segmenter's network is now, if it was a file that has moved; other weights are refused."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        require_images(self.images)
        super().check()
