"""The comparison as one HTML page, as SVG figures, as a Markdown table for a README, and plain for the terminal.

Everything that the page needs is in it, and all text is escaped.
"""

import math
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from markupsafe import Markup
from pydantic import TypeAdapter, ValidationError

from tasks.ablation.contrasts import ArmAccuracy, Comparison, Correlation, Difference, Finding, Predictor
from tasks.ablation.params import AblationParams
from tasks.core.errors import LimoError
from tasks.core.files import read_json, read_table
from tasks.reporting.text import fill
from tasks.scoring.statistics import Estimate

WIDTH, PLOT = 640, 170
LEFT, RIGHT = 44, 16
LINE = 15
FONT = "system-ui, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif"
INK, SOFT, RULE, WITHIN, OUTSIDE = "#1e293b", "#64748b", "#e2e8f0", "#2563eb", "#a3b1c6"
COLOURS = {"holds": "#15803d", "does not hold": "#b91c1c", "undecided": "#a16207"}
STEPS = (1, 2, 5, 10, 20)
KEY = ((WITHIN, "families trained on"), (OUTSIDE, "out of distribution"))


class Scale(NamedTuple):
    """Per cent to units from the top."""

    top: float
    zero: float
    step: int
    most: int

    def y(self, share: float) -> float:
        """Where a share lies."""
        return self.zero - (self.zero - self.top) * 100 * share / self.most


def figure(finding: Finding, *, bare: bool = False) -> Markup:
    """The drawing of one question: its arms from left to right, accuracy with its interval; the outcome and the paper.

    The SVG is self-contained, as a file or inside a page: every colour and font is its own. Bare, it is without the
    title and the outcome, for a page that has them itself.
    """
    title = [] if bare else textwrap.wrap(finding.asks, 78)
    labels = [_label(arm.label, len(finding.arms)) for arm in finding.arms]
    scale = scale_for(finding.arms, 32 + LINE * len(title) + (0 if bare else 8))
    places = [_place(number, len(labels)) for number in range(len(labels))]
    foot = scale.zero + LINE * max(map(len, labels), default=1) + 8
    shapes = [
        *(_text(14, 22 + LINE * line, words, size=13, fill=INK, weight=600) for line, words in enumerate(title)),
        *_key(finding, scale.top - 16),
        *_grid(scale),
        *(_column(*each, scale) for each in zip(finding.arms, labels, places, strict=True)),
        *([] if bare else _footer(finding, foot + 20)),
    ]
    return _svg(shapes, finding.asks, foot if bare else foot + 20 + LINE * (len(finding.contrasts) + 1))


def contrast_line(found: Difference) -> str:
    """A contrast in words, in points: `L5 - L1: +12.3 points [4.0, 20.1]`."""
    better, worse = found.labels
    value, low, high = (100 * each + 0.0 for each in (found.value, found.low, found.high))
    return f"{better} - {worse}: {value:+.1f} points [{low:.1f}, {high:.1f}]"


def scale_for(arms: Iterable[ArmAccuracy], top: float) -> Scale:
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


def _footer(finding: Finding, y: float) -> list[Markup]:
    lines = [
        _text(118, y + LINE * n, contrast_line(each), size=12, fill=INK) for n, each in enumerate(finding.contrasts)
    ]
    paper = _text(118, y + LINE * len(lines), f"paper: {finding.paper}", size=12)
    return [_text(14, y, finding.outcome, size=12, weight=600, fill=COLOURS[finding.outcome]), *lines, paper]


def _key(finding: Finding, y: float) -> list[Markup]:
    shown = KEY if any(arm.elsewhere for arm in finding.arms) else KEY[:1]
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


