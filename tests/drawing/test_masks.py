import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from leopart.data.masks import read_index_mask
from leopart.drawing.masks import overlay, save_mask, save_overlay, shrink, upsample_labels
from leopart.drawing.palette import colours


def naive_scores(ids, height, width):
    """Bilinear upsampling of every label's indicator by torch: labels, scores [K, height, width]."""
    labels = np.unique(ids)
    maps = torch.from_numpy((labels[:, None, None] == ids).astype(np.float64))[None]
    scores = F.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False)[0].numpy()
    return labels, scores


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (7, 5), (16, 12)])
@pytest.mark.parametrize("size", [(16, 12), (31, 47), (64, 64), (100, 17)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_upsample_labels__is_the_argmax_of_bilinear_indicators(shape, size, dtype):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 6, shape).astype(dtype) * 40
    result = upsample_labels(ids, *size)
    labels, scores = naive_scores(ids, *size)
    ordered = np.sort(scores, axis=0)
    clear = np.ones(size, bool) if len(labels) == 1 else ordered[-1] - ordered[-2] > 1e-9
    assert result.dtype == dtype
    assert clear.mean() > 0.5
    assert np.array_equal(result[clear], labels[scores.argmax(axis=0)][clear])


def test_upsample_labels__exact_ties_go_to_the_lower_id():
    assert upsample_labels(np.array([[7, 3]]), 1, 5).tolist() == [[7, 7, 3, 3, 3]]
    assert upsample_labels(np.array([[3, 7]]), 1, 5).tolist() == [[3, 3, 3, 7, 7]]
    # Four corners with a quarter each in the middle; pairs along the middle lines.
    assert upsample_labels(np.array([[9, 5], [8, 2]]), 3, 3).tolist() == [[9, 5, 5], [8, 2, 2], [8, 2, 2]]
    # Two of four corners outweigh the lower label.
    assert upsample_labels(np.array([[9, 1], [2, 9]]), 3, 3)[1, 1] == 9


def test_upsample_labels__same_size_is_a_copy_and_shrinking_takes_the_nearest():
    ids = np.arange(48).reshape(6, 8)
    same = upsample_labels(ids, 6, 8)
    assert np.array_equal(same, ids)
    assert not np.shares_memory(same, ids)
    assert np.array_equal(upsample_labels(ids, 2, 8), ids[[1, 4]])
    assert np.array_equal(upsample_labels(ids, 3, 2), ids[[1, 3, 5]][:, [2, 6]])


@pytest.mark.parametrize("size", [(40, 20000), (20000, 40), (1, 1), (1, 3000), (1025, 1024)])
def test_upsample_labels__extreme_sizes_and_strips(size):
    ids = np.random.default_rng(1).integers(0, 9, (12, 10))
    result = upsample_labels(ids, *size)
    assert result.shape == size
    if min(size) > 20:  # both axes grow, and there are several strips
        labels, scores = naive_scores(ids, *size)
        ordered = np.sort(scores, axis=0)
        clear = ordered[-1] - ordered[-2] > 1e-9
        assert clear.mean() > 0.9
        assert np.array_equal(result[clear], labels[scores.argmax(axis=0)][clear])


def test_upsample_labels__boundary_is_smooth():
    y, x = np.mgrid[:32, :32]
    disc = (np.hypot(y - 15.5, x - 15.5) < 9).astype(np.uint8)
    big = upsample_labels(disc, 512, 512)
    y, x = np.mgrid[:512, :512]
    truth = np.hypot(y - 255.5, x - 255.5) < 9 * 16
    blocky = np.kron(disc, np.ones((16, 16), np.uint8))
    assert (big != truth).sum() < 0.8 * (blocky != truth).sum()


def test_upsample_labels__12_megapixels_in_seconds():
    ids = np.kron(np.random.default_rng(0).integers(0, 12, (16, 16)), np.ones((8, 8), int))
    start = time.process_time()
    upsample_labels(ids, 3000, 4000)
    assert time.process_time() - start < 6  # 0.5 s when written; room for slow machines


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.zeros(4, int), np.zeros((0, 3), int)])
def test_upsample_labels__refuses_what_is_no_label_map(bad):
    with pytest.raises(ValueError, match="integer map"):
        upsample_labels(bad, 4, 4)
    with pytest.raises(ValueError, match="positive size"):
        upsample_labels(np.zeros((2, 2), int), 0, 4)


