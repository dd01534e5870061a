from __future__ import annotations

import json
import os
import random
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart.data.datasets import panoptic
from leopart.data.datasets.coco import SPLITS, tenth
from leopart.data.datasets.coco_classes import NO_STUFF, PANOPTIC_STUFF, STUFF, THINGS, coarse, names
from leopart.data.datasets.labelled import labelled_photos
from leopart.data.datasets.panoptic import PanopticIds
from leopart.data.masks import read_index_mask
from leopart.data.remapping import Remapped
from leopart.errors import LeopartError
from small_sets import COCO_PLACES, coco, colours, index, segment_colours, write_panoptic

DATA = Path(os.environ.get("LEOPART_DATA", Path(__file__).parents[2].parent / "shared" / "data"))

STUFF_IDS = """
building 95 96 128 151 158 166 | ceiling 102 103 | floor 101 114 115 116 117 118 |
food-stuff 121 122 153 170 |
furniture-stuff 98 107 108 110 112 123 130 133 156 161 165 |
ground 111 125 126 136 140 144 145 147 149 154 159 | plant 94 97 119 124 129 134 142 163 169 |
raw-material 100 132 139 143 | sky 106 157 | solid 127 135 150 160 162 182 | structural 99 113 138 146 164 |
textile 92 93 104 105 109 131 137 141 152 167 168 | wall 171 172 173 174 175 176 177 |
water 120 148 155 178 179 |
window 180 181
"""
THING_IDS = """
accessory 27 28 31 32 33 | animal 16 17 18 19 20 21 22 23 24 25 | appliance 78 79 80 81 82 |
electronic 72 73 74 75 76 77 | food 52 53 54 55 56 57 58 59 60 61 | furniture 62 63 64 65 67 70 |
indoor 84 85 86 87 88 89 90 | kitchen 44 46 47 48 49 50 51 | outdoor 10 11 13 14 15 | person 1 |
sports 34 35 36 37 38 39 40 41 42 43 | vehicle 2 3 4 5 6 7 8 9
"""


def published(text: str) -> list[tuple[int, int, str]]:
    """Fine id, coarse id and coarse name of every id in a table."""
    rows = [row.split() for row in text.split("|")]
    return [(int(fine), number, name) for number, (name, *ids) in enumerate(rows) for fine in ids]


# --- the tables -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fine", "number", "name"), published(STUFF_IDS))
def test_an_id_of_stuff_becomes_its_coarse_class(fine: int, number: int, name: str):
    assert coarse(STUFF, frozenset(NO_STUFF))[fine] == number
    assert names(STUFF)[number] == name


@pytest.mark.parametrize(("fine", "number", "name"), published(THING_IDS))
def test_an_id_of_a_thing_becomes_its_supercategory(fine: int, number: int, name: str):
    assert coarse(THINGS, PANOPTIC_STUFF | {0})[fine] == number
    assert names(THINGS)[number] == name


def test_the_tables_hold_nothing_else():
    stuff, things = coarse(STUFF, frozenset(NO_STUFF)), coarse(THINGS, PANOPTIC_STUFF | {0})
    assert set(stuff) == {fine for fine, _, _ in published(STUFF_IDS)} | {0, 183} == {0, *range(92, 184)}
    assert {key for key, value in stuff.items() if value == 255} == {0, 183}
    assert set(things) == {fine for fine, _, _ in published(THING_IDS)} | PANOPTIC_STUFF | {0}
    assert {key for key, value in things.items() if value == 255} == PANOPTIC_STUFF | {0}
    assert (len(STUFF), sum(map(len, STUFF.values()))) == (15, 91)
    assert (len(THINGS), sum(map(len, THINGS.values())), len(PANOPTIC_STUFF)) == (12, 80, 53)
    assert list(STUFF) == sorted(STUFF)
    assert list(THINGS) == sorted(THINGS)


@pytest.mark.skipif(not DATA.is_dir(), reason="no development photos here; set LEOPART_DATA to their folder")
def test_the_categories_and_coarse_masks_of_real_photos_agree():
    lines = (DATA / "coco100/classes.txt").read_text().splitlines()
    categories = {int(key): name for key, name in (line.split("\t") for line in lines)}
    things = {fine: name for group in THINGS.values() for fine, name in group.items()}
    assert {key: name for key, name in categories.items() if key not in PANOPTIC_STUFF} == things
    read = Remapped(read_index_mask, coarse(THINGS, PANOPTIC_STUFF | {0}), "")
    for mask in sorted((DATA / "coco100/masks").iterdir())[::5]:
        assert np.array_equal(read(mask), read_index_mask(DATA / "coco100/masks_thing12" / mask.name))


# --- layouts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", COCO_PLACES)
@pytest.mark.parametrize(("split", "count"), [(None, 3), ("val", 3), ("train", 21), ("train10", 3)])
def test_stuff_is_read_from_every_photo_in_every_layout(tmp_path: Path, layout: str, split: str, count: int):
    labelled = labelled_photos(f"coco-stuff:{coco(tmp_path, layout)}", split=split)
    assert (len(labelled.pairs), len(labelled.classes)) == (count, 15)
    for pair in labelled.pairs:
        assert labelled.read_mask(*pair).tolist() == [[255, 0, 14, 255, 255, 6]] * 4


