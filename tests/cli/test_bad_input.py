"""Everything that can be wrong with photos and folders, through `leopart segment`."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIZES = {  # height, width of the mask
    "alpha": (48, 64),
    "animated": (48, 64),
    "bits16": (48, 64),
    "cmyk": (48, 64),
    "grey": (48, 64),
    "one": (1, 1),
    "palette": (48, 64),
    "rotated": (64, 48),
    "strip": (40, 20000),
    "a/twice": (48, 64),
    "b/twice": (30, 70),
    "twin_jpg": (48, 64),
    "twin_png": (33, 44),
    "sp ace": (48, 64),
    "Straße 猫": (48, 64),
    "<script>alert(1)<b>": (48, 64),
    "new\nline": (48, 64),
}
BROKEN = {
    "text.jpg": "is not a photo in a format that is read",
    "cut.jpg": "is damaged (",
    "empty.jpg": "is empty (0 bytes); copy it again",
    "gone.jpg": "is not there (any more)",
    "loop.jpg": "cannot be read: Too many levels of symbolic links",
    "phone.heic": "is a HEIF photo, which cannot be read; convert it to PNG",
    "locked.png": "cannot be read: Permission denied; check the file's permissions",
    "bad\nname.png": "is empty (0 bytes)",
}


def write_mixed(folder: Path, draw: Callable[..., Image.Image]) -> None:
    for sub in ("a", "b"):
        (folder / sub).mkdir(parents=True)
    photo = draw(0)
    photo.convert("RGBA").save(folder / "alpha.png")
    photo.save(folder / "animated.gif", save_all=True, append_images=[draw(1), draw(2)])
    grey = np.asarray(photo.convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "bits16.png")
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(grey).save(folder / "grey.png")
    photo.crop((0, 0, 1, 1)).save(folder / "one.png")
    photo.convert("P").save(folder / "palette.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(folder / "rotated.jpg", exif=exif)
    photo.resize((20000, 40)).save(folder / "strip.png")
    photo.save(folder / "a" / "twice.png")
    draw(3, 70, 30).save(folder / "b" / "twice.png")
    photo.save(folder / "twin.jpg")
    draw(4, 44, 33).save(folder / "twin.png")
    for name in ("sp ace", "Straße 猫", "<script>alert(1)<b>", "new\nline"):
        photo.save(folder / f"{name}.png")


def write_broken(folder: Path, draw: Callable[..., Image.Image]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "text.jpg").write_text("a letter, not a photo")
    draw(0, 640, 480).save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-4000])
    (folder / "empty.jpg").touch()
    (folder / "gone.jpg").symlink_to(folder / "was-here.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    draw(0).save(folder / "locked.png")
    (folder / "bad\nname.png").touch()


@pytest.fixture(scope="module")
def locked():
    """Pillow may not open `locked.png`: permissions do not stop the superuser."""
    with pytest.MonkeyPatch.context() as patch:
        real = Image.open

        def guarded(path, *args, **options):
            if Path(path).name == "locked.png":
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *args, **options)

        patch.setattr(Image, "open", guarded)
        yield


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, run, quick, draw, locked):
    """A folder with everything odd and everything broken, segmented; its answer and its output."""
    folder = tmp_path_factory.mktemp("mixed")
    write_mixed(folder / "in", draw)
    write_broken(folder / "in", draw)
    return run("segment", folder / "in", "--out", folder / "out", *quick, "--quiet"), folder / "out"


@pytest.mark.parametrize("stem", SIZES, ids=ascii)
def test_an_odd_photo_gets_masks_of_its_own_upright_size(mixed, stem):
    _, out = mixed
    height, width = SIZES[stem]
    for kind in ("parts", "objects"):
        with Image.open(out / kind / f"{stem}.png") as mask:
            assert (mask.mode, mask.size) == ("P", (width, height))
    with Image.open(out / "overlays" / f"{stem}.jpg") as picture:
        scale = min(1, 1280 / max(height, width))
        assert picture.size == (max(1, round(width * scale)), max(1, round(height * scale)))


def test_nothing_but_the_good_photos_has_masks(mixed, files_below):
    _, out = mixed
    assert files_below(out / "parts") == files_below(out / "objects") == {f"{stem}.png" for stem in SIZES}


def test_every_failure_is_named_once_on_stderr_with_its_reason(mixed):
    ran, _ = mixed

    assert ran.status == 1
    assert len(ran.lines) == len(BROKEN)
    for name, reason in BROKEN.items():
        shown = name.replace("\n", "\\n")
        (line,) = [line for line in ran.lines if f"/{shown} " in line]
        assert line.startswith("leopart: /")
        assert reason in line


def test_every_failure_is_in_the_summary_with_its_reason(mixed):
    _, out = mixed
    summary = json.loads((out / "summary.json").read_text())

    assert sorted(failure["name"] for failure in summary["failures"]) == sorted(BROKEN)
    for failure in summary["failures"]:
        assert BROKEN[failure["name"]] in failure["reason"]
    assert summary["counts"]["photos"] == len(SIZES) + len(BROKEN)
    assert summary["counts"]["failed"] == len(BROKEN)


def test_the_report_escapes_names_and_tells_the_failures(mixed):
    _, out = mixed
    html = (out / "report.html").read_text()

    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)&lt;b&gt;.png" in html
    assert "is empty (0 bytes)" in html


def test_a_rotated_photo_has_the_masks_of_its_upright_twin(run, draw, quick, tmp_path):
    upright = draw(0)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    (tmp_path / "in").mkdir()
    upright.save(tmp_path / "in" / "upright.png")
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "in" / "turned.png", exif=exif)
    assert run("segment", tmp_path / "in", "--out", tmp_path / "out", *quick).status == 0

    parts = tmp_path / "out" / "parts"
    assert (parts / "turned.png").read_bytes() == (parts / "upright.png").read_bytes()


def test_a_folder_of_broken_photos_only_is_refused_and_each_is_named(run, draw, quick, tmp_path, locked):
    write_broken(tmp_path / "in", draw)
    ran = run("segment", tmp_path / "in", "--out", tmp_path / "out", *quick)

    assert ran.status == 2
    assert ran.lines[0] == f"leopart: no photo could be used, of {len(BROKEN)} given:"
    for name, reason in BROKEN.items():
        assert ran.err.count(f"/{name} {reason}") == 1


# --- folders --------------------------------------------------------------------------------------------


def test_an_empty_folder_is_refused(run, quick, tmp_path):
    (tmp_path / "in").mkdir()
    ran = run("segment", tmp_path / "in", "--out", tmp_path / "out", *quick)

    assert ran.status == 2
    assert ran.lines[0].startswith(f"leopart: no photos in {tmp_path / 'in'}: 0 files seen")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_there_is_refused(run, quick, tmp_path):
    ran = run("segment", tmp_path / "absent", "--out", tmp_path / "out", *quick)

    assert ran.status == 2
    assert ran.lines == [f"leopart: there is no file or folder {tmp_path / 'absent'}; check the path"]
    assert not (tmp_path / "out").exists()


def test_names_that_are_not_utf8_work(run, draw, quick, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    draw(0).save(folder / os.fsdecode(b"\xe9t\xe9.png"))
    draw(1).save(folder / "b.png")
    ran = run("segment", folder, "--out", tmp_path / "out", *quick, "--quiet")

    assert (ran.status, ran.err) == (0, "")
    names = {file.name for file in (tmp_path / "out" / "parts").iterdir()}
    assert names == {"b.png", "\ufffdt\ufffd.png"}
    settings = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))["settings"]
    assert settings["images"] == [str(tmp_path / "caf\ufffd")]
    again = run("segment", "--config", tmp_path / "out" / "config.yaml", "--quiet")
    assert (again.status, again.err) == (0, "")


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_an_output_on_or_below_a_file_is_refused(run, photos, quick, tmp_path, place):
    (tmp_path / "file").write_text("mine")
    ran = run("segment", photos, "--out", tmp_path / place, *quick)

    assert ran.status == 2
    (line,) = ran.lines
    assert str(tmp_path / place) in line
    assert "give a folder" in line or "choose another output folder" in line
    assert (tmp_path / "file").read_text() == "mine"


def test_an_output_folder_that_cannot_be_made_is_refused(run, photos, quick, tmp_path, monkeypatch):
    def refuse(self, *_args, **_options):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    ran = run("segment", photos, "--out", tmp_path / "out", *quick)

    assert ran.status == 2
    (line,) = ran.lines
    assert line.startswith(f"leopart: cannot write {tmp_path / 'out'}: Permission denied; ")
    assert "choose another output folder" in line


# --- few and equal photos -------------------------------------------------------------------------------


def test_three_photos_for_a_hundred_parts_are_done_and_the_shortage_is_told(run, draw, quick, tmp_path):
    (tmp_path / "in").mkdir()
    for seed in range(3):
        draw(seed).save(tmp_path / "in" / f"{seed}.png")
    ran = run("segment", tmp_path / "in", "--out", tmp_path / "out", *quick, "--parts", "100", "--size", "8")

    assert ran.status == 0
    (warning,) = [line for line in ran.lines if "100 parts were asked for" in line]
    n_parts = json.loads((tmp_path / "out" / "summary.json").read_text())["counts"]["parts"]
    assert f"the photos hold only {n_parts} different points" in warning
    assert n_parts < 100
    assert len(list((tmp_path / "out" / "parts").iterdir())) == 3


@pytest.mark.parametrize("kind", ["drawn", "black"])
def test_identical_photos_are_done_and_get_identical_masks(run, draw, quick, tmp_path, kind):
    (tmp_path / "in").mkdir()
    for number in range(6):
        photo = draw(0) if kind == "drawn" else Image.new("RGB", (64, 48))
        photo.save(tmp_path / "in" / f"{number}.png")
    ran = run("segment", tmp_path / "in", "--out", tmp_path / "out", *quick)

    assert ran.status == 0, ran.err
    for folder in ("parts", "objects"):
        assert len({file.read_bytes() for file in (tmp_path / "out" / folder).iterdir()}) == 1
        assert len(list((tmp_path / "out" / folder).iterdir())) == 6


def test_one_photo_is_enough(run, photos, quick, tmp_path):
    ran = run("segment", photos / "0.png", "--out", tmp_path / "out", *quick)

    assert ran.status == 0
    assert "1 photo, 6 parts, 2 objects" in ran.err
    assert (tmp_path / "out" / "parts" / "0.png").is_file()
