"""Masks of one photo for other libraries."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from leopart.errors import LeopartError
from leopart.segment.segmentation import Segmentation

RNG = np.random.default_rng(0)
PARTS = RNG.integers(0, 4, (9, 13)).astype(np.int32)
OBJECTS = np.where(PARTS > 1, 2, 0).astype(np.int32)
LABELS = np.where(PARTS == 3, 300, 0).astype(np.int32)
NAMES = {0: "background", 300: "シャツ"}


def test_annotations_of_coco_decode_to_the_masks():
    tools = pytest.importorskip("pycocotools.mask")
    found = Segmentation(PARTS, OBJECTS).to_coco("parts", image_id=7)

    assert [one["category_id"] for one in found] == [1, 2, 3]
    for one in found:
        mask = one["category_id"] == PARTS
        np.testing.assert_array_equal(tools.decode(one["segmentation"]), mask)
        rows, columns = np.nonzero(mask)
        size = [np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert one["bbox"] == [columns.min(), rows.min(), *size]
        assert (one["area"], one["image_id"], one["iscrowd"]) == (mask.sum(), 7, 0)
        assert one["category"] == f"part {one['category_id']}"


def test_labels_come_first_with_their_names_and_objects_without_labels():
    pytest.importorskip("pycocotools.mask")
    (label,) = Segmentation(PARTS, OBJECTS, LABELS, NAMES).to_coco()
    assert (label["category_id"], label["category"]) == (300, "シャツ")
    (thing,) = Segmentation(PARTS, OBJECTS).to_coco()
    assert (thing["category_id"], thing["category"]) == (2, "object 2")


def test_detections_have_masks_boxes_and_names(monkeypatch: pytest.MonkeyPatch):
    """With what `supervision.Detections` is asked to hold, not with the library itself."""
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    found = Segmentation(PARTS, OBJECTS, LABELS, NAMES).to_supervision("parts")

    assert found.mask.shape == (3, 9, 13)
    assert found.mask.dtype == bool
    assert found.class_id.tolist() == [1, 2, 3]
    assert found.data["class_name"].tolist() == ["part 1", "part 2", "part 3"]
    for number, (left, top, right, bottom) in zip(found.class_id, found.xyxy.astype(int), strict=True):
        inside = PARTS[top:bottom, left:right] == number
        assert inside.sum() == (number == PARTS).sum()
        assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()  # noqa: PT018


@pytest.mark.parametrize(
    ("method", "module"), [("to_coco", "pycocotools.mask"), ("to_supervision", "supervision")]
)
def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, method: str, module: str):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(LeopartError, match=r"which is not installed; pip install"):
        getattr(Segmentation(PARTS, OBJECTS), method)()


def test_labels_that_are_not_there_are_refused():
    with pytest.raises(LeopartError, match="has no labels; name parts"):
        Segmentation(PARTS, OBJECTS).to_coco("labels")


def test_masks_index_a_photo_as_arrays_do():
    photo = RNG.integers(0, 256, (9, 13, 3), dtype=np.uint8)
    masks = Segmentation(PARTS, OBJECTS)
    assert np.asarray(masks.objects) is masks.objects
    assert photo[masks.objects == 2].shape == ((PARTS > 1).sum(), 3)
