"""The comparison in words: a Markdown table for a README, and a plain one for the terminal."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import TypeAdapter, ValidationError

from tasks.ablation.answers import Answer, Compared, Predictor, Shown
from tasks.ablation.contrast import Correlation
from tasks.ablation.figure import contrast_line
from tasks.errors import LimoError
from tasks.files import read_json, read_table
from tasks.grading.statistics import Estimate

ARM_COLUMNS = (
    *("arm", "base", "seeds", "samples", "passes", "steps", "loss tokens", "quality", "tokens a chain"),
    *("accuracy", "out of distribution", "cut off"),
)
PREDICTOR_COLUMNS = ("trait of the chains", "rank correlation with accuracy", "points", "arms")


def markdown(compared: Compared) -> str:
    """table.md: the questions, the predictors, the arms."""
    questions = [
        [
            answer.asks,
            " · ".join(f"{arm.label} {rate(arm.accuracy)}" for arm in answer.arms),
            " · ".join(contrast_line(each) for each in answer.contrasts),
            answer.paper,
            f"**{answer.outcome}**",
        ]
        for answer in compared.answers
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
        answers = TypeAdapter(list[Answer]).validate_python(read_json(path))
    except ValidationError as error:
        raise LimoError(f"{path}: not what `compare` writes ({error.errors()[0]['msg']}); run `limo ablate`") from None
    items = read_table(out / "arms.parquet", {"items": pl.Int64})["items"][0]
    head = f"accuracy in % on {items} items; in brackets the same out of distribution"
    return "\n\n".join([head, *(_paragraph(answer) for answer in answers)])


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


def _paragraph(answer: Answer) -> str:
    width = max(len(arm.label) for arm in answer.arms)
    lines = [answer.asks, *(f"  {_arm_line(arm, width)}" for arm in answer.arms)]
    lines += [f"  {contrast_line(each)}: {each.outcome}" for each in answer.contrasts]
    return "\n".join([*lines, f"  {answer.outcome.upper()} (paper: {answer.paper})"])


def _arm_line(arm: Shown, width: int) -> str:
    low, value, high = (f"{100 * each:.1f}" for each in (arm.accuracy.low, arm.accuracy.value, arm.accuracy.high))
    other = f"   ({100 * arm.elsewhere.value:.1f})" if arm.elsewhere else ""
    return f"{arm.label:<{width}}  {value:>5}  {f'[{low}, {high}]':<14}{other}".rstrip()


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(text) for text in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").split())
