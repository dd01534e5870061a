from __future__ import annotations

import inspect
import io
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import matplotlib
import matplotlib.pyplot
import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone

from leopart.config.method import FitSettings
from leopart.drawing.masks import overlay
from leopart.drawing.palette import colours, part_colours
from leopart.errors import LeopartError, PhotoError
from leopart.models.backbone import Backbone
from leopart.segment.segmenter import NotFittedError, Segmentation, Segmenter

Paint = Callable[[int, int, int], np.ndarray]


def make(backbone: Backbone | Path, **options: object) -> Segmenter:
    """A segmenter of 8 x 8 tokens a photo."""
    settings = {"n_parts": 6, "n_objects": 2, "communities": "map-equation", "size": 64, "precision": "fp32"}
    settings |= {"contexts": True}
    return Segmenter(backbone, device="cpu", **(settings | options))


def same(a: Segmentation, b: Segmentation) -> bool:
    return np.array_equal(a.parts, b.parts) and np.array_equal(a.objects, b.objects)


@pytest.fixture(scope="module")
def fitted(tiny_backbone: Backbone, photo_folder: Path) -> Segmenter:
    return make(tiny_backbone).fit(photo_folder)


def test_fit_returns_the_segmenter_itself(tiny_backbone: Backbone, photo_folder: Path):
    segmenter = make(tiny_backbone)
    assert segmenter.fit(photo_folder) is segmenter
    assert segmenter.model_ is segmenter.fit_.model


def test_masks_have_the_photos_own_size_and_known_ids(fitted: Segmenter, photo_folder: Path):
    parts = set()
    for path in photo_folder.iterdir():
        masks = fitted.predict(path)
        height, width, _ = np.asarray(Image.open(path)).shape
        assert masks.parts.shape == masks.objects.shape == (height, width)
        assert masks.parts.dtype == masks.objects.dtype == np.int32
        ((tokens, _),) = fitted.extractor.forward([fitted.extractor.prepare(path)])
        counts = np.bincount(fitted.model_.label(tokens).ravel(), minlength=7)[1:]
        table = np.concatenate([[0], 1 + fitted.model_.mixture.assign(counts)])
        np.testing.assert_array_equal(masks.objects, table[masks.parts])
        parts |= set(np.unique(masks.parts).tolist())
    assert parts <= set(range(7))
    assert len(parts) > 3


def test_a_part_covers_the_same_paint_in_every_photo(tiny_backbone: Backbone, photo_folder: Path):
    """Roofs, walls and ground are told apart by a network with random weights, by their colour."""
    masks = {}
    segmenter = make(tiny_backbone, n_parts=12, foreground="none").fit(photo_folder)
    for path in photo_folder.iterdir():
        colours = np.asarray(Image.open(path)).astype(int)
        masks[path.name] = (segmenter.predict(path).parts, colours)
    votes = np.zeros((13, 3), int)
    for ids, colours in masks.values():
        np.add.at(votes, (ids, colours.argmax(2)), 1)
    purity = votes.max(1).sum() / votes.sum()
    assert purity > 0.85
    assert set(votes[1:].argmax(1)) == {0, 1, 2}


def test_a_photo_as_path_and_as_array_gets_the_same_masks(
    fitted: Segmenter, tmp_path: Path, paint_photo: Paint
):
    photo = paint_photo(50, 47, 83)
    Image.fromarray(photo).save(tmp_path / "a.png")
    assert same(fitted.predict(tmp_path / "a.png"), fitted.predict(photo))
    assert same(fitted.predict(str(tmp_path / "a.png")), fitted.predict(photo))


@pytest.mark.parametrize("keep_aspect", [False, True])
def test_a_turned_photo_gets_the_masks_of_the_upright_one(
    tiny_backbone: Backbone, photo_folder: Path, tmp_path: Path, paint_photo: Paint, keep_aspect: bool
):
    segmenter = make(tiny_backbone, keep_aspect=keep_aspect).fit(photo_folder)
    upright = paint_photo(51, 90, 40)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise for viewing
    Image.fromarray(np.rot90(upright)).save(tmp_path / "turned.png", exif=exif)

    masks = segmenter.predict(tmp_path / "turned.png")

    assert masks.parts.shape == (90, 40)
    assert same(masks, segmenter.predict(upright))


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (700, 9)])
def test_photos_of_any_shape_get_masks(fitted: Segmenter, shape: tuple[int, int]):
    masks = fitted.predict(np.full((*shape, 3), 128, np.uint8))
    assert masks.parts.shape == shape


