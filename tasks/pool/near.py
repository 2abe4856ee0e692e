"""Near duplicates: texts that share most of their shingles. MinHash LSH proposes, the exact Jaccard index decides.

Only texts of one block are compared. `clean` puts into one block what has the same numbers in the same order and the
same answer: templated questions that differ in a digit are different questions, however alike their words are.
"""

from collections.abc import Sequence
from typing import NamedTuple

PERMUTATIONS = 128
BANDS = 32
"""Of 4 rows: a pair with Jaccard index 0.7 is proposed with probability 0.9998."""
SEED = 1


class Near(NamedTuple):
    """A text that repeats an earlier, kept one; both by position."""

    later: int
    kept: int
    similarity: float


def near_duplicates(texts: Sequence[str], blocks: Sequence[int], shingle: int, threshold: float) -> list[Near]:
    """Every text that is near an earlier one of its block which is itself kept.

    Args:
        texts: tokens with a space between.
        blocks: the block of each text.
        shingle: tokens a shingle.
        threshold: smallest Jaccard index of two sets of shingles that counts.
    """
    if not texts:
        return []
    from rensa import RMinHash, RMinHashLSH

    sets = [shingles(text, shingle) for text in texts]
    # Shingles carry their block, so that texts of two blocks never meet in a bucket: templates would fill one.
    marked = [sorted(f"{block}\0{each}" for each in own) for own, block in zip(sets, blocks, strict=True)]
    sketches = RMinHash.from_token_sets(marked, num_perm=PERMUTATIONS, seed=SEED)
    index = RMinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, num_bands=BANDS)
    index.insert_many(sketches)
    found: dict[int, Near] = {}
    for later, proposed in enumerate(index.query_all(sketches)):
        for earlier in sorted(proposed):
            if earlier >= later or later in found:
                break
            if earlier not in found and blocks[earlier] == blocks[later]:
                similarity = jaccard(sets[earlier], sets[later])
                if similarity >= threshold:
                    found[later] = Near(later, earlier, similarity)
    return list(found.values())


def shingles(text: str, size: int) -> set[str]:
    """All runs of `size` tokens; the whole text when it is shorter."""
    tokens = text.split(" ")
    return {" ".join(tokens[start : start + size]) for start in range(max(1, len(tokens) - size + 1))}


def jaccard(left: set[str], right: set[str]) -> float:
    """Shared shingles over all shingles."""
    return len(left & right) / len(left | right)