@pytest.mark.parametrize("layout", COCO_PLACES)
@pytest.mark.parametrize("things", ["panoptic", "semantic_segmentation", "semantic_segmenations"])
@pytest.mark.parametrize(("split", "count"), [(None, 3), ("train", 21), ("train10", 3)])
def test_things_are_read_in_every_layout(tmp_path: Path, layout: str, things: str, split: str, count: int):
    labelled = labelled_photos(f"coco-thing:{coco(tmp_path, layout, things)}", split=split)
    assert (len(labelled.pairs), len(labelled.classes)) == (count, 12)
    year = "val2017" if split is None else "train2017"
    assert labelled.notes[0] == f"masks from {things}_{year}"
    for pair in labelled.pairs:
        assert labelled.read_mask(*pair).tolist() == [[255, 9, 11, 255, 255, 6]] * 4


def test_panoptic_masks_go_before_converted_ones(tmp_path: Path):
    coco(tmp_path, "authors", "semantic_segmentation")
    coco(tmp_path, "authors", "panoptic")
    assert labelled_photos(f"coco-thing:{tmp_path}").notes == ("masks from panoptic_val2017",)
    (tmp_path / "annotations/panoptic_annotations/panoptic_val2017.json").unlink()
    assert labelled_photos(f"coco-thing:{tmp_path}").notes == ("masks from semantic_segmentation_val2017",)


def test_an_archive_unpacked_into_a_folder_of_its_name_is_found(tmp_path: Path):
    masks = coco(tmp_path) / "annotations/panoptic_val2017"
    masks.rename(tmp_path / "inner")
    masks.mkdir()
    (tmp_path / "inner").rename(masks / "panoptic_val2017")
    assert len(labelled_photos(f"coco-thing:{tmp_path}").pairs) == 3


def test_two_opened_sets_are_equal(tmp_path: Path):
    coco(tmp_path)
    assert labelled_photos(f"coco-thing:{tmp_path}") == labelled_photos(f"coco-thing:{tmp_path}")
    assert labelled_photos(f"coco-stuff:{tmp_path}") == labelled_photos(f"coco-stuff:{tmp_path}")
    assert labelled_photos(f"coco-thing:{tmp_path}") != labelled_photos(f"coco-stuff:{tmp_path}")


def test_classes_can_be_left_out(tmp_path: Path):
    labelled = labelled_photos(f"coco-thing:{coco(tmp_path)}").without(["person"])
    assert labelled.rows(labelled.read_mask(*labelled.pairs[0])).tolist() == [[255, 255, 10, 255, 255, 6]] * 4


# --- the tenth ------------------------------------------------------------------------------------------


def test_the_tenth_has_the_paper_s_size_and_no_photo_twice():
    photos = [f"{number:012d}.jpg" for number in range(SPLITS["train"])]
    chosen = tenth(photos)
    assert len(chosen) == len(set(chosen)) == SPLITS["train10"] == 11_829
    assert set(chosen) < set(photos)
    assert chosen == sorted(chosen)


def test_the_tenth_depends_on_names_and_seed_alone():
    photos = [f"{number:03d}.jpg" for number in range(1000)]
    mixed = random.Random(1).sample(photos, 1000)
    assert tenth(mixed) == tenth(photos)
    assert tenth(photos, seed=1) != tenth(photos)
    assert tenth(photos)[:4] == ["003.jpg", "018.jpg", "021.jpg", "024.jpg"]  # so it was, and must stay


def test_the_tenth_is_spread_over_the_set():
    numbers = np.array([int(name) for name in tenth([f"{number:06d}" for number in range(10_000)])])
    assert np.histogram(numbers, bins=10, range=(0, 10_000))[0] == pytest.approx(100, abs=40)


# --- panoptic masks -------------------------------------------------------------------------------------


def test_panoptic_ids_are_those_of_a_loop_over_pixels(tmp_path: Path):
    rng = np.random.default_rng(0)
    values = segment_colours(rng.choice([0, 1, 44, 92, 200], 24)).reshape(4, 6, 3)
    mask = colours(tmp_path / "000000000001.png", values)
    read = PanopticIds(write_panoptic(tmp_path / "p.json", ["000000000001"], [1, 44, 92, 200]))
    listed = json.loads((tmp_path / "p.json").read_text())["annotations"][0]["segments_info"]
    category = {segment["id"]: segment["category_id"] for segment in listed} | {0: 0}
    expected = [[category[r + 256 * g + 65536 * b] for r, g, b in row] for row in values.tolist()]
    assert read(mask).tolist() == expected


def test_the_json_is_read_once_by_many_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mask = colours(tmp_path / "000000000001.png", segment_colours([1]))
    read = PanopticIds(write_panoptic(tmp_path / "p.json", ["000000000001"], [1]))
    loads: list[int] = []
    load = json.load

    def counted(*arguments, **options):
        loads.append(1)
        return load(*arguments, **options)

    monkeypatch.setattr(panoptic.json, "load", counted)
    with ThreadPoolExecutor(8) as pool:
        assert len({masks.tobytes() for masks in pool.map(read, [mask] * 40)}) == 1
    assert loads == [1]


