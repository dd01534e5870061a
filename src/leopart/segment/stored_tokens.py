"""Tokens of photos that a run has segmented: from features that were kept, or computed once more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from leopart.data.photo_list import PhotoEntry
from leopart.data.photos import Photo
from leopart.documents import read_yaml
from leopart.errors import LeopartError
from leopart.features.extract import Extractor
from leopart.features.store import MANIFEST, FeatureRecipe, FeatureStore
from leopart.progress import Track
from leopart.segment.run_folder import FEATURES


@contextmanager
def stored_tokens(
    out: Path, extractor: Extractor, entries: Sequence[PhotoEntry], track: Track
) -> Iterator[tuple[FeatureStore, dict[str, int]]]:
    """A store that holds the tokens of photos of a run.

    Args:
        out: folder of the run. Features that are computed lie there until the block has ended well, so that
            an interrupted run need not compute them again.
        extractor: of the run's segmenter.
        entries: the photos, unchanged since the run.
        track: progress.

    Yields:
        The store, and the index of each photo in it by name.

    Raises:
        LeopartError: a photo cannot be read, or the features cannot be written.
    """
    kept = _kept(out, extractor.recipe)
    if kept is not None and (index_of := _indices(kept, entries)) is not None:
        yield kept, index_of
        kept.close()
        return
    photos = [Photo(Path(entry.path), entry.name) for entry in entries]
    store, failures = extractor.extract(photos, out / FEATURES, replace=True, track=track)
    if failures:
        raise LeopartError(f"{failures[0].reason}; bring the photo back as it was when it was segmented")
    yield store, {stored.name: index for index, stored in enumerate(store.entries)}
    store.close()
    shutil.rmtree(out / FEATURES, ignore_errors=True)


def _kept(out: Path, recipe: FeatureRecipe) -> FeatureStore | None:
    """The store of `--features`, if it is still there and holds tokens of the same network and settings."""
    if not (out / "config.yaml").is_file():
        return None
    features = read_yaml(out / "config.yaml", dict[str, Any], "run `leopart segment` again").get("features")
    if not isinstance(features, str) or not (Path(features) / MANIFEST).is_file():
        return None
    store = FeatureStore.load(Path(features))
    return store if _tokens_made_by(store.recipe) == _tokens_made_by(recipe) else None


def _tokens_made_by(recipe: FeatureRecipe) -> tuple[Any, ...]:
    """What decides the tokens; another backbone's attention does not."""
    settings = {key: value for key, value in recipe.preprocessing.items() if key != "attention of"}
    return recipe.fingerprint, recipe.dim, settings, recipe.precision


def _indices(store: FeatureStore, entries: Sequence[PhotoEntry]) -> dict[str, int] | None:
    """Where the store has these photos; None if one is missing or was another file."""
    known = {
        (photo.name, photo.size, photo.modified): index
        for index, photo in enumerate(store.entries)
        if store.done[index]
    }
    found = {entry.name: known.get((entry.name, entry.bytes, entry.modified)) for entry in entries}
    return (
        {name: index for name, index in found.items() if index is not None}
        if None not in found.values()
        else None
    )
