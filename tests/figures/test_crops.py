"""Crops: what is drawn is what a training with the same photos and seed computes with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from leopart.config import CropsFigureConfig
from leopart.data.images import load_photo
from leopart.data.photos import find_photos
from leopart.data.views import resized_crop
from leopart.drawing.palette import colours
from leopart.figures import crops
from leopart.presets import preset
from leopart.progress import silent
from leopart.training.loading import StreamData
from leopart.training.run import view_maker
from leopart.training.stream import Stream


@pytest.fixture
def config(tmp_path: Path) -> CropsFigureConfig:
    (tmp_path / "photos").mkdir()
    for seed in range(5):
        pixels = np.random.default_rng(seed).integers(0, 256, (90 + 10 * seed, 120, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{seed}.png")
    return CropsFigureConfig(
        name="crops", images=(tmp_path / "photos",), out=tmp_path / "out", seed=7, dpi=72
    )


def trained_on(config: CropsFigureConfig, photos: int):
    """The first batch that a training takes from its loader."""
    recipe, found = preset(config.preset), find_photos(config.images)
    stream = Stream(len(found), photos, config.seed)
    return next(iter(StreamData(found, stream, view_maker(recipe), steps=1).train_dataloader())).views


@pytest.mark.parametrize("name", ["in100k", "ablate-crops-2", "ablate-crops-22"])
def test_the_boxes_drawn_are_those_that_training_compares(config: CropsFigureConfig, name: str):
    config = replace(config, preset=name)
    views = trained_on(config, 2)
    axes = iter(crops.draw(config, silent).figure.axes)
    recipe = preset(name)
    n_global, n = recipe.crops[0], sum(recipe.crops)
    palette = colours(n + 1)[1:]
    for photo in range(2):
        for view in range(n):
            axis = next(axes)
            width, size = axis.get_xlim()[1], (recipe.global_size if view < n_global else recipe.local_size)
            partners = range(n) if view < n_global else range(n_global)
            boxes = views.gc[photo, view] if view < n_global else views.all[photo, view]
            drawn = {}
            for patch in axis.patches:
                assert isinstance(patch, Rectangle)
                colour = tuple(np.rint(255 * np.array(patch.get_edgecolor()[:3])).astype(int).tolist())
                drawn[colour] = np.array(patch.get_bbox().extents) * size / width
            assert drawn.pop((255, 255, 255)) is not None  # round the coloured lines
            expected = {tuple(palette[p].tolist()): boxes[p].numpy() for p in partners if p != view}
            assert drawn.keys() == expected.keys()
            for colour, box in expected.items():
                assert drawn[colour] == pytest.approx(box, abs=1e-3)
    assert next(axes, None) is None


def test_views_are_the_crops_before_their_colours_are_changed(config: CropsFigureConfig):
    found = find_photos(config.images)
    stream = Stream(len(found), 1, config.seed)
    for position, views in enumerate(crops.views_of(config)):
        path = found[stream.photo_at(position)].path
        boxes = view_maker(preset("in100k"))(path, stream.generator_at(position)).boxes
        assert len(views) == len(boxes)
        for view, box in zip(views, boxes.double().numpy(), strict=True):
            expected = resized_crop(load_photo(path), box, len(view.pixels))
            assert np.array_equal(view.pixels, expected)


def test_photos_are_shown_once_and_no_more_than_there_are(config: CropsFigureConfig):
    views = [block[0].pixels.tobytes() for block in crops.views_of(replace(config, number=9))]
    assert len(set(views)) == len(views) == 5