def test_predict_gives_what_the_fit_saw(fitted: Segmenter, photo_folder: Path):
    """The photos of the fit, asked for again, have the areas that the fit counted."""
    labels = []
    for path in sorted(photo_folder.iterdir()):
        ((tokens, _),) = fitted.extractor.forward([fitted.extractor.prepare(path)])
        labels.append(fitted.model_.label(tokens))
    counts = np.bincount(np.ravel(labels), minlength=7)
    assert counts[1:].tolist() == fitted.fit_.survey.pixels.tolist()


def test_the_same_seed_gives_the_same_masks_and_another_seed_others(
    tiny_backbone: Backbone, photo_folder: Path
):
    photo = photo_folder / "0.png"
    first, again, other = (make(tiny_backbone, seed=s).fit(photo_folder).predict(photo) for s in (5, 5, 6))
    assert same(first, again)
    assert not same(first, other)


def test_a_folder_and_its_files_give_the_same_fit(
    tiny_backbone: Backbone, photo_folder: Path, fitted: Segmenter
):
    files = [str(path) for path in photo_folder.iterdir()]
    photo = photo_folder / "3.png"
    assert same(make(tiny_backbone).fit(files).predict(photo), fitted.predict(photo))


def test_without_contexts_a_part_has_one_object_everywhere(tiny_backbone: Backbone, photo_folder: Path):
    segmenter = make(tiny_backbone, contexts=False).fit(photo_folder)
    assert segmenter.model_.mixture is segmenter.fit_.membership is None
    for path in photo_folder.iterdir():
        masks = segmenter.predict(path)
        np.testing.assert_array_equal(masks.objects, segmenter.model_.object_of_part[masks.parts])


@pytest.mark.parametrize("communities", ["map-equation", "infomap"])
@pytest.mark.parametrize("n_objects", [1, 2, None])
def test_objects_are_as_many_as_asked_for(
    tiny_backbone: Backbone, photo_folder: Path, communities: str, n_objects: int | None
):
    if communities == "infomap":
        pytest.importorskip("infomap")
    segmenter = make(
        tiny_backbone, n_objects=n_objects, communities=communities, n_parts=8, contexts=False
    ).fit(photo_folder)
    objects = segmenter.model_.object_of_part
    assert len(objects) == 9
    if n_objects is not None:
        assert objects.max() == n_objects
    else:
        assert (objects[1:] > 0).all()


def test_foreground_none_leaves_no_background(tiny_backbone: Backbone, photo_folder: Path):
    everything = make(tiny_backbone, foreground="none").fit(photo_folder)
    assert everything.predict(photo_folder / "1.png").parts.min() == 1


def test_a_higher_foreground_threshold_leaves_less(tiny_backbone: Backbone, photo_folder: Path):
    shares = []
    for threshold in (0.0, 0.6, 0.8):
        survey = make(tiny_backbone, foreground=threshold).fit(photo_folder).fit_.survey
        shares.append(survey.pixels.sum() / survey.cells)
    assert shares[0] == 1
    assert shares[0] > shares[1] > shares[2] > 0


def test_three_photos_for_a_hundred_parts(tiny_backbone: Backbone, tmp_path: Path, paint_photo: Paint):
    for seed in range(3):
        Image.fromarray(paint_photo(seed, 40, 40)).save(tmp_path / f"{seed}.png")
    segmenter = make(tiny_backbone, n_parts=100, n_objects=None).fit(tmp_path)
    assert 2 <= len(segmenter.model_.parts.centroids) <= 100
    assert segmenter.predict(tmp_path / "0.png").parts.max() > 0


def test_identical_photos_get_identical_masks(tiny_backbone: Backbone, tmp_path: Path, paint_photo: Paint):
    for number in range(4):
        Image.fromarray(paint_photo(0, 40, 60)).save(tmp_path / f"{number}.png")
    segmenter = make(tiny_backbone, n_objects=None).fit(tmp_path)
    first, *others = (segmenter.predict(path) for path in sorted(tmp_path.iterdir()))
    assert all(same(first, other) for other in others)
    assert first.parts.max() > 0


@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize("n_parts", [None, 3])
def test_a_single_photo_of_one_pixel(
    tiny_backbone: Backbone, tmp_path: Path, keep_aspect: bool, n_parts: int | None
):
    Image.new("RGB", (1, 1), "orange").save(tmp_path / "dot.png")
    segmenter = make(tiny_backbone, n_parts=n_parts, n_objects=None, keep_aspect=keep_aspect).fit(tmp_path)
    masks = segmenter.predict(tmp_path / "dot.png")
    assert masks.parts.shape == masks.objects.shape == (1, 1)


