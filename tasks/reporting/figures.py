"""Drawings as inline SVG: histograms, curves, and intervals on a scale from 0 to 100. No script, no external file."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

WIDTH, HEIGHT = 360, 170
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 10, 30


class Series(NamedTuple):
    """Named values, drawn in the colour that the page's CSS gives the class `kind`."""

    name: str
    kind: str
    values: Sequence[float]


class Bounds(NamedTuple):
    """What part of the plane a drawing shows."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        """Where a value lies on the drawing, in its units from the left."""
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - self.x_low) / ((self.x_high - self.x_low) or 1)

    def y(self, value: float) -> float:
        """Where a value lies on the drawing, in its units from the top."""
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - self.y_low) / ((self.y_high - self.y_low) or 1)


class Interval(NamedTuple):
    """A value with its interval, in per cent."""

    kind: str
    value: float
    low: float
    high: float


def histogram(series: Sequence[Series], label: str, edges: Sequence[float]) -> Markup:
    """Shares of each series' values per bin between the `edges`, one outline over the other."""
    shares = [shares_between(one.values, edges) for one in series]
    bounds = Bounds(edges[0], edges[-1], 0.0, max(max(share, default=0.0) for share in shares) or 1.0)
    shapes = (_steps(one.kind, share, edges, bounds) for one, share in zip(series, shares, strict=True))
    return _svg([*_axes(bounds, label, percent=True), *shapes], label)


def curve(xs: Sequence[float], ys: Sequence[float], label: str) -> Markup:
    """Values over steps, as a line."""
    low, high = min(ys), max(ys)
    # From zero where that does not flatten the curve.
    low = 0.0 if 0 <= low < 0.5 * high else low
    bounds = Bounds(min(xs), max(xs), low, high)
    points = " ".join(f"{bounds.x(x):.1f},{bounds.y(y):.1f}" for x, y in zip(xs, ys, strict=True))
    line = Markup('<polyline class="line" points="{}"/>').format(points)
    return _svg([*_axes(bounds, label), line], label)


def intervals(marks: Iterable[Interval]) -> Markup:
    """Values with their intervals, one under the other, on a scale from 0 to 100."""
    grid = [
        Markup('<line class="grid" x1="{0}" x2="{0}" y1="0" y2="26"/>').format(10 + 2 * at) for at in range(0, 101, 25)
    ]
    drawn = [_whisker(mark, 8 + 10 * row) for row, mark in enumerate(marks)]
    inside = Markup().join([*grid, *drawn])
    return Markup('<svg class="intervals" viewBox="0 0 220 26" role="img">{}</svg>').format(inside)


def even_edges(values: Iterable[float], bins: int) -> list[float]:
    """Edges of `bins` equal bins from 0 to a round number over the largest value."""
    top = _round_up(max(values, default=1.0))
    return [top * step / bins for step in range(bins + 1)]


def shares_between(values: Sequence[float], edges: Sequence[float]) -> list[float]:
    """The share of the values in each bin; the last bin holds its upper edge too."""
    counts = [0] * (len(edges) - 1)
    width = (edges[-1] - edges[0]) / len(counts)
    for value in values:
        counts[min(int((value - edges[0]) / width), len(counts) - 1)] += 1
    return [count / (len(values) or 1) for count in counts]


def short(value: float) -> str:
    """A number for an axis: 12,000 as 12k, small ones in their exponent."""
    if value and abs(value) < 1e-2:
        return f"{value:.0e}".replace("e-0", "e-")
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g}{unit}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _whisker(mark: Interval, y: int) -> Markup:
    low, value, high = (10 + 2 * at for at in (mark.low, mark.value, mark.high))
    line = Markup('<line class="bar" x1="{:.1f}" x2="{:.1f}" y1="{y}" y2="{y}"/>').format(low, high, y=y)
    return Markup('<g class="{}">{}<circle cx="{:.1f}" cy="{}" r="4"/></g>').format(mark.kind, line, value, y)


def _steps(kind: str, shares: Sequence[float], edges: Sequence[float], bounds: Bounds) -> Markup:
    path = [f"M{bounds.x(edges[0]):.1f},{bounds.y(0):.1f}"]
    for left, right, share in zip(edges, edges[1:], shares, strict=False):
        path.append(f"L{bounds.x(left):.1f},{bounds.y(share):.1f}L{bounds.x(right):.1f},{bounds.y(share):.1f}")
    path.append(f"L{bounds.x(edges[-1]):.1f},{bounds.y(0):.1f}Z")
    return Markup('<path class="area {}" d="{}"/>').format(kind, "".join(path))


def _axes(bounds: Bounds, label: str, *, percent: bool = False) -> list[Markup]:
    """Grid lines with their values, and the label of the x axis."""
    marks = []
    for step in range(5):
        value = bounds.y_low + (bounds.y_high - bounds.y_low) * step / 4
        text = f"{100 * value:.0f}%" if percent else short(value)
        y = bounds.y(value)
        marks.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>').format(LEFT, WIDTH - RIGHT, y=y)
        )
        marks.append(Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(LEFT - 5, y + 3, text))
    for value, anchor in ((bounds.x_low, "start"), (bounds.x_high, "end")):
        x = bounds.x(value)
        marks.append(
            Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(x, HEIGHT - 16, anchor, short(value))
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [
        *marks,
        Markup('<text class="label" x="{}" y="{}" text-anchor="middle">{}</text>').format(middle, HEIGHT - 4, label),
    ]


def _svg(shapes: Iterable[Markup], label: str) -> Markup:
    inside = Markup().join(shapes)
    return Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, label, inside
    )


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(size * step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if size * step >= value)
