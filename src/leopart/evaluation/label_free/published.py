"""Settings of fully unsupervised segmentation, as published by the authors."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from leopart.errors import LeopartError

REFERENCE_STEPS = {
    "interpolation": "embeddings are enlarged by nearest; the supplement says bilinear",
    "offsets": "neighbours as a slip in the code has them: three diagonals twice, one off the grid",
    "background": "background is a node of the graph and may join an object",
}
"""Steps in which the authors' code differs from the paper, or from what the paper must mean."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """Numbers of cluster-based foreground extraction (CBFE) and community detection (CD).

    Attributes:
        threshold: least precision of a foreground cluster, in [0, 1].
        clusters: K, number of foreground clusters that are joined to communities.
        markov_time: of the map equation; a longer time gives larger communities.
        edge: least conditional probability of an edge, both ways.
        reference: names of `REFERENCE_STEPS` that are done as in the authors' code.
        about: source of the numbers.
    """

    threshold: float
    clusters: int = 100
    markov_time: float = 1.5
    edge: float = 0.05
    reference: tuple[str, ...] = ()
    about: str


PRESETS = {
    "seed": Published(
        threshold=0.40,
        about="the paper's supplement, for weights trained on ImageNet: Table 1 and appendix A.1",
    ),
    "seed-cc": Published(
        threshold=0.30,
        about="the paper's supplement, for weights trained on ImageNet and COCO: Table 1 and appendix A.1",
    ),
    "readme-vits16": Published(
        threshold=0.30,
        clusters=149,
        markov_time=2.0,
        edge=0.09,
        about="the README of the authors' code, ViT-S/16; the threshold is the supplement's for ImageNet and "
        "COCO, on which these weights were trained",
    ),
    "readme-vitb8": Published(
        threshold=0.30,
        clusters=109,
        markov_time=0.4,
        edge=0.07,
        about="the README of the authors' code, ViT-B/8; the threshold is the supplement's for ImageNet and "
        "COCO, on which these weights were trained",
    ),
    "reference": Published(
        threshold=0.40,
        clusters=99,
        reference=tuple(REFERENCE_STEPS),
        about="the numbers of seed, the steps of the authors' code; background is the hundredth cluster",
    ),
}
"""By the name that `--preset` takes."""

CHOSEN_WITH = (
    "thresholds of this preset were chosen by its authors on PASCAL VOC training labels, and so were its "
    "number of clusters, Markov time and edge probability"
)
"""Which labels the presets were chosen with, according to the supplement."""


def published(name: str) -> Published:
    """The preset of this name.

    Raises:
        LeopartError: there is no such preset.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(PRESETS)}"
        raise LeopartError(f"there is no preset {name!r} of unsupervised segmentation; {hint}")
    return PRESETS[name]
