"""What the settings of every training method have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """Options of one method. Their names are unique among all methods: command lines and files are flat.

    Settings import neither networks nor losses, so that a command line can be read without torch.

    Attributes:
        LEARNER: class that trains with these settings (see `Learner`), or `module:Class` as
            `pkgutil.resolve_name` takes it.
        PARTS: other methods whose settings it reads too.
        UNTOUCHED: so many large crops of a photo, the first ones, keep their colours and are not blurred.
    """

    LEARNER: ClassVar[str | type[Any]]
    PARTS: ClassVar[tuple[str, ...]] = ()
    UNTOUCHED: ClassVar[int] = 0

    @property
    def crops(self) -> tuple[int, int]:
        """Number of large and of small crops of each photo."""
        raise NotImplementedError

    def check(self) -> None:
        """Refuse options that do not go together; bounds of single options stand at their fields.

        Raises:
            LeopartError: names the options, and says what to give.
        """
