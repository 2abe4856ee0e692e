import itertools
import math

import numpy as np
import pytest

from tasks.scoring.statistics import compare, macro, mcnemar, pass_at_k, rate, sign_permutation, wilson

SETTINGS = {"confidence": 0.95, "resamples": 2_000, "seed": 7}


def column(*outcomes):
    return np.array(outcomes, dtype=np.int64).reshape(-1, 1)


@pytest.mark.parametrize(
    ("correct", "samples", "k", "expected"),
    [
        (0, 4, 1, 0),
        (1, 4, 1, 0.25),
        (1, 4, 2, 0.5),
        (2, 4, 2, 1 - 1 / 6),
        (4, 4, 4, 1),
        (1, 4, 4, 1),
        (3, 16, 1, 3 / 16),
    ],
)
def test_pass_at_k(correct, samples, k, expected):
    assert pass_at_k(correct, samples, k) == pytest.approx(expected)


def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample():
    for samples, k in itertools.product(range(1, 8), range(1, 8)):
        for correct in range(samples + 1 if k <= samples else 0):
            subsets = list(itertools.combinations(range(samples), k))
            hits = sum(any(sample < correct for sample in subset) for subset in subsets)
            assert pass_at_k(correct, samples, k) == pytest.approx(hits / len(subsets))


def test_wilson_against_published_values():
    # 8 of 10: 0.4902 to 0.9433; 0 of 20: 0 to 0.1611 (Newcombe 1998 gives the method's table for the like).
    assert wilson(8, 10, 0.95) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 20, 0.95) == pytest.approx((0.0, 0.0, 0.1611), abs=1e-4)
    assert wilson(20, 20, 0.95).high == 1.0


def test_one_sample_gets_wilson_and_several_a_bootstrap_over_items():
    assert rate(column(1, 1, 0, 0), 1, **SETTINGS) == wilson(2, 4, 0.95)
    same_within_items = np.repeat(column(*[1] * 20, *[0] * 20), 16, axis=1)
    estimate = rate(same_within_items, 1, **SETTINGS)
    # Sixteen repeats of an item are no new information: as wide as 40 items, not as 640.
    half = 1.96 * math.sqrt(0.25 / 40)
    assert estimate.value == 0.5
    assert estimate.high - estimate.low == pytest.approx(2 * half, rel=0.1)


def test_items_all_alike_keep_an_interval():
    all_wrong = np.zeros((30, 4), dtype=np.int64)
    lowest, highest = rate(all_wrong, 1, **SETTINGS), rate(all_wrong + 1, 1, **SETTINGS)
    # The 97.5th percentile of Beta(1/2, 30 + 1/2), Jeffreys' interval for 0 of 30.
    assert (lowest.value, lowest.low) == (0, pytest.approx(0, abs=1e-3))
    assert lowest.high == pytest.approx(0.0802, abs=0.006)
    assert (highest.value, highest.low) == (1, pytest.approx(1 - lowest.high, abs=0.006))
    half_right = rate(np.tile([1, 0], (10, 1)), 1, **SETTINGS)
    assert half_right.low < half_right.value == 0.5 < half_right.high


def test_the_average_of_benchmarks_all_wrong_is_as_wide_as_their_sizes_allow():
    small, large = np.zeros((10, 1), dtype=np.int64), np.zeros((40, 1), dtype=np.int64)
    # 2 squared over 1/10 + 1/40: as one of 32 items, since the small one counts for as much as the large one.
    assert macro([small, large], **SETTINGS).high == pytest.approx(wilson(0, 32, 0.95).high, abs=0.01)


def coverage(truth, draw, runs=150):
    """How often an interval of a drawn sample holds the truth; 95% stated, and 150 runs tell 86% apart."""
    chance = np.random.default_rng(1)
    found = [draw(chance, run) for run in range(runs)]
    return np.mean([one.low <= truth <= one.high for one in found])


def made(chance, items, share):
    return (chance.random((items, 1)) < share).astype(np.int64)


def test_intervals_hold_the_truth_as_often_as_they_say():
    how = {"confidence": 0.95, "resamples": 400}

    def average(chance, run):
        return macro([made(chance, 30, 0.97), made(chance, 500, 0.95)], seed=run, **how)

    def clustered(chance, run):
        shares = chance.beta(0.2, 0.8, 30)
        return rate((chance.random((30, 16)) < shares[:, None]).astype(np.int64), 1, seed=run, **how)

    def difference(chance, run):
        return compare(made(chance, 30, 0.02), made(chance, 30, 0.05), seed=run, **how)

    assert coverage(0.96, average) > 0.9
    assert coverage(0.2, clustered) > 0.9
    assert coverage(0.03, difference) > 0.9


def test_arms_without_a_difference_keep_an_interval_of_it():
    found = compare(column(*[1] * 30), column(*[1] * 30), **SETTINGS)
    assert found.low < found.difference == 0 < found.high
    found = compare(column(*[0] * 30), column(*[1] * 30), **SETTINGS)
    assert 0.7 < found.low < found.difference == 1 == found.high


@pytest.mark.parametrize(("gained", "lost", "p"), [(0, 0, 1.0), (5, 0, 2 / 32), (8, 2, 2 * 56 / 1024), (3, 3, 1.0)])
def test_mcnemar(gained, lost, p):
    assert mcnemar(gained, lost) == pytest.approx(p)


def test_mcnemar_on_many_items():
    # scipy.stats.binomtest(600, 1300, 0.5).pvalue
    assert mcnemar(700, 600) == pytest.approx(0.0060157938610449395)


def test_sign_permutation_by_hand():
    # Signs of (1, 1, 1): 8 ways, 2 as far from 0 as the sum 3.
    assert sign_permutation(np.array([1.0, 1.0, 1.0, 0.0]), 100, 0) == pytest.approx(2 / 8)
    # (0.5, 0.25): sums 0.75, 0.25, -0.25, -0.75.
    assert sign_permutation(np.array([0.5, -0.25]), 100, 0) == pytest.approx(1.0)
    assert sign_permutation(np.zeros(5), 100, 0) == 1.0


def test_sign_permutation_by_draws_is_near_the_exact_one():
    # 20 ones: p = 2 / 2**20, below what 2,000 draws can show, but never 0.
    assert sign_permutation(np.ones(20), 2_000, 0) == pytest.approx(1 / 2_001)
    mixed = np.array([1.0] * 12 + [-1.0] * 8)
    assert sign_permutation(mixed, 20_000, 0) == pytest.approx(mcnemar(12, 8), abs=0.02)


def test_compare_counts_what_flipped():
    found = compare(column(1, 0, 0, 0, 1), column(1, 1, 1, 1, 0), **SETTINGS)
    assert (found.base, found.trained, found.gained, found.lost, found.items) == (0.4, 0.8, 3, 1, 5)
    assert found.difference == pytest.approx(0.4)
    assert (found.test, found.p_value) == ("mcnemar_exact", pytest.approx(10 / 16))
    assert found.low <= found.difference <= found.high


def test_compare_several_samples_by_permutation():
    base, trained = np.array([[0, 0], [0, 1], [1, 1]]), np.array([[1, 1], [1, 1], [1, 1]])
    found = compare(base, trained, **SETTINGS)
    assert (found.test, found.gained, found.lost) == ("paired_permutation", 2, 0)
    assert found.p_value == pytest.approx(2 / 4)


def test_macro_weighs_benchmarks_the_same():
    estimate = macro([column(1, 1), column(*[0] * 100)], **SETTINGS)
    assert estimate.value == 0.5
    assert estimate == macro([column(1, 1), column(*[0] * 100)], **SETTINGS)
