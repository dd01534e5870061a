"""Pages of pictures, text and a legend for print, placed by pixels, saved as PDF and PNG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from leopart.errors import LeopartError
from leopart.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pixels = NDArray[np.uint8]
Colour = NDArray[np.uint8]
"""sRGB, uint8 [3]."""

INK = "#2d2d32"
FONT = 7.0
"""Font size in points, as in the captions of two-column papers."""


@dataclass(frozen=True)
class LegendEntry:
    """One line of a legend."""

    name: str
    colour: Colour


def require_matplotlib() -> None:
    """Check that matplotlib is installed.

    Raises:
        LeopartError: it is not.
    """
    try:
        import matplotlib  # noqa: F401 - only to see whether it is there
    except ImportError as error:
        message = "figures need matplotlib, which is not installed: pip install 'leopart[demo]'"
        raise LeopartError(message) from error


def save_figure(figure: Figure, paths: Sequence[Path], dpi: int = 150) -> None:
    """Write a figure to `.png` or `.pdf` files, by suffix; the same figure gives the same bytes.

    Text in a PDF stays text, in an embedded TrueType font, as publishers require.

    Raises:
        LeopartError: a file cannot be written.
    """
    import matplotlib

    for path in paths:
        form = path.suffix.removeprefix(".")
        metadata: dict[str, Any] = {"CreationDate": None} if form == "pdf" else {}
        with whole_file(path) as file, matplotlib.rc_context({"pdf.fonttype": 42}):
            figure.savefig(file, format=form, dpi=dpi, metadata=metadata)


class Page:
    """A white page; positions are in pixels from the top left corner.

    Args:
        width: in pixels.
        height: in pixels.
        dpi: pixels per inch.

    Raises:
        LeopartError: matplotlib is missing.
    """

    def __init__(self, width: int, height: int, dpi: int) -> None:
        require_matplotlib()
        from matplotlib.figure import Figure

        self.width, self.height, self.dpi = width, height, dpi
        self.figure = Figure(figsize=(_inches(width, dpi), _inches(height, dpi)), dpi=dpi, facecolor="white")

    def picture(self, left: int, top: int, pixels: Pixels) -> Any:
        """Draw pixels, uint8 [h, w, 3], one to one.

        Returns:
            The matplotlib axes, whose coordinates are pixels of the picture: x from 0 to w, y from 0 to h.
        """
        height, width = pixels.shape[:2]
        bottom = self.height - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(box)
        axes.imshow(pixels, extent=(0, width, height, 0), aspect="auto", interpolation="none")
        axes.set_axis_off()
        return axes

    def words(self, left: float, top: float, text: str, **style: Any) -> None:
        """Write text; by default from its left edge, vertically centred."""
        options: dict[str, Any] = {
            "fontsize": FONT,
            "color": INK,
            "va": "center_baseline",
            "ha": "left",
        } | style
        self.figure.text(left / self.width, 1 - top / self.height, text, **options)

    def block(self, left: float, top: float, width: float, height: float, colour: Colour) -> None:
        """Fill a rectangle."""
        from matplotlib.patches import Rectangle

        corner = (left / self.width, 1 - (top + height) / self.height)
        size = (width / self.width, height / self.height)
        face = colour / 255
        patch = Rectangle(corner, *size, facecolor=face, edgecolor="none", transform=self.figure.transFigure)
        self.figure.add_artist(patch)

    def save(self, out: Path, name: str) -> list[Path]:
        """Write `out/name.pdf` and `out/name.png`.

        Returns:
            The files.

        Raises:
            LeopartError: a file cannot be written.
        """
        paths = [out / f"{name}.pdf", out / f"{name}.png"]
        save_figure(self.figure, paths, self.dpi)
        return paths


class Legend:
    """Swatches and names in columns of equal width, as many columns as fit on the page.

    Args:
        entries: in reading order.
        width: of the page in pixels.
        dpi: pixels per inch.
    """

    def __init__(self, entries: Sequence[LegendEntry], width: int, dpi: int) -> None:
        self.entries, self.point = entries, dpi / 72
        widest = max((words_width(entry.name) for entry in entries), default=0.0)
        needed = (widest + 2.4 * FONT) * self.point
        self.columns = max(1, int(width / needed))
        self.column = max(needed, width / self.columns)
        self.line = 1.5 * FONT * self.point

    @property
    def height(self) -> int:
        """In pixels; 0 without entries."""
        return round(-(-len(self.entries) // self.columns) * self.line) if self.entries else 0

    def draw(self, page: Page, left: float, top: float) -> None:
        """Draw the legend on a page."""
        side = FONT * self.point
        for entry, x, y in self._places():
            page.block(left + x, top + y + (self.line - side) / 2, side, side, entry.colour)
            page.words(left + x + 1.5 * side, top + y + self.line / 2, entry.name)

    def _places(self) -> Iterator[tuple[LegendEntry, float, float]]:
        for index, entry in enumerate(self.entries):
            row, column = divmod(index, self.columns)
            yield entry, column * self.column, row * self.line


def words_width(text: str, size: float = FONT) -> float:
    """Width of a text in points."""
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text, size=size).get_extents().width) if text.strip() else 0.0


def _inches(pixels: int, dpi: int) -> float:
    """The length that has so many pixels: older matplotlib cuts its product with `dpi` to a whole number."""
    length = pixels / dpi
    return length if length * dpi >= pixels else math.nextafter(length, math.inf)
