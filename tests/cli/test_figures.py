"""`leopart figure` of photos: files, colours that mean ids, and one sentence for each mistake."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart.drawing.palette import colours
from leopart.figures.classes import NO_CLASS
from leopart.figures.labels import DARK_GREEN

QUICK = ("--dpi", "60", "--width", "2")


@pytest.fixture
def words(segmented: Path, labelled: Path, tiny_weights: Path) -> dict[str, list[object]]:
    """What to write after `figure`, by figure."""
    photos, data = segmented.parent / "photos", ("--data", f"folder:{labelled}")
    network = ("--backbone", tiny_weights, "--size", "64", "--device", "cpu")
    return {
        "crops": ["crops", photos, *QUICK],
        "cbfe": ["cbfe", segmented, photos, *QUICK],
        "parts": ["parts", segmented / "segmenter", photos, *QUICK, "--originals"],
        "communities": ["communities", segmented, photos, *QUICK],
        "overclustering": ["overclustering", *data, "--k", "8", *network, *QUICK],
        "ade-parts": ["ade-parts", *data, *QUICK],
    }


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def ids_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def inside(ids: np.ndarray) -> np.ndarray:
    """Pixels whose eight neighbours have the same id: outlines are drawn on the others."""
    same = np.ones(ids.shape, bool)
    for dy, dx in itertools.product((-1, 0, 1), repeat=2):
        same &= np.roll(ids, (dy, dx), (0, 1)) == ids
    same[[0, -1]] = same[:, [0, -1]] = False
    return same


def one_to_one(photo: str) -> tuple[str, ...]:
    """Options that show one photo of 64 x 48 pixels alone, pixel by pixel, in flat colours."""
    return ("--photos", photo, "--columns", "1", "--width", "1", "--dpi", "64", "--opacity", "1")


@pytest.mark.parametrize("name", ["crops", "cbfe", "parts", "communities", "overclustering", "ade-parts"])
def test_a_figure_is_a_pdf_and_a_png_and_the_same_each_time(run, words, tmp_path: Path, name: str):
    found = []
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        ran = run("figure", *words[name], "--out", tmp_path / out, "--number", "2", "--seed", seed)
        assert (ran.status, ran.out) == (0, ""), ran.err
        files = [tmp_path / out / f"{name}.pdf", tmp_path / out / f"{name}.png"]
        assert ran.lines == [str(file) for file in files]
        found.append([file.read_bytes() for file in files])
        assert found[-1][0].startswith(b"%PDF")
        assert abs(read(files[1]).shape[1] - 120) <= 1
    assert found[0] == found[1]
    assert found[0][1] != found[2][1]


@pytest.mark.parametrize(("name", "folder"), [("parts", "parts"), ("communities", "objects")])
@pytest.mark.parametrize("photo", ["0", "4"])
def test_an_id_has_the_colour_that_its_mask_has(run, segmented, words, tmp_path, name, folder, photo):
    ran = run("figure", name, segmented, words["cbfe"][2], "--out", tmp_path, *one_to_one(photo))
    assert ran.status == 0, ran.err
    with Image.open(segmented / folder / f"{photo}.png") as mask:
        ids, expected = np.asarray(mask), np.asarray(mask.convert("RGB"))
    drawn = read(tmp_path / f"{name}.png")[:48]
    flat = inside(ids) & (ids > 0)
    assert flat.sum() > 100
    assert np.array_equal(drawn[flat], expected[flat])


def test_foreground_has_one_colour_and_background_keeps_the_photo(run, segmented, words, tmp_path):
    ran = run("figure", *words["cbfe"][:3], "--out", tmp_path, *one_to_one("2"))
    assert ran.status == 0, ran.err
    ids, drawn = ids_of(segmented / "parts" / "2.png"), read(tmp_path / "cbfe.png")
    found = (ids > 0).astype(int)
    assert {tuple(c) for c in drawn[inside(found) & (found == 1)].tolist()} == {tuple(colours(2)[1].tolist())}
    photo = read(segmented.parent / "photos" / "2.png").astype(float)
    behind = inside(found) & (found == 0)
    grey = photo.mean(2, keepdims=True)
    assert np.abs(drawn - 0.78 * (0.6 * photo + 0.4 * grey))[behind].max() <= 0.5 + 1e-6


def best_classes(segmented: Path, labelled: Path) -> dict[int, int]:
    """Class of each object id (and of background 0), trying every assignment; -1 where there is none."""
    pairs = [
        (ids_of(labelled / "masks" / f"{i}.png"), ids_of(segmented / "objects" / f"{i}.png"))
        for i in range(5)
    ]
    truth, found = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    found, truth = found[truth != 255], truth[truth != 255]
    ids, classes = np.unique(np.append(found, [0, 1, 2])), [0, 3, 5]

    def iou(obj: int, label: int) -> float:
        union = ((found == obj) | (truth == label)).sum()
        return float(((found == obj) & (truth == label)).sum() / union) if union else 0.0

    best = max(itertools.permutations(classes), key=lambda order: sum(map(iou, ids, order)))
    return dict(zip(ids.tolist(), best, strict=True))


def test_with_labels_an_object_has_the_colour_of_its_class(run, segmented, labelled, tmp_path):
    class_of = best_classes(segmented, labelled)
    data = ("--data", f"folder:{labelled}")
    for folder in (segmented, segmented / "segmenter"):  # masks on disk, and found anew
        out = tmp_path / folder.name
        ran = run("figure", "communities", folder, *data, "--out", out, *one_to_one("3"))
        assert ran.status == 0, ran.err
        drawn, ids = read(out / "communities.png")[:48], ids_of(segmented / "objects" / "3.png")
        assert (inside(ids) & (ids > 0)).sum() > 100
        for obj in np.unique(ids[ids > 0]).tolist():
            flat = inside(ids) & (ids == obj)
            colour = colours(6)[class_of[obj]] if class_of[obj] else NO_CLASS
            assert (drawn[flat] == colour).all()


def test_labels_stand_below_in_the_colours_of_their_classes(run, segmented, labelled, tmp_path):
    data = ("--data", f"folder:{labelled}")
    for name in ("parts", "overlay"):
        more = ("--labels",) if name == "overlay" else ()
        ran = run("figure", "parts", segmented, *data, *more, "--out", tmp_path / name, *one_to_one("1"))
        assert ran.status == 0, ran.err
    without, drawn = (read(tmp_path / name / "parts.png") for name in ("parts", "overlay"))
    assert len(drawn) > len(without) == 48
    present = {tuple(colour) for colour in drawn.reshape(-1, 3).tolist()}
    assert {tuple(colours(6)[i].tolist()) for i in (3, 5)} <= present


def test_part_masks_are_flat_and_the_rest_is_dark_green(run, labelled, tmp_path):
    options = ("--photos", "3", "--columns", "1", "--width", "1", "--dpi", "64")
    ran = run("figure", "ade-parts", "--data", f"folder:{labelled}", "--out", tmp_path, *options)
    assert ran.status == 0, ran.err
    drawn, ids = read(tmp_path / "ade-parts.png"), ids_of(labelled / "masks" / "3.png")
    table = np.zeros((256, 3), np.uint8) + DARK_GREEN
    table[[3, 5]] = colours(6)[[3, 5]]
    present, expected = np.unique(drawn.reshape(-1, 3), axis=0).tolist(), table[[0, 3, 5]].tolist()
    assert all(colour in present for colour in expected)
    share = [(drawn == table[i]).all(2).sum() for i in (3, 5)]
    assert share[1] / share[0] == pytest.approx((ids == 5).sum() / (ids == 3).sum(), rel=0.2)


MISTAKES = {
    "no photos": (["crops"], "no photos are given: name their folder"),
    "no photos of a segmenter": (["parts", "{out}"], "name their folder after the segmenter, or --data"),
    "photos twice": (["parts", "{out}", "{photos}", "--data", "folder:{data}"], "photos are given twice"),
    "labels without a set": (
        ["cbfe", "{out}", "{photos}", "--labels"],
        "--labels needs a labelled set: give --data folder:PATH",
    ),
    "no segmenter": (["cbfe", "{photos}", "{photos}"], "holds no segmenter"),
    "another network": (
        ["cbfe", "{out}", "{photos}", "--backbone", "{other}"],
        "was fitted on other weights than this",
    ),
    "no data": (["overclustering", "--data", "{photos}"], "has no folder images/"),
    "too many clusters": (
        ["overclustering", "--data", "{data}", "--k", "9999", "--backbone", "{net}", "--size", "64"],
        "--k 9999 is more than the 320 tokens",
    ),
    "no such class": (["overclustering", "--data", "{data}", "--ignore", "cow"], "there is no class 'cow'"),
    "no such photo": (["ade-parts", "--data", "{data}", "--photos", "99"], "--photos 99 is none of the"),
    "no such preset": (["crops", "{photos}", "--preset", "in100"], "did you mean in100k?"),
    "nothing to show": (["crops", "{photos}", "--number", "0"], "--number must be at least 1, got 0"),
    "too opaque": (["cbfe", "{out}", "{photos}", "--opacity", "2"], "--opacity must be from 0 to 1, got 2"),
    "nearly": (["part", "{out}", "{photos}"], "there is no figure 'part'; did you mean parts?"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(
    run, mistake, segmented, labelled, tiny_weights, make_tiny_weights, tmp_path
):
    words, sentence = MISTAKES[mistake]
    (tmp_path / "other").mkdir()
    places = {
        "out": segmented,
        "photos": segmented.parent / "photos",
        "data": labelled,
        "net": tiny_weights,
        "other": make_tiny_weights(tmp_path / "other", 5),
    }
    ran = run("figure", *(word.format(**places) for word in words), "--out", tmp_path / "figures")
    assert ran.status == 2
    assert len(ran.lines) == 1
    assert sentence in ran.err
    assert not list((tmp_path / "figures").glob("*.p*"))


def test_without_matplotlib_nothing_is_done(run, words, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ran = run("figure", *words["overclustering"], "--out", tmp_path / "out")
    assert ran.status == 2
    assert ran.lines == [
        "leopart: figures need matplotlib, which is not installed: pip install 'leopart[demo]'"
    ]
    assert not (tmp_path / "out").exists()


def test_options_come_from_a_file_too(run, words, tmp_path):
    (tmp_path / "options.yaml").write_text("name: ade-parts\nnumber: 1\ndpi: 50\n")
    data = next(word for word in words["ade-parts"] if str(word).startswith("folder:"))
    ran = run("figure", "--config", tmp_path / "options.yaml", "--data", data, "--out", tmp_path / "out")
    assert ran.status == 0, ran.err
    assert read(tmp_path / "out" / "ade-parts.png").shape[1] == 350


def test_the_help_lists_the_figures_and_each_has_its_own(run):
    assert "overclustering  many clusters" in run("figure", "--help").out
    assert "--opacity" in run("figure", "parts", "--help-all").out
    assert "--opacity" not in run("figure", "crops", "--help").out
