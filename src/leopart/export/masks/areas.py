"""Tables for a spreadsheet: how much of each photo every class covers, and means over the photos."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from leopart.export.masks.photos import MaskedPhoto
from leopart.export.masks.tables import csv_text
from leopart.export.masks.writer import ExportJob, MaskFormat
from leopart.files import whole_file
from leopart.labels.rules import BACKGROUND


@dataclass
class _Total:
    """Of one class, over all photos."""

    photos: int = 0
    pixels: int = 0
    shares: float = 0.0
    components: int = 0


class Areas(MaskFormat):
    """`areas.csv` and `means.csv`."""

    ABOUT: ClassVar[str] = """\
`areas.csv` has a row for each photo and class in it, background included: pixels, share of the photo (0 to
1), number of connected components. `means.csv` has a row for each class: photos that show it, pixels and
components in all, mean share over all photos and over those that show it.

- Excel: Data, From Text/CSV, File Origin 65001 (UTF-8). LibreOffice: open, Unicode (UTF-8), comma.
- Python: `pandas.read_csv("areas.csv")`. R: `read.csv("areas.csv", encoding = "UTF-8")`.
"""

    def __init__(self, job: ExportJob) -> None:
        super().__init__(job)
        self.kind = job.options.what.removesuffix("s")
        self.names = {0: BACKGROUND} | {one.id: one.name for one in self.classes}
        self.totals = {number: _Total() for number in self.names}
        self.photos = 0
        file = job.opened.enter_context(whole_file(self.folder.place("areas.csv")))
        self.text = io.TextIOWrapper(file, "utf-8", newline="")
        job.opened.callback(self._release)
        self.rows = csv.writer(self.text, lineterminator="\n")
        self.rows.writerow(["photo", "kind", "id", "name", "pixels", "share", "components"])

    def add(self, photo: MaskedPhoto) -> None:
        """See `MaskFormat.add`."""
        self.photos += 1
        counts = np.bincount(photo.ids.ravel())
        components = Counter(region.id for region in photo.components)
        for number in np.flatnonzero(counts).tolist():
            pixels = int(counts[number])
            share = pixels / photo.ids.size
            parts = components[number] if number else ""
            name = self.names[number]
            self.rows.writerow([photo.entry.name, self.kind, number, name, pixels, f"{share:.6f}", parts])
            total = self.totals[number]
            total.photos += 1
            total.pixels += pixels
            total.shares += share
            total.components += components[number]

    def finish(self) -> None:
        """Write the means."""
        head = ("kind", "id", "name", "photos", "pixels", "components")
        rows: list[tuple[object, ...]] = [(*head, "mean share", "mean share where present")]
        for number, total in self.totals.items():
            means = (total.shares / max(1, count) for count in (self.photos, total.photos))
            parts = total.components if number else ""
            row = (self.kind, number, self.names[number], total.photos, total.pixels, parts)
            rows.append((*row, *(f"{mean:.6f}" for mean in means)))
        self.folder.write("means.csv", csv_text(rows))

    def _release(self) -> None:
        """Write what is still in memory, and leave the file to those who opened it."""
        self.text.detach()
