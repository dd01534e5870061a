"""Options of `figure`: those of every figure, and those of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import tyro
from annotated_types import Ge, Le

from leopart.config.checks import Auto, Device, OptionalPath, Unused, require_folder, require_images
from leopart.errors import LeopartError
from leopart.settings import check_fields

Words = tuple[str, ...]
OptionalData = Annotated[str | None, tyro.conf.arg(metavar="NAME:PATH")]
OptionalName = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
Count = Annotated[int, Ge(1)]


@dataclass(frozen=True, kw_only=True)
class FigureConfig:
    """Options of every figure."""

    ABOUT: ClassVar[str] = ""
    """One line about the figure."""
    name: tyro.conf.Positional[str]
    """Which figure; `leopart figure --help` lists them."""
    out: Path = field(default_factory=Unused("leopart-figures"))
    """Folder for the figures; made if need be. The default is a new one: leopart-figures, then
    leopart-figures-2, ..."""
    config: OptionalPath = None
    """Read options from this YAML file. The command line wins."""
    quiet: bool = False
    """Print nothing; errors are still printed."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        if FIGURES.get(self.name) is not type(self):
            raise LeopartError(
                f"there is no figure {self.name!r} here; write one of {', '.join(FIGURES)} first"
            )
        check_fields(self)
        require_folder(self.out)


@dataclass(frozen=True, kw_only=True)
class TrainingFigureConfig(FigureConfig):
    """Pictures and curves of a training run.

    An animation of the contact sheets, a strip of the first, middle and last of them, and curves of loss,
    prototypes in use and validation scores.
    """

    ABOUT: ClassVar[str] = "contact sheets and curves of a training run"
    run: tyro.conf.Positional[Path]
    """Folder that `leopart train` wrote."""
    milliseconds: Annotated[int, Ge(20)] = 600
    """How long the animation shows each sheet; the last sheet stays three times as long."""


@dataclass(frozen=True, kw_only=True)
class PageConfig(FigureConfig):
    """Options of the figures that show photos on a page."""

    number: Count = 24
    """Number of photos to show, drawn at random; all photos if there are fewer."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of the draw: the same seed draws the same photos for every figure."""
    width: Annotated[float, Ge(1)] = 7.0
    """Width of the page in inches; 7 is the text width of a two-column paper."""
    dpi: Annotated[int, Ge(36)] = 300
    """Pixels per inch."""


@dataclass(frozen=True, kw_only=True)
class CropsFigureConfig(PageConfig):
    """Views of photos as training cuts them, with the boxes on which pairs of views are compared.

    Each view has a colour, and each box has the colour of the view that it is shared with. The photos, crops
    and boxes are the first ones of `leopart train` with the same photos, preset and seed, before the colours
    are changed.
    """

    ABOUT: ClassVar[str] = "views of photos as training cuts them, and the boxes they share"
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Folders (searched at any depth) and photos."""
    number: Count = 2
    """Number of photos to show, drawn at random; all photos if there are fewer."""
    preset: str = "in100k"
    """Training preset, which decides the number and size of the crops; `leopart train --presets` lists them.
    in100k is the paper's: two global and four local crops."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        require_images(self.images)
        super().check()


@dataclass(frozen=True, kw_only=True)
class MosaicConfig(PageConfig):
    """Options of the figures that show many photos with masks."""

    photos: Words = ()
    """Names of the photos to show, instead of a random draw."""
    columns: Count = 6
    """Approximate number of photos in a row; all rows have the same width, whatever the photos' shapes."""


@dataclass(frozen=True, kw_only=True)
class OverlayConfig(MosaicConfig):
    """Options of the figures that draw masks over photos."""

    opacity: Annotated[float, Ge(0), Le(1)] = 0.6
    """Weight of the colours, from 0 (photo only) to 1 (flat colours)."""
    originals: bool = False
    """Also show each photo without masks, above."""
    labels: bool = False
    """Also show the labels of --data, below."""


