"""Labelled sets with something wrong that is easy to miss, and what is said of it."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart.cli.data import main
from leopart.data.conversion import convert_masks, voc_colours
from leopart.data.datasets.folder import open_folder, read_classes
from leopart.data.datasets.labelled import labelled_photos
from leopart.data.datasets.mask_checks import class_notes
from leopart.data.datasets.places import check_folder
from leopart.data.datasets.unlabelled import training_photos
from leopart.data.masks import read_index_mask
from leopart.data.own_output import mark_as_output
from leopart.data.photos import search_photos
from leopart.errors import LeopartError
from small_sets import index, photo, voc

CASES = Path(os.environ.get("LEOPART_CASES", Path(__file__).parents[2].parent / "shared" / "cases"))
with_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not here; set LEOPART_CASES")


def labelled(path: Path, ids: object = 1, stem: str = "a", mask: str = "") -> Path:
    photo(path / f"images/{stem}.jpg")
    index(path / f"masks/{mask or stem}.png", ids)
    (path / "classes.txt").write_text("0\tbackground\n1\tcow\n")
    return path


def check(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    status = main(["check", *map(str, words)])
    return status, capsys.readouterr().out


# --- names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("of_photo", "of_mask"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFC", "NFC")])
def test_names_that_differ_in_composition_belong_together(tmp_path: Path, of_photo: str, of_mask: str):
    name = "été/Å"
    labelled(tmp_path, 1, unicodedata.normalize(of_photo, name), unicodedata.normalize(of_mask, name))
    (tmp_path / "val.txt").write_text(unicodedata.normalize("NFC", name) + "\n")
    for split in (None, "val"):
        folder = open_folder(tmp_path, split=split)
        assert folder.read_mask(*folder.pairs[0]).max() == 1


def test_the_exact_spelling_comes_first(tmp_path: Path):
    nfc, nfd = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    labelled(tmp_path, 1, nfc)
    index(tmp_path / "masks" / f"{nfd}.png", 0)
    folder = open_folder(tmp_path)
    assert folder.read_mask(*folder.pairs[0]).max() == 1


def test_a_photo_whose_name_is_not_utf8_has_its_mask(tmp_path: Path):
    try:
        labelled(tmp_path, 1, os.fsdecode(b"caf\xe9"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    folder = open_folder(tmp_path)
    assert folder.read_mask(*folder.pairs[0]).max() == 1


@pytest.mark.parametrize(
    ("stem", "line"),
    [
        ("my photo", "my photo"),
        ("my photo", "my photo.jpg"),
        ("2007.003", "2007.003"),
        ("2007_03", "2007_03 -1"),
        ("2007_03", "2007_03  1"),
        ("v1.2 x", "/JPEGImages/v1.2 x.jpg"),
        ("é", unicodedata.normalize("NFD", "é")),
    ],
)
def test_lines_of_a_voc_list_may_have_spaces_dots_and_flags(tmp_path: Path, stem: str, line: str):
    voc(tmp_path, lists={"val": [stem]})
    (tmp_path / "sets/val.txt").write_text(f"{line}\n")
    found = labelled_photos(f"voc:{tmp_path}")
    assert [pair[0].path.name for pair in found.pairs] == [f"{stem}.jpg"]
    assert found.read_mask(*found.pairs[0]).max() == 1


def test_a_photo_that_two_lines_name_is_refused(tmp_path: Path):
    voc(tmp_path)
    (tmp_path / "sets/val.txt").write_text("2007_03\n2007_03 1\n")
    with pytest.raises(LeopartError, match="lists '2007_03' twice"):
        labelled_photos(f"voc:{tmp_path}")


@pytest.mark.parametrize("name", ["../../etc", "/etc", "a/../../b"])
def test_a_list_of_classes_leads_out_of_no_folder(tmp_path: Path, name: str):
    photo(tmp_path / "train/n01/a.jpg")
    (tmp_path / "imagenet100.txt").write_text(f"n01\n{name}\n")
    with pytest.raises(LeopartError, match="which is no path below"):
        training_photos(f"imagenet100:{tmp_path}")


# --- classes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["cow", "Cow", " cow "])
def test_a_class_name_used_twice_is_refused(tmp_path: Path, second: str):
    (tmp_path / "classes.txt").write_text(f"0\tbackground\n1\tcow\n2\t{second}\n")
    with pytest.raises(LeopartError, match=r"line 3 of .*: the name '[Cc]ow' is that of id 1 already"):
        read_classes(tmp_path / "classes.txt")


def test_odd_white_space_beside_an_id_is_passed_over(tmp_path: Path):
    (tmp_path / "classes.txt").write_text("0\tbackground\n30\x1f\tcow\n")
    assert read_classes(tmp_path / "classes.txt") == {0: "background", 30: "cow"}


def test_an_id_of_many_digits_is_refused(tmp_path: Path):
    (tmp_path / "classes.txt").write_text("9" * 5000 + "\tcow\n")
    with pytest.raises(LeopartError, match="write an id, a tab and a name"):
        read_classes(tmp_path / "classes.txt")


@pytest.mark.parametrize(
    ("rows", "notes", "only"),
    [
        ({0, 1, 2, 255}, 0, False),
        ({0, 1, 2}, 0, False),
        ({0, 1}, 1, False),
        ({0}, 1, False),
        ({0, 255}, 2, True),
        ({255}, 2, True),
    ],
)
def test_classes_that_never_occur_are_named(rows: set[int], notes: int, only: bool):
    found = class_notes({0: "background", 3: "cow", 9: "sky"}, rows)
    assert len(found) == notes
    assert any("and 255 means no label: if 255 stands for a class" in note for note in found) == only
    if notes:
        assert "never occur in the masks: " in found[0]
        assert ("sky" in found[0]) == (2 not in rows)


def test_masks_of_0_and_255_are_told_with_the_remedy_which_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = labelled(tmp_path, [[0, 0, 0, 255, 255, 255]] * 4)
    status, out = check(capsys, path)
    assert status == 1
    assert "1 of the 2 classes never occur in the masks: cow" in out
    assert "hold no id but 0 and 255, and 255 means no label" in out

    assert main(["convert", str(path / "masks"), "--out", str(path / "new"), "--ids", "255=1"]) == 0
    (path / "masks").rename(path / "old")
    (path / "new").rename(path / "masks")
    status, out = check(capsys, path)
    assert status == 0
    assert "never occur" not in out


# --- masks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_that_lies_as_its_photo_is_stored_is_told_how_to_be_turned(tmp_path: Path, orientation: int):
    """The remedy, carried out as it is worded, gives what Pillow makes of the photo."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "images").mkdir()
    (tmp_path / "classes.txt").write_text("0\tbackground\n1\tcow\n")
    Image.new("RGB", (6, 4)).save(tmp_path / "images/a.jpg", exif=exif)
    ids = np.random.default_rng(0).integers(0, 2, (4, 6)).astype(np.uint8)
    index(tmp_path / "masks/a.png", ids)
    folder = open_folder(tmp_path)
    with pytest.raises(LeopartError, match="because EXIF turns the photo and the mask lies as ") as caught:
        folder.read_mask(*folder.pairs[0])
    advice = str(caught.value)
    assert "do not resize it" in advice

    turned = ids[::-1] if "flip the mask upside down" in advice else ids
    turned = np.rot90(turned, 1 if "counter-clockwise" in advice else -1)
    stored = Image.fromarray(ids)
    stored.getexif()[0x0112] = orientation
    stored.info["exif"] = exif.tobytes()
    from PIL import ImageOps

    assert (turned == np.asarray(ImageOps.exif_transpose(stored))).all()