def test_photos_that_cannot_be_read_are_left_out_of_the_fit(
    tiny_backbone: Backbone, tmp_path: Path, photo_folder: Path, fitted: Segmenter
):
    for path in photo_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "3b.jpg").write_text("no photo")
    photo = photo_folder / "0.png"
    segmenter = make(tiny_backbone)
    with pytest.warns(UserWarning, match=r"1 of \d+ photos left out: .*3b\.jpg is not a photo"):
        segmenter.fit(tmp_path)
    assert [failure.name for failure in segmenter.failures_] == ["3b.jpg"]
    assert same(segmenter.predict(photo), fitted.predict(photo))


def test_a_folder_without_a_usable_photo_is_told(tiny_backbone: Backbone, tmp_path: Path, fitted: Segmenter):
    with pytest.raises(LeopartError, match="no photos in"):
        make(tiny_backbone).fit(tmp_path)
    (tmp_path / "a.jpg").write_text("no photo")
    with pytest.raises(LeopartError, match=r"no photo could be used, of 1 given:\n  .*a\.jpg is not a photo"):
        make(tiny_backbone).fit(tmp_path)
    with pytest.raises(PhotoError, match=r"a\.jpg is not a photo"):
        fitted.predict(tmp_path / "a.jpg")


def test_a_segmenter_that_has_learned_nothing_says_so(
    tiny_backbone: Backbone, tmp_path: Path, paint_photo: Paint
):
    with pytest.raises(NotFittedError, match=r"learned nothing yet: call fit, or Segmenter\.load"):
        make(tiny_backbone).predict(paint_photo(0, 20, 20))
    with pytest.raises(LeopartError, match="learned nothing yet"):
        make(tiny_backbone).save(tmp_path / "segmenter")
    assert not (tmp_path / "segmenter").exists()


@pytest.mark.parametrize("contexts", [True, False])
def test_a_loaded_segmenter_gives_the_same_masks(
    tiny_weights: Path, photo_folder: Path, tmp_path: Path, contexts: bool
):
    segmenter = make(tiny_weights, keep_aspect=True, seed=2, foreground=0.5, contexts=contexts).fit(
        photo_folder
    )
    segmenter.save(tmp_path / "segmenter")
    loaded = Segmenter.load(tmp_path / "segmenter", device="cpu")

    assert loaded.settings == segmenter.settings
    assert loaded.settings_ == segmenter.settings_
    assert loaded.extractor.preprocessing == segmenter.extractor.preprocessing
    assert loaded.precision == "fp32"
    for path in photo_folder.iterdir():
        assert same(loaded.predict(path), segmenter.predict(path))


def test_a_loaded_segmenter_can_be_saved_again(fitted: Segmenter, photo_folder: Path, tmp_path: Path):
    fitted.save(tmp_path / "first")
    Segmenter.load(tmp_path / "first", device="cpu").save(tmp_path / "second")
    photo = photo_folder / "2.png"
    assert same(Segmenter.load(tmp_path / "second", device="cpu").predict(photo), fitted.predict(photo))


def test_auto_precision_is_saved_as_what_it_came_to(
    tiny_backbone: Backbone, photo_folder: Path, tmp_path: Path
):
    segmenter = make(tiny_backbone, precision="auto").fit(photo_folder)
    segmenter.save(tmp_path / "segmenter")
    content = json.loads((tmp_path / "segmenter" / "segmenter.json").read_text())
    assert content["precision"] == segmenter.extractor.precision in ("fp32", "bf16")


def test_weights_that_have_changed_since_the_fit_are_refused(
    photo_folder: Path, tmp_path: Path, make_tiny_weights: Callable[[Path, int], Path]
):
    make(make_tiny_weights(tmp_path, 1)).fit(photo_folder).save(tmp_path / "segmenter")
    Segmenter.load(tmp_path / "segmenter", device="cpu")
    make_tiny_weights(tmp_path, 2)
    with pytest.raises(LeopartError, match="was fitted on other weights than this"):
        Segmenter.load(tmp_path / "segmenter", device="cpu")


