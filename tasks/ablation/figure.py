"""A question as one drawing: its arms from left to right, accuracy with its interval; below, the outcome and the paper.

The SVG stands alone, as a file or inside a page: every colour and font is its own.
"""

import math
import textwrap
from collections.abc import Iterable
from typing import NamedTuple

from markupsafe import Markup

from tasks.ablation.answers import Answer, Difference, Shown
from tasks.grading.statistics import Estimate

WIDTH, PLOT = 640, 170
LEFT, RIGHT = 44, 16
LINE = 15
FONT = "system-ui, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif"
INK, SOFT, RULE, HERE, THERE = "#1e293b", "#64748b", "#e2e8f0", "#2563eb", "#a3b1c6"
COLOURS = {"holds": "#15803d", "does not hold": "#b91c1c", "undecided": "#a16207"}
STEPS = (1, 2, 5, 10, 20)
KEY = ((HERE, "families trained on"), (THERE, "out of distribution"))


class Scale(NamedTuple):
    """Per cent to units from the top."""

    top: float
    zero: float
    step: int
    most: int

    def y(self, share: float) -> float:
        """Where a share lies."""
        return self.zero - (self.zero - self.top) * 100 * share / self.most


def figure(answer: Answer, *, bare: bool = False) -> Markup:
    """The drawing of one question; bare, without the title and the outcome, for a page that tells them itself."""
    title = [] if bare else textwrap.wrap(answer.asks, 78)
    labels = [_label(arm.label, len(answer.arms)) for arm in answer.arms]
    scale = scale_for(answer.arms, 32 + LINE * len(title) + (0 if bare else 8))
    places = [_place(number, len(labels)) for number in range(len(labels))]
    foot = scale.zero + LINE * max(map(len, labels), default=1) + 8
    shapes = [
        *(_text(14, 22 + LINE * line, words, size=13, fill=INK, weight=600) for line, words in enumerate(title)),
        *_key(answer, scale.top - 16),
        *_grid(scale),
        *(_column(*each, scale) for each in zip(answer.arms, labels, places, strict=True)),
        *([] if bare else _footer(answer, foot + 20)),
    ]
    return _svg(shapes, answer.asks, foot if bare else foot + 20 + LINE * (len(answer.contrasts) + 1))


def contrast_line(found: Difference) -> str:
    """A contrast in words, in points: `L5 - L1: +12.3 points [4.0, 20.1]`."""
    better, worse = found.labels
    value, low, high = (100 * each + 0.0 for each in (found.value, found.low, found.high))
    return f"{better} - {worse}: {value:+.1f} points [{low:.1f}, {high:.1f}]"


def scale_for(arms: Iterable[Shown], top: float) -> Scale:
    """From 0 to a round number above the highest interval, with about five lines."""
    highest = max((100 * each.high for arm in arms for each in (arm.accuracy, arm.elsewhere) if each), default=100.0)
    step = next((step for step in STEPS if step * 5 >= highest), STEPS[-1])
    return Scale(top, top + PLOT, step, max(step, step * math.ceil(highest / step)))


def _svg(shapes: Iterable[Markup], label: str, height: float) -> Markup:
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h:.0f}" width="{w}" height="{h:.0f}" role="img" '
        'aria-label="{label}" style="max-width: 100%; height: auto; display: block; font-family: {font}">'
        '<rect width="{w}" height="{h:.0f}" fill="#ffffff"/>{inside}</svg>\n'
    ).format(w=WIDTH, h=height, label=label, font=FONT, inside=Markup().join(shapes))


def _footer(answer: Answer, y: float) -> list[Markup]:
    lines = [
        _text(118, y + LINE * n, contrast_line(each), size=12, fill=INK) for n, each in enumerate(answer.contrasts)
    ]
    paper = _text(118, y + LINE * len(lines), f"paper: {answer.paper}", size=12)
    return [_text(14, y, answer.outcome, size=12, weight=600, fill=COLOURS[answer.outcome]), *lines, paper]


def _key(answer: Answer, y: float) -> list[Markup]:
    shown = KEY if any(arm.elsewhere for arm in answer.arms) else KEY[:1]
    marks = [_text(14, y + 3.5, "accuracy %")]
    for n, (colour, words) in enumerate(shown):
        x = 100 + 150 * n
        marks += [
            Markup('<circle cx="{}" cy="{}" r="4" fill="{}"/>').format(x, y, colour),
            _text(x + 9, y + 3.5, words),
        ]
    return marks


def _grid(scale: Scale) -> list[Markup]:
    marks = []
    for value in range(0, scale.most + 1, scale.step):
        y = scale.y(value / 100)
        line = '<line x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}" stroke="{}"/>'
        marks.append(Markup(line).format(LEFT, WIDTH - RIGHT, RULE, y=y))
        marks.append(_text(LEFT - 7, y + 3.5, str(value), anchor="end"))
    return marks


def _column(arm: Shown, label: list[str], x: float, scale: Scale) -> Markup:
    """One arm: both marks, the value beside the first, the label under the axis."""
    y = scale.y(arm.accuracy.value)
    marks = [
        *([_whisker(arm.elsewhere, x + 9, scale, THERE, 1.5)] if arm.elsewhere else []),
        _whisker(arm.accuracy, x - 5, scale, HERE, 2.5),
        _text(x - 14, y + 4, f"{100 * arm.accuracy.value:.1f}", anchor="end", fill=INK, weight=600),
        *(_text(x, scale.zero + 16 + LINE * n, words, anchor="middle", fill=INK) for n, words in enumerate(label)),
    ]
    return Markup("<g>{}</g>").format(Markup().join(marks))


def _whisker(found: Estimate, x: float, scale: Scale, colour: str, width: float) -> Markup:
    low, value, high = (scale.y(each) for each in (found.low, found.value, found.high))
    return Markup(
        '<line x1="{x:.1f}" x2="{x:.1f}" y1="{:.1f}" y2="{:.1f}" stroke="{c}" stroke-width="{}" stroke-linecap="round" '
        'stroke-opacity="0.6"/><circle cx="{x:.1f}" cy="{:.1f}" r="{}" fill="{c}"/>'
    ).format(low, high, width, value, 2 + width, x=x, c=colour)


def _place(number: int, arms: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (number + 0.5) / arms


def _label(text: str, arms: int) -> list[str]:
    """A label in lines that fit under their arm."""
    letters = max(6, int((WIDTH - LEFT - RIGHT) / arms / 6.5))
    return textwrap.wrap(text, letters) or [""]


def _text(
    x: float, y: float, text: str, *, size: int = 11, anchor: str = "start", fill: str = SOFT, weight: int = 400
) -> Markup:
    shape = '<text x="{:.1f}" y="{:.1f}" font-size="{}" text-anchor="{}" font-weight="{}" fill="{}">{}</text>'
    return Markup(shape).format(x, y, size, anchor, weight, fill, text)
