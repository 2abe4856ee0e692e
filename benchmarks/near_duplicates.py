"""Near-duplicate search: what `clean` does, next to datasketch, rensa and text-dedup, on the same questions.

    python -m benchmarks.near_duplicates [--data ../shared/data] [--rows 50000] [--per-kind 300]

The pool is real questions and variants of them, among which copies are planted: duplicates, and hard negatives, which
only look like it. All take word 3-shingles, 128 permutations and the threshold 0.8; the other libraries are used as
they document. They see the text; `clean` also sees the answer.
"""

import argparse
import importlib
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from benchmarks.pool_data import DATA, QUESTIONS, mean_chars, real_questions, variants
from benchmarks.rewrites import Rewriter, renumber, respace, retypeset, reword
from benchmarks.yardsticks import MissingPackageError
from tasks.clean import CleanParams
from tasks.records.question import question_id
from tasks.text.duplicates import Keys, NearParams, duplicate_keys, find_duplicates, without_heading

OPPOSITES = (
    ("minimum", "maximum"),
    ("smallest", "largest"),
    ("least", "greatest"),
    ("minimize", "maximize"),
    ("more", "fewer"),
    ("even", "odd"),
    ("first", "last"),
    ("sin", "cos"),
)
INSERTED = ("carefully", "exactly", "then", "also", "now", "in total", "here")


def insert(text: str, generator: random.Random) -> str:
    """One or two words more, between two words."""
    words = text.split(" ")
    for _ in range(generator.choice([1, 2])):
        words.insert(generator.randint(1, len(words)), generator.choice(INSERTED))
    return " ".join(words)


def enumerate_it(text: str, generator: random.Random) -> str:
    number = generator.randint(1, 40)
    return generator.choice(["Example {}. ", "{}. ", "({}) ", "Problem {}: ", "Question {}. "]).format(number) + text


def one_number(text: str, generator: random.Random) -> str:
    """One number another: another question from the same template."""
    return renumber(text, generator, 1e-9)


def swap(text: str, generator: random.Random) -> str:
    """The opposite asked for: minimum for maximum."""
    for left, right in OPPOSITES:
        found = re.compile(rf"(?<![A-Za-z])(?:{left}|{right})(?![A-Za-z])")
        if found.search(text):
            other = {left: right, right: left}
            return found.sub(lambda match, other=other: other[match.group()], text)  # type: ignore[misc]
    return text


SAME: Mapping[str, Rewriter] = {
    "whitespace and case": respace,
    "reformatted LaTeX": retypeset,
    "synonyms": reword,
    "words inserted": insert,
    "enumerator added": enumerate_it,
}
DIFFERENT: Mapping[str, Rewriter] = {"one number other": one_number, "minimum for maximum": swap}


class Pair(NamedTuple):
    """A question and its copy, by their places in the pool."""

    kind: str
    first: int
    copy: int


class Planted(NamedTuple):
    """A pool with pairs in it."""

    questions: pl.DataFrame
    """QUESTIONS; the copies stand last."""
    pairs: list[Pair]


def plant_pairs(pool: pl.DataFrame, per_kind: int, seed: int = 0) -> Planted:
    """Copies of questions drawn from the pool (QUESTIONS), each question for one kind at most.

    What says the same keeps its answer; what does not gets another one.
    """
    generator = random.Random(seed)
    places = iter(generator.sample(range(pool.height), pool.height))
    rows: list[tuple[str, ...]] = []
    pairs: list[Pair] = []
    for kind, rewriter in [*SAME.items(), *DIFFERENT.items()]:
        made = 0
        while made < per_kind and (place := next(places, None)) is not None:
            original = pool.row(place, named=True)
            copy = rewriter(original["question"], generator)
            if copy != original["question"]:
                answer = original["answer"] if kind in SAME else f"{original['answer']}1"
                pairs.append(Pair(kind, place, pool.height + len(rows)))
                rows.append((question_id("copy", copy), "copy", copy, answer))
                made += 1
    return Planted(pl.concat([pool, pl.DataFrame(rows, schema=QUESTIONS, orient="row")]), pairs)