def test_a_mask_of_another_size_is_not_said_to_be_turned(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = labelled(tmp_path)
    Image.new("RGB", (8, 5)).save(path / "images/a.jpg", exif=exif)
    folder = open_folder(path)
    with pytest.raises(LeopartError, match="make a mask of the photo's own size"):
        folder.read_mask(*folder.pairs[0])


def test_grey_colours_are_ids_only_where_they_are_classes(tmp_path: Path):
    path = labelled(tmp_path)
    folder = open_folder(path)
    for grey, message in (
        (1, "its channels are equal and hold ids, so save one"),
        (128, "replace each colour by"),
    ):
        Image.new("RGB", (6, 4), (grey,) * 3).save(path / "masks/a.png")
        with pytest.raises(LeopartError, match=message) as caught:
            folder.read_mask(*folder.pairs[0])
        assert ("save one" in str(caught.value)) == (grey == 1)


def test_masks_that_are_jpegs_are_not_to_be_renamed(tmp_path: Path):
    path = labelled(tmp_path)
    (path / "masks/a.png").unlink()
    photo(path / "masks/a.jpg")
    with pytest.raises(LeopartError, match="there is a JPEG, which smears ids beyond repair"):
        open_folder(path)


# --- conversion -----------------------------------------------------------------------------------------


def test_the_colours_are_voc_s():
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 7: (128, 128, 128), 15: (192, 128, 128)}
    known |= {20: (0, 64, 128), 255: (224, 224, 192)}
    assert {key: tuple(voc_colours()[key].tolist()) for key in known} == known
    assert len({tuple(colour) for colour in voc_colours().tolist()}) == 256


