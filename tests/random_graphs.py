"""Weighted random graphs of many kinds, as (edges [E, 3], number of nodes)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

Graph = tuple[np.ndarray, int]


def erdos_renyi(rng: np.random.Generator, n: int) -> np.ndarray:
    return (rng.random((n, n)) < rng.uniform(1.5, 12) / n) * rng.uniform(0.1, 1, (n, n))


def planted_partition(rng: np.random.Generator, n: int) -> np.ndarray:
    """Groups with `mixing` of the links between them, from clear to hardly there."""
    groups, degree, mixing = rng.integers(2, max(3, n // 6)), rng.uniform(4, 16), rng.uniform(0.05, 0.7)
    group = rng.integers(0, groups, n)
    same = group[:, None] == group
    chance = np.where(same, degree * (1 - mixing) * groups / n, degree * mixing / n)
    return (rng.random((n, n)) < chance) * rng.exponential(1, (n, n))


def geometric(rng: np.random.Generator, n: int) -> np.ndarray:
    """Points of the unit square, joined where they are near."""
    points, reach = rng.random((n, 2)), np.sqrt(rng.uniform(3, 12) / (np.pi * n))
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    return np.where(distance < reach, np.exp(-((distance / reach) ** 2)), 0.0)


def ring(rng: np.random.Generator, n: int) -> np.ndarray:
    """Each node joined to the next few, and some shortcuts."""
    weights, nodes = np.zeros((n, n)), np.arange(n)
    for step in range(1, rng.integers(2, 6)):
        weights[nodes, (nodes + step) % n] = rng.uniform(0.2, 1, n)
    shortcuts = rng.integers(0, n, (2, n // 8))
    weights[shortcuts[0], shortcuts[1]] = rng.uniform(0.1, 1, n // 8)
    return np.maximum(weights, weights.T)


def cooccurrence(rng: np.random.Generator, n: int) -> np.ndarray:
    """Parts of objects seen together in photos: the lesser conditional probability, from a threshold on."""
    objects = max(2, n // rng.integers(3, 12))
    object_of_part, counts = rng.integers(0, objects, n), np.zeros((n, n))
    for _ in range(4 * n):
        seen = rng.choice(objects, rng.integers(1, 3), replace=False)
        parts = np.flatnonzero(np.isin(object_of_part, seen) | (rng.random(n) < 1.5 / n))
        shown = rng.choice(parts, min(len(parts), rng.integers(2, 7)), replace=False)
        counts[np.ix_(shown, shown)] += rng.random((len(shown), len(shown)))
    np.fill_diagonal(counts, 0)
    conditional = counts / np.maximum(counts.sum(1, keepdims=True), 1e-12)
    least = np.minimum(conditional, conditional.T)
    return np.where(least >= rng.choice([0.02, 0.05]), least, 0.0)


KINDS = (erdos_renyi, planted_partition, geometric, ring, cooccurrence)


def random_graphs(count: int, least: int = 20, most: int = 500) -> Iterator[Graph]:
    """`count` graphs of all kinds in turn, `least` to `most` nodes; some with isolated nodes or two parts."""
    for number in range(count):
        rng = np.random.default_rng(number)
        n = int(np.exp(rng.uniform(np.log(least), np.log(most))))
        weights = np.triu(KINDS[number % len(KINDS)](rng, n), k=1)
        if number % 7 == 0:
            weights = np.pad(weights, (0, 3))
        if number % 11 == 0:
            other = np.triu(KINDS[(number + 1) % len(KINDS)](rng, 20), k=1)
            weights = np.block(
                [[weights, np.zeros((len(weights), 20))], [np.zeros((20, len(weights))), other]]
            )
        a, b = np.nonzero(weights)
        yield np.column_stack([a, b, weights[a, b]]), len(weights)
