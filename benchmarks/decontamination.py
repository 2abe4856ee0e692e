"""Contamination search: ours beside the published 8-gram method and datatrove's, on the same questions.

    python -m benchmarks.decontamination [--data ../shared/data] [--rows 200000] [--per-kind 300]
    python -m benchmarks.decontamination --precision

The pool is real questions and variants of them, with copies of benchmark items planted, a way of copying a kind. All
run in one process on one thread; ours also on two. With --precision every hit of ours among the real AIME problems of
1983 to 2023 and MATH's training problems is printed, with its label where benchmarks/decontamination_labels.json has
one: `same` (the item itself, or with other numbers or words) or `phrase` (only wording that many problems share).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from benchmarks.ours import in_a_process
from benchmarks.planting import plant
from benchmarks.pool_data import DATA, QUESTIONS, benchmark_items, mean_chars, real_questions, variants
from benchmarks.precision import print_precision
from benchmarks.yardsticks import Benchmarks, Method, MissingPackageError, as_published, charitable, datatrove

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
