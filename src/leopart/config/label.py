"""Options of `label`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from annotated_types import Interval

from leopart.config.checks import OptionalPath
from leopart.errors import LeopartError
from leopart.settings import check_fields

Many = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """Give names to parts and objects, and write label masks.

    Without an option, OUT/labels.yaml is applied as it is. Options change it first, in the order of this
    list; each may be given several times. The version before is kept as OUT/labels.1.yaml and so on.
    IDS are objects:2,5 or parts:3,7-9, or parts:3@2 for part 3 within object 2; join several by +.
    """

    out: tyro.conf.Positional[Path]
    """Folder that `leopart segment` wrote."""
    from_: Annotated[str | None, tyro.conf.arg(name="from", metavar="DATA")] = None
    """Name parts after what most of their pixels are in a few labelled photos, such as folder:FEW. Names
    that you have given stay."""
    masks: str = "masks"
    """Which masks of DATA: masks, or NAME for masks_NAME/ and classes_NAME.txt."""
    min_agreement: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """Share of its labelled pixels, 0 to 1, that must agree for a part to be named by --from."""
    name: Annotated[Many, tyro.conf.arg(metavar="NAME=IDS")] = ()
    """Call parts or objects by a name, as in shirt=parts:3,7. What had another name moves."""
    merge: Annotated[Many, tyro.conf.arg(metavar="NAME=A,B")] = ()
    """Make labels one: vehicle=car,bus."""
    rename: Annotated[Many, tyro.conf.arg(metavar="OLD=NEW")] = ()
    """Give a label another name; its id stays."""
    colour: Annotated[Many, tyro.conf.arg(metavar="NAME=#rrggbb")] = ()
    """Give a label another colour."""
    ignore: Annotated[Many, tyro.conf.arg(metavar="IDS")] = ()
    """Make parts or objects background."""
    remove: Annotated[Many, tyro.conf.arg(metavar="NAME")] = ()
    """Take a label away; what it claimed is background."""
    split: Annotated[str | None, tyro.conf.arg(metavar="part:ID")] = None
    """Split a part that holds several things: its pieces are clustered, and those that are new get ids after
    all others. They keep the part's object and label until you name them."""
    into: Annotated[int, Interval(ge=2, le=100)] = 2
    """Number of pieces that --split makes."""
    undo: bool = False
    """Go back to the labels before the last change, and apply them; a split is taken back, too."""
    dry_run: bool = False
    """Say what the labels would be; write nothing."""
    device: Annotated[str, tyro.conf.arg(metavar="auto|cpu|cuda|cuda:N|mps")] = "auto"
    """Where --from segments the labelled photos and --split computes tokens; auto takes a GPU if there is
    one."""
    config: OptionalPath = None
    """Read options from this YAML file. The command line wins."""
    quiet: bool = False
    """No progress and no summary; errors are still shown."""

    @property
    def changes(self) -> bool:
        """Whether any option changes the labels."""
        edits = (self.from_, self.name, self.merge, self.rename, self.colour, self.ignore, self.remove)
        return any(edits)

    def check(self) -> None:
        """Refuse values that make no sense.

        Raises:
            LeopartError: says which option, and what it takes.
        """
        check_fields(self)
        if self.undo and (self.changes or self.split):
            raise LeopartError("--undo goes back by one version; give changes in another command")
        if self.split and self.changes:
            raise LeopartError("--split is a change of its own; give names and others in another command")
        for option in ("name", "merge", "rename", "colour"):
            for given in getattr(self, option):
                left, equals, right = given.rpartition("=")
                if not (left and equals and right):
                    raise LeopartError(f"--{option} {given!r} has no name on both sides of a =; see --help")
