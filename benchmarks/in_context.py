"""Nearest labelled patches of one photo, and their shares of classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from benchmarks.harness import Comparison, compare
from leopart.evaluation.neighbours import CosineIndex

_K = 30


def run() -> Iterator[Comparison]:
    vectors = _tokens(100 * 1024)
    queries = _tokens(512, seed=1)
    ours, plain = CosineIndex(vectors), CosineIndex(vectors, native=False)
    expected = plain.search(queries, _K).index
    sklearn = NearestNeighbors(n_neighbors=_K, metric="cosine", algorithm="brute").fit(vectors.numpy())
    peers: dict[str, Callable[[], Tensor]] = {
        "the same in float32": lambda: plain.search(queries, _K).index,
        "one product, one topk": lambda: (queries @ vectors.T).topk(_K).indices,
        "scikit-learn brute": lambda: torch.from_numpy(sklearn.kneighbors(queries.numpy())[1]),
    }
    if find_spec("faiss"):
        import faiss

        flat = faiss.IndexFlatIP(vectors.shape[1])
        flat.add(vectors.numpy())
        peers["faiss IndexFlatIP"] = lambda: torch.from_numpy(flat.search(queries.numpy(), _K)[1])
    operations = 2 * vectors.numel() * len(queries) / 1e9
    for name, peer in peers.items():
        result = compare(f"{_K} neighbours / {name}", lambda: ours.search(queries, _K), peer, runs=3)
        same = float((ours.search(queries, _K).index == expected).double().mean())
        agree = float((peer() == expected).double().mean())
        speed = f"{len(queries)} of {len(vectors):,}x384; {operations / result.ours:.0f} Gflop/s"
        yield replace(result, note=f"{speed}; equal to float32: ours {same:.2%}, peer {agree:.2%}")


def _tokens(count: int, seed: int = 0) -> Tensor:
    """Unit vectors round 2,000 directions, about as alike as a transformer's tokens (0.7 at the 30th)."""
    centres = np.random.default_rng(99).normal(size=(2000, 384))
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=(count, 384), scale=0.6)
    return F.normalize(
        torch.from_numpy((centres[generator.integers(0, 2000, count)] + noise).astype("f4")), dim=1
    )