@pytest.mark.parametrize("largest", [0, 1, 3, 15, 16, 17, 100, 255])
def test_save_mask__palette_png_holds_ids_and_colours(tmp_path, largest):
    ids = np.random.default_rng(0).integers(0, largest + 1, (33, 20))
    ids[0, 0] = largest
    table = colours(largest + 1)
    save_mask(tmp_path / "new" / "m.png", ids, table)
    with Image.open(tmp_path / "new" / "m.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), ids)
        assert np.array_equal(np.asarray(image.convert("RGB")), table[ids])
    assert np.array_equal(read_index_mask(tmp_path / "new" / "m.png"), ids)


def test_save_mask__many_ids_are_16_bit_grey(tmp_path):
    ids = np.array([[0, 256, 65535]])
    save_mask(tmp_path / "m.png", ids, colours(300))
    with Image.open(tmp_path / "m.png") as image:
        assert image.mode == "I;16"
    assert np.array_equal(read_index_mask(tmp_path / "m.png"), ids)


def test_save_mask__palette_longer_than_needed_and_longer_than_256(tmp_path):
    for length in (40, 256, 700):
        save_mask(tmp_path / "m.png", np.array([[0, 2]]), colours(length))
        assert read_index_mask(tmp_path / "m.png").tolist() == [[0, 2]]


def test_save_mask__same_ids_same_bytes(tmp_path):
    ids = np.random.default_rng(0).integers(0, 30, (50, 60))
    save_mask(tmp_path / "a.png", ids.astype(np.uint8), colours(30))
    save_mask(tmp_path / "b.png", ids.astype(np.int64), colours(30))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("ids", "words"), [([[-1]], "0 .. 65535"), ([[70000]], "0 .. 65535"), ([[5]], "no colour")]
)
def test_save_mask__refuses_ids_it_cannot_hold(tmp_path, ids, words):
    with pytest.raises(ValueError, match=words):
        save_mask(tmp_path / "m.png", np.array(ids), colours(5))
    assert not list(tmp_path.iterdir())


def scene():
    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    ids = np.zeros((60, 80), np.int32)
    ids[10:50, 10:40] = 1
    ids[10:50, 40:70] = 2
    return photo, ids


def test_overlay__tints_inside_outlines_edges_and_keeps_background_colours_apart():
    photo, ids = scene()
    table = colours(3)
    result = overlay(photo, ids, table, alpha=0.5)
    assert result.dtype == np.uint8
    inside = (slice(20, 40), slice(20, 30))
    expected = (photo[inside].astype(float) + table[1]) / 2
    assert np.abs(result[inside] - expected).max() <= 0.5
    background = ids == 0
    assert (result[background] <= photo[background].max()).all()
    lean = 0.78 * (0.6 * photo + 0.4 * photo.mean(axis=2, keepdims=True))
    assert np.abs(result - lean)[background].max() < 0.6
    line = np.abs(result[20:40, 39] - (photo[20:40, 39].astype(float) + table[1]) / 2)
    assert line.max() > 5


def test_overlay__alpha_zero_leaves_regions_alone():
    photo, ids = scene()
    assert np.array_equal(overlay(photo, ids, colours(3), alpha=0)[20:40, 20:30], photo[20:40, 20:30])


def test_overlay__outlines_grow_with_the_photo():
    def width(side):
        ids = np.ones((side, side), int)
        ids[:, side // 2 :] = 2
        flat = overlay(np.zeros((side, side, 3), np.uint8), ids, colours(3))
        return (np.abs(flat[0].astype(int) - flat[0, 0]).sum(axis=1) > 0)[: side // 2].sum()

    assert width(100) == 1
    assert width(1920) == 4


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 2)])
def test_overlay__tiny_photos(shape):
    assert overlay(np.zeros((*shape, 3), np.uint8), np.ones(shape, int), colours(2)).shape == (*shape, 3)


def test_overlay__refuses_other_size_and_missing_colours():
    photo, ids = scene()
    with pytest.raises(ValueError, match="differ in size"):
        overlay(photo[1:], ids, colours(3))
    with pytest.raises(ValueError, match="colours"):
        overlay(photo, ids, colours(2))


@pytest.mark.parametrize(
    ("shape", "size"),
    [((40, 20000), (1280, 3)), ((20000, 40), (3, 1280)), ((1, 1), (1, 1)), ((100, 200), (200, 100))],
)
def test_save_overlay__limits_the_longest_side(tmp_path, shape, size):
    photo = np.full((*shape, 3), 90, np.uint8)
    save_overlay(tmp_path / "o.jpg", photo, np.ones(shape, np.uint8), colours(2))
    with Image.open(tmp_path / "o.jpg") as image:
        assert image.format == "JPEG"
        assert image.size == size
        image.load()


def test_shrink__photo_and_labels_stay_aligned():
    ids = np.zeros((300, 400), int)
    ids[:, 200:] = 1
    photo = np.repeat((ids * 200).astype(np.uint8)[..., None], 3, axis=2)
    small, labels = shrink(photo, ids, 100)
    assert small.shape == (75, 100, 3)
    assert labels.shape == (75, 100)
    off = np.abs(small[..., 0].astype(int) - labels * 200)[:, [*range(46), *range(54, 100)]]
    assert off.max() < 10
    same, untouched = shrink(photo, ids, 400)
    assert same is photo
    assert untouched is ids
