"""Options of the method: of the command line, of `Segmenter`, and in a saved segmenter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from leopart.settings import check_fields

#: The co-occurrence graph is dense: more parts would take gigabytes.
Count = Annotated[int, Interval(ge=1, le=2000)]
Share = Annotated[float, Interval(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """Options that commands and `Segmenter` spell alike."""

    foreground: Share | Literal["auto", "none"] = "auto"
    """Minimum precision of a foreground cluster: the share of it, 0 to 1, that the attention covers. auto
    takes the threshold that agrees best with the attention, or everything where the photos show scenes or
    texture and no things; none makes everything foreground."""
    communities: Literal["auto", "map-equation", "infomap"] = "auto"
    """Which community detection joins parts into objects; auto takes the map equation. infomap is a separate
    package that minimises the map equation too."""
    refine: bool = False
    """Refine the foreground of each photo: tokens that look alike get the same label, and outlines follow the
    edges in the photo. Better masks for about 40 ms a photo on a CPU."""
    objects_by: Literal["auto", "segments", "similarity", "communities"] = "auto"
    """What an object is. segments: a kind of connected region of the foreground; similarity: a kind of parts
    that look alike; communities: parts that lie beside each other, as in the paper. auto takes segments, or
    similarity where everything is foreground; communities with fewer than 20 photos or 50 segments, and where
    --contexts or --communities is given."""
    least_confidence: Annotated[float, Interval(ge=-1, le=1)] = 0.1
    """A segment whose confidence is less is no object: its foreground precision less the threshold, -1 to 1.
    Higher values leave more photos empty."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of every random choice: the same seed gives the same masks."""


@dataclass(frozen=True, kw_only=True)
class FitSettings(MethodOptions):
    """Everything that decides which parts and objects are learned from given features."""

    n_parts: Count | None = None
    """Number of parts. None = where parts have contexts and the number of objects is free, the number with
    which one half of a photo best predicts the other (see `most_informative`); otherwise the paper's 100, or
    fewer where there are few foreground tokens."""
    n_objects: Count | None = None
    """Number of objects. None = the number that two halves of the photos agree on (see `stable_number`); of
    communities, where parts have contexts, the number that predicts best (see
    `predictions`); otherwise the one whose partition is most stable (see `find_objects`)."""
    contexts: bool | Literal["auto"] = "auto"
    """Whether a part may belong to several objects, see `fit_mixture`; auto = from 10 photos per object."""
    dimensions: Annotated[int, Ge(1)] = 50
    """Dimensions of the reduced tokens."""

    def check(self) -> None:
        """Refuse values that make no sense.

        Raises:
            LeopartError: says which option, and what it takes.
        """
        check_fields(self, command_line=False)
