"""Photos to train on, in the layouts that data sets come in."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from leopart.data.datasets.unlabelled import EXPECTED, LAYOUTS, training_photos
from leopart.errors import LeopartError


def put(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".jpg":
            Image.new("RGB", (4, 4)).save(path)
        else:
            path.touch()
    return root


def found(data: str) -> list[str]:
    return [photo.name for photo in training_photos(data)]


def voc(root: Path, images: str, lists: str, split: str) -> Path:
    put(root, *(f"{images}/2007_00000{i}.jpg" for i in range(5)))
    (root / lists).mkdir(parents=True)
    (root / lists / f"{split}.txt").write_text("2007_000003\n2007_000001 1\n\n2007_000004\n")
    return root


LISTED = ["2007_000003.jpg", "2007_000001.jpg", "2007_000004.jpg"]


# --- folder ---------------------------------------------------------------------------------------------


def test_a_folder_means_all_its_photos_at_any_depth(tmp_path):
    put(tmp_path, "b.jpg", "more/a.jpg", "notes.txt", ".hidden/c.jpg")
    assert found(f"folder:{tmp_path}") == found(str(tmp_path)) == ["b.jpg", "more/a.jpg"]


def test_a_labelled_folder_means_its_images(tmp_path):
    put(tmp_path, "images/a.jpg", "masks/a.jpg", "other.jpg")
    assert found(f"folder:{tmp_path}") == ["a.jpg"]


def test_a_single_photo_is_a_folder_of_one(tmp_path):
    put(tmp_path, "a.jpg", "b.jpg")
    assert found(f"folder:{tmp_path / 'a.jpg'}") == ["a.jpg"]


def test_the_path_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(put(tmp_path, "set/a.jpg")))
    assert found("folder:~/set") == ["a.jpg"]


# --- PASCAL VOC -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["", "VOCSegmentation", "VOC2012", "VOCdevkit/VOC2012"])
@pytest.mark.parametrize(("images", "lists"), [("images", "sets"), ("JPEGImages", "ImageSets/Segmentation")])
def test_voc_is_read_in_both_layouts_in_the_order_of_its_list(tmp_path, place, images, lists):
    voc(tmp_path / place, images, lists, "trainaug")
    assert found(f"voc:{tmp_path}") == LISTED


def test_voc_takes_the_larger_list_where_both_are_there(tmp_path):
    voc(tmp_path, "JPEGImages", "ImageSets/Segmentation", "trainaug")
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("2007_000000\n")
    assert found(f"voc:{tmp_path}") == LISTED
    (tmp_path / "ImageSets/Segmentation/trainaug.txt").unlink()
    assert found(f"voc:{tmp_path}") == ["2007_000000.jpg"]


def test_a_voc_that_lacks_photos_is_told(tmp_path):
    voc(tmp_path, "images", "sets", "train")
    (tmp_path / "images/2007_000001.jpg").unlink()
    with pytest.raises(
        LeopartError,
        match=r"^1 of the 3 photos that .*train\.txt lists are not there, the first .*2007_000001\.jpg",
    ):
        training_photos(f"voc:{tmp_path}")


def test_another_folder_than_voc_is_told_what_it_needs(tmp_path):
    put(tmp_path, "a.jpg")
    with pytest.raises(
        LeopartError, match=r"is no PASCAL VOC 2012: it needs images/ and sets/, or JPEGImages/ and"
    ):
        training_photos(f"voc:{tmp_path}")


# --- COCO and ImageNet ----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["images/train2017", "coco/images/train2017", "train2017"])
def test_coco_is_found_where_it_usually_lies(tmp_path, place):
    put(tmp_path / place, "000000000009.jpg", "000000000025.jpg")
    expected = ["000000000009.jpg", "000000000025.jpg"]
    assert found(f"coco:{tmp_path}") == found(f"coco:{tmp_path / place}") == expected


def test_another_folder_than_coco_is_told_what_it_needs(tmp_path):
    put(tmp_path, "val2017/a.jpg")
    with pytest.raises(
        LeopartError, match=r"has none of the folders images/train2017/, .*give the folder of COCO"
    ):
        training_photos(f"coco:{tmp_path}")


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    return put(tmp_path, *(f"train/{name}/{name}_{i}.jpg" for name in ("n01", "n02", "n03") for i in (1, 2)))


def test_imagenet_means_all_of_train(imagenet):
    assert found(f"imagenet:{imagenet}") == [f"n0{n}/n0{n}_{i}.jpg" for n in (1, 2, 3) for i in (1, 2)]


def test_imagenet100_means_the_classes_that_its_list_names(imagenet):
    (imagenet / "imagenet100.txt").write_text("n03 third\nn01\n\n")
    assert found(f"imagenet100:{imagenet}") == [
        "n01/n01_1.jpg",
        "n01/n01_2.jpg",
        "n03/n03_1.jpg",
        "n03/n03_2.jpg",
    ]
    (imagenet / "imagenet100.txt").write_text("n02\n")
    assert found(f"imagenet100:{imagenet}") == ["n02/n02_1.jpg", "n02/n02_2.jpg"]


def test_another_folder_than_imagenet_is_told_what_it_needs(tmp_path, imagenet):
    with pytest.raises(LeopartError, match=r"has no imagenet100\.txt; write the 100 class folders into it"):
        training_photos(f"imagenet100:{imagenet}")
    (imagenet / "imagenet100.txt").write_text("n01\nn77\nn78\n")
    with pytest.raises(LeopartError, match=r"2 of the 3 classes of .* have no folder, the first .*n77"):
        training_photos(f"imagenet100:{imagenet}")


def test_a_folder_without_train_is_no_imagenet(tmp_path):
    with pytest.raises(LeopartError, match=r"has no folder train/; give the folder of ImageNet"):
        training_photos(f"imagenet:{put(tmp_path, 'a.jpg')}")


def test_an_imagenet_above_or_below_is_told(tmp_path):
    root = put(tmp_path / "above" / "ilsvrc", "train/n01/a.jpg")
    (root / "imagenet100.txt").write_text("n01\n")
    for kind in ("imagenet", "imagenet100"):
        with pytest.raises(LeopartError, match=rf"it is one level too deep: give {root}$"):
            training_photos(f"{kind}:{root / 'train'}")
        with pytest.raises(LeopartError, match=rf"it is one level too high: give {root}$"):
            training_photos(f"{kind}:{tmp_path / 'above'}")


def test_a_coco_or_voc_above_or_below_is_told(tmp_path):
    coco = put(tmp_path / "a" / "coco2017", "images/train2017/1.jpg", "annotations/x.json")
    with pytest.raises(LeopartError, match=rf"it is one level too deep: give {coco}$"):
        training_photos(f"coco:{coco / 'annotations'}")
    with pytest.raises(LeopartError, match=rf"it is one level too high: give {coco}$"):
        training_photos(f"coco:{tmp_path / 'a'}")
    pascal = voc(tmp_path / "b" / "pascal", "images", "sets", "train")
    with pytest.raises(LeopartError, match=rf"it is one level too deep: give {pascal}$"):
        training_photos(f"voc:{pascal / 'images'}")


def test_a_voc_without_training_lists_is_told(tmp_path):
    with pytest.raises(LeopartError, match=r"sets has neither trainaug\.txt nor train\.txt; add one"):
        training_photos(f"voc:{voc(tmp_path, 'images', 'sets', 'val')}")


# --- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(LAYOUTS))
def test_a_path_that_is_not_there_is_told(tmp_path, kind):
    with pytest.raises(LeopartError, match=r"there is no (file or )?folder .*missing"):
        training_photos(f"{kind}:{tmp_path / 'missing'}")


@pytest.mark.parametrize("data", ["ade20k:/data", "coco", "nowhere"])
def test_another_layout_is_told_what_there_is(data):
    with pytest.raises(LeopartError) as caught:
        training_photos(data)
    known = "folder:PATH, voc:PATH, coco:PATH, imagenet100:PATH, imagenet:PATH"
    assert str(caught.value) == f"--data {data} is none of {known}; write one of them"


def test_the_sizes_of_the_paper_s_sets_are_known():
    assert EXPECTED == {"imagenet100": 126689, "coco": 118287, "voc": 10582, "imagenet": 1281167}
