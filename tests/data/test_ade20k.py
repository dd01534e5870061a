from __future__ import annotations

import json
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart.data.datasets.ade20k import MAX_INDEX, READ_PARTS, list_ade20k_parts, read_part_ids
from leopart.data.datasets.ade20k_classes import PARTS
from leopart.data.datasets.labelled import labelled_photos
from leopart.data.datasets.plain_pickle import read_plain_pickle
from leopart.errors import LeopartError
from small_sets import ADE, STREET, ade20k, index, part_colour

DATA = Path(os.environ.get("LEOPART_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
SAMPLE = DATA / "ade20k_sample"
with_sample = pytest.mark.skipif(
    not SAMPLE.is_dir(), reason="no development photos here; set LEOPART_DATA to their folder"
)

# --- classes and decoding -------------------------------------------------------------------------------


def test_the_classes_are_111_in_the_order_of_their_ids():
    assert len(PARTS) == len(set(PARTS.values())) == 111
    assert list(PARTS) == sorted(PARTS)
    assert (PARTS[50], PARTS[3035], PARTS[3050], PARTS[3154]) == ("arcades", "wheel", "window", "building")


@pytest.mark.parametrize("part", [1, 50, 255, 256, 2550, 3154, 6655])
def test_red_and_green_encode_the_id_whatever_the_rest_of_red_is(tmp_path: Path, part: int):
    red, green, blue = part_colour(part)
    for more in range(10) if red < 250 else range(6):
        Image.new("RGB", (2, 1), (red + more, green, blue)).save(tmp_path / "p.png")
        assert read_part_ids(tmp_path / "p.png").tolist() == [[part, part]]


@pytest.mark.parametrize(("number", "part"), list(enumerate(PARTS)))
def test_an_id_becomes_its_class(tmp_path: Path, number: int, part: int):
    Image.new("RGB", (2, 1), part_colour(part)).save(tmp_path / "p.png")
    assert READ_PARTS(tmp_path / "p.png").tolist() == [[number, number]]
    assert READ_PARTS.unlisted(tmp_path / "p.png") == {}


def test_other_ids_are_without_a_label_and_counted(tmp_path: Path):
    labelled = labelled_photos(f"ade20k-parts:{ade20k(tmp_path)}")
    photo, mask = labelled.pairs[0]
    names = list(labelled.classes.values())
    ids = labelled.read_mask(photo, mask)
    assert ids.tolist() == [[255, names.index("window"), names.index("wheel"), 0, 110, 255]] * 4
    assert READ_PARTS.unlisted(mask) == {1: 4}


@with_sample
def test_real_masks_hold_the_parts_that_their_descriptions_name():
    masks = sorted(SAMPLE.rglob("*_parts_1.png"))
    assert len(masks) == 3
    for mask in masks:
        stem = mask.name.removesuffix("_parts_1.png")
        described = json.loads(mask.with_name(f"{stem}.json").read_text("latin-1"))["annotation"]["object"]
        parts = {o["name_ndx"]: o["name"] for o in described if o["parts"]["part_level"] == 1}
        ids = np.unique(read_part_ids(mask))
        assert set(ids.tolist()) - {0} <= set(parts)
        assert len(ids) > 3
        for key in set(ids.tolist()) & set(PARTS):
            assert parts[key].split(",")[0] == PARTS[key]
        with Image.open(mask.with_name(f"{stem}.jpg")) as photo:
            assert READ_PARTS(mask).shape == (photo.height, photo.width)


@with_sample
def test_real_photos_are_opened_through_an_index(tmp_path: Path):
    names = sorted(path.name for path in SAMPLE.rglob("*.jpg"))
    content = {"filename": names, "folder": [STREET] * 3, "scene": ["/street"] * 3}
    (tmp_path / ADE).mkdir()
    (tmp_path / ADE / "images").symlink_to(SAMPLE / ADE / "images")
    (tmp_path / ADE / "index_ade20k.pkl").write_bytes(
        pickle.dumps(content | {"objectIsPart": np.ones((2, 3))})
    )
    labelled = labelled_photos(f"ade20k-parts:{tmp_path}")
    assert len(labelled.pairs) == 3
    for pair in labelled.pairs:
        assert set(np.unique(labelled.read_mask(*pair)).tolist()) <= {*range(111), 255}


# --- which photos ---------------------------------------------------------------------------------------

ROWS = (("/street", 1), ("/street", 0), ("/bedroom", 3), ("street", 2), ("/street", 9), ("/street_market", 1))


@pytest.mark.parametrize("arrays", [False, True])
def test_street_scenes_with_parts_are_chosen_in_the_order_of_the_index(tmp_path: Path, arrays: bool):
    labelled = labelled_photos(f"ade20k-parts:{ade20k(tmp_path, ROWS, arrays)}")
    names = [photo.name for photo, _ in labelled.pairs]
    assert names == [f"ADE/training/urban/street/ADE_train_0000000{i}.jpg" for i in (1, 5)]
    assert (len(labelled.classes), labelled.background) == (111, None)


def test_the_index_is_cut_off_where_the_authors_cut_it(tmp_path: Path):
    assert MAX_INDEX == 25_258 + 2_000
    ade20k(tmp_path, ROWS)
    assert [len(list_ade20k_parts(tmp_path, limit).pairs) for limit in (1, 4, 5, None)] == [1, 1, 2, 2]


def test_the_release_itself_and_a_renamed_one_open_as_well(tmp_path: Path):
    ade20k(tmp_path)
    whole = labelled_photos(f"ade20k-parts:{tmp_path}")
    assert labelled_photos(f"ade20k-parts:{tmp_path / ADE}") == whole
    renamed = (tmp_path / ADE).rename(tmp_path / "ade")
    assert [photo.name for photo, _ in labelled_photos(f"ade20k-parts:{renamed}").pairs] == [
        photo.name for photo, _ in whole.pairs
    ]


def test_another_number_than_the_paper_s_is_explained(tmp_path: Path):
    rows = [("/street", 1)] * 1983
    ade20k(tmp_path, rows[:1])
    notes = labelled_photos(f"ade20k-parts:{tmp_path}").notes
    assert len(notes) == 2
    assert "the paper scores 1,983 photos, not 1; they are what the first 27,258" in notes[1]
    content = read_plain_pickle(tmp_path / ADE / "index_ade20k.pkl")
    content |= {name: content[name] * 1983 for name in ("filename", "folder", "scene")}
    content["objectIsPart"] = np.ones((1, 1983))
    (tmp_path / ADE / "index_ade20k.pkl").write_bytes(pickle.dumps(content))
    assert len(labelled_photos(f"ade20k-parts:{tmp_path}").notes) == 1


# --- what is refused ------------------------------------------------------------------------------------


def test_a_folder_above_or_below_is_told(tmp_path: Path):
    root = ade20k(tmp_path / "data")
    with pytest.raises(LeopartError, match=f"it is one level too high: give {re.escape(str(root))}$"):
        labelled_photos(f"ade20k-parts:{tmp_path}")
    with pytest.raises(LeopartError, match=f"it is one level too deep: give {re.escape(str(root / ADE))}$"):
        labelled_photos(f"ade20k-parts:{root / ADE / 'images'}")
    (tmp_path / "other" / "images").mkdir(parents=True)
    with pytest.raises(LeopartError, match=r"is no full ADE20K: .* not the smaller set of the scene parsing"):
        labelled_photos(f"ade20k-parts:{tmp_path / 'other'}")


def test_missing_files_are_counted(tmp_path: Path):
    ade20k(tmp_path)
    (tmp_path / STREET / "ADE_train_00000002_parts_1.png").unlink()
    with pytest.raises(
        LeopartError, match=r"1 of 3 photos have no mask, the first missing is .*2_parts_1\.png"
    ):
        labelled_photos(f"ade20k-parts:{tmp_path}")
    (tmp_path / STREET / "ADE_train_00000003.jpg").unlink()
    with pytest.raises(
        LeopartError, match=r"1 of the 3 photos of .* are not there, .*ADE_train_00000003\.jpg"
    ):
        labelled_photos(f"ade20k-parts:{tmp_path}")


def test_no_street_scene_is_refused(tmp_path: Path):
    with pytest.raises(LeopartError, match="no photos of this set are in"):
        labelled_photos(f"ade20k-parts:{ade20k(tmp_path, [('/bedroom', 1)])}")


def test_an_index_mask_is_refused(tmp_path: Path):
    index(ade20k(tmp_path) / STREET / "ADE_train_00000001_parts_1.png", 3)
    labelled = labelled_photos(f"ade20k-parts:{tmp_path}")
    with pytest.raises(LeopartError, match=r"1_parts_1\.png holds one number a pixel"):
        labelled.read_mask(*labelled.pairs[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "has no columns"),
        ({"filename": [], "folder": []}, "has no columns scene, objectIsPart"),
        ({"filename": ["a"], "folder": ["b"], "scene": [], "objectIsPart": np.ones((1, 1))}, "do not fit"),
        ({"filename": ["a"], "folder": ["b"], "scene": ["c"], "objectIsPart": np.ones((1, 2))}, "do not fit"),
        ({"filename": ["a"], "folder": ["b"], "scene": ["c"], "objectIsPart": np.ones(1)}, "do not fit"),
    ],
)
def test_an_index_of_another_kind_is_refused(tmp_path: Path, content: object, message: str):
    (tmp_path / "index_ade20k.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(LeopartError, match=message):
        labelled_photos(f"ade20k-parts:{tmp_path}")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        (STREET, "/etc/passwd"),
        (STREET, "../" * 12 + "etc/x.jpg"),
        (f"{ADE}/../../..", "x.jpg"),
        (f"{ADE}/images/../..", "x.jpg"),
        (ADE, ".."),
    ],
)
def test_a_photo_outside_the_release_is_refused_before_anything_is_read_or_written(
    tmp_path: Path, folder: str, name: str
):
    ade20k(tmp_path)
    file = tmp_path / ADE / "index_ade20k.pkl"
    content = pickle.loads(file.read_bytes())
    content["folder"][1], content["filename"][1] = folder, name
    file.write_bytes(pickle.dumps(content))
    with pytest.raises(LeopartError, match=r"index_ade20k\.pkl names .*, which is no path below "):
        labelled_photos(f"ade20k-parts:{tmp_path}")


