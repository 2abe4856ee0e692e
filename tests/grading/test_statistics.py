import itertools
import math

import numpy as np
import pytest

from tasks.grading.statistics import compare, macro, mcnemar, pass_at_k, rate, sign_permutation, wilson

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
    # Sixteen copies of an item are no new knowledge: as wide as 40 items, not as 640.
    half = 1.96 * math.sqrt(0.25 / 40)
    assert estimate.value == 0.5
    assert estimate.high - estimate.low == pytest.approx(2 * half, rel=0.1)


def test_items_all_alike_keep_an_interval():
    all_wrong = np.zeros((30, 4), dtype=np.int64)
    assert rate(all_wrong, 1, **SETTINGS) == wilson(0, 30, 0.95)
    assert rate(all_wrong + 1, 1, **SETTINGS) == wilson(30, 30, 0.95)
    half_right = np.tile([1, 0], (10, 1))
    assert rate(half_right, 1, **SETTINGS) == wilson(5, 10, 0.95)
    assert macro([half_right, half_right], **SETTINGS) == wilson(10, 20, 0.95)


def test_benchmarks_all_wrong_keep_an_interval_as_wide_as_their_sizes_allow():
    small, large = np.zeros((10, 1), dtype=np.int64), np.zeros((40, 1), dtype=np.int64)
    # 2 squared over 1/10 + 1/40: the small one counts for as much as the large one.
    assert macro([small, large], **SETTINGS) == wilson(0, 32, 0.95)


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
