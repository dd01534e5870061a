"""Label Studio: tasks with masks as predictions, and the labelling configuration to paste."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from leopart.export.masks.brush import brush_rle
from leopart.export.masks.photos import MaskedPhoto
from leopart.export.masks.writer import ExportJob, MaskFormat, Records
from leopart.files import whole_file

_FROM, _TO = "tag", "image"


class LabelStudio(MaskFormat):
    """`tasks.json` and `label-config.xml`."""

    ABOUT: ClassVar[str] = """\
`tasks.json` has a task for each photo, with the masks as predictions; `label-config.xml` has the labels.

1. Start Label Studio with `LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true` and
   `LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT` set to the folder of the photos. If that is a folder further up,
   export with `--prefix` and the path from there to the photos.
2. Create a project. Settings, Cloud Storage, Add Source Storage, Local files: the folder of the photos (it
   only has to be there; do not sync it).
3. Settings, Labeling Interface, Code: paste `label-config.xml`.
4. Import: upload `tasks.json`.
"""

    def __init__(self, job: ExportJob) -> None:
        super().__init__(job)
        self.names = {one.id: one.name for one in self.classes}
        self.tasks = Records(job.opened)

    def add(self, photo: MaskedPhoto) -> None:
        """See `MaskFormat.add`."""
        prefix = self.job.options.prefix.strip("/")
        place = quote(f"{prefix}/{photo.entry.name}" if prefix else photo.entry.name)
        self.tasks.add(
            {
                "data": {_TO: f"/data/local-files/?d={place}"},
                "predictions": [{"model_version": "leopart", "result": self._results(photo)}],
            }
        )

    def finish(self) -> None:
        """Write both files."""
        with whole_file(self.folder.place("tasks.json")) as file:
            self.tasks.copy_to(file)
        labels = [
            f'    <Label value={quoteattr(one.name)} background="#{bytes(one.colour).hex()}"/>\n'
            for one in self.classes
        ]
        config = (
            "<View>\n"
            f'  <Image name="{_TO}" value="${_TO}" zoom="true"/>\n'
            f'  <BrushLabels name="{_FROM}" toName="{_TO}">\n{"".join(labels)}  </BrushLabels>\n'
            "</View>\n"
        )
        self.folder.write("label-config.xml", config)

    def _results(self, photo: MaskedPhoto) -> list[dict[str, Any]]:
        entry = photo.entry
        return [
            {
                "id": f"region-{number}",
                "type": "brushlabels",
                "from_name": _FROM,
                "to_name": _TO,
                "original_width": entry.width,
                "original_height": entry.height,
                "image_rotation": 0,
                "value": {
                    "format": "rle",
                    "rle": brush_rle(region, entry.height, entry.width),
                    "brushlabels": [self.names[region.id]],
                },
            }
            for number, region in enumerate(photo.regions, start=1)
        ]