def test_columns_that_hold_something_else_are_refused(tmp_path: Path):
    deep: list[object] = []
    for _ in range(60):
        deep = [deep, deep]
    good = {"filename": ["a"], "folder": ["b"], "scene": ["/street"], "objectIsPart": np.ones((1, 1))}
    for column, bad in (
        ("filename", [1]),
        ("folder", [deep]),
        ("scene", "a"),
        ("objectIsPart", deep),
        ("objectIsPart", np.array([["x"]])),
        ("filename", 3),
    ):
        (tmp_path / "index_ade20k.pkl").write_bytes(pickle.dumps(good | {column: bad}))
        with pytest.raises(LeopartError, match="which do not fit"):
            labelled_photos(f"ade20k-parts:{tmp_path}")


# --- pickles --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_and_arrays_are_read_in_every_protocol(tmp_path: Path, protocol: int):
    content = {
        "names": ["a", "ä", None],
        "array": np.arange(6.0).reshape(2, 3),
        "transposed": np.arange(6, dtype=np.uint8).reshape(2, 3).T,
        "words": np.array(["x", "yy"]),
        "objects": np.array(["x", 1], dtype=object),
        "scalars": (np.float64(1.5), np.int32(2), 1.5, 2**70, True, b"bytes"),
        "sets": [{1, 2}, frozenset({3})],
    }
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(content, protocol))
    found = read_plain_pickle(tmp_path / "p.pkl")
    assert found.keys() == content.keys()
    for name in ("array", "transposed", "words", "objects"):
        assert np.array_equal(found[name], content[name])
        assert found[name].dtype == content[name].dtype
    assert all(found[name] == content[name] for name in ("names", "scalars", "sets"))


