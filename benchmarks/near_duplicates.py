"""Near-duplicate search: the stage `clean` beside datasketch, rensa and text-dedup, on the same questions.

    python -m benchmarks.near_duplicates [--data ../shared/data] [--rows 50000] [--per-kind 300]

The pool is real questions and variants of them, among which copies are planted: some that say the same, and hard
negatives, which only look it. All take word 3-shingles, 128 permutations and the threshold 0.8. The other libraries see
the text; `clean` also sees the answer, and is timed with all else that it does to a question.
"""

import argparse
import json
import time
from pathlib import Path

import polars as pl

from benchmarks.near_pairs import DIFFERENT, SAME, Planted, plant_pairs
from benchmarks.near_yardsticks import SHINGLE, THRESHOLD, Linked, Method, datasketch, rensa, text_dedup, together
from benchmarks.pool_data import DATA, mean_chars, real_questions, variants
from benchmarks.yardsticks import MissingPackageError
from tasks.clean import CleanParams, decide
from tasks.records.question import QUESTION

METHODS: dict[str, Method] = {"datasketch": datasketch, "rensa": rensa, "text-dedup": text_dedup}
REPEATS = ("exact_duplicate", "near_duplicate")


def ours(questions: pl.DataFrame) -> Linked:
    """`clean` in memory, in this process: what it rejects as a repetition, with what it repeats."""
    rows = questions.select(
        *(pl.col(name) if name in questions.columns else pl.lit("").alias(name) for name in QUESTION.names())
    ).cast(QUESTION)
    params = CleanParams(near_threshold=THRESHOLD, shingle=SHINGLE)
    started = time.perf_counter()
    decided = decide(rows, params)
    seconds = time.perf_counter() - started
    place = {question_id: at for at, question_id in enumerate(questions["question_id"])}
    repeats = decided.filter(pl.col("reason").is_in(REPEATS)).select("question_id", "evidence")
    near = {place[repeat]: {place[json.loads(evidence)["question_id"]]} for repeat, evidence in repeats.iter_rows()}
    return Linked(near, seconds)


def table(results: dict[str, Linked], planted: Planted) -> None:
    print("\n" + " " * 28 + "".join(f"{name:>14}" for name in results))
    rate = {name: planted.questions.height / found.seconds for name, found in results.items()}
    print(f"{'questions a second':28}" + "".join(f"{rate[name]:14,.0f}" for name in results))
    print(f"{'ours, times as fast':28}" + "".join(f"{rate['clean'] / rate[name]:14.1f}" for name in results))
    for title, kinds in (("found, of what is the same", SAME), ("joined, of what is not", DIFFERENT)):
        print(title)
        for kind in kinds:
            pairs = [pair for pair in planted.pairs if pair.kind == kind]
            shares = [sum(together(each, p.first, p.copy) for p in pairs) / len(pairs) for each in results.values()]
            print(f"  {kind:26}" + "".join(f"{share:14.1%}" for share in shares) + f"   of {len(pairs)}")
    copies = {pair.copy for pair in planted.pairs}
    others = [len(found.near.keys() - copies) for found in results.values()]
    print(f"{'others called repeated':28}" + "".join(f"{count:14,}" for count in others))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with pool/")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--per-kind", type=int, default=300, help="pairs planted of each kind")
    options = parser.parse_args()
    planted = plant_pairs(variants(real_questions(options.data), options.rows), options.per_kind)
    questions = planted.questions
    print(f"{questions.height} questions of {mean_chars(questions):.0f} characters, {len(planted.pairs)} pairs planted")
    # Numba compiles, or loads what it compiled, at the first use.
    ours(questions.head(1000))
    results = {"clean": ours(questions)}
    for name, method in METHODS.items():
        try:
            results[name] = method(questions["question"].to_list())
        except MissingPackageError as missing:
            print(f"{name}: {missing}")
    table(results, planted)


if __name__ == "__main__":
    main()
