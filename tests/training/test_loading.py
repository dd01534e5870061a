"""The stream of photos: what stands where follows from seed and position alone."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from leopart.data.photos import Photo, find_photos
from leopart.data.views import ViewMaker, Views
from leopart.errors import LeopartError, Terminated
from leopart.training import loading, stopping
from leopart.training.loading import PositionBatch, StreamData, StreamLoader, outlive_signals, views_on
from leopart.training.run import view_maker
from leopart.training.stream import Positions, Stream, ViewDataset


@pytest.fixture
def maker(tiny_recipe) -> ViewMaker:
    return view_maker(tiny_recipe)


def broken(folder: Path, *names: str) -> list[Photo]:
    for name in names:
        (folder / name).write_bytes(b"not a photo")
    return find_photos([folder])


# --- which photo stands where ---------------------------------------------------------------------------


@pytest.mark.parametrize(("photos", "batch"), [(12, 4), (13, 4), (5, 5), (1, 1)])
def test_an_epoch_shows_each_photo_once_but_for_what_is_left_over(photos: int, batch: int):
    stream = Stream(photos, batch, seed=3)
    length = stream.steps_per_epoch * batch
    for epoch in range(3):
        seen = Counter(stream.photo_at(epoch * length + place) for place in range(length))
        assert set(seen.values()) == {1}
        assert photos - len(seen) == photos % batch


def test_epochs_and_seeds_have_other_orders():
    orders = {
        tuple(Stream(20, 5, seed).photo_at(20 * epoch + place) for place in range(20))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(orders) == 4


@pytest.mark.parametrize(("parts", "world"), [(1, 1), (1, 2), (2, 1), (2, 3), (3, 4)])
def test_all_processes_together_take_the_stream_in_its_order(parts: int, world: int):
    stream = Stream(30, 12, seed=0)
    shares = [list(Positions(stream, 5, parts, rank, world)) for rank in range(world)]
    assert {len(share) for share in shares} == {5 * parts}
    taken = [position for batch in zip(*shares, strict=True) for part in batch for position in part]
    assert taken == list(range(60))


def test_a_loader_that_resumes_yields_what_is_left_and_tells_the_whole_length(photos, maker):
    stream = Stream(len(photos), 2, seed=0)
    dataset = ViewDataset(photos, stream, maker)
    loader = StreamLoader(dataset, Positions(stream, 5))
    every = [batch.views.index.tolist() for batch in loader]
    assert (len(loader), loader.state_dict()) == (5, {"taken": 5})

    loader = StreamLoader(dataset, Positions(stream, 5))
    loader.load_state_dict({"taken": 3})
    assert [batch.views.index.tolist() for batch in loader] == every[3:]
    assert (len(loader), loader.state_dict()) == (5, {"taken": 5})
    next(iterator := iter(loader))
    assert loader.state_dict() == {"taken": 4}
    iterator.close()


def test_views_of_a_position_depend_on_nothing_else(photos, maker):
    stream = Stream(len(photos), 2, seed=0)
    dataset = ViewDataset(photos, stream, maker)
    index, views, _ = dataset[7]
    dataset[3]
    np.random.seed(0)  # noqa: NPY002 - global numbers must not matter
    again = ViewDataset(photos, stream, maker)[7]
    assert again[0] == index == stream.photo_at(7)
    assert torch.equal(again[1].global_crops, views.global_crops)
    assert torch.equal(again[1].boxes, views.boxes)


def test_a_loading_process_changes_nothing(photos, maker):
    stream = Stream(len(photos), 4, seed=0)
    dataset = ViewDataset(photos, stream, maker)
    for here, there in zip(
        StreamLoader(dataset, Positions(stream, 3)),
        StreamLoader(dataset, Positions(stream, 3), workers=1),
        strict=True,
    ):
        for ours, expected in zip(there.views._tensors(), here.views._tensors(), strict=True):
            assert torch.equal(ours, expected)


def test_batches_have_the_shapes_that_training_takes(photos, maker):
    stream = Stream(len(photos), 4, seed=0)
    batch = next(iter(StreamLoader(ViewDataset(photos, stream, maker), Positions(stream, 1))))
    views = batch.to(torch.device("cpu")).views
    assert views.global_crops.shape == (2, 4, 3, 32, 32)
    assert views.local_crops.shape == (2, 4, 3, 16, 16)
    assert (views.gc.shape, views.all.shape) == ((4, 2, 4, 4), (4, 4, 2, 4))
    assert views.global_crops.dtype == torch.uint8


# --- photos that cannot be read -------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1])
def test_a_photo_that_cannot_be_read_is_replaced_by_the_next_one_and_named(
    tmp_path, paint_photos, maker, workers
):
    photos = broken(paint_photos(tmp_path / "photos", 6), "02.png", "03.png")
    stream = Stream(6, 6, seed=0)
    (batch,) = StreamLoader(ViewDataset(photos, stream, maker), Positions(stream, 1), workers=workers)
    expected = [index if index not in (2, 3) else 4 for index in map(stream.photo_at, range(6))]
    assert batch.views.index.tolist() == expected
    assert sorted(f.name for f in batch.failures) == ["02.png", "03.png", "03.png"]
    assert all(str(tmp_path) in failure.reason for failure in batch.failures)


@pytest.mark.parametrize("workers", [0, 1])
def test_no_photo_that_can_be_read_is_told_in_one_sentence(tmp_path, paint_photos, maker, workers):
    names = [f"{index:02d}.png" for index in range(3)]
    photos = broken(paint_photos(tmp_path / "photos", 3), *names)
    stream = Stream(3, 2, seed=0)
    loader = StreamLoader(ViewDataset(photos, stream, maker), Positions(stream, 1), workers=workers)
    with pytest.raises(LeopartError, match=r"^not one of the 3 photos can be read; the first: [^\n]+$"):
        next(iter(loader))


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (7, 5)])
def test_photos_smaller_than_a_crop_are_enlarged(tmp_path, maker, size):
    Image.new("RGB", size, (200, 10, 10)).save(tmp_path / "small.png")
    stream = Stream(1, 1, seed=0)
    index, views, failures = ViewDataset(find_photos([tmp_path]), stream, maker)[0]
    assert (index, failures) == (0, ())
    assert views.global_crops.shape == (2, 3, 32, 32)


# --- on the device --------------------------------------------------------------------------------------


def test_a_device_makes_the_same_crops_of_the_same_photos(photos, maker):
    stream = Stream(len(photos), 4, seed=0)
    dataset = ViewDataset(photos, stream, maker)
    positions = next(iter(StreamLoader(dataset, Positions(stream, 2), workers=3, on_device=True)))
    assert positions == PositionBatch([0, 1, 2, 3])
    data = StreamData(photos, stream, maker, steps=2, on_device=True)
    there = data.transfer_batch_to_device(positions, torch.device("cpu"), 0)
    here = next(iter(StreamLoader(dataset, Positions(stream, 2))))
    for name in ("index", "gc", "all"):
        assert torch.equal(getattr(there.views, name), getattr(here.views, name))
    difference = (there.views.global_crops.float() - here.views.global_crops.float()).abs()
    assert difference.mean() < 1


def test_a_device_replaces_the_same_photos(tmp_path, paint_photos, maker):
    photos = broken(paint_photos(tmp_path / "photos", 6), "02.png", "03.png")
    stream = Stream(6, 6, seed=0)
    dataset = ViewDataset(photos, stream, maker)
    (here,) = StreamLoader(dataset, Positions(stream, 1))
    there = views_on(torch.device("cpu"), dataset, range(6))
    assert torch.equal(there.views.index, here.views.index)
    assert there.failures == here.failures


def test_a_device_tells_when_no_photo_can_be_read(tmp_path, maker):
    photos = broken(tmp_path, "a.png", "b.png")
    dataset = ViewDataset(photos, Stream(2, 1, seed=0), maker)
    with pytest.raises(LeopartError, match=r"^not one of the 2 photos can be read"):
        views_on(torch.device("cpu"), dataset, [0])


# --- signals --------------------------------------------------------------------------------------------


def test_loading_processes_outlive_what_stops_their_group_but_not_a_second_sigterm():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    try:
        outlive_signals(0)
        for number in numbers:
            signal.raise_signal(number)
        assert [signal.getsignal(n) for n in numbers] == [signal.SIG_IGN, signal.SIG_DFL, signal.SIG_IGN]
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def test_too_little_shared_memory_is_reported_with_what_helps(photos, maker, monkeypatch):
    """In a thread of the queue the error would be printed, and the training wait for a batch for ever."""

    def full(self: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    stream = Stream(len(photos), 4, seed=0)
    loader = StreamLoader(ViewDataset(photos, stream, maker), Positions(stream, 2), workers=1)
    with pytest.raises(LeopartError, match=r"shared memory .*MiB .*No space left.*: give --workers 0, .*shm"):
        next(iter(loader))


class Stuck(ViewMaker):
    """Never gives a view, as a network drive that does not answer."""

    def __call__(self, photo: object, generator: np.random.Generator) -> Views:
        time.sleep(1000)
        raise AssertionError


@pytest.fixture
def stuck(photos, maker, monkeypatch) -> StreamLoader:
    monkeypatch.setattr(loading, "_LOOK", 1)
    stream = Stream(len(photos), 4, seed=0)
    dataset = ViewDataset(photos, stream, Stuck(maker.crops, maker.augment))
    return StreamLoader(dataset, Positions(stream, 2), workers=1)


def test_a_batch_that_never_comes_ends_the_run(stuck, monkeypatch):
    monkeypatch.setattr(loading, "_PATIENCE", 2.0)
    with pytest.raises(LeopartError, match=r"given no photos for .*: check that their disk answers"):
        next(iter(stuck))


def test_who_waits_for_a_batch_is_asked_whether_to_go_on(stuck):
    def enough() -> None:
        raise KeyboardInterrupt

    stuck.while_waiting = enough
    with pytest.raises(KeyboardInterrupt):
        next(iter(stuck))


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_ends_a_run_that_waits_for_photos(number, kind, monkeypatch):
    stop = stopping.Stop()
    stop._give_up()  # nobody has asked
    stop._hear(number, None)
    stop._give_up()  # the photos of the step under way have some time left
    monkeypatch.setattr(stopping, "_GRACE", -1.0)
    with pytest.raises(kind):
        stop._give_up()
