import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from leopart.drawing.palette import CONTRASTING, colours, part_colours


def distances(rgb):
    """Pairwise CIE76 distance, by scikit-image: another space and other code than the palette's own."""
    lab = rgb2lab(rgb[None].astype(np.float64) / 255)[0]
    return np.linalg.norm(lab[:, None] - lab[None], axis=-1)


def test_colours__background_is_black_and_all_ids_differ():
    table = colours(256)
    assert table.dtype == np.uint8
    assert table.shape == (256, 3)
    assert not table[0].any()
    assert len(np.unique(table, axis=0)) == 256


@pytest.mark.parametrize(("n", "floor"), [(8, 30), (21, 14), (60, 5)])
def test_colours__pairwise_distance_has_a_floor(n, floor):
    apart = distances(colours(n))
    assert apart[~np.eye(n, dtype=bool)].min() > floor


def test_colours__neighbouring_ids_are_far_apart():
    apart = distances(colours(256))
    assert np.diagonal(apart, 1).min() > 50


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_colours__do_not_depend_on_how_many_are_asked_for(n):
    assert np.array_equal(colours(n), colours(300)[:n])


def test_part_colours__only_part_has_exactly_the_object_colour():
    assert np.array_equal(
        part_colours([0, 2, 1, 1]), [[0, 0, 0], colours(3)[2], *part_colours([0, 2, 1, 1])[2:]]
    )


def test_part_colours__parts_of_an_object_differ_but_share_its_hue():
    owner = np.repeat([0, 1, 2, 4], [1, 6, 6, 6])
    shades = part_colours(owner)
    objects = colours(5)

    def hue(rgb):
        lab = rgb2lab(rgb[None].astype(float) / 255)[0]
        return np.arctan2(lab[:, 2], lab[:, 1])

    for obj in (1, 2, 4):
        mine = shades[owner == obj]
        assert distances(mine)[~np.eye(6, dtype=bool)].min() > 5
        assert np.diagonal(distances(mine), 1).min() > 8
        turn = np.angle(np.exp(1j * (hue(mine) - hue(objects[obj : obj + 1]))))
        assert np.abs(turn).max() < np.deg2rad(35)


def test_part_colours__a_split_changes_no_other_colour_and_pieces_differ():
    before = part_colours([0, 1, 1, 2, 0])
    after = part_colours([0, 1, 1, 2, 0, 1, 1, 2], [[2, 5, 6], [3, 7]])
    assert np.array_equal(after[:5], before)
    assert (distances(after[1:])[~np.eye(7, dtype=bool)] > 3).all()


@pytest.mark.parametrize("owner", [[0, 1, 1, 1, 1], [0, 3, 0, 3, 3, 3]])
def test_part_colours__parts_of_the_only_object_differ_as_objects_do(owner):
    owner = np.array(owner)
    assert np.array_equal(part_colours(owner)[owner > 0], colours(5)[1:])


def test_part_colours__parts_without_object_are_distinct_greys():
    greys = part_colours([0, 0, 0, 0])[1:].astype(int)
    assert np.ptp(greys, axis=1).max() <= 1
    assert len(np.unique(greys, axis=0)) == 3
    assert greys.min() > 40


def test_part_colours__edges_and_bad_input():
    assert part_colours([]).shape == (0, 3)
    assert part_colours([0]).tolist() == [[0, 0, 0]]
    with pytest.raises(ValueError, match="start at 0"):
        part_colours([0, -1])


# Machado, Oliveira and Fernandes 2009, severity 1, linear sRGB.
SEEN_WITH = {
    "all cones": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("vision", SEEN_WITH)
def test_contrasting_colours_are_told_apart_with_any_colour_vision(vision):
    encoded = CONTRASTING / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(SEEN_WITH[vision]).T, 0, 1)
    seen = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = rgb2lab(seen[None])[0]
    apart = deltaE_ciede2000(lab[:, None], lab[None])
    assert len(apart) == 12
    assert apart[~np.eye(12, dtype=bool)].min() >= 14
