from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart.data.datasets.labelled import labelled_photos
from leopart.data.datasets.voc import CLASSES, SPLITS, find_voc
from leopart.data.labelled import LabelledPhotos
from leopart.errors import LeopartError
from small_sets import VOC_LISTS, VOC_PARTS, index, voc

DATA = Path(os.environ.get("LEOPART_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


def stems(labelled: LabelledPhotos) -> list[str]:
    return [Path(photo.name).stem for photo, _ in labelled.pairs]


def sources(labelled: LabelledPhotos) -> Counter[str]:
    return Counter(mask.parent.name for _, mask in labelled.pairs)


@pytest.mark.parametrize("place", ["", "VOCSegmentation", "VOC2012", "VOCdevkit/VOC2012"])
@pytest.mark.parametrize("layout", VOC_PARTS)
@pytest.mark.parametrize("split", VOC_LISTS)
def test_every_line_of_a_list_is_a_photo_with_a_mask(tmp_path: Path, place: str, layout: str, split: str):
    voc(tmp_path / place, layout)
    labelled = labelled_photos(f"voc:{tmp_path}", split=split)
    assert stems(labelled) == VOC_LISTS[split]
    assert all(photo.path.is_file() and mask.is_file() for photo, mask in labelled.pairs)
    assert labelled.path == tmp_path / place


def test_without_a_split_it_is_val(tmp_path: Path):
    assert stems(labelled_photos(f"voc:{voc(tmp_path)}")) == VOC_LISTS["val"]


def test_the_classes_are_voc_s():
    named = (
        "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse "
        "motorbike person pottedplant sheep sofa train tvmonitor"
    )
    assert list(CLASSES.items()) == list(enumerate(named.split()))
    assert SPLITS == {"val": 1449, "train": 1464, "trainaug": 10582, "trainval": 1464 + 1449}


def test_train_has_the_augmented_masks_where_they_are_and_says_so(tmp_path: Path):
    labelled = labelled_photos(f"voc:{voc(tmp_path)}", split="train")
    assert labelled.notes == ("masks from SegmentationClassAug",)
    assert {int(labelled.read_mask(*pair).max()) for pair in labelled.pairs} == {2}
    (tmp_path / "SegmentationClassAug/2007_02.png").unlink()
    mixed = labelled_photos(f"voc:{tmp_path}", split="train")
    assert sources(mixed) == {"SegmentationClassAug": 1, "SegmentationClass": 1}
    assert mixed.notes == ("masks from SegmentationClassAug (1) and SegmentationClass (1)",)
    shutil.rmtree(tmp_path / "SegmentationClassAug")
    official = labelled_photos(f"voc:{tmp_path}", split="train")
    assert official.notes == ("masks from SegmentationClass",)
    assert {int(official.read_mask(*pair).max()) for pair in official.pairs} == {1}


def test_val_and_trainval_have_the_official_masks_alone(tmp_path: Path):
    voc(tmp_path, lists=VOC_LISTS | {"trainval": VOC_LISTS["train"] + VOC_LISTS["val"]})
    index(tmp_path / "SegmentationClassAug/2007_03.png", 2)
    for split, count in (("val", 1), ("trainval", 3)):
        assert sources(labelled_photos(f"voc:{tmp_path}", split=split)) == {"SegmentationClass": count}


def test_trainaug_without_its_masks_says_what_they_are_and_where_from(tmp_path: Path):
    shutil.rmtree(voc(tmp_path) / "SegmentationClassAug")
    with pytest.raises(
        LeopartError, match=r"has no SegmentationClassAug/, the masks that the Semantic Bound.*SBD"
    ):
        labelled_photos(f"voc:{tmp_path}", split="trainaug")


def test_a_list_of_photo_and_mask_paths_is_read_by_the_photos(tmp_path: Path):
    voc(tmp_path)
    (tmp_path / "sets/val.txt").write_text("/JPEGImages/2007_03.jpg /SegmentationClass/2007_03.png\n")
    assert stems(labelled_photos(f"voc:{tmp_path}")) == ["2007_03"]


@pytest.mark.parametrize("layout", VOC_PARTS)
def test_a_folder_above_or_below_is_told(tmp_path: Path, layout: str):
    root = voc(tmp_path / "pascal" / "VOC2012", layout)
    assert find_voc(root.parent).root == root
    with pytest.raises(LeopartError, match=f"it is one level too high: give {re.escape(str(root.parent))}$"):
        find_voc(tmp_path)
    images, lists = VOC_PARTS[layout]
    with pytest.raises(LeopartError, match=f"it is one level too deep: give {re.escape(str(root))}$"):
        find_voc(root / images)
    deep = "one level" if "/" not in lists else "two levels"
    with pytest.raises(LeopartError, match=f"it is {deep} too deep: give {re.escape(str(root))}$"):
        find_voc(root / lists)


def words(text: str):
    return lambda path: (path / "sets/val.txt").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (words(""), r"val\.txt is empty; write the name of one photo on each line"),
        (words("2007_03\n2007_03\n"), r"lists '2007_03' twice"),
        (
            words("2007_03\n2009_99\n2009_98\n"),
            r"2 of the 3 photos of .* the first missing is .*2009_99\.jpg",
        ),
        (
            lambda path: (path / "SegmentationClass/2007_03.png").unlink(),
            r"1 of 1 photos have no mask.*2007_03\.png",
        ),
        (
            lambda path: (path / "sets/val.txt").unlink(),
            r"val\.txt is not there.*choose --split train or trainaug",
        ),
    ],
)
def test_an_incomplete_set_is_refused_with_the_reason(tmp_path: Path, spoil, message: str):
    spoil(voc(tmp_path))
    with pytest.raises(LeopartError, match=message):
        labelled_photos(f"voc:{tmp_path}")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("L", (4, 6)), r"2007_03\.png has 4x6 pixels, but its photo .*2007_03\.jpg has 6x4"),
        (Image.new("L", (6, 4), 21), r"2007_03\.png holds the ids 21, which are no classes"),
        (
            Image.new("RGB", (6, 4), "red"),
            r"is a picture in colours \(RGB\).*replace each colour by its class id",
        ),
    ],
)
def test_a_mask_that_does_not_fit_is_refused_with_the_reason(
    tmp_path: Path, image: Image.Image, message: str
):
    image.save(voc(tmp_path) / "SegmentationClass/2007_03.png")
    labelled = labelled_photos(f"voc:{tmp_path}")
    with pytest.raises(LeopartError, match=message):
        labelled.read_mask(*labelled.pairs[0])


@pytest.mark.skipif(not DATA.is_dir(), reason="no development photos here; set LEOPART_DATA to their folder")
def test_real_voc_photos_and_palette_masks_are_read(tmp_path: Path):
    for name in ("JPEGImages", "SegmentationClass"):
        shutil.copytree(DATA / "voc_sample" / name, tmp_path / "VOCdevkit/VOC2012" / name)
    names = sorted(path.stem for path in (DATA / "voc_sample/JPEGImages").iterdir())
    lists = tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("\n".join(names))
    labelled = labelled_photos(f"voc:{tmp_path}")
    assert len(labelled.pairs) == 3
    for photo, mask in labelled.pairs:
        with Image.open(mask) as image:
            assert image.mode == "P"
            assert np.array_equal(labelled.rows(labelled.read_mask(photo, mask)), np.array(image))
