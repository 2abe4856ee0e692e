"""Statistics of verdicts: rates with their intervals, and whether two arms differ.

Rows are items, columns are samples of an item: a matrix of 0 and 1. Items are the sampling unit, so several samples of
one item count as one cluster, never as independent responses.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.int64]
EXACT_ITEMS = 16
"""Differing items up to which the permutation test enumerates all signs; above, it draws them."""


class Estimate(NamedTuple):
    """A rate with its interval."""

    value: float
    low: float
    high: float


class Comparison(NamedTuple):
    """Two arms on the same items. `gained` counts items where `trained` is right more often than `base`."""

    base: float
    trained: float
    difference: float
    low: float
    high: float
    p_value: float
    test: str
    gained: int
    lost: int
    items: int


def pass_at_k(correct: int, samples: int, k: int) -> float:
    """The probability that at least one of `k` of the samples is right, estimated without bias from all of them.

    1 - C(n-c, k) / C(n, k), as a product; Chen et al., "Evaluating Large Language Models Trained on Code"
    (arXiv 2107.03374), equation 1.
    """
    assert 1 <= k <= samples, f"pass@{k} of {samples} samples"
    if samples - correct < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(samples - correct + 1, samples + 1)))


def rate(matrix: Matrix, k: int, *, confidence: float, resamples: int, seed: int) -> Estimate:
    """Mean pass@k over items; a Wilson interval for one sample an item, else a Bayesian bootstrap over items."""
    items, samples = matrix.shape
    if samples == 1:
        return wilson(int(matrix.sum()), items, confidence)
    return mean(item_values(matrix, k), confidence=confidence, resamples=resamples, seed=seed)


def mean(values: NDArray[np.float64], *, confidence: float, resamples: int, seed: int) -> Estimate:
    """The mean of one value in [0, 1] an item, with a Bayesian bootstrap over items."""
    return _estimate([values], confidence, resamples, seed)


def item_values(matrix: Matrix, k: int) -> NDArray[np.float64]:
    """pass@k of each item."""
    samples = matrix.shape[1]
    return np.array([pass_at_k(int(correct), samples, k) for correct in matrix.sum(axis=1)], dtype=np.float64)


def wilson(correct: float, items: int, confidence: float) -> Estimate:
    """Wilson's score interval: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference",
    Journal of the American Statistical Association 22 (1927). Holds near 0 and 1, where the normal interval does not.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = correct / items
    centre = (share + z * z / (2 * items)) / (1 + z * z / items)
    half = z / (1 + z * z / items) * math.sqrt(share * (1 - share) / items + z * z / (4 * items * items))
    return Estimate(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def macro(matrices: Sequence[Matrix], *, confidence: float, resamples: int, seed: int) -> Estimate:
    """The mean of the benchmarks' pass@1, each weighing the same; a Bayesian bootstrap over the items within each."""
    return _estimate([item_values(matrix, 1) for matrix in matrices], confidence, resamples, seed)


def _estimate(benchmarks: Sequence[NDArray[np.float64]], confidence: float, resamples: int, seed: int) -> Estimate:
    value = float(np.mean([values.mean() for values in benchmarks]))
    draws = [_mean_draws(values, 0.0, resamples, seed + number) for number, values in enumerate(benchmarks)]
    low, high = percentile_interval(np.mean(draws, axis=0), confidence)
    return Estimate(value, min(low, value), max(high, value))


def compare(base: Matrix, trained: Matrix, *, confidence: float, resamples: int, seed: int) -> Comparison:
    """A paired test of two arms on the same items, in the same order; the interval is of the difference.

    One sample an item: McNemar's exact test, which is the binomial test that items gained are half of those that
    changed (Q. McNemar, Psychometrika 12, 1947; exact form in A. Agresti, "Categorical Data Analysis", section 11.1).
    Several: a permutation test on the items' differences, whose signs are exchangeable if the arms are equal
    (R. A. Fisher, "The Design of Experiments", 1935, section 21). The interval is a Bayesian bootstrap over items.
    """
    assert base.shape[0] == trained.shape[0], "both arms must have answered the same items"
    left, right = item_values(base, 1), item_values(trained, 1)
    differences = right - left
    gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
    low, high = percentile_interval(_mean_draws(differences, -1.0, resamples, seed), confidence)
    single = base.shape[1] == trained.shape[1] == 1
    return Comparison(
        base=float(left.mean()),
        trained=float(right.mean()),
        difference=float(differences.mean()),
        low=min(low, float(differences.mean())),
        high=max(high, float(differences.mean())),
        p_value=mcnemar(gained, lost) if single else sign_permutation(differences, resamples, seed),
        test="mcnemar_exact" if single else "paired_permutation",
        gained=gained,
        lost=lost,
        items=len(differences),
    )


def mcnemar(gained: int, lost: int) -> float:
    """The two-sided exact p-value that gains and losses are equally likely; 1 when nothing changed."""
    changed = gained + lost
    if not changed:
        return 1.0
    tail = sum(math.comb(changed, count) for count in range(min(gained, lost) + 1))
    # Integers divided last: exact, and no overflow for any number of items.
    return min(1.0, 2 * tail / (1 << changed))


def sign_permutation(differences: NDArray[np.float64], resamples: int, seed: int) -> float:
    """The two-sided p-value that the mean difference is as far from 0 with signs given at random."""
    changed = differences[differences != 0]
    if not len(changed):
        return 1.0
    if len(changed) <= EXACT_ITEMS:
        signs = 1 - 2 * ((np.arange(2 ** len(changed))[:, None] >> np.arange(len(changed))) & 1)
        extra = 0
    else:
        signs = np.random.default_rng(seed).choice(np.array([-1, 1]), size=(resamples, len(changed)))
        extra = 1  # The observed signs are one of the draws, so that p is never 0.
    # A hair of slack: sums of the same numbers in another order may differ in the last bit.
    as_far = np.abs(signs @ changed) >= abs(changed.sum()) - 1e-9
    return float((as_far.sum() + extra) / (len(signs) + extra))


def _mean_draws(values: NDArray[np.float64], least: float, resamples: int, seed: int) -> NDArray[np.float64]:
    """Draws of the mean, items weighted at random (D. B. Rubin, "The Bayesian Bootstrap", Annals of Statistics 9,
    1981), with half an item at either end, `least` and 1. Of zeros and ones that is the posterior under Jeffreys'
    prior, so items that are all alike keep a width, as they do in Wilson's interval.
    """
    ends = np.concatenate([values, [least, 1.0]])
    shape = np.concatenate([np.ones(len(values)), [0.5, 0.5]])
    weights = np.random.default_rng(seed).standard_gamma(shape, size=(resamples, len(ends)))
    return np.asarray(weights @ ends / weights.sum(axis=1), dtype=np.float64)


def percentile_interval(means: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """The central interval of resampled means."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
