"""Near-duplicate search: what `clean` does beside datasketch, rensa and text-dedup, on the same questions.

    python -m benchmarks.near_duplicates [--data ../shared/data] [--rows 50000] [--per-kind 300]

The pool is real questions and variants of them, among which copies are planted: some that say the same, and hard
negatives, which only look it. All take word 3-shingles, 128 permutations and the threshold 0.8. The other libraries see
the text; `clean` also sees the answer.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.near_pairs import DIFFERENT, SAME, Planted, plant_pairs
from benchmarks.near_yardsticks import SHINGLE, THRESHOLD, Linked, Method, datasketch, rensa, text_dedup, together
from benchmarks.pool_data import DATA, mean_chars, real_questions, variants
from benchmarks.yardsticks import MissingPackageError
from tasks.clean import CleanParams
from tasks.text.duplicates import Keys, NearParams, duplicate_keys, find_duplicates, without_heading

METHODS: dict[str, Method] = {"datasketch": datasketch, "rensa": rensa, "text-dedup": text_dedup}


def ours(questions: pl.DataFrame) -> Linked:
    """What `clean` does to find repetitions, in this process and in memory: which question repeats which."""
    params = CleanParams(near_threshold=THRESHOLD, shingle=SHINGLE)
    started = time.perf_counter()
    own = duplicate_keys(without_heading(questions["question"]))
    answers = duplicate_keys(questions["answer"])["text_hash"]
    usable = np.ones(questions.height, np.bool_)
    keys = Keys(usable, own["text_hash"].to_numpy(), own["numbers_hash"].to_numpy(), answers.to_numpy())
    near = NearParams(params.shingle, params.near_threshold)
    found = find_duplicates(keys, [questions["question"]], near, None)
    seconds = time.perf_counter() - started
    dropped = np.flatnonzero((found.earlier >= 0) & (found.exact | found.agrees))
    return Linked({place: {int(found.earlier[place])} for place in dropped.tolist()}, seconds)


def table(results: dict[str, Linked], planted: Planted) -> None:
    print("\n" + " " * 28 + "".join(f"{name:>14}" for name in results))
    rate = {name: planted.questions.height / found.seconds for name, found in results.items()}
    print(f"{'questions a second':28}" + "".join(f"{rate[name]:14,.0f}" for name in results))
    print(f"{'ours, times as fast':28}" + "".join(f"{rate['ours'] / rate[name]:14.1f}" for name in results))
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
    results = {"ours": ours(questions)}
    for name, method in METHODS.items():
        try:
            results[name] = method(questions["question"].to_list())
        except MissingPackageError as missing:
            print(f"{name}: {missing}")
    table(results, planted)


if __name__ == "__main__":
    main()