@dataclass(frozen=True, kw_only=True)
class SegmentedConfig(OverlayConfig):
    """Options of the figures that show the masks of a segmenter."""

    segmenter: tyro.conf.Positional[Path]
    """Folder that `leopart segment` wrote: OUT or OUT/segmenter."""
    images: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folders (searched at any depth) and photos; or give --data."""
    data: OptionalData = None
    """Labelled photos instead, such as folder:PATH; see `leopart data list`."""
    masks: str = "masks"
    """Which masks of a folder: NAME takes masks_NAME/ and classes_NAME.txt."""
    split: OptionalName = None
    """Photos of the labelled set: a list of it, such as val, or a text file of names."""
    backbone: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """File of the segmenter's network, if it has moved; other weights are refused."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        super().check()
        if not self.images and self.data is None:
            raise LeopartError("no photos are given: name their folder after the segmenter, or --data")
        if self.images and self.data is not None:
            raise LeopartError("photos are given twice: name their folder, or --data, not both")
        if self.labels and self.data is None:
            raise LeopartError("--labels needs a labelled set: give --data folder:PATH")


@dataclass(frozen=True, kw_only=True)
class CBFEFigureConfig(SegmentedConfig):
    """Photos with the foreground that is found without labels (CBFE)."""

    ABOUT: ClassVar[str] = "foreground found without labels (CBFE), over photos"


@dataclass(frozen=True, kw_only=True)
class PartsFigureConfig(SegmentedConfig):
    """Photos with the part clusters of their foreground, unmerged; background has no colour.

    A part has one colour in all photos; related parts have related colours.
    """

    ABOUT: ClassVar[str] = "clusters of the foreground, unmerged, over photos"


@dataclass(frozen=True, kw_only=True)
class CommunitiesFigureConfig(SegmentedConfig):
    """Photos with the objects that communities of parts form.

    With a labelled set, objects are matched to classes one to one over all photos of the set; an object has
    the colour of its class, and there is a legend. Labels have no other use.
    """

    ABOUT: ClassVar[str] = "objects as communities of parts, over photos; with labels, by class"


@dataclass(frozen=True, kw_only=True)
class OverclusteringFigureConfig(OverlayConfig):
    """Photos with many clusters of their tokens, each assigned a class by labels.

    Runs `leopart evaluate overclustering --seeds 1` on all photos of the set, and writes its scores beside
    the figure, as overclustering.json.
    """

    ABOUT: ClassVar[str] = "many clusters, each assigned a class by labels, over photos"
    data: Annotated[str, tyro.conf.arg(metavar="NAME:PATH")]
    """Labelled photos: folder:PATH, voc:PATH, coco-stuff:PATH, coco-thing:PATH or ade20k-parts:PATH."""
    masks: str = "masks"
    """Which masks of a folder: NAME takes masks_NAME/ and classes_NAME.txt."""
    split: OptionalName = None
    """Photos of the set: a list of it, such as val, or a text file of names."""
    ignore: Words = ()
    """Classes to leave out: their pixels are treated as unlabelled."""
    backbone: str = "imgfocus_vits14"
    """Network that gives the tokens: a name from `leopart weights list`, a file, or the folder of a training
    run."""
    k: Count = 500
    """Number of clusters; each gets its class by majority vote of its pixels."""
    size: Count = 448
    """Side in pixels of the network's input; photos are squeezed into a square."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    batch_size: Count | Auto = "auto"
    """Photos in one forward pass."""
    cache: OptionalPath = None
    """Keep the features of the photos in this folder, for other figures and evaluations with the same
    backbone."""


@dataclass(frozen=True, kw_only=True)
class LabelsFigureConfig(MosaicConfig):
    """Photos of a labelled set (a), and their part masks (b).

    Dark green marks pixels without a label and those of a class called background.
    """

    ABOUT: ClassVar[str] = "photos of ADE20K, or another labelled set, and their part masks"
    data: Annotated[str, tyro.conf.arg(metavar="NAME:PATH")]
    """Labelled photos: ade20k-parts:PATH, folder:PATH, voc:PATH, coco-stuff:PATH or coco-thing:PATH."""
    masks: str = "masks"
    """Which masks of a folder: NAME takes masks_NAME/ and classes_NAME.txt."""
    split: OptionalName = None
    """Photos of the set: a list of it, such as val, or a text file of names."""
    number: Count = 12
    """Number of photos to show, drawn at random; all photos if there are fewer."""


FIGURES: dict[str, type[FigureConfig]] = {
    "crops": CropsFigureConfig,
    "cbfe": CBFEFigureConfig,
    "parts": PartsFigureConfig,
    "communities": CommunitiesFigureConfig,
    "overclustering": OverclusteringFigureConfig,
    "ade-parts": LabelsFigureConfig,
    "training": TrainingFigureConfig,
}
"""What `leopart figure` draws."""
