"""Every format, read back by a program or a reader that shares nothing with the writer: identical masks."""

from __future__ import annotations

import csv
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import rasterio
import yaml
from PIL import Image
from pycocotools.coco import COCO
from scipy import ndimage

from rle_pack import rle_pack_decode
from small_runs import COLOURS, NAMES, MadeRun, real_run, small_run

DATA = Path(os.environ.get("LEOPART_DATA", Path(__file__).parents[3].parent / "shared" / "data"))


@pytest.fixture(params=["made", pytest.param("real", marks=pytest.mark.slow)])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> MadeRun:
    return small_run(tmp_path) if request.param == "made" else real_run(tmp_path, DATA / "car_parts")


@pytest.fixture
def small(tmp_path: Path) -> MadeRun:
    return small_run(tmp_path)


def n_components(ids: np.ndarray) -> int:
    return sum(ndimage.label(ids == number, np.ones((3, 3)))[1] for number in NAMES)


def check_instances(ids: np.ndarray, instances: list[tuple[int, np.ndarray]]) -> None:
    """Instances are disjoint, give the mask together, and are the connected components."""
    found = np.zeros_like(ids)
    for number, mask in instances:
        assert not found[mask].any()
        found[mask] = number
        assert ndimage.label(mask, np.ones((3, 3)))[1] == 1
    np.testing.assert_array_equal(found, ids)
    assert len(instances) == n_components(ids)