def _column(arm: ArmAccuracy, label: list[str], x: float, scale: Scale) -> Markup:
    """One arm: both marks, the value next to the first, the label under the axis."""
    y = scale.y(arm.accuracy.value)
    marks = [
        *([_whisker(arm.elsewhere, x + 9, scale, OUTSIDE, 1.5)] if arm.elsewhere else []),
        _whisker(arm.accuracy, x - 5, scale, WITHIN, 2.5),
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


ARM_COLUMNS = (
    *("arm", "base", "seeds", "samples", "passes", "steps", "loss tokens", "quality", "tokens a chain"),
    *("accuracy", "out of distribution", "cut off"),
)
PREDICTOR_COLUMNS = ("trait of the chains", "rank correlation with accuracy", "points", "arms")


def markdown(compared: Comparison) -> str:
    """table.md: the questions, the predictors, the arms."""
    questions = [
        [
            finding.asks,
            " · ".join(f"{arm.label} {rate(arm.accuracy)}" for arm in finding.arms),
            " · ".join(contrast_line(each) for each in finding.contrasts),
            finding.paper,
            f"**{finding.outcome}**",
        ]
        for finding in compared.findings
    ]
    tables = (
        (("question", "accuracy, %", "contrast", "paper", "outcome"), questions),
        (PREDICTOR_COLUMNS, predictor_cells(compared.predictors)),
        (ARM_COLUMNS, arm_cells(compared.arms)),
    )
    return "\n".join(_table(head, rows) for head, rows in tables)


def console(out: Path) -> str:
    """What `compare` wrote into `out`, for the terminal.

    Raises:
        LimoError: it is not there, or is not of this version.
    """
    path = out / "contrasts.json"
    try:
        findings = TypeAdapter(list[Finding]).validate_python(read_json(path))
    except ValidationError as error:
        raise LimoError(f"{path}: not what `compare` writes ({error.errors()[0]['msg']}); run `limo ablate`") from None
    items = read_table(out / "arms.parquet", {"items": pl.Int64})["items"][0]
    head = f"accuracy in % on {items} items; in brackets the same out of distribution"
    return "\n\n".join([head, *(_paragraph(finding) for finding in findings)])


def rate(found: Estimate | None) -> str:
    """A share in per cent with its interval: `12.5 [8.0, 17.1]`."""
    return "–" if found is None else "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * value for value in found))


def rho(found: Correlation) -> str:
    """A rank correlation with its interval."""
    return "–" if found.value is None else f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def arm_cells(arms: pl.DataFrame) -> list[list[str]]:
    """The rows under ARM_COLUMNS."""
    return [
        [
            *(row["arm"], row["base"], str(row["seeds"])),
            *(number(row[name], digits) for name, digits in (("samples", 0), ("passes", 1), ("steps", 0))),
            *(number(row[name], digits) for name, digits in (("loss_tokens", 0), ("quality", 2), ("n_tokens", 0))),
            *(rate(estimate_of(row, name)) for name in ("accuracy", "elsewhere")),
            f"{100 * row['truncated']:.1f}%",
        ]
        for row in arms.iter_rows(named=True)
    ]


def predictor_cells(predictors: Iterable[Predictor]) -> list[list[str]]:
    """The rows under PREDICTOR_COLUMNS."""
    return [
        [trait.replace("n_tokens", "tokens"), rho(found), str(found.points), str(found.arms)]
        for trait, found in predictors
    ]


def estimate_of(row: dict[str, Any], name: str) -> Estimate | None:
    """A rate of arms.parquet; None where the arm has none."""
    return None if row[name] is None else Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"])


def number(value: float | None, digits: int) -> str:
    """A number with thousands apart."""
    return "–" if value is None else f"{value:,.{digits}f}"


def _paragraph(finding: Finding) -> str:
    width = max(len(arm.label) for arm in finding.arms)
    lines = [finding.asks, *(f"  {_arm_line(arm, width)}" for arm in finding.arms)]
    lines += [f"  {contrast_line(each)}: {each.outcome}" for each in finding.contrasts]
    return "\n".join([*lines, f"  {finding.outcome.upper()} (paper: {finding.paper})"])


def _arm_line(arm: ArmAccuracy, width: int) -> str:
    low, value, high = (f"{100 * each:.1f}" for each in (arm.accuracy.low, arm.accuracy.value, arm.accuracy.high))
    other = f"   ({100 * arm.elsewhere.value:.1f})" if arm.elsewhere else ""
    return f"{arm.label:<{width}}  {value:>5}  {f'[{low}, {high}]':<14}{other}".rstrip()


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(text) for text in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").split())


TEMPLATE = "page.html.j2"


def render_page(compared: Comparison, ablation: AblationParams) -> str:
    """The whole page."""
    questions = [
        (finding, figure(finding, bare=True), [contrast_line(each) for each in finding.contrasts])
        for finding in compared.findings
    ]
    content = about(compared.arms, ablation) | {
        "questions": questions,
        "colours": COLOURS,
        "predicting": ablation.predictors,
        "smallest": f"{100 * ablation.smallest_effect:g}",
        "confidence": f"{100 * ablation.confidence:g}",
        "predictors": (PREDICTOR_COLUMNS, predictor_cells(compared.predictors)),
        "arms": (ARM_COLUMNS, arm_cells(compared.arms)),
    }
    return fill(Path(__file__).parent / TEMPLATE, content)


def about(arms: pl.DataFrame, ablation: AblationParams) -> dict[str, Any]:
    """What was done, in numbers."""
    trained = arms.filter(pl.col("samples") > 0)
    names = [name.removeprefix("accuracy/") for name in arms.columns if name.startswith("accuracy/")]
    return {
        "trained": trained.height,
        "untrained": arms.height - trained.height,
        "seeds": list(ablation.seeds),
        "items": arms["items"][0],
        "within": list(ablation.accuracy_over),
        "outside": [name for name in names if name not in ablation.accuracy_over],
        "steps": spread(trained["steps"]),
        "tokens": spread(trained["loss_tokens"]),
    }


def spread(values: pl.Series) -> str:
    """Least to most, or the one value."""
    if values.is_empty():
        return "0"
    known = values.to_list()
    least, most = (f"{value:,.0f}" for value in (min(known), max(known)))
    return least if least == most else f"{least} to {most}"
