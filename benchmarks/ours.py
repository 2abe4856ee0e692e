"""Our contamination search in a process of its own, so that it has the threads it is given and no more.

    python -m benchmarks.ours --questions Q.parquet --items I.parquet --hits HITS.parquet --threads 1

prints the seconds that the index and the search took, files left out.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from tasks.decontaminate import DecontaminateParams
from tasks.text.ngrams import OverlapRule, build_index, find_overlaps


class Found(NamedTuple):
    """Hits with columns `question_id`, `rule`, `item_id`, `match`, `share`, and how long they took."""

    hits: pl.DataFrame
    seconds: float


def search(questions: pl.DataFrame, items: pl.DataFrame, threads: int, published: bool = False) -> Found:
    """All hits of the rules that `decontaminate` has by default; of the `published` rule, any common 8-gram, alone."""
    rules = (OverlapRule(name="ngram"),) if published else DecontaminateParams().rules
    # Numba compiles, or loads what it compiled, at the first use of each function.
    find_overlaps(questions.head(threads), build_index(items.head(1), rules), threads)
    started = time.perf_counter()
    hits = find_overlaps(questions, build_index(items, rules), threads)
    return Found(hits, time.perf_counter() - started)


def in_a_process(questions: pl.DataFrame, items: pl.DataFrame, threads: int, published: bool = False) -> Found:
    """`search` in a child process that has `threads` threads, all libraries included."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        questions.write_parquet(folder / "questions.parquet")
        items.write_parquet(folder / "items.parquet")
        files = [f"--{each}={folder / each}.parquet" for each in ("questions", "items", "hits")]
        command = [sys.executable, "-m", "benchmarks.ours", *files, f"--threads={threads}"]
        command += ["--published"] if published else []
        limits = {name: str(threads) for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
        printed = subprocess.run(command, env=os.environ | limits, stdout=subprocess.PIPE, check=True, text=True).stdout
        return Found(pl.read_parquet(folder / "hits.parquet"), json.loads(printed)["seconds"])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("questions", "items", "hits"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--published", action="store_true", help="any common 8-gram, alone")
    options = parser.parse_args(arguments)
    found = search(
        pl.read_parquet(options.questions), pl.read_parquet(options.items), options.threads, options.published
    )
    found.hits.write_parquet(options.hits)
    print(json.dumps({"seconds": found.seconds}))


if __name__ == "__main__":
    main()
