"""Where the report draws parts and objects: a packed map of the co-occurrence graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

WIDTH, HEIGHT = 1000.0, 620.0
_GAP = 0.35  # between parts of an object, in mean radii


@dataclass(frozen=True)
class Hull:
    """Outline round the parts of one object: a polygon to be drawn with a thick round stroke."""

    object: int
    """Object id."""
    path: str
    """SVG path data."""
    stroke: float
    """Stroke width in drawing units that makes the outline clear every part."""
    x: float
    """Where the object's name stands."""
    y: float
    """Where the object's name stands; its base line."""


@dataclass(frozen=True)
class GraphMap:
    """Positions in a WIDTH x HEIGHT drawing."""

    nodes: dict[int, tuple[float, float, float]]
    """Part id -> x, y, radius."""
    hulls: list[Hull]
    """One outline per object."""


def draw_map(
    radii: Mapping[int, float], objects: Mapping[int, int], edges: Sequence[tuple[int, int, float]]
) -> GraphMap:
    """Place parts as discs that touch nothing, the parts of an object together, related objects near.

    First the parts inside each object are packed, then the objects as larger discs.

    Args:
        radii: relative radius of every part to draw, > 0.
        objects: object id of every part to draw.
        edges: part, part, weight >= 0; parts that are not drawn are left out.

    Returns:
        The map; empty if there are no parts.
    """
    if not radii:
        return GraphMap({}, [])
    members = {o: sorted(p for p in radii if objects[p] == o) for o in sorted(set(objects.values()))}
    members = {o: parts for o, parts in members.items() if parts}
    unit = float(np.mean(list(radii.values())))
    inner: dict[int, Points] = {}
    sizes = []
    for obj, parts in members.items():
        disc = np.array([radii[p] for p in parts])
        inside = [(a, b, w) for a, b, w in edges if a in parts and b in parts]
        inner[obj] = _pack(parts, inside, disc + _GAP * unit / 2, np.ones(2))
        sizes.append(float((np.linalg.norm(inner[obj], axis=1) + disc).max()) + 0.9 * unit)
    between = _between(edges, objects, set(radii))
    outer = _pack(list(members), between, np.array(sizes), np.array([HEIGHT / WIDTH, 1.0]))
    # Room at the sides is taken up by moving objects apart, which cannot make them overlap.
    height, width = (np.ptp(np.r_[outer[:, i] - sizes, outer[:, i] + sizes]) for i in (1, 0))
    outer[:, 0] *= min(max(WIDTH / HEIGHT * height / width, 1.0), 1.5)
    spots = {
        p: (outer[i] + inner[o][j], radii[p])
        for i, (o, parts) in enumerate(members.items())
        for j, p in enumerate(parts)
    }
    return _fit(spots, members, unit)


def _between(
    edges: Sequence[tuple[int, int, float]], objects: Mapping[int, int], drawn: set[int]
) -> list[tuple[int, int, float]]:
    """Summed weights between objects."""
    total: dict[tuple[int, int], float] = {}
    for a, b, weight in edges:
        if a in drawn and b in drawn and objects[a] != objects[b]:
            pair = (min(objects[a], objects[b]), max(objects[a], objects[b]))
            total[pair] = total.get(pair, 0.0) + weight
    return [(a, b, weight) for (a, b), weight in total.items()]


def _pack(
    names: Sequence[int], edges: Sequence[tuple[int, int, float]], discs: Points, pull: Points
) -> Points:
    """Centres [n, 2] of discs that do not overlap, near the middle and near those they are joined with.

    Discs start on a sunflower. In every step they move towards the
    middle and towards the weighted mean of their neighbours, less and less, and apart, more and more.
    `pull` is the strength towards the middle per axis: unequal strengths pack an ellipse.
    """
    index = {name: i for i, name in enumerate(names)}
    weights = np.zeros((len(names), len(names)))
    for a, b, weight in edges:
        weights[[index[a], index[b]], [index[b], index[a]]] += weight
    total = weights.sum(1, keepdims=True)
    number = np.arange(len(names))
    spread = 2.0 * np.sqrt((number + 1) * (discs**2).sum() / len(names))
    centre = spread[:, None] * np.stack([np.cos(2.4 * number), np.sin(2.4 * number)], axis=1)
    for step in range(400):
        early = max(0.0, 1.0 - step / 200)
        to_neighbours = (weights @ centre - total * centre) / np.maximum(total, 1e-9)
        centre = centre + early * (0.3 * to_neighbours - 0.1 * pull * centre)
        centre = centre + min(1.0, step / 100) * _apart(centre, discs)
    packed: Points = centre - centre.mean(axis=0)
    return packed


def _apart(centre: Points, discs: Points) -> Points:
    """One push [n, 2] of overlapping discs away from each other."""
    offset = centre[:, None] - centre[None]
    distance = np.maximum(np.linalg.norm(offset, axis=-1), 1e-9)
    overlap = np.maximum(discs[:, None] + discs[None] - distance, 0.0)
    np.fill_diagonal(overlap, 0.0)
    push: Points = 0.5 * (offset / distance[..., None] * overlap[..., None]).sum(axis=1)
    return push


def _fit(spots: dict[int, tuple[Points, float]], members: dict[int, list[int]], unit: float) -> GraphMap:
    """Scale into the drawing and outline the objects."""
    margin = 1.4 * unit
    low = np.min([xy - r for xy, r in spots.values()], axis=0) - margin
    high = np.max([xy + r for xy, r in spots.values()], axis=0) + margin
    # A lone part should not fill the page.
    scale = float(min(WIDTH / (high[0] - low[0]), HEIGHT / (high[1] - low[1]), 58.0 / unit))
    shift = np.array([WIDTH, HEIGHT]) / 2 - scale * (low + high) / 2
    nodes = {}
    for part, (xy, radius) in spots.items():
        x, y = scale * xy + shift
        nodes[part] = (round(float(x), 1), round(float(y), 1), round(scale * radius, 1))
    hulls = []
    for obj, parts in members.items():
        discs = [nodes[p] for p in parts]
        largest = max(r for _, _, r in discs)
        outline = cv2.convexHull(np.array([disc[:2] for disc in discs], np.float32))[:, 0]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in outline) + "Z"
        pad = largest + 0.3 * scale * unit
        top = min(discs, key=lambda disc: disc[1])
        hulls.append(Hull(obj, path, round(2 * pad, 1), top[0], round(top[1] - pad - 4, 1)))
    return GraphMap(nodes, hulls)
