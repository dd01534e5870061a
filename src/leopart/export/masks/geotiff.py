"""GeoTIFF: masks where their photos lie on the map, for QGIS, ArcGIS and GDAL."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image

from leopart.data.images import opened
from leopart.errors import LeopartError, PhotoError
from leopart.export.masks.photos import MaskedPhoto
from leopart.export.masks.tables import csv_text
from leopart.export.masks.writer import ExportJob, MaskFormat
from leopart.paths import shown

_ORIENTATION = 0x0112


class GeoTiff(MaskFormat):
    """A `.tif` of ids for each photo."""

    PHOTOS: ClassVar[Literal["named", "placed", "read"]] = "read"
    ABOUT: ClassVar[str] = """\
A `.tif` for each photo, with the photo's coordinate system and transform. Values are class ids, 0 is
background; pixels where the photo has no data are 255 (65535 if there are ids above 254), which is declared
as no data. Colours are in the colour table, names in `classes.csv` (`id,name`).

- QGIS: Layer, Add Layer, Add Raster Layer; the colours appear by themselves.
- Python: `rasterio.open("photo.tif").read(1)`.
"""

    def __init__(self, job: ExportJob) -> None:
        super().__init__(job)
        _require_rasterio()
        largest = max((one.id for one in self.classes), default=0)
        self.dtype = np.uint8 if largest < 255 else np.uint16
        self.no_data = int(np.iinfo(self.dtype).max)
        if largest >= self.no_data:
            raise LeopartError(f"the id {largest} stands for no data in a GeoTIFF; use --format coco")
        self.colours = {0: (0, 0, 0, 255)} | {one.id: (*one.colour, 255) for one in self.classes}
        self.plain: list[str] = []
        """Photos without a place on the map."""

    def add(self, photo: MaskedPhoto) -> None:
        """See `MaskFormat.add`."""
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioError
        from rasterio.io import MemoryFile

        try:
            with warnings.catch_warnings(), MemoryFile() as memory:
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(photo.entry.path) as source:
                    profile, ids = self._profile(source, photo)
                with memory.open(driver="GTiff", **profile) as target:
                    target.write(ids, 1)
                    target.write_colormap(1, self.colours)
                content = bytes(memory.read())
        except RasterioError as error:
            raise PhotoError(f"{shown(photo.entry.path)} cannot be read by GDAL: {error}") from error
        self.folder.write(f"{photo.stem}.tif", content)

    def finish(self) -> None:
        """Write the names of the ids."""
        rows = [(one.id, one.name) for one in self.classes]
        self.folder.write("classes.csv", csv_text([("id", "name"), *rows]))
        if self.plain:
            which = f"{len(self.plain)} photos, such as {self.plain[0]},"
            self.job.notes.append(f"{which} have no coordinate system, and neither have their masks")

    def _profile(self, source: Any, photo: MaskedPhoto) -> tuple[dict[str, Any], Any]:
        """How the mask is stored, and its values [H, W] with no data where the photo has none."""
        if (source.height, source.width) != photo.ids.shape or _is_turned(photo):
            raise PhotoError(f"{shown(photo.entry.path)} is stored turned; save it upright for a GeoTIFF")
        height, width = photo.ids.shape
        profile = {"height": height, "width": width, "count": 1, "dtype": np.dtype(self.dtype).name}
        profile |= {"nodata": self.no_data, "compress": "deflate"}
        points, points_crs = source.gcps
        if points:
            profile |= {"gcps": points, "crs": points_crs}
        elif source.crs is not None or not source.transform.is_identity:
            profile |= {"crs": source.crs, "transform": source.transform}
        else:
            self.plain.append(photo.entry.name)
        valid = source.dataset_mask() > 0
        return profile, np.where(valid, photo.ids, self.no_data).astype(self.dtype)


def _is_turned(photo: MaskedPhoto) -> bool:
    with opened(Path(photo.entry.path)) as image:
        return Image.Image.getexif(image).get(_ORIENTATION, 1) not in (0, 1)


def _require_rasterio() -> None:
    try:
        import rasterio  # noqa: F401 - only whether it is there
    except ImportError as error:
        message = "--format geotiff needs rasterio, which is not installed: pip install 'leopart[geo]'"
        raise LeopartError(message) from error
