"""Near-duplicate search by other libraries, each as it documents itself: word 3-shingles, 128 permutations, 0.8."""

import importlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmarks.yardsticks import MissingPackageError

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
