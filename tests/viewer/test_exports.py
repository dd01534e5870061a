"""Masks for other programs, from the page."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from leopart.cli.main import main
from leopart.data.photos import search_photos
from leopart.errors import LeopartError
from leopart.export.masks.folder import MARKER
from leopart.progress import silent
from leopart.viewer.exports import Tickets, export, export_config, formats, zipped
from leopart.viewer.run import Run, open_run
from run_folders import make_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(make_run(tmp_path))


def exported(run: Run, **values: object) -> Path:
    config = export_config(run, values)
    export(run, config, silent)
    return config.out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("form", "values", "options"),
    [
        ("coco", {"what": "parts", "min_area": 30, "areas": True}, ["--min-area", "30", "--areas"]),
        ("voc", {"what": "parts", "instances": "classes", "photos": "none"}, ["--stuff", "--photos", "none"]),
        ("label-studio", {"what": "parts", "prefix": "a/b"}, ["--prefix", "a/b"]),
        ("yolo", {"what": "parts", "semantic": True}, ["--semantic"]),
    ],
)
def test_an_export_of_the_page_is_that_of_the_command(run, tmp_path, form, values, options):
    pytest.importorskip("pycocotools")
    folder = exported(run, format=form, **values)
    assert folder == run.out / "export" / form
    other = tmp_path / "other"
    command = ["export", str(run.out), "--format", form, "--what", "parts", "--out", str(other), "--quiet"]
    assert main([*command, *options]) == 0
    assert contents(folder) == contents(other)


def test_the_zip_holds_the_export_with_photos_in_place_of_links(run):
    folder = exported(run, format="yolo")
    with zipfile.ZipFile(io.BytesIO(b"".join(zipped(run, "yolo")))) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == contents(folder)
    assert any((folder / name).is_symlink() for name in found)


def test_a_zip_is_made_in_pieces_however_large_a_file_is(run):
    folder = exported(run, format="csv")
    (folder / "areas.csv").write_bytes(np.random.default_rng(0).bytes(8_000_000))
    pieces = [len(piece) for piece in zipped(run, "csv")]
    assert sum(pieces) > 8_000_000
    assert max(pieces) < 1_000_000


def test_a_link_out_of_an_export_is_not_followed(run, tmp_path):
    folder = exported(run, format="csv")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "areas.csv").unlink()
    (folder / "areas.csv").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(LeopartError, match="leads out"):
        zipped(run, "csv")


def test_a_name_out_of_an_export_is_not_followed(run, tmp_path):
    folder = exported(run, format="csv")
    (run.out / "secret.txt").write_text("secret")
    for name in ("../../secret.txt", str(tmp_path / "OUT" / "secret.txt")):
        (folder / MARKER).write_text(json.dumps({"format": "csv", "files": [name]}))
        with pytest.raises(LeopartError, match="no path below"):
            zipped(run, "csv")


def test_an_export_folder_that_is_a_link_is_not_written(run, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (run.out / "export").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LeopartError, match="leads out"):
        export_config(run, {"format": "csv"})
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_zip_breaks_off_when_the_export_is_written_anew(run):
    exported(run, format="yolo")
    pieces = zipped(run, "yolo")
    next(pieces)
    exported(run, format="yolo", what="parts")
    with pytest.raises(LeopartError, match="written anew"):
        list(pieces)


def test_what_was_never_exported_cannot_be_fetched(run):
    with pytest.raises(LeopartError, match="holds no export"):
        zipped(run, "csv")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "no format"),
        ({"format": "onnx"}, "no format"),
        ({"format": "../csv"}, "no format"),
        ({"format": ["csv"]}, "no format"),
        ({"format": "csv", "out": "/"}, "no option 'out'"),
        ({"format": "csv", "model": "/"}, "no option 'model'"),
        ({"format": "csv", "config": "/etc/passwd"}, "no option 'config'"),
        ({"format": "csv", "semantic": True}, "no option 'semantic'"),
        ({"format": "csv", "what": "../photos"}, "what"),
        ({"format": "csv", "min_area": 0}, "min_area"),
        ({"format": "csv", "min_area": "many"}, "min_area"),
        ({"format": "coco", "photos": "/etc"}, "--photos"),
        ({"format": "coco", "photos": "\0"}, "--photos"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_a_sentence(run, values, said):
    with pytest.raises(LeopartError, match=said):
        export_config(run, values)
    assert not (run.out / "export").exists()


def test_every_format_of_the_command_is_offered(run):
    from leopart.export.masks.formats import FORMATS

    assert set(formats()) == set(FORMATS)
    for form, names in formats().items():
        assert set(names) <= set(export_config(run, {"format": form}).__dataclass_fields__)


def test_exported_photos_are_not_taken_for_photos(run):
    exported(run, format="yolo")
    found = search_photos([run.out.parent]).photos
    assert not [photo.name for photo in found if "export" in photo.name]


def test_old_tickets_go():
    tickets = Tickets()
    first = tickets.issue("csv")
    assert tickets.format_of(first) == "csv"
    assert tickets.format_of("") is None
    for _ in range(100):
        last = tickets.issue("coco")
    assert tickets.format_of(first) is None
    assert tickets.format_of(last) == "coco"
