"""maj@k: how often the most frequent answer of k samples is right.

Wang et al., "Self-Consistency Improves Chain of Thought Reasoning in Language Models" (arXiv 2203.11171), whose vote is
unweighted. All correct answers are one answer, wrong ones are told apart by their key, and a response without an answer
has no vote. Answers that tie share the vote, as drawing one at random would on average.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOST_SUBSETS = 5_000
"""Up to so many subsets of k samples all are counted; above, so many are drawn."""


def majority_at_k(correct: Sequence[bool], keys: Sequence[str | None], k: int, seed: Sequence[int]) -> float:
    """The chance that the vote of `k` of an item's samples is right, over all ways to take k of them.

    Args:
        correct: whether each sample is right.
        keys: the answer of each, equal for equal answers; None where there is none.
        seed: of the subsets drawn where there are too many to count; each item wants its own.
    """
    samples = len(correct)
    assert len(keys) == samples, "a key for every sample"
    assert 1 <= k <= samples, f"maj@{k} of {samples} samples"
    if not any(correct):
        return 0.0
    labels = _labels(correct, keys)
    votes = labels[_subsets(samples, k, seed)]
    counts = np.stack([(votes == answer).sum(axis=1) for answer in range(labels.max() + 1)], axis=1)
    most = counts.max(axis=1)
    won = (counts[:, 0] == most) & (most > 0)
    return float(np.mean(won / (counts == most[:, None]).sum(axis=1)))


def _labels(correct: Sequence[bool], keys: Sequence[str | None]) -> NDArray[np.int64]:
    """0 for a right answer, a number from 1 for each wrong one, -1 for none."""
    numbers: dict[str, int] = {}
    return np.array(
        [
            0 if right else -1 if key is None else numbers.setdefault(key, len(numbers) + 1)
            for right, key in zip(correct, keys, strict=True)
        ]
    )


def _subsets(samples: int, k: int, seed: Sequence[int]) -> NDArray[np.int64]:
    """Indices, one row a subset."""
    if math.comb(samples, k) <= MOST_SUBSETS:
        return np.array(list(itertools.combinations(range(samples), k)))
    order = np.random.default_rng(seed).random((MOST_SUBSETS, samples))
    return np.argsort(order, axis=1)[:, :k]
