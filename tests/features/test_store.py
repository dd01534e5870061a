from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from leopart.errors import LeopartError
from leopart.features import store
from leopart.features.store import FeatureRecipe, FeatureStore, StoredPhoto, StoreMismatchError

RECIPE = FeatureRecipe(
    backbone="tiny",
    fingerprint="0123",
    dim=5,
    heads=3,
    preprocessing={"size": 64, "keep_aspect": True},
    precision="fp32",
)
ENTRIES = [
    StoredPhoto("a.jpg", 10, 11, 2, 3),
    StoredPhoto("b/c.png", 20, 21, 4, 1),
    StoredPhoto("d.jpg", 30, 31, 1, 1),
]


def features(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and attention of photo `index`, no two numbers alike."""
    entry, rng = ENTRIES[index], np.random.default_rng(index)
    tokens = rng.standard_normal((entry.height, entry.width, 5)).astype(np.float16)
    return tokens, rng.random((3, entry.height, entry.width), np.float32)


def filled(folder: Path, indices: tuple[int, ...] = (0, 1, 2)) -> FeatureStore:
    store = FeatureStore.open(folder, RECIPE, ENTRIES)
    for index in indices:
        store.put(index, *features(index))
    return store


def test_photos_of_different_grids_come_back_as_they_were_put(tmp_path: Path):
    store = filled(tmp_path / "store", (2, 0, 1))

    assert len(store) == 3
    for index in range(3):
        tokens, attention = features(index)
        assert store.tokens_of(index).dtype == np.float16
        np.testing.assert_array_equal(store.tokens_of(index), tokens)
        np.testing.assert_array_equal(store.attention_of(index), attention)


def test_what_is_done_is_still_there_when_the_store_is_opened_again(tmp_path: Path):
    filled(tmp_path, (0, 2))
    store = FeatureStore.open(tmp_path, RECIPE, ENTRIES)

    assert store.done.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(store.tokens_of(2), features(2)[0])
    store.put(1, *features(1))
    assert FeatureStore.load(tmp_path).done.tolist() == [1, 1, 1]


def test_a_store_is_loaded_as_it_lies_on_disk(tmp_path: Path):
    filled(tmp_path)
    store = FeatureStore.load(tmp_path)

    assert store.recipe == RECIPE
    assert list(store.entries) == ENTRIES
    np.testing.assert_array_equal(store.attention_of(1), features(1)[1])


def test_what_is_read_may_be_changed_without_changing_the_store(tmp_path: Path):
    store = filled(tmp_path)
    store.tokens_of(0)[:] = 0
    store.attention_of(0)[:] = 0
    np.testing.assert_array_equal(store.tokens_of(0), features(0)[0])
    np.testing.assert_array_equal(store.attention_of(0), features(0)[1])


def test_the_files_are_raw_arrays_of_the_documented_layout(tmp_path: Path):
    filled(tmp_path)
    tokens = np.fromfile(tmp_path / "tokens.bin", np.float16).reshape(11, 5)
    attention = np.fromfile(tmp_path / "attention.bin", np.float32).reshape(11, 3)

    np.testing.assert_array_equal(tokens[6:10], features(1)[0].reshape(4, 5))
    np.testing.assert_array_equal(attention[0:6].T, features(0)[1].reshape(3, 6))
    assert np.fromfile(tmp_path / "done.bin", np.uint8).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"fingerprint": "4567"}, "fingerprint"),
        ({"preprocessing": {"size": 65, "keep_aspect": True}}, "preprocessing"),
        ({"precision": "bf16"}, "precision"),
        ({"dim": 6, "heads": 2}, "dim, heads, shape"),
    ],
)
def test_another_recipe_is_refused_by_what_differs(tmp_path: Path, change: dict[str, object], named: str):
    filled(tmp_path)
    with pytest.raises(StoreMismatchError, match=rf"\({named} differ\): choose another folder or delete it"):
        FeatureStore.open(tmp_path, replace(RECIPE, **change), ENTRIES)
    assert FeatureStore.open(tmp_path, RECIPE, ENTRIES).done.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "entries",
    [
        ENTRIES[:2],
        ENTRIES[::-1],
        [replace(ENTRIES[0], modified=12), *ENTRIES[1:]],
        [replace(ENTRIES[0], size=9), *ENTRIES[1:]],
        [replace(ENTRIES[0], name="z.jpg"), *ENTRIES[1:]],
        [],
    ],
    ids=["fewer", "another order", "written again", "another size", "another name", "none"],
)
def test_other_photos_are_refused(tmp_path: Path, entries: list[StoredPhoto]):
    filled(tmp_path)
    with pytest.raises(StoreMismatchError, match=r"\((shape, )?photos differ\)"):
        FeatureStore.open(tmp_path, RECIPE, entries)


@pytest.mark.parametrize("name", ["tokens.bin", "attention.bin", "done.bin"])
def test_a_missing_or_truncated_file_is_told_and_not_filled_up(tmp_path: Path, name: str):
    filled(tmp_path)
    path = tmp_path / name
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    size = path.stat().st_size
    with pytest.raises(
        LeopartError, match=rf"{name} is missing or damaged \({size} bytes instead of {size + 1}\)"
    ):
        FeatureStore.open(tmp_path, RECIPE, ENTRIES)
    assert path.stat().st_size == size

    path.unlink()
    with pytest.raises(LeopartError, match=rf"{name} is missing or damaged .*: delete .*, run again"):
        FeatureStore.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"3"])
def test_a_damaged_manifest_is_told(tmp_path: Path, content: bytes):
    filled(tmp_path)
    (tmp_path / "manifest.json").write_bytes(content)
    sentence = rf"manifest\.json (is not|holds|cannot be used).*; delete {tmp_path} and run again"
    with pytest.raises(LeopartError, match=sentence):
        FeatureStore.open(tmp_path, RECIPE, ENTRIES)
    with pytest.raises(LeopartError, match=sentence):
        FeatureStore.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dim": "many"}, "dim: .*integer"),
        ({"dim": 2**70}, "dim: .*less than"),
        ({"heads": None}, "heads: .*integer"),
        ({"photos": 3}, "valid list"),
        ({"photos": [{"name": "a"}]}, "0.size: Field required"),
        ({"photos": [{"name": "a", "size": 1, "modified": 1, "height": -1, "width": 1}]}, "0.height"),
        ({"photos": [{"name": "a", "size": 1, "modified": 1, "height": 9, "width": 9}]}, "bytes instead of"),
    ],
)
def test_a_manifest_with_odd_values_is_told(tmp_path: Path, changes: dict[str, object], says: str):
    filled(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(LeopartError, match=says):
        FeatureStore.load(tmp_path)


def test_a_folder_without_a_store_cannot_be_loaded(tmp_path: Path):
    with pytest.raises(LeopartError, match=r"cannot read .*manifest\.json: No such file"):
        FeatureStore.load(tmp_path)


def test_a_store_of_another_format_is_not_read(tmp_path: Path):
    filled(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    with pytest.raises(LeopartError, match="format"):
        FeatureStore.load(tmp_path)
    with pytest.raises(StoreMismatchError, match=r"\(format differ\)"):
        FeatureStore.open(tmp_path, RECIPE, ENTRIES)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve room")
def test_a_full_disk_is_told_before_anything_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls = []

    def full(descriptor: int, offset: int, size: int) -> None:
        calls.append((offset, size))
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        LeopartError, match=r"cannot keep features in .* MiB needed\): No space left on device"
    ):
        FeatureStore.open(tmp_path / "store", RECIPE, ENTRIES)

    assert calls == [(0, 11 * 5 * 2), (0, 11 * 3 * 4)]
    assert list((tmp_path / "store").iterdir()) == []  # no half store, and its room is free again
    monkeypatch.undo()
    assert filled(tmp_path / "store").done.tolist() == [1, 1, 1]


def test_room_is_taken_in_advance(tmp_path: Path):
    FeatureStore.open(tmp_path, RECIPE, ENTRIES)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir() if path.suffix == ".bin"}
    assert sizes == {"tokens.bin": 11 * 5 * 2, "attention.bin": 11 * 3 * 4, "done.bin": 3}


def test_a_store_below_a_file_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LeopartError, match="cannot keep features in"):
        FeatureStore.open(tmp_path / "file" / "store", RECIPE, ENTRIES)


def test_an_interruption_before_the_manifest_starts_afresh(tmp_path: Path):
    (tmp_path / "tokens.bin").write_bytes(b"something longer than what will be here" * 9)
    store = filled(tmp_path)
    np.testing.assert_array_equal(store.tokens_of(1), features(1)[0])


def test_no_photos_make_an_empty_store(tmp_path: Path):
    store = FeatureStore.open(tmp_path, RECIPE, [])
    assert len(store) == 0
    assert store.done.tolist() == []
    assert len(FeatureStore.open(tmp_path, RECIPE, [])) == len(FeatureStore.load(tmp_path)) == 0


def test_a_replaced_store_keeps_what_it_has_of_the_same_photos(tmp_path: Path):
    folder = tmp_path / "features"
    filled(folder)
    changed = replace(ENTRIES[0], modified=12)
    store = FeatureStore.replace(folder, RECIPE, [ENTRIES[2], changed, ENTRIES[1]])

    assert store.done.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(store.tokens_of(0), features(2)[0])
    np.testing.assert_array_equal(store.attention_of(2), features(1)[1])
    assert [path.name for path in tmp_path.iterdir()] == ["features"], "nothing of the old one is left"


def test_features_of_another_recipe_are_not_taken_over(tmp_path: Path):
    folder = tmp_path / "features"
    filled(folder)
    assert FeatureStore.replace(folder, replace(RECIPE, precision="bf16"), ENTRIES).done.tolist() == [0, 0, 0]


def test_where_room_cannot_be_reserved_zeros_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr("os.posix_fallocate")
    store = FeatureStore.open(tmp_path, RECIPE, ENTRIES)
    assert (tmp_path / "tokens.bin").stat().st_blocks > 0
    assert (tmp_path / "tokens.bin").stat().st_size == store.tokens.nbytes
    assert not store.done.any()


def test_a_store_that_has_no_room_for_another_one_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    filled(tmp_path / "store").close()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store, "_reserve", full)
        with pytest.raises(LeopartError, match="No space left on device; free some space"):
            FeatureStore.replace(tmp_path / "store", replace(RECIPE, dim=6), ENTRIES)
    kept = FeatureStore.open(tmp_path / "store", RECIPE, ENTRIES)
    np.testing.assert_array_equal(kept.tokens_of(0), features(0)[0])
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
