from __future__ import annotations

import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch.utils.data import DataLoader, Dataset

from leopart.data import views as views_module
from leopart.data.crops import CropSettings, pair_boxes, sample_crops
from leopart.data.images import load_photo
from leopart.data.photometry import AugmentSettings
from leopart.data.views import DeviceViewMaker, ViewBatch, ViewMaker, Views, collate_views
from leopart.errors import LeopartError, PhotoError

PLAIN = AugmentSettings(jitter_probability=0, grey_probability=0, blur_probability=0)
SMALL = CropSettings(global_size=64, local_size=32)
CPU = torch.device("cpu")


def photo(height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    smooth = ndimage.gaussian_filter(noise, (3, 3, 0))
    return np.clip(128 + 90 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def ramp(height: int, width: int) -> np.ndarray:
    """Red rises from left to right, green from top to bottom: a pixel says where it is."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / width, 255 * y / height, 128 + 0 * x], -1).round().astype(np.uint8)


def make(pixels: Path | np.ndarray, crops: CropSettings = SMALL, augment=None, seed: int = 0) -> Views:
    return ViewMaker(crops, augment or AugmentSettings())(pixels, np.random.default_rng(seed))


def all_views(views: Views) -> list[torch.Tensor]:
    return [*views.global_crops, *views.local_crops]


def gap(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a.float() - b.float()).abs()


def same(a: Views | ViewBatch, b: Views | ViewBatch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


# One photo on the CPU


@pytest.mark.parametrize(("n_global", "n_local"), [(2, 4), (1, 0), (2, 0), (3, 2)])
def test_views_have_the_shapes_of_the_contract(n_global: int, n_local: int):
    n = n_global + n_local
    views = make(photo(), CropSettings(n_global, n_local, global_size=64, local_size=32))
    assert views.global_crops.shape == (n_global, 3, 64, 64)
    assert views.local_crops.shape == (n_local, 3, 32, 32)
    assert views.global_crops.dtype == views.local_crops.dtype == torch.uint8
    assert views.boxes.shape == (n, 4)
    assert views.gc.shape == (n_global, n, 4)
    assert views.all.shape == (n, n_global, 4)
    assert views.boxes.dtype == views.gc.dtype == views.all.dtype == torch.float32
    assert all(tensor.is_contiguous() for tensor in vars(views).values())


def test_without_augmentation_a_view_is_pillows_resized_crop():
    pixels = photo()
    views = make(pixels, augment=PLAIN)
    boxes = sample_crops(120, 160, SMALL, np.random.default_rng(0))
    np.testing.assert_array_equal(views.boxes, boxes)
    gc, all_ = pair_boxes(boxes, 2, SMALL.sizes)
    np.testing.assert_array_equal(views.gc, gc)
    np.testing.assert_array_equal(views.all, all_)
    for view, box, size in zip(all_views(views), boxes.tolist(), SMALL.sizes, strict=True):
        expected = Image.fromarray(pixels).crop(box).resize((size, size), Image.Resampling.BILINEAR)
        found = view.permute(1, 2, 0).numpy().astype(int)
        assert np.abs(found - np.array(expected)).max() <= 1


@pytest.mark.parametrize("device", [False, True])
def test_a_pixel_lies_where_its_box_says(device: bool):
    pixels = ramp(300, 400)
    views = make(pixels, augment=PLAIN)
    if device:
        batch = DeviceViewMaker(SMALL, PLAIN, CPU)([pixels], [np.random.default_rng(0)])
        views = Views(batch.global_crops[:, 0], batch.local_crops[:, 0], views.boxes, views.gc, views.all)
    for view, (x1, y1, x2, y2), size in zip(all_views(views), views.boxes.tolist(), SMALL.sizes, strict=True):
        centres = (np.arange(size) + 0.5) / size
        x, y = x1 + centres * (x2 - x1) - 0.5, y1 + centres * (y2 - y1) - 0.5
        inner = slice(2, -2)  # at a view's edge the antialiasing has pixels on one side only
        np.testing.assert_allclose(view[0].float().mean(0)[inner], 255 * x[inner] / 400, atol=1)
        np.testing.assert_allclose(view[1].float().mean(1)[inner], 255 * y[inner] / 300, atol=1)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_big_jpeg_is_decoded_coarsely_and_its_boxes_stay(tmp_path: Path, monkeypatch, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(ramp(1016, 1344)).save(tmp_path / "1.jpg", quality=95, exif=exif, subsampling=0)
    decoded = []
    monkeypatch.setattr(views_module, "load_photo", lambda *a: decoded.append(load_photo(*a)) or decoded[-1])
    whole = load_photo(tmp_path / "1.jpg")

    fine = make(whole, augment=PLAIN, seed=3)
    coarse = make(tmp_path / "1.jpg", augment=PLAIN, seed=3)

    assert max(whole.shape) / max(decoded[0].shape) in (4, 8)
    assert torch.equal(fine.boxes, coarse.boxes)
    assert torch.equal(fine.gc, coarse.gc)
    for a, b in zip(all_views(fine), all_views(coarse), strict=True):
        assert gap(a, b).mean() < 0.75
        assert gap(a, b).max() <= 4


def test_a_reduced_photo_still_has_a_pixel_for_each_of_a_view(tmp_path: Path, monkeypatch):
    Image.fromarray(photo(900, 1200)).save(tmp_path / "1.jpg")
    decoded = []
    monkeypatch.setattr(views_module, "load_photo", lambda *a: decoded.append(load_photo(*a)) or decoded[-1])
    for seed in range(20):
        boxes = make(tmp_path / "1.jpg", seed=seed).boxes.numpy()
        scale = decoded[-1].shape[0] / 900
        extents = (boxes[:, 2:] - boxes[:, :2]) * scale
        assert (extents >= np.array(SMALL.sizes)[:, None]).all()
    assert min(pixels.shape[0] for pixels in decoded) < 900


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (500, 1), (3, 20000), (20, 30)])
def test_photos_smaller_than_a_view_are_enlarged(tmp_path: Path, height: int, width: int):
    pixels = np.broadcast_to(np.uint8([10, 100, 200]), (height, width, 3))
    Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / "1.png")
    for given in (pixels, tmp_path / "1.png"):
        views = make(given, augment=PLAIN)
        for view in all_views(views):
            assert (view == torch.tensor([10, 100, 200])[:, None, None]).all()
        assert (views.all[..., 2:] > views.all[..., :2]).all()
    batch = DeviceViewMaker(SMALL, PLAIN, CPU)([pixels], [np.random.default_rng(0)])
    assert torch.equal(batch.global_crops[:, 0], views.global_crops)
    assert torch.equal(batch.all[0], views.all)


def test_the_same_generator_gives_the_same_bytes_and_nothing_else_is_random(tmp_path: Path):
    Image.fromarray(photo()).save(tmp_path / "1.jpg")
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    one, again, other = (make(tmp_path / "1.jpg", seed=seed) for seed in (5, 5, 6))

    assert same(one, again)
    assert not same(one, other)
    assert states == (
        random.getstate(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        torch.get_rng_state().tolist(),
    )


def test_given_pixels_are_left_alone():
    pixels = photo()
    pixels.flags.writeable = False
    make(pixels)
    np.testing.assert_array_equal(pixels, photo())


@pytest.mark.parametrize("data", [None, b"", b"no photo", "cut"])
def test_a_photo_that_cannot_be_used_is_named_as_load_photo_does(tmp_path: Path, data: bytes | str | None):
    path = tmp_path / "1.jpg"
    if data == "cut":
        Image.fromarray(photo()).save(path)
        data = path.read_bytes()[:-200]
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(PhotoError) as expected:
        load_photo(path)
    with pytest.raises(PhotoError) as found:
        make(path)
    assert str(found.value) == str(expected.value)


def test_pixels_that_are_not_rgb_are_refused():
    with pytest.raises(LeopartError, match="must be RGB"):
        make(np.zeros((20, 20), np.uint8))


# Batches


class Photos(Dataset):
    """Five photos, each with its own generator."""

    def __init__(self):
        self.maker = ViewMaker(SMALL, AugmentSettings())

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[int, Views]:
        return index, self.maker(photo(seed=index), np.random.default_rng(index))


def test_a_batch_stacks_views_crop_by_crop():
    samples = [(7, make(photo(seed=1), seed=1)), (3, make(photo(seed=2), seed=2))]

    batch = collate_views(samples)

    assert batch.index.tolist() == [7, 3]
    assert batch.index.dtype == torch.int64
    assert batch.global_crops.shape == (2, 2, 3, 64, 64)
    assert batch.local_crops.shape == (4, 2, 3, 32, 32)
    for place, (_, views) in enumerate(samples):
        assert torch.equal(batch.global_crops[:, place], views.global_crops)
        assert torch.equal(batch.local_crops[:, place], views.local_crops)
        assert torch.equal(batch.gc[place], views.gc)
        assert torch.equal(batch.all[place], views.all)


def test_a_batch_may_have_no_local_views():
    batch = collate_views([(0, make(photo(), CropSettings(2, 0, global_size=64, local_size=32)))] * 3)
    assert batch.local_crops.shape == (0, 3, 3, 32, 32)


def test_a_batch_moves_as_a_whole():
    batch = collate_views([Photos()[0]])
    assert same(batch.to("cpu", non_blocking=True), batch)
    moved = batch.to("meta")
    assert {tensor.device.type for tensor in vars(moved).values()} == {"meta"}


def test_loading_processes_give_the_same_batches():
    """Also: the maker can be sent to another process."""
    maker = Photos().maker
    assert pickle.loads(pickle.dumps(maker)) == maker
    here, there = (
        list(DataLoader(Photos(), batch_size=2, num_workers=workers, collate_fn=collate_views))
        for workers in (0, 2)
    )
    assert [batch.index.tolist() for batch in there] == [[0, 1], [2, 3], [4]]
    assert all(same(a, b) for a, b in zip(here, there, strict=True))


# On a device


def photos_of_all_kinds(folder: Path) -> list[Path | bytes | np.ndarray]:
    for seed, name in enumerate(("1.jpg", "2.png", "3.jpg")):
        Image.fromarray(photo(100 + 30 * seed, 160, seed)).save(folder / name)
    return [folder / "1.jpg", folder / "2.png", (folder / "3.jpg").read_bytes(), photo(90, 70, seed=3)]


def on_cpu(given: list[Path | bytes | np.ndarray], folder: Path, settings: AugmentSettings) -> ViewBatch:
    maker, samples = ViewMaker(SMALL, settings), []
    for index, item in enumerate(given):
        if isinstance(item, bytes):
            (folder / "bytes").write_bytes(item)
        one = folder / "bytes" if isinstance(item, bytes) else item
        pixels = load_photo(one) if isinstance(one, Path) else one  # no reduced decoding: the same pixels
        samples.append((index, maker(pixels, np.random.default_rng(index))))
    return collate_views(samples)


def test_the_device_path_has_the_same_boxes_and_nearly_the_same_pixels(tmp_path: Path):
    given = photos_of_all_kinds(tmp_path)
    for settings, mean, most in ((PLAIN, 0.25, 1), (AugmentSettings(), 0.8, 60)):
        expected = on_cpu(given, tmp_path, settings)

        found = DeviceViewMaker(SMALL, settings, CPU)(given, [np.random.default_rng(i) for i in range(4)])

        for name in ("gc", "all", "index"):
            assert torch.equal(getattr(found, name), getattr(expected, name))
        for a, b in (
            (found.global_crops, expected.global_crops),
            (found.local_crops, expected.local_crops),
        ):
            assert a.shape == b.shape
            assert a.dtype == torch.uint8
            assert gap(a, b).mean() < mean
            assert gap(a, b).max() <= most


def test_the_device_path_takes_indices_and_may_have_no_local_views():
    crops = CropSettings(2, 0, global_size=32, local_size=16)
    maker = DeviceViewMaker(crops, AugmentSettings(), CPU)
    batch = maker([photo(), photo()], [np.random.default_rng(i) for i in range(2)], index=[11, 5])
    assert batch.index.tolist() == [11, 5]
    assert batch.local_crops.shape == (0, 2, 3, 16, 16)


def test_the_device_path_reduces_a_huge_photo_as_the_cpu_does():
    """More than 32 to 1: averaged in blocks first."""
    crops = CropSettings(1, 1, global_size=8, local_size=4)
    pixels = ramp(400, 1200)
    batch = DeviceViewMaker(crops, PLAIN, CPU)([pixels], [np.random.default_rng(0)])
    views = make(pixels, crops, PLAIN)
    assert gap(batch.global_crops[:, 0], views.global_crops).max() <= 6
    assert gap(batch.local_crops[:, 0], views.local_crops).max() <= 6


def test_a_broken_photo_is_told_before_anything_is_drawn(tmp_path: Path):
    generators = [np.random.default_rng(i) for i in range(2)]
    with pytest.raises(PhotoError, match=r"none.jpg is not there"):
        DeviceViewMaker(SMALL, PLAIN, CPU)([photo(), tmp_path / "none.jpg"], generators)
    assert [g.random() for g in generators] == [np.random.default_rng(i).random() for i in range(2)]


@pytest.mark.gpu
def test_a_gpu_gives_the_same_boxes_and_nearly_the_same_pixels(tmp_path: Path):
    given = photos_of_all_kinds(tmp_path)
    expected = on_cpu(given, tmp_path, AugmentSettings())

    found = DeviceViewMaker(SMALL, AugmentSettings(), torch.device("cuda"))(
        given, [np.random.default_rng(i) for i in range(4)]
    )

    assert {tensor.device.type for tensor in vars(found).values()} == {"cuda"}
    found = found.to("cpu")
    assert torch.equal(found.gc, expected.gc)
    assert torch.equal(found.all, expected.all)
    assert gap(found.global_crops, expected.global_crops).mean() < 3  # the decoders differ
    assert gap(found.local_crops, expected.local_crops).mean() < 3


@pytest.mark.gpu
def test_pinned_batches_reach_the_gpu_unchanged():
    batch = collate_views([Photos()[0], Photos()[1]])
    pinned = batch.pin_memory()
    assert all(tensor.is_pinned() for tensor in vars(pinned).values())
    assert same(pinned.to("cuda", non_blocking=True).to("cpu"), batch)


@pytest.mark.gpu
def test_a_gpu_reduces_by_any_factor():
    pixels = np.full((40, 20000, 3), 77, np.uint8)
    crops = CropSettings(1, 0, global_size=4, local_size=4, global_scale=(1.0, 1.0), ratio=(500.0, 500.0))
    batch = DeviceViewMaker(crops, PLAIN, torch.device("cuda"))([pixels], [np.random.default_rng(0)])
    assert bool((batch.global_crops == 77).all())
