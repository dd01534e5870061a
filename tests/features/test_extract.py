from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from leopart.data.photos import Photo, find_photos
from leopart.errors import LeopartError, PhotoError
from leopart.features import extract as module
from leopart.features.extract import Extractor, Preprocessing, fast_precision
from leopart.features.failure import Failure
from leopart.features.store import FeatureStore, StoreMismatchError
from leopart.models.backbone import Backbone
from tolerances import assert_same, rounding

TERMS = 192 + 2 * (4 * 24 + 96 + 17)
"""Additions of a forward of the tiny network: a patch's values, then per block its products and tokens."""
STORED = {"rtol": 2 * float(np.finfo(np.float16).eps), "atol": rounding(TERMS)}
"""Of tokens, kept in float16: where float32 rounds otherwise, the neighbouring number is kept."""


def picture(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_photos(folder: Path, sizes: Iterable[tuple[int, int]]) -> list[Photo]:
    folder.mkdir(parents=True, exist_ok=True)
    for number, (height, width) in enumerate(sizes):
        Image.fromarray(picture(number, height, width)).save(folder / f"{number}.png")
    return find_photos([folder])


def extractor(
    backbone: Backbone, batch_size: int = 1, keep_aspect: bool = False, size: int = 32
) -> Extractor:
    return Extractor(backbone, Preprocessing(size, keep_aspect), precision="fp32", batch_size=batch_size)


@pytest.fixture
def batches(tiny_backbone: Backbone) -> Iterator[list[tuple[int, ...]]]:
    """Shape of every batch that the network is given."""
    shapes: list[tuple[int, ...]] = []
    handle = tiny_backbone.register_forward_pre_hook(lambda _, given: shapes.append(tuple(given[0].shape)))
    yield shapes
    handle.remove()


def interrupt_after(count: int):
    def track(items: Iterable, total: int, title: str) -> Iterator:
        for number, item in enumerate(items):
            if number == count:
                raise KeyboardInterrupt
            yield item

    return track


def test_features_are_the_backbones_of_the_resized_photo(tiny_backbone: Backbone, tmp_path: Path):
    photos = write_photos(tmp_path / "in", [(40, 56)])
    small = np.array(Image.open(photos[0].path).resize((32, 32), Image.Resampling.BILINEAR))
    expected = tiny_backbone(torch.from_numpy(small).permute(2, 0, 1)[None])

    store, failures = extractor(tiny_backbone).extract(photos, tmp_path / "store")

    assert failures == []
    assert store.tokens_of(0).shape == (4, 4, 24)
    np.testing.assert_allclose(store.tokens_of(0), expected.tokens[0].half(), **STORED)
    assert_same(store.attention_of(0), expected.attention[0], TERMS)


def test_short_batches_are_padded_to_the_fixed_size(tiny_backbone: Backbone, batches, tmp_path: Path):
    photos = write_photos(tmp_path / "in", [(32, 32)] * 6)
    store, _ = extractor(tiny_backbone, batch_size=4).extract(photos, tmp_path / "store")

    assert batches == [(4, 3, 32, 32)] * 2
    assert store.done.tolist() == [1] * 6


def test_tokens_of_a_photo_are_the_same_alone_and_among_others(tiny_backbone: Backbone, tmp_path: Path):
    photos = write_photos(tmp_path / "in", [(32, 32), (50, 20), (9, 70), (32, 33), (1, 1)])
    ours = extractor(tiny_backbone)
    store, _ = ours.extract(photos, tmp_path / "store")
    turned = dict(extractor(tiny_backbone).stream(photos[::-1]))

    for index, photo in enumerate(photos):
        ((_, alone),) = ours.each([photo.path])
        for tokens, attention in (turned[photo], alone):
            np.testing.assert_array_equal(tokens, store.tokens_of(index))
            np.testing.assert_array_equal(attention, store.attention_of(index))


def test_neighbours_in_a_batch_do_not_matter(tiny_backbone: Backbone):
    four = extractor(tiny_backbone, batch_size=4)
    images = [four.prepare(picture(seed, 32, 32)) for seed in range(7)]
    together, alone = four.forward([images[0], *images[4:7]])[0], four.forward([images[0]])[0]

    np.testing.assert_array_equal(together[0], alone[0])
    np.testing.assert_array_equal(together[1], alone[1])
    # Its place in the batch does, by a rounding: matrix products treat their last rows in another way.
    second = four.forward([images[1], images[0]])[1]
    np.testing.assert_allclose(second[0], alone[0], **STORED)
    assert_same(second[1], alone[1], TERMS)


def test_a_photo_as_path_and_as_array_gives_the_same_input(tiny_backbone: Backbone, tmp_path: Path):
    (photo,) = write_photos(tmp_path / "in", [(45, 71)])
    square = extractor(tiny_backbone)
    np.testing.assert_array_equal(square.prepare(photo.path), square.prepare(picture(0, 45, 71)))


@pytest.mark.parametrize(("size", "grid"), [((64, 16), (8, 2)), ((16, 64), (2, 8)), ((30, 30), (4, 4))])
def test_the_aspect_is_kept_on_demand(tiny_backbone: Backbone, tmp_path: Path, size, grid):
    photos = write_photos(tmp_path / "in", [size])
    kept, _ = extractor(tiny_backbone, keep_aspect=True).extract(photos, tmp_path / "kept")
    square, _ = extractor(tiny_backbone).extract(photos, tmp_path / "square")

    assert kept.tokens_of(0).shape == (*grid, 24)
    assert square.tokens_of(0).shape == (4, 4, 24)


def test_photos_of_equal_grid_fill_the_batches(tiny_backbone: Backbone, batches, tmp_path: Path):
    photos = write_photos(tmp_path / "in", [(64, 16), (16, 64)] * 4)
    store, _ = extractor(tiny_backbone, batch_size=4, keep_aspect=True).extract(photos, tmp_path / "store")

    assert sorted(batches) == [(4, 3, 16, 64), (4, 3, 64, 16)]
    alone = extractor(tiny_backbone, batch_size=4, keep_aspect=True)
    for index, photo in enumerate(photos):  # each still lies in its own place
        assert store.entries[index].name == photo.name
        ((tokens, _),) = alone.forward([alone.prepare(photo.path)])
        np.testing.assert_allclose(tokens, store.tokens_of(index), **STORED)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_photos_that_cannot_be_used_are_named_once_and_the_rest_is_done(
    tiny_backbone: Backbone, tmp_path: Path, batch_size: int
):
    photos_folder = tmp_path / "in"
    write_photos(photos_folder, [(40, 40)] * 5)
    (photos_folder / "2.png").write_text("no photo")  # the header tells
    whole = (photos_folder / "3.png").read_bytes()
    (photos_folder / "3.png").write_bytes(whole[: len(whole) // 2])  # decoding tells
    (photos_folder / "4.png").write_bytes(b"")
    photos = find_photos([photos_folder])

    for _ in range(2):  # the second time the rest is there already
        store, failures = extractor(tiny_backbone, batch_size).extract(photos, tmp_path / "store")

        assert all(isinstance(failure, Failure) for failure in failures)
        assert sorted(failure.name for failure in failures) == ["2.png", "3.png", "4.png"]
        reasons = {failure.name: failure.reason for failure in failures}
        assert "not a photo" in reasons["2.png"]
        assert "damaged" in reasons["3.png"]
        assert "empty" in reasons["4.png"]
        done = {entry.name: int(d) for entry, d in zip(store.entries, store.done, strict=True)}
        assert done == {"0.png": 1, "1.png": 1, "3.png": 0}


@pytest.mark.parametrize("batch_size", [1, 2])
def test_an_interrupted_extraction_goes_on_where_it_stopped(
    tiny_backbone: Backbone, batches, tmp_path: Path, batch_size: int
):
    photos = write_photos(tmp_path / "in", [(40, 30)] * 7)
    ours = extractor(tiny_backbone, batch_size)
    with pytest.raises(KeyboardInterrupt):
        ours.extract(photos, tmp_path / "store", track=interrupt_after(5))
    done = FeatureStore.load(tmp_path / "store").done.sum()
    assert done == 5

    batches.clear()
    store, failures = ours.extract(photos, tmp_path / "store")

    assert failures == []
    assert len(batches) == -(-2 // batch_size)
    fresh, _ = ours.extract(photos, tmp_path / "fresh")
    if batch_size == 1:
        np.testing.assert_array_equal(store.tokens, fresh.tokens)
        np.testing.assert_array_equal(store.attention, fresh.attention)
    else:  # a photo has another place in its batch
        np.testing.assert_allclose(store.tokens, fresh.tokens, **STORED)
        assert_same(np.asarray(store.attention), np.asarray(fresh.attention), TERMS)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_weights_that_are_cast_once_give_the_same_tokens_to_the_bit(tiny_backbone: Backbone, precision: str):
    ours = Extractor(tiny_backbone, Preprocessing(32), precision=precision)
    image = picture(0, 32, 32)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        cast_each_time = tiny_backbone(torch.from_numpy(image).permute(2, 0, 1)[None])

    ((tokens, attention),) = ours.forward([image])

    np.testing.assert_array_equal(tokens, cast_each_time.tokens[0].half())
    np.testing.assert_array_equal(attention, cast_each_time.attention[0].float())
    assert all(weight.dtype == torch.float32 for weight in tiny_backbone.parameters())


def test_the_cores_encode_one_photo_each(tiny_backbone: Backbone, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    meeting = threading.Barrier(3, timeout=30)  # breaks where fewer are under way at once

    def meet(*_: object) -> None:
        meeting.wait()

    handle = tiny_backbone.register_forward_pre_hook(meet)
    photos = write_photos(tmp_path / "in", [(40, 30)] * 6)
    try:
        store, _ = extractor(tiny_backbone).extract(photos, tmp_path / "store")
    finally:
        handle.remove()
    assert store.done.all()


def test_a_finished_store_is_not_computed_again(tiny_backbone: Backbone, batches, tmp_path: Path):
    photos = write_photos(tmp_path / "in", [(40, 30)] * 3)
    extractor(tiny_backbone).extract(photos, tmp_path / "store")
    batches.clear()
    extractor(tiny_backbone).extract(photos, tmp_path / "store")
    assert batches == []


def test_features_of_other_settings_are_not_taken(tiny_backbone: Backbone, tmp_path: Path):
    photos = write_photos(tmp_path / "in", [(40, 30)])
    extractor(tiny_backbone).extract(photos, tmp_path / "store")
    with pytest.raises(StoreMismatchError, match="preprocessing differ"):
        extractor(tiny_backbone, size=33).extract(photos, tmp_path / "store")
    photos[0].path.write_bytes(photos[0].path.read_bytes() + b"x")
    with pytest.raises(StoreMismatchError, match="photos differ"):
        extractor(tiny_backbone).extract(photos, tmp_path / "store")


def test_progress_counts_every_photo_once(tiny_backbone: Backbone, tmp_path: Path):
    photos = write_photos(tmp_path / "in", [(40, 30), (30, 40), (40, 30)])
    photos[1].path.write_bytes(photos[1].path.read_bytes()[:-300])
    seen = []

    def track(items: Iterable, total: int, title: str) -> Iterator:
        seen.append((total, title))
        for item in items:
            seen.append(item[0].name)
            yield item

    extractor(tiny_backbone, batch_size=2).extract(photos, tmp_path / "store", track=track)
    assert seen[0] == (3, "features")
    assert sorted(seen[1:]) == ["0.png", "1.png", "2.png"]


def test_a_stream_gives_features_and_failures_of_every_photo(tiny_backbone: Backbone, tmp_path: Path):
    photos = write_photos(tmp_path / "in", [(40, 30)] * 3)
    photos[1].path.write_text("no photo")
    got = dict(extractor(tiny_backbone, batch_size=2).stream(photos))

    assert set(got) == set(photos)
    assert isinstance(got[photos[1]], PhotoError)
    assert got[photos[2]][0].shape == (4, 4, 24)


def test_the_recipe_tells_what_decides_the_features(tiny_backbone: Backbone):
    recipe = extractor(tiny_backbone, keep_aspect=True).recipe
    assert recipe.fingerprint == tiny_backbone.fingerprint
    assert (recipe.dim, recipe.heads, recipe.precision) == (24, 3, "fp32")
    assert recipe.preprocessing == {"size": 32, "keep_aspect": True}


def test_another_block_is_taken_on_demand_and_is_part_of_the_recipe(tiny_backbone: Backbone):
    first = Extractor(tiny_backbone, Preprocessing(32), precision="fp32", block=0)
    image = first.prepare(picture(0, 32, 32))
    ((tokens, _),) = first.forward([image])
    images = torch.from_numpy(image)[None].permute(0, 3, 1, 2)
    np.testing.assert_allclose(tokens, tiny_backbone(images, 0).tokens[0].half(), **STORED)
    assert first.recipe.preprocessing == {"size": 32, "keep_aspect": False, "block": 0}
    with pytest.raises(LeopartError, match="has blocks 0 to 1, not 2"):
        Extractor(tiny_backbone, Preprocessing(32), block=2).forward([image])


def test_an_attention_backbone_with_other_patches_is_refused(tiny_backbone: Backbone):
    other = copy.copy(tiny_backbone)
    other.patch_size = 2 * tiny_backbone.patch_size

    with pytest.raises(LeopartError, match="does not fit tiny_random: patches of 16 and 8 pixels; choose"):
        Extractor(tiny_backbone, Preprocessing(), attention_of=other)


def test_bfloat16_is_close_and_is_part_of_the_recipe(tiny_backbone: Backbone):
    exact = extractor(tiny_backbone)
    rough = Extractor(tiny_backbone, Preprocessing(32), precision="bf16")
    image = exact.prepare(picture(0, 32, 32))
    ((a, _),), ((b, _),) = exact.forward([image]), rough.forward([image])

    assert rough.recipe.precision == "bf16"
    assert 0 < np.abs(a.astype(np.float32) - b).max() < 0.5
    assert np.corrcoef(a.ravel().astype(np.float32), b.ravel().astype(np.float32))[0, 1] > 0.999


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_the_cpu_takes_bfloat16_only_where_it_is_native(
    monkeypatch: pytest.MonkeyPatch, tiny_backbone: Backbone, native: bool, expected: str
):
    monkeypatch.setattr(module, "_cpu_has_bf16", lambda: native)
    assert fast_precision(torch.device("cpu")) == expected
    assert Extractor(tiny_backbone, Preprocessing(32)).precision == expected


def test_no_photos_give_an_empty_store(tiny_backbone: Backbone, batches, tmp_path: Path):
    store, failures = extractor(tiny_backbone).extract([], tmp_path / "store")
    assert (len(store), failures, batches) == (0, [], [])
