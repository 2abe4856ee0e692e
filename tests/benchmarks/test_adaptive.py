import random
from functools import partial

import pytest

from benchmarks.adaptive import LIKE, SOLVED_OF_8, expected_ratio, expected_samples, of_8
from tasks.band import BandParams, certain

BAND = partial(certain, band=BandParams())


def test_published_shares_are_whole_distributions():
    for shares in SOLVED_OF_8.values():
        assert sum(shares) == pytest.approx(100, abs=0.5)


def test_samples_until_an_outcome_is_certain():
    assert expected_samples(0, 32, BAND) == 32
    assert expected_samples(1, 32, BAND) == pytest.approx(4)
    dice = random.Random(1)
    drawn = []
    for _ in range(20_000):
        correct = 0
        for number in range(1, 33):
            correct += dice.random() < 0.25
            if BAND(correct, number):
                break
        drawn.append(number)
    assert expected_samples(0.25, 32, BAND) == pytest.approx(sum(drawn) / len(drawn), rel=0.01)


def test_what_the_published_difficulty_allows():
    assert expected_ratio(SOLVED_OF_8[LIKE], 32, BAND) == pytest.approx(2.46, abs=0.01)
    assert expected_ratio([0, 1], 32, BAND) == pytest.approx(8)
    assert expected_ratio([1, 0], 32, BAND) == 1


def test_what_32_samples_say_of_8():
    assert of_8([32, 0], 32) == pytest.approx([50, 0, 0, 0, 0, 0, 0, 0, 50])
    half = of_8([16], 32)
    assert sum(half) == pytest.approx(100)
    assert max(half) == half[4]
    assert of_8([], 32) == [0.0] * 9