def test_the_module_names_of_numpy_1_are_read(tmp_path: Path):
    old = pickle.dumps(np.arange(3), 2).replace(b"numpy._core", b"numpy.core")
    (tmp_path / "p.pkl").write_bytes(old)
    assert read_plain_pickle(tmp_path / "p.pkl").tolist() == [0, 1, 2]


class Malicious:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "wrap", [lambda it: it, lambda it: {"x": [it]}, lambda it: np.array([it], dtype=object)]
)
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int, wrap):
    mark = tmp_path / "mark"
    bad = pickle.dumps(wrap(Malicious(mark)), protocol)
    pickle.loads(bad)
    assert mark.is_dir()  # it would do harm
    mark.rmdir()
    (tmp_path / "index_ade20k.pkl").write_bytes(bad)
    with pytest.raises(LeopartError, match=r"asks to run \w+\.mkdir, which data never needs.*do not trust"):
        labelled_photos(f"ade20k-parts:{tmp_path}")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("numpy", "ndarray.tofile"),
        ("numpy", "load"),
        ("numpy", "fromfile"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy.testing._private.utils", "runstring"),
        ("copyreg", "_reconstructor"),
    ],
)
def test_nothing_else_can_be_named(tmp_path: Path, module: str, name: str):
    # PROTO 4, the two names, STACK_GLOBAL, STOP: dotted names are looked up part by part from here on
    words = b"".join(b"\x8c" + bytes([len(word)]) + word.encode() for word in (module, name))
    (tmp_path / "p.pkl").write_bytes(b"\x80\x04" + words + b"\x93.")
    with pytest.raises(LeopartError, match=re.escape(f"asks to run {module}.{name}, which")):
        read_plain_pickle(tmp_path / "p.pkl")