def test_coco(run: MadeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run.export("coco", tmp_path / "coco")
    coco = COCO(tmp_path / "coco/annotations/instances_default.json")
    assert {one["id"]: one["name"] for one in coco.loadCats(coco.getCatIds())} == NAMES
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == list(run.masks)
    for image in coco.loadImgs(coco.getImgIds()):
        ids = run.masks[image["file_name"]]
        assert (image["height"], image["width"]) == ids.shape
        annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
        masks = [coco.annToMask(one).astype(bool) for one in annotations]
        check_instances(ids, [(one["category_id"], m) for one, m in zip(annotations, masks, strict=True)])
        for one, mask in zip(annotations, masks, strict=True):
            rows, columns = np.nonzero(mask)
            corner = [columns.min(), rows.min()]
            assert one["bbox"] == [*corner, *(np.array([columns.max(), rows.max()]) - corner + 1)]
            assert (one["area"], one["iscrowd"]) == (mask.sum(), 0)
        linked = tmp_path / "coco/images/default" / image["file_name"]
        assert linked.readlink() == run.photos / image["file_name"]


def test_coco_stuff_is_one_region_a_class(run: MadeRun, tmp_path: Path, capsys) -> None:
    run.export("coco", tmp_path / "coco", by_class=True)
    coco = COCO(tmp_path / "coco/annotations/instances_default.json")
    for image in coco.loadImgs(coco.getImgIds()):
        ids = run.masks[image["file_name"]]
        annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
        assert [one["category_id"] for one in annotations] == sorted(set(np.unique(ids)) - {0})
        for one in annotations:
            np.testing.assert_array_equal(coco.annToMask(one), ids == one["category_id"])


def test_coco_panoptic(run: MadeRun, tmp_path: Path) -> None:
    run.export("coco-panoptic", tmp_path / "panoptic", photos="copy")
    folder = tmp_path / "panoptic/annotations"
    content = json.loads((folder / "panoptic_default.json").read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    assert {one["id"]: (one["name"], one["isthing"]) for one in content["categories"]} == {
        number: (name, 1) for number, name in NAMES.items()
    }
    for one in content["annotations"]:
        name = names[one["image_id"]]
        pixels = np.asarray(Image.open(folder / "panoptic_default" / one["file_name"])).astype(int)
        segments = pixels @ [1, 256, 256**2]
        infos = one["segments_info"]
        assert set(np.unique(segments)) - {0} == {info["id"] for info in infos}
        check_instances(run.masks[name], [(info["category_id"], segments == info["id"]) for info in infos])
        assert all(info["area"] == (segments == info["id"]).sum() for info in infos)
        copied = tmp_path / "panoptic/images/default" / name
        assert not copied.is_symlink()
        assert copied.read_bytes() == (run.photos / name).read_bytes()
    assert len(content["annotations"]) == len(run.masks)


def label_map(text: str) -> dict[tuple[int, ...], str]:
    """Name by colour, as CVAT's documentation describes `labelmap.txt`."""
    lines = [line.split(":") for line in text.splitlines() if not line.startswith("#")]
    assert all(len(line) == 4 for line in lines)
    colours = {tuple(map(int, line[1].split(","))): line[0] for line in lines}
    assert len(colours) == len(lines)
    return colours


VOC_NAMES = {0: "background", 1: "shirt", 2: "sky_ clear", 5: "Tür"}


def check_voc(run: MadeRun, stems: str, colours: dict[tuple[int, ...], str], read: Callable) -> None:
    assert stems.splitlines() == [name.rpartition(".")[0] for name in run.masks]
    assert list(colours.values()) == list(VOC_NAMES.values())
    assert tuple(COLOURS[1]) in colours
    for stem, ids in zip(stems.splitlines(), run.masks.values(), strict=True):
        with read(f"SegmentationClass/{stem}.png") as file:
            classes = np.asarray(Image.open(file).convert("RGB"))
        with read(f"SegmentationObject/{stem}.png") as file:
            instances = np.asarray(Image.open(file))
        named = np.full(ids.shape, "", object)
        for colour, name in colours.items():
            named[(classes == colour).all(2)] = name
        np.testing.assert_array_equal(named, np.vectorize(VOC_NAMES.get, otypes=[object])(ids))
        numbers = sorted(set(np.unique(instances)) - {0})
        masks = [instances == number for number in numbers]
        assert all(len(np.unique(ids[mask])) == 1 for mask in masks)
        check_instances(ids, [(ids[mask][0], mask) for mask in masks])


def test_voc(run: MadeRun, tmp_path: Path) -> None:
    exported = run.export("voc", tmp_path / "voc")
    root = tmp_path / "voc/VOCdevkit/VOC2012"
    stems = (root / "ImageSets/Segmentation/trainval.txt").read_text("utf-8")
    check_voc(
        run, stems, label_map((root / "labelmap.txt").read_text("utf-8")), lambda n: (root / n).open("rb")
    )
    assert "'sky: clear' is called 'sky_ clear'" in exported.notes[0]


def test_photos_have_the_names_of_their_masks_and_lower_case_suffixes(small: MadeRun, tmp_path: Path) -> None:
    small.export("voc", tmp_path / "voc")
    linked = tmp_path / "voc/VOCdevkit/VOC2012/JPEGImages/trip/noise.jpg"
    assert linked.readlink() == small.photos / "trip/noise.JPG"


def test_cvat(run: MadeRun, tmp_path: Path) -> None:
    run.export("cvat", tmp_path / "cvat")
    with zipfile.ZipFile(tmp_path / "cvat/cvat.zip") as archive:
        assert archive.testzip() is None
        stems = archive.read("ImageSets/Segmentation/default.txt").decode()
        check_voc(run, stems, label_map(archive.read("labelmap.txt").decode()), archive.open)
    labels = json.loads((tmp_path / "cvat/cvat-labels.json").read_text("utf-8"))
    assert [label["name"] for label in labels] == list(VOC_NAMES.values())[1:]


@pytest.mark.parametrize("form", ["voc", "cvat"])
def test_datumaro_reads_voc_and_cvat(run: MadeRun, tmp_path: Path, form: str) -> None:
    datumaro = pytest.importorskip("datumaro")
    run.export(form, tmp_path / form)
    root = tmp_path / "voc/VOCdevkit/VOC2012"
    if form == "cvat":
        root = tmp_path / "unpacked"
        zipfile.ZipFile(tmp_path / "cvat/cvat.zip").extractall(root)
    data = datumaro.Dataset.import_from(str(root), "voc_segmentation")
    labels = [one.name for one in data.categories()[datumaro.AnnotationType.label].items]
    read = {item.id: item for item in data}
    assert set(read) == {name.rpartition(".")[0] for name in run.masks}
    numbers = {name: number for number, name in VOC_NAMES.items()}
    for name, ids in run.masks.items():
        masks = read[name.rpartition(".")[0]].annotations
        check_instances(ids, [(numbers[labels[mask.label]], mask.image.astype(bool)) for mask in masks])


@pytest.mark.parametrize("form", ["coco", "coco-panoptic"])
def test_datumaro_reads_coco(run: MadeRun, tmp_path: Path, form: str) -> None:
    datumaro = pytest.importorskip("datumaro")
    run.export(form, tmp_path / "coco", photos="copy")  # it follows no links
    kind = {"coco": "coco_instances", "coco-panoptic": "coco_panoptic"}[form]
    data = datumaro.Dataset.import_from(str(tmp_path / "coco"), kind)
    labels = [one.name for one in data.categories()[datumaro.AnnotationType.label].items]
    numbers = {name: number for number, name in NAMES.items()}
    read = {item.id: item for item in data}
    for name, ids in run.masks.items():
        annotations = read[name.rpartition(".")[0]].annotations
        masks = [one for one in annotations if one.type == datumaro.AnnotationType.mask]
        check_instances(ids, [(numbers[labels[mask.label]], mask.image.astype(bool)) for mask in masks])


def brushes(task: dict, decode: Callable) -> Iterator[tuple[str, np.ndarray]]:
    for result in task["predictions"][0]["result"]:
        height, width = result["original_height"], result["original_width"]
        values = np.asarray(decode(result["value"]["rle"])).reshape(height, width, 4)
        assert set(np.unique(values[..., 3])) <= {0, 255}
        yield result["value"]["brushlabels"][0], values[..., 3] > 0


def label_studio_decode(data: list[int]) -> np.ndarray:
    return pytest.importorskip("label_studio_sdk.converter.brush").decode_rle(data)


@pytest.mark.parametrize("decode", [rle_pack_decode, label_studio_decode])
def test_label_studio(run: MadeRun, tmp_path: Path, decode: Callable) -> None:
    run.export("label-studio", tmp_path / "studio")
    tasks = json.loads((tmp_path / "studio/tasks.json").read_text())
    numbers = {name: number for number, name in NAMES.items()}
    for task, ids in zip(tasks, run.masks.values(), strict=True):
        check_instances(ids, [(numbers[name], mask) for name, mask in brushes(task, decode)])
    config = ElementTree.parse(tmp_path / "studio/label-config.xml").getroot()
    assert [label.get("value") for label in config.iter("Label")] == list(NAMES.values())
    names = {config.find("BrushLabels").get("name"), config.find("Image").get("name")}
    assert names == {tasks[0]["predictions"][0]["result"][0][key] for key in ("from_name", "to_name")}


def test_label_studio_finds_photos_below_the_folder_that_it_serves(small: MadeRun, tmp_path: Path) -> None:
    small.export("label-studio", tmp_path / "studio", prefix="sets/one")
    tasks = json.loads((tmp_path / "studio/tasks.json").read_text())
    place = "/data/local-files/?d=sets/one/trip/summer%201/gro%C3%9Fe%20Kuh.png"
    assert tasks[1]["data"] == {"image": place}


@pytest.mark.parametrize("whole", [np.trunc, np.round])
def test_yolo(run: MadeRun, tmp_path: Path, whole: Callable) -> None:
    run.export("yolo", tmp_path / "yolo", photos="none")
    content = yaml.safe_load((tmp_path / "yolo/data.yaml").read_text("utf-8"))
    assert content["names"] == dict(enumerate(NAMES.values()))
    numbers = list(NAMES)
    for name, ids in run.masks.items():
        stem = name.rpartition(".")[0].replace("images/", "images_/")
        found = np.zeros_like(ids)
        lines = (tmp_path / f"yolo/labels/{stem}.txt").read_text().splitlines()
        assert len(lines) == n_components(ids)
        for line in lines:
            index, *values = line.split()
            points = np.array(values, np.float32).reshape(-1, 2)
            assert len(points) >= 3
            assert (points >= 0).all()
            assert (points <= 1).all()
            corners = whole(points * np.float32(ids.shape[::-1])).astype(np.int32)
            one = cv2.fillPoly(np.zeros_like(ids), [corners], 1).astype(bool)
            assert not found[one].any()
            found[one] = numbers[int(index)]
        np.testing.assert_array_equal(found, ids)


def test_yolo_semantic(run: MadeRun, tmp_path: Path) -> None:
    run.export("yolo", tmp_path / "yolo", semantic=True)
    content = yaml.safe_load((tmp_path / "yolo/data.yaml").read_text("utf-8"))
    assert content["names"] == dict(enumerate(["background", *NAMES.values()]))
    numbers = np.array([0, *NAMES])
    for name, ids in run.masks.items():
        stem = name.rpartition(".")[0].replace("images/", "images_/")
        mask = cv2.imread(str(tmp_path / "yolo" / content["masks_dir"] / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(numbers[mask], ids)
        assert len(list((tmp_path / "yolo/images").glob(f"{stem}.*"))) == 1


def test_fiftyone(run: MadeRun, tmp_path: Path) -> None:
    """Its importer reads masks with OpenCV as they are, and pairs them with photos by their path."""
    run.export("fiftyone", tmp_path / "fiftyone")
    for name, ids in run.masks.items():
        stem = name.rpartition(".")[0]
        mask = cv2.imread(str(tmp_path / f"fiftyone/labels/{stem}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, ids)
        assert len(list((tmp_path / "fiftyone/data").glob(f"{stem}.*"))) == 1
    targets = json.loads((tmp_path / "fiftyone/mask_targets.json").read_text("utf-8"))
    assert {int(key): name for key, name in targets.items()} == NAMES


def satellite(path: Path, nodata: int | None) -> None:
    profile = {"driver": "GTiff", "height": 20, "width": 30, "count": 3, "dtype": "uint8", "nodata": nodata}
    profile |= {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_400_000)}
    pixels = np.random.default_rng(1).integers(1, 256, (3, 20, 30), np.uint8)
    pixels[:, :4, :5] = 0
    with rasterio.open(path, "w", **profile) as target:
        target.write(pixels)


@pytest.mark.parametrize("nodata", [None, 0])
def test_geotiff(tmp_path: Path, nodata: int | None) -> None:
    run = MadeRun(tmp_path)
    ids = np.random.default_rng(2).choice(np.array([0, 1, 2, 5], np.uint8), (20, 30))
    run.add("tiles/a.tif", ids, lambda path: satellite(path, nodata))
    exported = run.export("geotiff", tmp_path / "geo")
    assert exported.notes == []
    with (
        rasterio.open(tmp_path / "geo/tiles/a.tif") as mask,
        rasterio.open(run.photos / "tiles/a.tif") as photo,
    ):
        assert mask.crs == photo.crs
        assert mask.transform == photo.transform
        assert mask.nodata == 255
        assert mask.dtypes == ("uint8",)
        valid = photo.dataset_mask() > 0
        assert valid.all() == (nodata is None)
        np.testing.assert_array_equal(mask.read(1), np.where(valid, ids, 255))
        assert {number: mask.colormap(1)[number][:3] for number in COLOURS} == COLOURS


def test_geotiff_of_a_plain_photo_has_no_place_and_says_so(small: MadeRun, tmp_path: Path) -> None:
    exported = small.export("geotiff", tmp_path / "geo")
    assert exported.notes == [
        "4 photos, such as cat.jpg, have no coordinate system, and neither have their masks"
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(tmp_path / "geo/cat.tif") as mask:
            assert mask.crs is None
            np.testing.assert_array_equal(mask.read(1), small.masks["cat.jpg"])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_areas(run: MadeRun, tmp_path: Path) -> None:
    run.export("csv", tmp_path / "csv")
    names = {0: "background"} | NAMES
    expected = []
    for name, ids in run.masks.items():
        for number in np.unique(ids):
            pixels = (ids == number).sum()
            count = ndimage.label(ids == number, np.ones((3, 3)))[1] if number else ""
            row = [name, "label", number, names[number], pixels, f"{pixels / ids.size:.6f}", count]
            expected.append(list(map(str, row)))
    assert [list(row.values()) for row in rows(tmp_path / "csv/areas.csv")] == expected
    for row in rows(tmp_path / "csv/means.csv"):
        shares = [(ids == int(row["id"])).mean() for ids in run.masks.values()]
        present = [share for share in shares if share]
        assert float(row["mean share"]) == pytest.approx(np.mean(shares), abs=5e-7)
        assert float(row["mean share where present"]) == pytest.approx(np.mean(present), abs=5e-7)
        assert int(row["photos"]) == len(present)


def test_areas_come_with_any_format(small: MadeRun, tmp_path: Path) -> None:
    small.export("csv", tmp_path / "csv")
    small.export("cvat", tmp_path / "cvat", areas=True)
    for name in ("areas.csv", "means.csv"):
        assert (tmp_path / "cvat" / name).read_bytes() == (tmp_path / "csv" / name).read_bytes()