@pytest.mark.parametrize(
    ("name", "segments", "message"),
    [
        (
            "000000000002.png",
            [1],
            r"p\.json says nothing of 000000000002\.png; copy masks and JSON from the same",
        ),
        ("000000000001.png", [2], r"holds the segment \d+, of which .*p\.json says nothing; copy"),
    ],
)
def test_masks_and_json_that_differ_are_refused(tmp_path: Path, name: str, segments: list[int], message: str):
    mask = colours(tmp_path / name, segment_colours([1]))
    read = PanopticIds(write_panoptic(tmp_path / "p.json", ["000000000001"], segments))
    with pytest.raises(LeopartError, match=message):
        read(mask)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"annotations": [1]}', "\x00"])
def test_a_json_of_another_kind_is_refused(tmp_path: Path, text: str):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(LeopartError, match=r"cannot read .*p\.json as COCO's panoptic annotations"):
        PanopticIds(tmp_path / "p.json")(colours(tmp_path / "1.png", 0))


def test_an_index_mask_where_colours_are_expected_is_refused(tmp_path: Path):
    index(coco(tmp_path) / "annotations/panoptic_val2017/000000000001.png", 1)
    labelled = labelled_photos(f"coco-thing:{tmp_path}")
    with pytest.raises(
        LeopartError, match=r"holds one number a pixel \(L\), but here colours encode the ids"
    ):
        labelled.read_mask(*labelled.pairs[0])


# --- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["coco-stuff", "coco-thing"])
@pytest.mark.parametrize("layout", COCO_PLACES)
def test_a_folder_above_or_below_is_told(tmp_path: Path, kind: str, layout: str):
    root = coco(tmp_path / "set", layout)
    with pytest.raises(LeopartError, match=f"it is one level too high: give {re.escape(str(root))}$"):
        labelled_photos(f"{kind}:{tmp_path}")
    for below in (root / "annotations", root / COCO_PLACES[layout][0] / "val2017"):
        with pytest.raises(LeopartError, match=rf"levels? too deep: give {re.escape(str(root))}"):
            labelled_photos(f"{kind}:{below}")


def test_photos_in_place_and_labels_elsewhere_are_told(tmp_path: Path):
    coco(tmp_path, "authors")
    for kind in ("coco-stuff", "coco-thing"):
        with pytest.raises(
            LeopartError, match=rf"coco has no annotations/.*one level too deep: give {tmp_path}$"
        ):
            labelled_photos(f"{kind}:{tmp_path / 'coco'}")


@pytest.mark.parametrize(
    ("kind", "folder"), [("coco-stuff", "stuff_val2017_pixelmaps"), ("coco-thing", "panoptic_val2017")]
)
def test_missing_masks_are_counted_and_missing_folders_named(tmp_path: Path, kind: str, folder: str):
    masks = coco(tmp_path) / "annotations" / folder
    (masks / "000000000002.png").unlink()
    with pytest.raises(
        LeopartError, match=r"1 of 3 photos have no mask, the first missing is .*000000000002\.png"
    ):
        labelled_photos(f"{kind}:{tmp_path}")
    masks.rename(tmp_path / "elsewhere")
    with pytest.raises(
        LeopartError, match=rf"has no annotations/{folder}/.*; unpack \w+_annotations_trainval2017"
    ):
        labelled_photos(f"{kind}:{tmp_path}")


def test_without_photos_it_says_what_to_unpack(tmp_path: Path):
    (tmp_path / "annotations").mkdir()
    with pytest.raises(LeopartError, match=r"has none of the folders images/val2017/.*unpack val2017\.zip"):
        labelled_photos(f"coco-stuff:{tmp_path}")


@pytest.mark.parametrize(
    ("kind", "things", "folder", "strange"),
    [
        ("coco-stuff", "panoptic", "stuff_val2017_pixelmaps", 91),
        ("coco-thing", "semantic_segmentation", "semantic_segmentation_val2017", 183),
        ("coco-thing", "semantic_segmentation", "semantic_segmentation_val2017", 12),
    ],
)
def test_ids_outside_the_table_are_refused(tmp_path: Path, kind: str, things: str, folder: str, strange: int):
    index(coco(tmp_path, things=things) / f"annotations/{folder}/000000000001.png", strange)
    labelled = labelled_photos(f"{kind}:{tmp_path}")
    with pytest.raises(
        LeopartError, match=rf"holds the ids {strange}, which are no classes of this set; take"
    ):
        labelled.read_mask(*labelled.pairs[0])


def test_a_mask_of_another_size_is_refused(tmp_path: Path):
    Image.new("L", (5, 5), 95).save(coco(tmp_path) / "annotations/stuff_val2017_pixelmaps/000000000001.png")
    labelled = labelled_photos(f"coco-stuff:{tmp_path}")
    with pytest.raises(LeopartError, match=r"has 5x5 pixels, but its photo .* has 6x4"):
        labelled.read_mask(*labelled.pairs[0])
