from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from leopart.config import LabelsFigureConfig
from leopart.data.labelled import LabelledPhotos
from leopart.data.photos import Photo
from leopart.drawing.palette import colours
from leopart.errors import LeopartError
from leopart.evaluation.metrics.matching import many_to_one
from leopart.figures.choice import chosen
from leopart.figures.classes import NO_CLASS, ClassColours, legend_of
from leopart.figures.segmented import class_numbers

PHOTOS = [Photo(Path(f"{i}.jpg"), f"{folder}/{i}.jpg") for folder in "ab" for i in range(20)]


def labelled(classes: dict[int, str]) -> LabelledPhotos:
    return LabelledPhotos(Path(), classes, [])


def test_background_and_pixels_without_a_label_have_no_colour():
    classes = ClassColours(labelled({0: "background", 3: "ball", 5: "blue_box"}))
    assert classes.numbers(np.array([0, 1, 2, 255])).tolist() == [0, 2, 3, 0]
    assert classes.numbers(np.array([-1, 2])).tolist() == [0, 3]
    assert classes.table[[2, 3]].tolist() == colours(6)[[3, 5]].tolist()


def test_a_first_class_that_is_no_background_has_a_colour_of_its_own():
    classes = ClassColours(labelled({0: "building", 1: "grass"}))
    assert classes.numbers(np.array([0, 1, 255])).tolist() == [1, 2, 0]
    assert classes.table[[1, 2]].tolist() == colours(3)[[1, 2]].tolist()


@pytest.mark.parametrize("first", ["background", "building"])
def test_leaving_a_class_out_moves_no_colour(first):
    every = labelled({0: first, 1: "grass", 4: "tree", 9: "cow"})
    less = every.without(["grass"])
    assert ClassColours(every).table[[3, 4]].tolist() == ClassColours(less).table[[2, 3]].tolist()


def test_the_legend_names_what_is_shown_and_the_largest_where_that_is_much():
    classes = ClassColours(labelled({0: "background", 1: "a_b", 2: "c", 3: "d"}))
    shown = [np.array([[0, 2, 2, 2], [4, 4, 5, 0]])]
    assert [entry.name for entry in classes.legend(shown)] == ["a b", "d", "no class"]
    names = ["", "a b", "c", "d", "e", "f"]
    less = legend_of([np.array([[0, 2, 2, 2], [4, 4, 5, 3]])], names, colours(6), most=2)
    assert [entry.name for entry in less] == ["c", "e", "and 2 smaller"]
    assert [entry.colour.tolist() for entry in less[:2]] == colours(6)[[2, 4]].tolist()
    assert classes.legend(shown)[-1].colour.tolist() == NO_CLASS.tolist()


def test_objects_that_match_no_class_are_grey_and_the_background_is_not():
    classes = ClassColours(labelled({0: "background", 1: "a", 2: "b"}))
    counts = np.array([[90, 5, 0, 7], [1, 50, 2, 1], [0, 0, 30, 1]])
    assert class_numbers(many_to_one(counts), classes).tolist() == [0, 2, 3, classes.unmatched]


def config(**options) -> LabelsFigureConfig:
    return LabelsFigureConfig(name="ade-parts", data="folder:x", out=Path("o"), **options)


def test_a_draw_is_the_seeds_in_the_photos_order_without_repetition():
    first = chosen(PHOTOS, config(seed=4))
    assert first == chosen(PHOTOS, config(seed=4)) == sorted(set(first))
    assert len(first) == 12
    assert first != chosen(PHOTOS, config(seed=5))
    assert chosen(PHOTOS, config(number=100)) == list(range(40))


def test_photos_are_named_with_or_without_suffix():
    assert chosen(PHOTOS, config(photos=("b/3", "a/7.jpg"))) == [23, 7]
    with pytest.raises(
        LeopartError, match=r"^--photos a/7\.jpeg is none of the photos; did you mean a/7\.jpg"
    ):
        chosen(PHOTOS, config(photos=("a/7.jpeg",)))
    with pytest.raises(LeopartError, match=r"none of the photos; the first of 40 is a/0\.jpg"):
        chosen(PHOTOS, config(photos=("zzz",)))
