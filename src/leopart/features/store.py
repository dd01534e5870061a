"""Tokens and attention of a set of photos, on disk.

    STORE/
      manifest.json   what made the features (backbone, preprocessing) and which photo lies where
      tokens.bin      float16 [T, D], all photos one after the other, row by row of their grid
      attention.bin   float32 [T, heads], CLS attention to the same tokens
      done.bin        uint8 [N], 1 once a photo's features are whole

Legend: N photos, T tokens of all photos, D token dimensions, h x w a photo's grid of tokens.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from leopart.documents import checked, read_json
from leopart.errors import LeopartError
from leopart.files import reason_and_remedy, write_text

MANIFEST = "manifest.json"
"""File without which a folder is no store."""
_FORMAT = 1
_ARRAYS = ("tokens.bin", "attention.bin", "done.bin")


Length = Annotated[int, Field(ge=0, le=2**20)]
"""Of an axis of an array; larger ones are damage, and their products may not fit an integer."""


@dataclass(frozen=True)
class StoredPhoto:
    """One photo of a store.

    Attributes:
        name: of the photo, unique in the store.
        size: of its file in bytes, with `modified` to notice that the file has been replaced.
        modified: of its file, nanoseconds since the epoch.
        height: h, rows of tokens.
        width: w, columns of tokens.
    """

    name: str
    size: int
    modified: int
    height: Length
    width: Length


@dataclass(frozen=True)
class FeatureRecipe:
    """Everything besides the photos that decides what their features are.

    Attributes:
        backbone: registry name, for people.
        fingerprint: hash of weights and architecture, see `Backbone.fingerprint`.
        dim: D.
        heads: attention heads.
        preprocessing: how a photo becomes the backbone's input.
        precision: number format of the forward pass, `fp32`, `bf16` or `fp16`.
    """

    backbone: str
    fingerprint: str
    dim: Length
    heads: Length
    preprocessing: dict[str, Any]
    precision: str


class StoreMismatchError(LeopartError):
    """The folder holds features made with other settings or of other photos."""


class FeatureStore:
    """Memory-mapped features of N photos; see the module for the files.

    Attributes:
        folder: where it lies.
        recipe: what made it.
        entries: its photos.
        tokens: [T, D] float16 memory map.
        attention: [T, heads] float32 memory map.
        done: [N] uint8 memory map, 1 where a photo's features are whole.
    """

    def __init__(self, folder: Path, recipe: FeatureRecipe, entries: Sequence[StoredPhoto]) -> None:
        self.folder, self.recipe, self.entries = folder, recipe, tuple(entries)
        sizes = [entry.height * entry.width for entry in self.entries]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        total = int(self._starts[-1])
        self.tokens = self._map("tokens.bin", np.float16, (total, recipe.dim))
        self.attention = self._map("attention.bin", np.float32, (total, recipe.heads))
        self.done = self._map("done.bin", np.uint8, (len(self.entries),))

    @classmethod
    def open(cls, folder: Path, recipe: FeatureRecipe, entries: Sequence[StoredPhoto]) -> FeatureStore:
        """The store for these photos and this recipe: a new one, or one that was begun earlier.

        Raises:
            StoreMismatchError: `folder` holds features of something else; says what differs.
            LeopartError: there is no room on the disk for the whole store, or it is damaged.
        """
        manifest = {
            "format": _FORMAT,
            **asdict(recipe),
            "dtype": "float16",
            "shape": [sum(entry.height * entry.width for entry in entries), recipe.dim],
            "photos": [asdict(entry) for entry in entries],
        }
        path = folder / MANIFEST
        if path.exists():
            _check_same(path, manifest)
        else:
            _allocate(folder, recipe, entries)
            write_text(path, json.dumps(manifest))
        return cls(folder, recipe, entries)

    @classmethod
    def replace(cls, folder: Path, recipe: FeatureRecipe, entries: Sequence[StoredPhoto]) -> FeatureStore:
        """A new store in the place of one that does not fit; what it holds of the same photos is taken over.

        Raises:
            LeopartError: as `open`.
        """
        aside = folder.with_name(f"{folder.name}.earlier")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        try:
            store = cls.open(folder, recipe, entries)
        except LeopartError:  # no room for both: what was there is of more use than nothing
            shutil.rmtree(folder, ignore_errors=True)
            aside.rename(folder)
            raise
        with suppress(LeopartError):  # a damaged store has nothing to take over
            earlier = cls.load(aside)
            store._take_over(earlier)
            earlier.close()
        shutil.rmtree(aside, ignore_errors=True)
        return store

    @classmethod
    def load(cls, folder: Path) -> FeatureStore:
        """A store as it lies on disk, whatever made it.

        Raises:
            LeopartError: `folder` holds no store.
        """
        path = folder / MANIFEST
        found = _read_manifest(path)
        if found.get("format") != _FORMAT:
            raise LeopartError(f"{path} is of a format this version does not read: make the features again")
        try:
            return cls(folder, checked(found, FeatureRecipe), checked(found.get("photos"), list[StoredPhoto]))
        except ValueError as error:
            raise LeopartError(f"{path} is damaged: {error}; {_remedy(path)}") from error

    def close(self) -> None:
        """Let go of the files, so that they can be deleted on every system."""
        self.tokens = self.attention = self.done = np.zeros(0)

    def _take_over(self, earlier: FeatureStore) -> None:
        if earlier.recipe == self.recipe:
            known = {entry: index for index, entry in enumerate(earlier.entries) if earlier.done[index]}
            for index, entry in enumerate(self.entries):
                if entry in known:
                    self.put(index, earlier.tokens_of(known[entry]), earlier.attention_of(known[entry]))

    def __len__(self) -> int:
        return len(self.entries)

    def put(self, index: int, tokens: NDArray[np.float16], attention: NDArray[np.float32]) -> None:
        """Store the features of photo `index`: tokens [h, w, D] and attention [heads, h, w]."""
        rows = self._rows(index)
        self.tokens[rows] = tokens.reshape(-1, self.recipe.dim)
        self.attention[rows] = attention.reshape(self.recipe.heads, -1).T
        self.done[index] = 1

    def tokens_of(self, index: int) -> NDArray[np.float16]:
        """Tokens of photo `index`, [h, w, D]."""
        entry = self.entries[index]
        return np.array(self.tokens[self._rows(index)]).reshape(entry.height, entry.width, -1)

    def attention_of(self, index: int) -> NDArray[np.float32]:
        """CLS attention of photo `index`, [heads, h, w]."""
        entry = self.entries[index]
        return np.array(self.attention[self._rows(index)].T).reshape(-1, entry.height, entry.width)

    def _rows(self, index: int) -> slice:
        return slice(int(self._starts[index]), int(self._starts[index + 1]))

    def _map(self, name: str, dtype: type, shape: tuple[int, ...]) -> NDArray[Any]:
        if 0 in shape:  # an empty file cannot be mapped
            return np.zeros(shape, dtype)
        path, need = self.folder / name, math.prod(shape) * np.dtype(dtype).itemsize
        try:
            size = path.stat().st_size
            if size != need:  # numpy would fill a file that is too short with zeros
                raise ValueError(f"{size} bytes instead of {need}")
            return np.memmap(path, dtype, "r+", shape=shape)
        except (OSError, ValueError) as error:
            message = f"{path} is missing or damaged ({error}): delete {self.folder}, run again"
            raise LeopartError(message) from error


def is_store_or_begun(folder: Path) -> bool:
    """Whether a folder holds a store, what one that ran out of room or was killed has left, or nothing.

    Until the manifest is written, which comes last, there are only files of these names.
    """
    if not folder.is_dir():
        return False
    found = {path.name for path in folder.iterdir() if not path.name.endswith(".part")}
    return MANIFEST in found or found <= set(_ARRAYS)


def _allocate(folder: Path, recipe: FeatureRecipe, entries: Sequence[StoredPhoto]) -> None:
    """Reserve the files' whole size: writing to a memory map on a full disk would kill the process."""
    total = sum(entry.height * entry.width for entry in entries)
    sizes = dict(zip(_ARRAYS, (total * recipe.dim * 2, total * recipe.heads * 4, len(entries)), strict=True))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, size in sizes.items():
            with (folder / name).open("wb") as file:
                _reserve(file, size)
    except OSError as error:
        for name in sizes:  # what was reserved so far is room that is missing elsewhere
            with suppress(OSError):
                (folder / name).unlink(missing_ok=True)
        need = sum(sizes.values()) / 2**20
        what = f"cannot keep features in {folder} ({need:,.0f} MiB needed)"
        raise LeopartError(f"{what}: {reason_and_remedy(error)}") from error


def _reserve(file: BinaryIO, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        if size:  # 0 is an error there
            os.posix_fallocate(file.fileno(), 0, size)
        return
    block = bytes(1 << 20)
    for start in range(0, size, len(block)):
        file.write(block[: size - start])


def _read_manifest(path: Path) -> dict[str, Any]:
    return read_json(path, dict[str, Any], _remedy(path))


def _remedy(manifest: Path) -> str:
    return f"delete {manifest.parent} and run again"


def _check_same(path: Path, wanted: dict[str, Any]) -> None:
    found = _read_manifest(path)
    differs = [key for key in wanted if found.get(key) != wanted[key]]
    if differs:
        message = (
            f"{path.parent} holds features made with other settings or photos ({', '.join(differs)} differ): "
            "choose another folder or delete it"
        )
        raise StoreMismatchError(message)
