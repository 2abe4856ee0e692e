import numpy as np
import pytest

from tasks.ablation.contrasts import contrast, estimate, joint_outcome, outcome, rank_correlation, ranks, spearman

SETTINGS = {"confidence": 0.95, "resamples": 2000}


def draw(rate, seeds=3, items=120, seed=0, spread=0.0):
    """Verdicts; items differ in difficulty by `spread`, alike for every call with the same shape."""
    difficulty = np.random.default_rng(99).normal(0, spread, items)
    return (np.random.default_rng(seed).random((seeds, items)) < np.clip(rate + difficulty, 0, 1)).astype(np.int64)


def test_an_estimate_lies_inside_its_interval_and_covers_the_rate():
    covered = 0
    for seed in range(60):
        found = estimate(draw(0.3, seed=seed), confidence=0.95, resamples=400)
        assert found.low <= found.value <= found.high
        covered += found.low <= 0.3 <= found.high
    assert covered >= 54


def test_more_items_make_a_tighter_interval():
    few, many = (estimate(draw(0.5, items=items), **SETTINGS) for items in (30, 600))
    assert many.high - many.low < 0.6 * (few.high - few.low)


def test_seeds_that_disagree_widen_the_interval():
    alike, apart = draw(0.5), np.stack([draw(rate, seeds=1)[0] for rate in (0.2, 0.5, 0.8)])
    narrow, wide = (estimate(matrix, **SETTINGS) for matrix in (alike, apart))
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


@pytest.mark.parametrize(("value", "low", "high"), [(0, 0.0, 0.031), (1, 0.969, 1.0)])
def test_values_that_are_all_alike_have_an_interval_over_items(value, low, high):
    found = estimate(np.full((3, 120), value), **SETTINGS)
    assert found == pytest.approx((value, low, high), abs=1e-3)


def test_a_paired_contrast_is_tighter_than_one_of_shuffled_items():
    worse, better = draw(0.45, seed=1, spread=0.4), draw(0.55, seed=2, spread=0.4)
    paired = contrast(better, worse, **SETTINGS)
    shuffled = contrast(better, worse[:, np.random.default_rng(3).permutation(120)], **SETTINGS)
    assert paired.value == pytest.approx(shuffled.value)
    assert paired.high - paired.low < 0.9 * (shuffled.high - shuffled.low)


def test_a_contrast_is_the_difference_and_turns_with_its_arms():
    better, worse = draw(0.7, seed=1), draw(0.3, seed=2)
    there, back = contrast(better, worse, **SETTINGS), contrast(worse, better, **SETTINGS)
    assert there.value == pytest.approx(better.mean() - worse.mean())
    assert there.low > 0.2
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))


def test_one_seed_is_compared_with_every_seed_of_the_other_arm():
    trained, untrained = draw(0.6), draw(0.2, seeds=1, seed=5)
    found = contrast(trained, untrained, **SETTINGS)
    assert found == contrast(trained, np.repeat(untrained, 3, axis=0), **SETTINGS)


def test_two_arms_that_never_succeed_are_not_known_to_be_equal():
    none = np.zeros((3, 12), dtype=np.int64)
    found = contrast(none, none, **SETTINGS)
    assert found.value == 0
    assert found.low < -0.2
    assert found.high > 0.2


def test_the_interval_of_no_width_is_newcombes():
    """0 of 10 against 10 of 10, from the paper's own formula: the Wilson intervals are [0, .278] and [.722, 1]."""
    found = contrast(np.ones((1, 10), dtype=np.int64), np.zeros((1, 10), dtype=np.int64), **SETTINGS)
    assert found == pytest.approx((1.0, 1 - np.hypot(0.2775, 0.2775), 1.0), abs=1e-3)


def test_the_same_verdicts_give_the_same_numbers():
    assert estimate(draw(0.3), **SETTINGS) == estimate(draw(0.3), **SETTINGS)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.2, "holds"),
        (0.01, 0.03, "holds"),
        (-0.1, 0.04, "does not hold"),
        (-0.3, -0.1, "does not hold"),
        (-0.1, 0.05, "undecided"),
        (0.0, 0.3, "undecided"),
    ],
)
def test_outcome(low, high, said):
    assert outcome(low, high, 0.05) == said


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        (["holds", "holds"], "holds"),
        (["holds", "undecided"], "undecided"),
        (["undecided", "does not hold", "holds"], "does not hold"),
        ([], "undecided"),
    ],
)
def test_the_outcome_of_a_question_with_several_contrasts(outcomes, said):
    assert joint_outcome(outcomes) == said


def test_ties_share_their_mean_rank():
    assert ranks(np.array([10.0, 30.0, 10.0, 20.0])).tolist() == [1.5, 4.0, 1.5, 3.0]


def test_rank_correlation_ignores_the_scale():
    x = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert rank_correlation(x, np.exp(x)) == pytest.approx(1)
    assert rank_correlation(x, -(x**3)) == pytest.approx(-1)
    assert rank_correlation(x, np.array([2.0, 1.0, 4.0, 3.0, 5.0])) == pytest.approx(0.8)


def test_points_of_an_arm_are_one_cluster():
    generator = np.random.default_rng(0)
    x = np.repeat(generator.normal(size=8), 3)
    y = np.repeat(generator.normal(size=8), 3) + 0.6 * x
    arms = [f"a{number // 3}" for number in range(24)]
    clustered = spearman(x, y, arms, confidence=0.95, resamples=500)
    apart = spearman(x, y, [str(number) for number in range(24)], confidence=0.95, resamples=500)
    assert clustered.value == apart.value
    assert (clustered.points, clustered.arms) == (24, 8)
    assert clustered.high - clustered.low > 1.2 * (apart.high - apart.low)


@pytest.mark.parametrize(("x", "arms"), [([1, 2, 3], "aab"), ([1, 1, 1], "abc"), ([], "")])
def test_too_few_arms_or_all_alike_say_nothing(x, arms):
    found = spearman(x, range(len(x)), list(arms), confidence=0.95, resamples=100)
    assert found[:3] == (None, None, None)