SHINGLE = 3
PERMUTATIONS = 128
THRESHOLD = 0.8
RENSA_BANDS = 16
"""Of 8 rows: what rensa's documentation takes for 128 permutations and 0.8."""


class Linked(NamedTuple):
    """What a method found, and how long it took."""

    near: dict[int, set[int]]
    """For a place the places that it says the same as; of text-dedup the first of its cluster."""
    seconds: float


Method = Callable[[Sequence[str]], Linked]


def together(found: Linked, left: int, right: int) -> bool:
    """Whether two places were found to say the same: as a pair, or as repetitions of a third."""
    of_left, of_right = found.near.get(left, set()), found.near.get(right, set())
    return right in of_left or left in of_right or not of_left.isdisjoint(of_right)


def shingles(text: str) -> set[str]:
    words = text.lower().split()
    return {" ".join(words[at : at + SHINGLE]) for at in range(max(1, len(words) - SHINGLE + 1))}


def package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingPackageError(name.partition(".")[0].replace("_", "-")) from None


def datasketch(texts: Sequence[str]) -> Linked:
    """MinHash.bulk, then insert and query of MinHashLSH; its candidates are the result, as in its documentation."""
    library = package("datasketch")
    started = time.perf_counter()
    encoded = [[shingle.encode() for shingle in shingles(text)] for text in texts]
    index = library.MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    near: dict[int, set[int]] = {}
    for place, sketch in enumerate(library.MinHash.generator(encoded, num_perm=PERMUTATIONS)):
        if earlier := index.query(sketch):
            near[place] = set(earlier)
        index.insert(place, sketch)
    return Linked(near, time.perf_counter() - started)


def rensa(texts: Sequence[str]) -> Linked:
    """R-MinHash and its LSH index; candidates count when their sketches' estimate reaches the threshold."""
    library = package("rensa")
    started = time.perf_counter()
    sketches = library.RMinHash.from_token_sets(
        [list(shingles(text)) for text in texts], num_perm=PERMUTATIONS, seed=42
    )
    index = library.RMinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS, num_bands=RENSA_BANDS)
    near: dict[int, set[int]] = {}
    for place, sketch in enumerate(sketches):
        similar = {each for each in index.query(sketch) if sketches[each].jaccard(sketch) >= THRESHOLD}
        if similar:
            near[place] = similar
        index.insert(place, sketch)
    return Linked(near, time.perf_counter() - started)


def text_dedup(texts: Sequence[str]) -> Linked:
    """text-dedup's MinHash in process: its fingerprints, its bands and its union-find, as its `main` joins them.

    Without its data sets on disk and its worker processes; its tokens are runs of letters and digits.
    """
    import numpy as np

    library = package("text_dedup.minhash")
    started = time.perf_counter()
    bands, rows = library.optimal_param(THRESHOLD, PERMUTATIONS, 0.5, 0.5)
    prime, generator = np.uint64((1 << 61) - 1), np.random.RandomState(42)
    settings = {
        "num_perm": PERMUTATIONS,
        "ngram_size": SHINGLE,
        "min_length": 0,
        "hashranges": [(band * rows, (band + 1) * rows) for band in range(bands)],
        "permutations": (
            generator.randint(1, prime, size=(PERMUTATIONS,), dtype=np.uint64),
            generator.randint(0, prime, size=(PERMUTATIONS,), dtype=np.uint64),
        ),
        "hash_func": lambda data: library.sha1_hash(data, d=32),
        "dtype": np.uint64,
        "max_hash": np.uint32((1 << 32) - 1),
        "modulo_prime": prime,
    }
    tables: list[dict[bytes, list[int]]] = [{} for _ in range(bands)]
    for place, text in enumerate(texts):
        signatures = library.embed_func(text, place, **settings)[library.SIGNATURE_COLUMN]
        for table, signature in zip(tables, signatures, strict=True):
            table.setdefault(signature, []).append(place)
    joined = library.UnionFind()
    for table in tables:
        for places in table.values():
            for place in places[1:]:
                joined.union(place, places[0])
    roots = {place: joined.find(place) for place in range(len(texts))}
    return Linked({place: {root} for place, root in roots.items() if root != place}, time.perf_counter() - started)


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
