"""Geometry of the report's small line charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

WIDTH, HEIGHT = 460.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 14.0, 18.0, 42.0


@dataclass(frozen=True)
class Chart:
    """One line chart in a WIDTH x HEIGHT drawing; y grows downwards."""

    line: str
    """Points of the polyline, `x,y x,y ...`."""
    area: str
    """Points of the polygon below the line."""
    dots: list[tuple[float, float]]
    """Every point of a short curve; empty for a long one."""
    x_ticks: list[tuple[float, str]]
    """Position and text."""
    y_ticks: list[tuple[float, str]]
    """Position and text."""
    chosen: tuple[float, float, str] | None
    """Position and text of the chosen point, if it lies on the curve."""


def draw_chart(x: Sequence[float], y: Sequence[float], chosen: float | None, text: str = "") -> Chart | None:
    """Lay out a line chart with round ticks; points that are not finite are left out.

    Args:
        x: positions, any order.
        y: values, as many as x.
        chosen: position to mark; it is marked on the nearest point.
        text: what to write at the mark; the position if empty.

    Returns:
        The chart, or None if no point is left.
    """
    pairs = zip(map(float, x), map(float, y), strict=True)
    points = sorted(p for p in pairs if isfinite(p[0]) and isfinite(p[1]))
    if not points:
        return None
    x_ticks = _ticks(points[0][0], points[-1][0])
    y_ticks = _ticks(min(v for _, v in points), max(v for _, v in points))
    x_span = (min(points[0][0], x_ticks[0]), max(points[-1][0], x_ticks[-1]))
    y_span = (y_ticks[0], y_ticks[-1])

    def place_x(value: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * _part(value, x_span), 1)

    def place_y(value: float) -> float:
        return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * _part(value, y_span), 1)

    places = [(place_x(a), place_y(b)) for a, b in points]
    line = " ".join(f"{a},{b}" for a, b in places)
    floor_y = HEIGHT - _BOTTOM
    mark = None
    if chosen is not None and isfinite(chosen):
        near = min(points, key=lambda p: abs(p[0] - chosen))
        mark = (place_x(near[0]), place_y(near[1]), text or _text(float(chosen)))
    return Chart(
        line=line,
        area=f"{places[0][0]},{floor_y} {line} {places[-1][0]},{floor_y}",
        dots=places if len(places) <= 40 else [],
        x_ticks=[(place_x(t), _text(t)) for t in x_ticks if x_span[0] <= t <= x_span[1]],
        y_ticks=[(place_y(t), _text(t)) for t in y_ticks],
        chosen=mark,
    )


def _part(value: float, span: tuple[float, float]) -> float:
    return (value - span[0]) / (span[1] - span[0])


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers whose first and last enclose low and high."""
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-12):
        margin = abs(low) / 10 or 0.5
        low, high = low - margin, high + margin
    raw = (high - low) / 4
    power = 10.0 ** floor(log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    return [step * i for i in range(floor(low / step + 1e-9), ceil(high / step - 1e-9) + 1)]


def _text(value: float) -> str:
    """Short text of a number: 4 significant digits, no trailing zeros."""
    return f"{value:.4g}" if abs(value) > 1e-12 else "0"
