"""Every hit among real questions, printed with its label, and how many of each rule are right.

The labels were given by reading both texts, cut to about a hundred characters around where they differ: `same` is the
item itself, or the item with other numbers, names or words, or another quantity asked of the same setting; `phrase` is
all else; borderline cases are a matter of judgement. They cover every 8-gram hit that shares a fifth of the shorter
text or more, every masked one from 0.35 on, all hits of the default rules when they were chosen, and 150 of the other
8-gram hits drawn at random, of which 7 were the same: so for a rule that takes hits of any share, what is printed as
right is more than would be right of all. The default rules were chosen on these labels and on the planted copies.
"""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.ours import in_a_process

LABELS = Path(__file__).with_name("decontamination_labels.json")
AROUND = 90
"""Characters shown on either side of a match."""
WORD = re.compile(r"[A-Za-z]{2,}|\d+|[\u4e00-\u9fff]")


def print_precision(questions: pl.DataFrame, items: pl.DataFrame) -> None:
    """Search the questions for the items, and print all."""
    labels = json.loads(LABELS.read_text(encoding="utf-8")) if LABELS.exists() else {}
    hits = labelled(questions, items, labels)
    for hit in hits.iter_rows(named=True):
        print_hit(hit)
    print(f"\n{hits['question_id'].n_unique()} of {questions.height} questions hit; precision of each rule")
    counts = hits.group_by("rule", "source", "benchmark").agg(
        pl.len().alias("hits"),
        *((pl.col("label") == label).sum().alias(label) for label in ("same", "phrase", "unlabelled")),
    )
    totals = counts.group_by("rule").agg(pl.col("hits", "same", "phrase", "unlabelled").sum())
    rows = pl.concat([counts, totals.with_columns(source=pl.lit("all"), benchmark=pl.lit("all"))], how="diagonal")
    for row in rows.sort("rule", "source", "benchmark").iter_rows(named=True):
        known = row["same"] + row["phrase"]
        share = f"{row['same'] / known:6.1%} right" if known else "     -      "
        where = f"{row['rule']:16} {row['source']:16} {row['benchmark']:18}"
        print(f"  {where} {row['hits']:5} hits  {share}, {row['unlabelled']} without a label")


def labelled(questions: pl.DataFrame, items: pl.DataFrame, labels: dict[str, str]) -> pl.DataFrame:
    """All hits, with both texts and the label; by rule, the largest share first."""
    hits = in_a_process(questions.select("question_id", "question"), items, threads=1).hits
    hits = hits.select("question_id", "rule", "item_id", "match", "share")
    hits = hits.join(questions.select("question_id", "source", "question"), on="question_id")
    hits = hits.join(items.select("item_id", "benchmark", pl.col("question").alias("item")), on="item_id")
    label = pl.concat_str("question_id", "item_id", separator="+").replace_strict(
        labels, default="unlabelled", return_dtype=pl.String
    )
    return hits.with_columns(label.alias("label")).sort("rule", "share", "question_id", descending=[False, True, False])


def print_hit(hit: dict[str, Any]) -> None:
    print(
        f"\n[{hit['label']}] {hit['rule']} {hit['share']:.2f} {hit['source']} in {hit['benchmark']}: {hit['match']!r}"
    )
    print(f"  {hit['question_id']}+{hit['item_id']}")
    print(f"  question: {around(hit['question'], hit['match'])}")
    print(f"  item:     {around(hit['item'], hit['match'])}")


def around(text: str, match: str) -> str:
    """The text from a little before the match to a little after it; its start where the match is not found."""
    sought = [re.escape(word) for word in WORD.findall(match)]
    # What stands between two words may be typeset in any way.
    found = re.search(r"[^A-Za-z0-9]*(?:\\[a-z]+\W*)*".join(sought), text, re.IGNORECASE) if sought else None
    start, end = found.span() if found else (0, AROUND)
    before, after = max(0, start - AROUND), min(len(text), end + AROUND)
    shown = " ".join(text[before:after].split())
    return ("..." if before else "") + shown + ("..." if after < len(text) else "")