def test_temporary_features_are_gone_after_the_fit(tiny_backbone, photo_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    make(tiny_backbone).fit(photo_folder)
    assert list(tmp_path.iterdir()) == []


def test_fit_can_be_called_any_number_of_times(tiny_backbone: Backbone, photo_folder: Path):
    segmenter = make(tiny_backbone)
    first, again = (segmenter.fit(photo_folder).predict(photo_folder / "0.png") for _ in range(2))
    assert same(first, again)


def test_parameters_are_stored_as_given_and_a_clone_has_them_without_what_was_learned(
    fitted: Segmenter, tiny_weights: Path, photo_folder: Path
):
    given = make(tiny_weights, n_parts=7, foreground=0.5)
    assert given.get_params()["backbone"] is tiny_weights
    copied = clone(given.fit(photo_folder))
    assert copied.get_params() == given.get_params()
    with pytest.raises(NotFittedError):
        copied.predict(photo_folder / "0.png")
    assert same(*(one.predict(photo_folder / "0.png") for one in (copied.fit(photo_folder), given)))


def test_parameters_can_be_changed_by_name_and_unknown_ones_are_named(
    tiny_backbone: Backbone, photo_folder: Path
):
    changed = make(tiny_backbone).set_params(n_parts=3, seed=4)
    assert (changed.n_parts, changed.settings.seed) == (3, 4)
    assert len(changed.fit(photo_folder).model_.parts.centroids) == 3
    with pytest.raises(LeopartError, match="Segmenter has no parameter 'parts'; there is: backbone, "):
        changed.set_params(parts=3)


def test_parameters_are_checked_when_they_are_used(photo_folder: Path, tiny_backbone: Backbone):
    with pytest.raises(LeopartError, match=r"^n_parts must be from 1 to 2000, got 0$"):
        make(tiny_backbone, n_parts=0).fit(photo_folder)
    with pytest.raises(LeopartError, match="louvain was removed: choose map-equation"):
        make(tiny_backbone, communities="louvain").fit(photo_folder)


def test_the_segmenter_is_shown_with_the_parameters_that_were_given(tiny_backbone: Backbone):
    assert repr(Segmenter()) == "Segmenter()"
    text = repr(Segmenter(tiny_backbone, n_parts=6, foreground="none"))
    assert text == "Segmenter(backbone=<Backbone tiny_random>, n_parts=6, foreground='none')"


def test_every_option_of_the_method_is_a_parameter_with_the_same_default():
    parameters = inspect.signature(Segmenter).parameters
    for field in fields(FitSettings):
        if field.name != "dimensions":  # the paper's; nothing to try
            assert parameters[field.name].default == field.default, field.name


def test_refine_can_be_changed_after_the_fit(tiny_weights: Path, photo_folder: Path, tmp_path: Path):
    plain = make(tiny_weights, foreground=0.5).fit(photo_folder)
    before = plain.predict(photo_folder / "1.png")
    plain.set_params(refine=True).save(tmp_path / "segmenter")
    loaded = Segmenter.load(tmp_path / "segmenter", device="cpu")
    assert loaded.refine
    assert same(loaded.predict(photo_folder / "1.png"), plain.predict(photo_folder / "1.png"))
    assert not same(before, plain.predict(photo_folder / "1.png"))


def test_the_output_folder_of_segment_is_loaded_like_the_segmenter_in_it(
    tiny_weights: Path, photo_folder: Path, tmp_path: Path
):
    segmenter = make(tiny_weights).fit(photo_folder)
    segmenter.save(tmp_path / "out" / "segmenter")
    photo = photo_folder / "0.png"
    loaded = Segmenter.load(tmp_path / "out", device="cpu")
    assert same(loaded.predict(photo), segmenter.predict(photo))


def test_masks_are_drawn_over_their_photo(fitted: Segmenter, photo_folder: Path):
    """The pixels are those of the overlay files of `segment`: tinted regions in the colours of the masks."""
    path = photo_folder / "0.png"
    photo = np.asarray(Image.open(path))
    masks = fitted.predict(path)
    for what in ("parts", "objects"):
        ids = getattr(masks, what)
        table = part_colours(fitted.model_.object_of_part) if what == "parts" else colours(3)
        np.testing.assert_array_equal(masks.overlay(what), overlay(photo, ids, table))
        np.testing.assert_array_equal(fitted.predict(photo).overlay(what), masks.overlay(what))
    assert max(masks.overlay("parts", 20).shape) == 20

    with Image.open(io.BytesIO(masks._repr_png_())) as shown:
        np.testing.assert_array_equal(np.asarray(shown), masks.overlay("parts", 640))
    assert "picture" not in repr(masks)
    bare = Segmentation(masks.parts, masks.objects)
    assert bare._repr_png_() is None
    with pytest.raises(LeopartError, match="no photo to be drawn on"):
        bare.overlay()


def test_a_plot_has_parts_and_objects_side_by_side(fitted: Segmenter, photo_folder: Path):
    matplotlib.use("Agg")
    masks = fitted.predict(photo_folder / "0.png")
    figure = masks.plot()
    assert [axis.get_title() for axis in figure.axes] == ["parts", "objects"]
    for axis, what in zip(figure.axes, ("parts", "objects"), strict=True):
        np.testing.assert_array_equal(axis.images[0].get_array(), masks.overlay(what))
    matplotlib.pyplot.close(figure)