@pytest.mark.parametrize("content", [b"", b"\x80", b"hello", pickle.dumps(list(range(99)))[:50]])
def test_a_damaged_pickle_is_told(tmp_path: Path, content: bytes):
    (tmp_path / "p.pkl").write_bytes(content)
    with pytest.raises(LeopartError, match=r"p\.pkl is no complete pickle: .*; copy it again"):
        read_plain_pickle(tmp_path / "p.pkl")


def test_a_pickle_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(LeopartError, match=r"cannot read .*p\.pkl: No such file"):
        read_plain_pickle(tmp_path / "p.pkl")


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def dtype(name: str) -> bytes:
    return short("numpy") + short("dtype") + b"\x93" + short(name) + b"\x89\x88\x87R"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        # An object field at raw bytes: what made numpy follow any address.
        (dtype("V16"), "asks to make numbers that are not plain"),
        (dtype("O8 ") + b"K\x03b", "asks to make numbers that are not plain"),
        (dtype("i4,O"), "asks to make numbers that are not plain"),
        (b"]}b", "asks to change something that is no container"),
        (short("builtins") + short("set") + b"\x93}b", "asks to change something that is no container"),
        (b"K\x01s", "is no complete pickle: it takes more from its stack"),
        (b"]K\x01K\x02s", "asks to change something that is no container"),
        (b"K\x01K\x02R", "asks to call something that is no function"),
        (b"cposix\nsystem\n", "asks to run posix.system"),
        (b"(iposix\nsystem\n", "asks to carry out INST"),
        (b"\x82\x01", "asks to carry out EXT1"),
        (b"Pfile\n", "asks to carry out PERSID"),
        (b")0\x86", "is no complete pickle: it takes more from its stack"),
        (b"}u", "is no complete pickle: it has no mark"),
        (b"})" + b"2\x86" * 60 + b"K\x01s", "asks to use a key that is no text"),
        (b"\x8f()" + b"2\x86" * 60 + b"\x90", "asks to use a key that is no text"),
        (b"\x8e" + b"\xff" * 7 + b"\x0f", "is no complete pickle"),
        (b"Nr\xff\xff\xff\xff" + b"j\xff\xff\xff\xff" + b"0" * 9, "is no complete pickle"),
        (
            short("builtins") + short("bytearray") + b"\x93K\xff\x85R",
            "asks to make bytes of something else",
        ),
        (
            short("_codecs") + short("encode") + b"\x93\x94" + short("a" * 250) + b"\x94"
            b"h\x00h\x01\x85R" * 100,
            "asks to copy its data again and again",
        ),
    ],
)
def test_a_hostile_pickle_is_refused_at_once(tmp_path: Path, program: bytes, message: str):
    (tmp_path / "p.pkl").write_bytes(b"\x80\x04" + program + b".")
    with pytest.raises(LeopartError, match=re.escape(message)):
        read_plain_pickle(tmp_path / "p.pkl")


def test_an_array_takes_no_shape_that_its_content_does_not_fill(tmp_path: Path):
    whole = pickle.dumps(np.arange(6, dtype=np.int16))
    assert whole.count(b"K\x06\x85") == 1
    for other in (b"K\x07\x85", b"K\x05\x85", b"N)\x85"):
        (tmp_path / "p.pkl").write_bytes(whole.replace(b"K\x06\x85", other))
        with pytest.raises(LeopartError, match="is no complete pickle"):
            read_plain_pickle(tmp_path / "p.pkl")


def test_big_endian_arrays_keep_their_values(tmp_path: Path):
    for kind in (">f8", "<f8", ">i2", "<U3"):
        array = np.array([1, 2, 300]).astype(kind)
        (tmp_path / "p.pkl").write_bytes(pickle.dumps(array))
        assert read_plain_pickle(tmp_path / "p.pkl").tolist() == array.tolist()
