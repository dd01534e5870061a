"""FiftyOne: a folder that its importer `ImageSegmentationDirectory` reads."""

from __future__ import annotations

import json
from typing import ClassVar, Literal

from leopart.export.masks.photos import MaskedPhoto
from leopart.export.masks.png import grey_png
from leopart.export.masks.writer import ExportJob, MaskFormat


class FiftyOne(MaskFormat):
    """`data/`, `labels/` and `mask_targets.json`."""

    PHOTOS: ClassVar[Literal["named", "placed", "read"]] = "placed"
    ABOUT: ClassVar[str] = """\
`data/` has the photos, `labels/` a grey PNG of class ids for each, `mask_targets.json` the names of the ids.

```python
import json
import fiftyone as fo

dataset = fo.Dataset.from_dir(
    dataset_dir=FOLDER, dataset_type=fo.types.ImageSegmentationDirectory, label_field="leopart"
)
with open(f"{FOLDER}/mask_targets.json", encoding="utf-8") as file:
    dataset.default_mask_targets = {int(key): name for key, name in json.load(file).items()}
dataset.save()
fo.launch_app(dataset)
```
"""

    def __init__(self, job: ExportJob) -> None:
        super().__init__(job)
        self.largest = max((one.id for one in self.classes), default=0)

    def add(self, photo: MaskedPhoto) -> None:
        """See `MaskFormat.add`."""
        self.place_photo(f"data/{photo.photo_file}", photo)
        self.folder.write(f"labels/{photo.stem}.png", grey_png(photo.ids, self.largest))

    def finish(self) -> None:
        """Write the names of the ids."""
        targets = {str(one.id): one.name for one in self.classes}
        self.folder.write("mask_targets.json", json.dumps(targets, indent=2, ensure_ascii=False) + "\n")
