"""Options of `segment`, `demo` and `predict`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from leopart.config.checks import Auto, Device, OptionalPath, require_folder, require_images
from leopart.errors import LeopartError

#: The co-occurrence graph is dense: more parts would take gigabytes.
_MOST_PARTS = 2000


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Options that every command with photos has."""

    out: Path
    """Folder for everything that is written. Made if need be; a run that was interrupted goes on."""
    overlays: bool = True
    """Write pictures of the masks over the photos, for looking at."""
    overwrite: bool = False
    """Do everything again, even if OUT holds the finished output of this very command."""
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
        require_folder(self.out)


@dataclass(frozen=True, kw_only=True)
class FitConfig(RunConfig):
    """Options of the commands that learn parts and objects."""

    backbone: str = "imgfocus_vits14"
    """Pretrained network that looks at the photos: a name from `leopart weights list`, or a file."""
    attention_backbone: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """Network whose attention tells foreground; by default that of --backbone, before it is adapted. For a
    network that Leopart has trained, give its start: training on parts spoils the attention."""
    adapt: Annotated[bool | float | Auto, tyro.conf.arg(metavar="[MINUTES]")] = False
    """First fine-tune the network on these very photos, without labels, for at most so many minutes; without
    a number, 10 on the CPU and 5 on CUDA. auto does so from 50 photos on. Off by default, since it takes so
    long: clusters get much better, objects somewhat."""
    size: int = 448
    """Side in pixels of the network's input. Larger finds smaller things and takes longer."""
    keep_aspect: bool = False
    """Keep the photos' aspect ratio (same number of pixels) instead of squeezing them into a square."""
    parts: int | Auto = "auto"
    """Number of parts; auto takes the number with which one half of a photo tells most about the other, or
    100 where photos are too few to tell or --objects is given, fewer where they are very few."""
    objects: int | Auto = "auto"
    """Number of objects; auto takes the number with which one half of a photo foretells the other best, or,
    without contexts, the one that is most stable when other photos are drawn."""
    foreground: float | Literal["auto", "none"] = "auto"
    """Least precision of a foreground cluster: the share of it, 0 to 1, that the network's attention covers.
    auto takes the cut that agrees best with the attention; none makes everything foreground."""
    communities: Literal["auto", "map-equation", "infomap", "louvain"] = "auto"
    """What joins parts to objects; auto takes the map equation, which Infomap (a package of its own)
    searches too."""
    contexts: Literal["auto", "yes", "no"] = "auto"
    """Let a part belong to several objects: the parts around it in a photo decide whose it is there. auto
    does so from 10 photos an object on; fewer cannot tell."""
    refine: bool = False
    """Refine the foreground of every photo in the photo itself: tokens that look alike agree, and outlines
    follow the photo's edges. Better masks for about 40 ms a photo on a CPU."""
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
        require_images(self.images)
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
        require_images(self.images)
        super().check()
