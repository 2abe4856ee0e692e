"""Contamination search: ours next to the published 8-gram method and datatrove's, on the same questions.

    python -m benchmarks.decontamination [--data ../shared/data] [--rows 200000] [--per-kind 300]
    python -m benchmarks.decontamination --precision

The pool is real questions and variants of them, with copies of benchmark items planted, a way of copying a kind. All
run in one process on one thread; ours also on two. With --precision every hit of ours among the real AIME problems of
1983 to 2023 and MATH's training problems is printed, with its label where benchmarks/decontamination_labels.json has
one: `same` (the item itself, or with other numbers or words) or `phrase` (only wording that many problems share).
"""

import argparse
import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from benchmarks.pool_data import DATA, QUESTIONS, benchmark_items, mean_chars, real_questions, variants
from benchmarks.rewrites import (
    Rewriter,
    paraphrase,
    rename,
    renumber,
    renumber_some,
    respace,
    retypeset,
    verbatim,
    wrap,
)
from benchmarks.yardsticks import (
    Benchmarks,
    Method,
    MissingPackageError,
    as_published,
    charitable,
    datatrove,
    in_a_process,
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
    """Labelled copies of benchmark items, PLANTED; none where the kind changes nothing.

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


LABELS = Path(__file__).with_name("decontamination_labels.json")
"""The labels were given by reading both texts, cut to about a hundred characters around where they differ: `same` is
the item itself, or the item with other numbers, names or words, or another quantity asked of the same setting;
`phrase` is all else; borderline cases are a matter of judgement. They cover every 8-gram hit that shares a fifth of
the shorter text or more, every masked one from 0.35 on, all hits of the default rules when they were chosen, and 150
of the other 8-gram hits drawn at random, of which 7 were the same: so for a rule that takes hits of any share, what
is printed as right is more than would be right of all. The default rules were chosen on these labels and on the
planted copies."""
AROUND = 90
"""Characters shown on either side of a match."""
WORD = re.compile(r"[A-Za-z]{2,}|\d+|[\u4e00-\u9fff]")


def print_precision(questions: pl.DataFrame, items: pl.DataFrame) -> None:
    """Print every hit among real questions with its label, and how many of each rule are right."""
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
    # What is between two words may be typeset in any way.
    found = re.search(r"[^A-Za-z0-9]*(?:\\[a-z]+\W*)*".join(sought), text, re.IGNORECASE) if sought else None
    start, end = found.span() if found else (0, AROUND)
    before, after = max(0, start - AROUND), min(len(text), end + AROUND)
    shown = " ".join(text[before:after].split())
    return ("..." if before else "") + shown + ("..." if after < len(text) else "")


METHODS: dict[str, Method] = {
    "8-grams as published": as_published,
    "8-grams, one pass": charitable,
    "datatrove 8-grams": datatrove,
}

UNPLANTED = {"real ones": ~pl.col("source").is_in(["made", "planted"]), "variants": pl.col("source") == "made"}


class Result(NamedTuple):
    """What one method did with the pool."""

    name: str
    per_second: float
    flagged: set[str]
    """Question ids."""


class Pool(NamedTuple):
    """Questions with labelled copies among them."""

    questions: pl.DataFrame
    """QUESTIONS: planted ones too, shuffled in."""
    planted: pl.DataFrame


def make_pool(data: Path, items: pl.DataFrame, rows: int, per_kind: int) -> Pool:
    planted = plant(items, per_kind)
    copies = planted.select("question_id", pl.lit("planted").alias("source"), "question", pl.lit("").alias("answer"))
    questions = pl.concat([variants(real_questions(data), rows), copies.select(QUESTIONS.names())])
    return Pool(questions.sample(fraction=1, shuffle=True, seed=0), planted)


def ours(questions: pl.DataFrame, items: pl.DataFrame, threads: int, published: bool = False) -> Result:
    found = in_a_process(questions.select("question_id", "question"), items, threads, published)
    name = "ours, any 8-gram alone" if published else f"ours, {threads} thread{'s' * (threads > 1)}"
    return Result(name, questions.height / found.seconds, set(found.hits["question_id"]))


def others(questions: pl.DataFrame, items: pl.DataFrame) -> list[Result]:
    ids, texts = questions["question_id"].to_list(), questions["question"].to_list()
    benchmarks: Benchmarks = {
        str(name): group["question"].to_list() for (name,), group in items.group_by("benchmark", maintain_order=True)
    }
    results = []
    for name, method in METHODS.items():
        try:
            found = method(texts, benchmarks)
        except MissingPackageError as missing:
            print(f"{name}: {missing}")
            continue
        results.append(Result(name, len(texts) / found.seconds, {ids[place] for place in found.places}))
    return results


def print_speed(results: Sequence[Result], pool: Pool) -> None:
    print(f"\n{'':24}{'questions/s':>12}{'ours is faster':>16}   flagged though not planted")
    groups = {name: set(pool.questions.filter(each)["question_id"]) for name, each in UNPLANTED.items()}
    for result in results:
        ratio = results[0].per_second / result.per_second
        counts = [f"{len(result.flagged & ids):,} of {len(ids):,} {name}" for name, ids in groups.items()]
        print(f"{result.name:24}{result.per_second:12,.0f}{ratio:15.1f}x   {', '.join(counts)}")


def print_recall(results: Sequence[Result], planted: pl.DataFrame) -> None:
    print(f"\n{'found, of what is planted':28}" + "".join(f"{result.name:>22}" for result in results))
    for (kind,), copies in planted.group_by("kind", maintain_order=True):
        ids = set(copies["question_id"])
        shares = "".join(f"{len(ids & result.flagged) / len(ids):22.1%}" for result in results)
        print(f"  {kind:26}{shares}   of {len(ids)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with pool/ and benchmarks/")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--per-kind", type=int, default=300, help="copies planted of each kind, at most")
    parser.add_argument("--precision", action="store_true", help="print every hit among real questions, and stop")
    options = parser.parse_args()
    items = benchmark_items(options.data)
    if options.precision:
        print_precision(real_questions(options.data).filter(pl.col("source") != "gsm8k_train"), items)
        return
    pool = make_pool(options.data, items, options.rows, options.per_kind)
    size = f"{pool.questions.height} questions of {mean_chars(pool.questions):.0f} characters"
    print(f"{size}, {pool.planted.height} of them planted; {items.height} benchmark items")
    one, two = (ours(pool.questions, items, threads) for threads in (1, 2))
    alone = ours(pool.questions, items, 1, published=True)
    results = [one, *others(pool.questions, items)]
    print_speed([*results, two], pool)
    # The same job as theirs: one rule, and any common n-gram of its tokens is a hit.
    print_speed([alone, *results[1:]], pool)
    print_recall(results, pool.planted)


if __name__ == "__main__":
    main()
