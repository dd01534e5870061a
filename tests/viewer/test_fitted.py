"""The page of a `Segmenter` in Python, and parts that are split while the page is open."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from PIL import Image

import leopart
from leopart.cli.main import main
from leopart.errors import LeopartError
from leopart.segment.segmenter import NotFittedError, Segmenter
from leopart.viewer.draft import ConflictError
from leopart.viewer.fitted import run_of
from leopart.viewer.run import open_run
from leopart.viewer.session import Session
from leopart.viewer.work import Work

pytest.importorskip("uvicorn", reason="the extra `view` is not installed")


@pytest.fixture(scope="module")
def written(fitted: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the fitted segmenter. Not to be changed."""
    return run_of(fitted, out=tmp_path_factory.mktemp("written") / "OUT")


@pytest.fixture
def session(written: Path, tmp_path: Path) -> Session:
    shutil.copytree(written, tmp_path / "OUT")
    return Session(Work(open_run(tmp_path / "OUT")))


def masks_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.glob("*/*.png")}


def test_masks_of_the_run_are_those_of_predict(fitted, written):
    run = open_run(written)
    assert [entry.name for entry in run.entries] == [f"{number}.png" for number in range(6)]
    for entry in run.entries:
        parts, objects = run.masks(entry)
        expected = fitted.predict(entry.path)
        np.testing.assert_array_equal(parts, expected.parts)
        np.testing.assert_array_equal(objects, expected.objects)


def test_a_segmenter_loaded_from_a_run_shows_that_run(written):
    assert run_of(Segmenter.load(written, device="cpu")) == written


def test_a_segmenter_that_was_loaded_alone_needs_photos(fitted, painted, tmp_path):
    fitted.save(tmp_path / "saved")
    alone = Segmenter.load(tmp_path / "saved", device="cpu")
    with pytest.raises(LeopartError, match="photos="):
        run_of(alone)
    shown = open_run(run_of(alone, [painted / "3.png"], tmp_path / "OUT"))
    assert [entry.name for entry in shown.entries] == ["3.png"]


def test_photos_that_were_arrays_are_not_looked_for(tiny_backbone, painted):
    arrays = [np.asarray(Image.open(painted / f"{number}.png")) for number in range(6)]
    options = {"n_parts": 3, "n_objects": 1, "size": 64, "foreground": "none", "device": "cpu"}
    with pytest.raises(LeopartError, match="knows no files"):
        run_of(Segmenter(tiny_backbone, **options).fit(arrays))


def test_a_folder_that_holds_something_is_left_as_it_is(fitted, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(LeopartError, match="not empty"):
        run_of(fitted, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_segmenter_that_has_learned_nothing_is_refused(tiny_backbone, painted):
    with pytest.raises(NotFittedError):
        run_of(Segmenter(tiny_backbone), [painted])


def test_view_gives_a_frame_with_the_page(fitted, written, tmp_path, monkeypatch):
    display = SimpleNamespace(IFrame=lambda address, width, height: (address, width, height))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    for shown in (written, fitted):
        options = {} if shown is written else {"out": tmp_path / "OUT"}
        address, _, height = leopart.view(shown, height=500, **options)
        assert height == 500
        policy = httpx.get(address, timeout=30).headers["content-security-policy"]
        assert "frame-ancestors http://localhost:*" in policy
        assert len(httpx.get(address + "api/run").json()["photos"]) == 6
    with pytest.raises(LeopartError, match="Segmenter"):
        leopart.view(5)
    with pytest.raises(LeopartError, match="leave photos="):
        leopart.view(written, "photos")


def test_a_part_is_split_as_the_command_does_and_taken_back(session, written, tmp_path):
    out = session.run.out
    assert main(["label", str(out), "--quiet"]) == 0
    before = masks_of(out)
    session.split(0, 1, 2)
    session.work.writing.wait()
    assert "part 1, in " in session.work.writing.outcome.message
    assert session.run.ids.n_parts == 7
    assert session.state()["unsplit"]

    other = tmp_path / "other"
    shutil.copytree(written, other)
    assert main(["label", str(other), "--split", "part:1", "--into", "2", "--quiet"]) == 0
    assert masks_of(out) == masks_of(other)
    assert masks_of(out) != before

    session.unsplit(session.draft.version)
    session.work.writing.wait()
    assert session.run.ids.n_parts == 6
    assert masks_of(out) == before


def test_a_split_waits_until_changes_are_saved(session):
    session.change(0, "ignore", {"ids": "parts:1"})
    with pytest.raises(LeopartError, match="save your changes"):
        session.split(1, 2, 2)
    with pytest.raises(ConflictError, match="another window"):
        session.split(0, 2, 2)
    session.change(1, "undo", {})
    session.split(2, 2, 2)
    with pytest.raises(ConflictError, match="being split"):
        session.change(2, "ignore", {"ids": "parts:1"})
    session.work.writing.wait()
    assert session.run.ids.n_parts == 7
    assert session.change(session.draft.version, "ignore", {"ids": "parts:7"}) is not None


@pytest.mark.parametrize(("part", "into"), [(0, 2), (99, 2), (1, 1), (1, 101), (-1, 2)])
def test_a_split_that_cannot_be_is_said_and_changes_nothing(session, part, into):
    before = masks_of(session.run.out)
    try:
        session.split(0, part, into)
        session.work.writing.wait()
        said = session.work.writing.outcome.message
    except LeopartError as error:
        said = str(error)
    assert said
    assert masks_of(session.run.out) == before
    assert session.change(0, "ignore", {"ids": "parts:1"}) == []


def test_a_run_that_another_program_has_changed_is_opened_anew(session):
    assert main(["label", str(session.run.out), "--split", "part:1", "--quiet"]) == 0
    with pytest.raises(LeopartError, match="reload the page"):
        session.save(0, overwrite=True)
    session.reopen_if_stale()
    assert session.run.ids.n_parts == 7
    assert "opened anew" in session.state()["notes"][-1]
