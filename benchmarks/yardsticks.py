"""Contamination search: ours, and what it is measured against, the published 8-gram method and datatrove's own.

    python -m benchmarks.yardsticks --questions Q.parquet --items I.parquet --hits HITS.parquet --threads 1

runs ours, and prints the seconds that the index and the search took, files left out. The others take the pool's texts
and the benchmarks' and return which places of the pool they flag. None needs more than one process; their time is the
whole of it, index and all.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.decontaminate import DecontaminateParams
from tasks.text.ngrams import OverlapRule, build_index, find_overlaps

INSTALL = "uv pip install --no-deps -r requirements/bench.txt"
Benchmarks = Mapping[str, Sequence[str]]
"""The questions of each benchmark."""


class Flagged(NamedTuple):
    """What a method found, and how long it took."""

    places: set[int]
    """In the pool."""
    seconds: float


Method = Callable[[Sequence[str], Benchmarks], Flagged]


class MissingPackageError(Exception):
    """A yardstick's package is not installed; the message says how to install it."""

    def __init__(self, package: str) -> None:
        super().__init__(f"{package} is not installed: {INSTALL}")


def timed(find: Callable[[], set[int]]) -> Flagged:
    started = time.perf_counter()
    places = find()
    return Flagged(places, time.perf_counter() - started)


def eight_grams(text: str, n: int = 8) -> list[str]:
    """Word n-grams as open-r1 and s1 make them: lower case, split at whitespace, nothing else."""
    words = text.lower().split()
    return [" ".join(words[at : at + n]) for at in range(len(words) - n + 1)]


def lookup(texts: Sequence[str]) -> dict[str, set[int]]:
    """The texts in which each n-gram stands."""
    places: defaultdict[str, set[int]] = defaultdict(set)
    for place, text in enumerate(texts):
        for gram in eight_grams(text):
            places[gram].add(place)
    return places


def as_published(pool: Sequence[str], benchmarks: Benchmarks) -> Flagged:
    """open-r1's scripts/decontaminate.py: once through the pool for each benchmark, each n-gram looked up.

    Its data set rows and its eight processes are left out, which only makes it faster. s1's data/decontaminate_util.py,
    from which it is taken, finds the same and also indexes the pool, which at this size only makes it slower.
    """

    def find() -> set[int]:
        flagged: set[int] = set()
        for texts in benchmarks.values():
            known = lookup(texts)
            for place, question in enumerate(pool):
                grams = set(eight_grams(question))
                answers = {gram in known for gram in grams}
                if any(answers):
                    flagged.add(place)
        return flagged

    return timed(find)


def charitable(pool: Sequence[str], benchmarks: Benchmarks) -> Flagged:
    """The same method, kindly: one lookup of all benchmarks, one pass, the first known n-gram decides."""

    def find() -> set[int]:
        known = lookup([text for texts in benchmarks.values() for text in texts])
        return {place for place, question in enumerate(pool) if any(gram in known for gram in eight_grams(question))}

    return timed(find)


def datatrove(pool: Sequence[str], benchmarks: Benchmarks) -> Flagged:
    """datatrove's n-gram decontamination, by its own classes: 8-grams of the questions.

    Its normalisation stays at its defaults: no punctuation, no accents, every number a 0.

    Raises:
        MissingPackageError: with the command that installs it.
    """
    try:
        from datatrove.data import Document
        from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter
        from datatrove.utils.logging import logger
    except ImportError:
        raise MissingPackageError("datatrove") from None
    logger.remove()

    def find() -> set[int]:
        config = NGramsDecontConfig(n_grams=8, find_query_ngrams=True, find_overlap_ngrams=False)
        with tempfile.TemporaryDirectory() as folder:
            _datatrove_index(Path(folder), benchmarks, config)
            step = NGramsDecontFilter(folder, config=config)
            return {
                place
                for place, question in enumerate(pool)
                if step.filter(Document(text=question, id=str(place))) is not True
            }

    return timed(find)


def _datatrove_index(folder: Path, benchmarks: Benchmarks, config: Any) -> None:
    """The index files of its indexer. Its `run` ends by loading tasks of lighteval, which needs that package and a
    network: so its hashes are written here as `run` writes them, a file a benchmark.
    """
    import numpy as np
    from datatrove.pipeline.decont.n_grams import NGramsDecontIndexer

    class LocalIndexer(NGramsDecontIndexer):  # type: ignore[misc]
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            # Past the check that lighteval is installed.
            return object.__new__(cls)

    indexer = LocalIndexer(str(folder), config=config)
    for name, texts in benchmarks.items():
        hashes = {each for text in texts for each in indexer.compute_hashes("", text)}
        np.array(list(hashes), dtype=config.hash_config.np_descr).tofile(folder / f"{name}.index.hashes")


def available(
    methods: Mapping[str, Method], pool: Sequence[str], benchmarks: Benchmarks
) -> Iterator[tuple[str, Flagged]]:
    """Run each method; one that is not installed says so, and is left out."""
    for name, method in methods.items():
        try:
            yield name, method(pool, benchmarks)
        except MissingPackageError as missing:
            print(f"{name}: {missing}")


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
        command = [sys.executable, "-m", "benchmarks.yardsticks", *files, f"--threads={threads}"]
        command += ["--published"] if published else []
        limits = {name: str(threads) for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
        printed = subprocess.run(command, env=os.environ | limits, stdout=subprocess.PIPE, check=True, text=True).stdout
        return Found(pl.read_parquet(folder / "hits.parquet"), json.loads(printed)["seconds"])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Our contamination search, in this process.")
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
