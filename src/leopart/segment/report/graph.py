"""Where the report draws parts and objects: a packed map of the co-occurrence graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
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

    Two levels of the same two steps: a spring layout with a fixed seed says who is near whom, then discs
    are pushed apart until none overlap and drawn towards the middle. First the parts inside each object,
    then the objects as larger discs.

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
    """Centres [n, 2] of discs that do not overlap, as near to the middle as a few hundred steps bring them.

    `pull` is the strength towards the middle per axis: unequal strengths pack an ellipse.
    """
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(names)
    graph.add_weighted_edges_from(edges)
    layout = nx.spring_layout(graph, seed=0, weight="weight")
    reach = 2.0 * float(np.sqrt((discs**2).sum()))
    # A tiny fixed spiral keeps discs apart that the spring layout puts on one spot.
    turn = np.arange(len(names)) * 2.4
    centre = np.array([layout[n] for n in names]) * reach
    centre = centre + 1e-3 * reach * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    for step in range(400):  # the pull dies away, so that the last steps only part what still overlaps
        centre = centre * (1.0 - 0.1 * pull * (1.0 - step / 400))
        centre = centre + _apart(centre, discs)
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
        outline = _hull([(x, y) for x, y, _ in discs])
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in outline) + "Z"
        pad = largest + 0.3 * scale * unit
        top = min(discs, key=lambda disc: disc[1])
        hulls.append(Hull(obj, path, round(2 * pad, 1), top[0], round(top[1] - pad - 4, 1)))
    return GraphMap(nodes, hulls)


def _hull(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Convex hull by Andrew's monotone chain; one and two points are their own hull."""

    def chain(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
        kept: list[tuple[float, float]] = []
        for x, y in ordered:
            while len(kept) > 1:
                (ax, ay), (bx, by) = kept[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                kept.pop()
            kept.append((x, y))
        return kept[:-1]

    ordered = sorted(set(points))
    return ordered if len(ordered) < 3 else chain(ordered) + chain(ordered[::-1])
