"""Rules that reject a row by what it says, each with its reason and with what shows it."""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl


class Rule(NamedTuple):
    """A reason to reject: when it holds, and what shows it."""

    reason: str
    holds: pl.Expr
    evidence: pl.Expr


def judge(rows: pl.DataFrame, rules: Sequence[Rule]) -> pl.DataFrame:
    """The rows with `reason` and `evidence` of the first rule that holds; null where none does."""
    return rows.with_columns(
        pl.coalesce([pl.when(rule.holds).then(pl.lit(rule.reason)) for rule in rules]).alias("reason"),
        pl.coalesce([pl.when(rule.holds).then(rule.evidence.fill_null("")) for rule in rules]).alias("evidence"),
    )


def with_marks(reason: str, text: pl.Expr, marks: Sequence[str]) -> list[Rule]:
    """A rule for texts that contain one of `marks`, whatever its case; none when there are no marks."""
    if not marks:
        return []
    low = text.str.to_lowercase()
    shown = pl.coalesce([pl.when(low.str.contains(mark.lower(), literal=True)).then(pl.lit(mark)) for mark in marks])
    return [Rule(reason, shown.is_not_null(), shown)]