def test_masks_in_colours_become_the_ids_they_were(tmp_path: Path):
    ids = np.random.default_rng(0).integers(0, 256, (30, 20)).astype(np.uint8)
    (tmp_path / "in/deep").mkdir(parents=True)
    Image.fromarray(voc_colours()[ids]).save(tmp_path / "in/deep/a.png")
    assert convert_masks(tmp_path / "in", tmp_path / "out") == 1
    assert (read_index_mask(tmp_path / "out/deep/a.png") == ids).all()


def test_a_strange_colour_is_named_and_no_file_is_replaced(tmp_path: Path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (2, 2), (1, 2, 3)).save(tmp_path / "in/a.png")
    with pytest.raises(LeopartError, match=r"a\.png holds the colour 1, 2, 3, which is none of PASCAL VOC's"):
        convert_masks(tmp_path / "in", tmp_path / "out")
    Image.new("RGB", (2, 2)).save(tmp_path / "in/a.png")
    with pytest.raises(LeopartError, match="is there already; choose another --out"):
        convert_masks(tmp_path / "in", tmp_path / "in")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LeopartError, match="holds no PNGs"):
        convert_masks(tmp_path / "empty", tmp_path / "out")


@pytest.mark.parametrize("text", ["255", "a=b", "1=", "=1", "99999=1", "9999999999=1"])
def test_a_renumbering_that_is_none_is_refused(tmp_path: Path, text: str):
    labelled(tmp_path)
    with pytest.raises(LeopartError, match="is no pair OLD=NEW"):
        main(["convert", str(tmp_path / "masks"), "--out", str(tmp_path / "out"), "--ids", text])


# --- folders --------------------------------------------------------------------------------------------


def test_maps_of_an_evaluation_are_no_photos(tmp_path: Path):
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "maps/k8/a.png")
    photo(tmp_path / "maps/mine/b.png")
    mark_as_output(tmp_path / "maps", "k8")
    mark_as_output(tmp_path / "maps", "k9")
    search = search_photos([tmp_path])
    assert [found.name for found in search.photos] == ["a.jpg", "maps/mine/b.png"]
    assert search.left_out == [tmp_path / "maps/k8"]


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000])
def test_paths_beyond_the_system_s_limits_are_told(tmp_path: Path, name: str):
    with pytest.raises(LeopartError, match="cannot be opened: File name too long"):
        check_folder(tmp_path / name)
    with pytest.raises(LeopartError, match="there is no file or folder"):
        search_photos([tmp_path / name])
    for layout in ("voc", "coco-stuff", "folder", "ade20k-parts"):
        with pytest.raises(LeopartError):
            labelled_photos(f"{layout}:{tmp_path / name}")


def test_a_home_of_nobody_is_told():
    with pytest.raises(LeopartError, match="there is no home folder for ~nobody-of-this-name/x"):
        labelled_photos("folder:~nobody-of-this-name/x")


@pytest.mark.slow
def test_1500_levels_are_no_problem(tmp_path: Path):
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        for _ in range(1500):
            Path("d").mkdir()
            os.chdir("d")
        photo(Path("a.jpg"))
        os.chdir(tmp_path)
        (found,) = search_photos([tmp_path]).photos
        assert found.name.endswith("d/a.jpg")
        from leopart.data.photos import output_stems

        (stem,) = output_stems([found])
        assert len(stem.split("/")) < 300
    finally:
        os.chdir(tmp_path)
        for _ in range(1500):
            os.chdir("d")
        Path("a.jpg").unlink(missing_ok=True)
        for _ in range(1500):
            os.chdir("..")
            Path("d").rmdir()
        os.chdir(before)


# --- cases ----------------------------------------------------------------------------------------------


@with_cases
@pytest.mark.parametrize(
    ("case", "data", "status", "words"),
    [
        ("binary_0_255", "folder:.", 1, "if 255 stands for a class"),
        ("dup_class_names", "folder:.", 1, "give each class a name of its own"),
        ("exif_mask_message", "folder:.", 1, "EXIF turns the photo"),
        ("nfd_names", "folder:.", 0, "6 of 6"),
        ("voc_grey_advice", "voc:.", 1, "replace each colour by its class id"),
    ],
)
def test_cases_of_neighbouring_projects_are_told(
    case: str,
    data: str,
    status: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(CASES / case)
    monkeypatch.setenv("COLUMNS", "300")
    found, out = check(capsys, data, *(["--split", "val"] if data.startswith("voc") else []))
    assert (found, words in out) == (status, True), out
