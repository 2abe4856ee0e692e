"""Contamination planted with labels: benchmark items copied into a pool, one way of copying a kind."""

import random
from collections.abc import Mapping

import polars as pl

from benchmarks.paraphrase import paraphrase
from benchmarks.rewrites import (
    Rewriter,
    rename,
    renumber,
    renumber_some,
    respace,
    retypeset,
    verbatim,
    wrap,
)

SHORT = 8
"""Words; a shorter item has no 8-gram."""
KINDS: Mapping[str, Rewriter] = {
    "verbatim": verbatim,
    "reformatted LaTeX": retypeset,
    "whitespace and case": respace,
    "some numbers changed": renumber_some,
    "all numbers changed": renumber,
    "variables renamed": rename,
    "prefix and suffix": wrap,
    "paraphrased": paraphrase,
}
SHORT_KINDS: Mapping[str, Rewriter] = {
    "under 8 words": verbatim,
    "under 8 words, LaTeX": retypeset,
    "under 8 words, respaced": respace,
}
PLANTED = pl.Schema({"question_id": pl.String, "kind": pl.String, "item_id": pl.String, "question": pl.String})


def plant(items: pl.DataFrame, per_kind: int | None = None, seed: int = 0) -> pl.DataFrame:
    """Copies of benchmark items, PLANTED; none where the kind changes nothing.

    Args:
        items: `item_id`, `question`; those of fewer than 8 words get kinds of their own.
        per_kind: copies of a kind at most, drawn at random; None copies every item.
    """
    short = pl.col("question").str.count_matches(r"\S+") < SHORT
    frames = [
        *(_planted(items.filter(~short), kind, rewriter, per_kind, seed) for kind, rewriter in KINDS.items()),
        *(_planted(items.filter(short), kind, rewriter, per_kind, seed) for kind, rewriter in SHORT_KINDS.items()),
    ]
    return pl.concat(frames)


def _planted(items: pl.DataFrame, kind: str, rewriter: Rewriter, per_kind: int | None, seed: int) -> pl.DataFrame:
    rows = []
    for item_id, question in items.select("item_id", "question").iter_rows():
        copy = rewriter(question, random.Random(f"{seed} {kind} {item_id}"))
        if copy != question or rewriter is verbatim:
            rows.append((f"planted: {kind}: {item_id}", kind, item_id, copy))
    if per_kind is not None and len(rows) > per_kind:
        rows = random.Random(f"{seed} {kind}").sample(rows, per_kind)
    return pl.DataFrame(rows, schema=PLANTED, orient="row")
