"""The certain part of a prefix, against every way that the unknown samples can turn out."""

from functools import partial
from itertools import product

import pytest

from tasks.band import BandParams, certain
from tasks.sampling.sampler import RIGHT, UNKNOWN, WRONG, Certainty, never

SAMPLES = 7


def band(low, high):
    return partial(certain, band=BandParams(samples=SAMPLES, min_solved=low, max_solved=high))


def prefix(rule, outcome):
    """How many samples count when all are known."""
    correct = 0
    for drawn, right in enumerate(outcome, 1):
        correct += right
        if rule(correct, drawn):
            return drawn
    return len(outcome)


def by_enumeration(rule, known):
    free = [(False, True) if state == UNKNOWN else (state == RIGHT,) for state in known]
    ends = [prefix(rule, outcome) for outcome in product(*free)]
    return min(ends), max(ends)


@pytest.mark.parametrize(
    "rule", [band(1, 3), band(0, 2), band(2, 3), band(3, 5), band(1, SAMPLES), lambda right, _: right >= 1, never]
)
def test_floor_and_bound_are_exact_for_every_state(rule):
    certainty = Certainty(rule, SAMPLES)
    for known in product((UNKNOWN, WRONG, RIGHT), repeat=SAMPLES):
        assert certainty.span(bytearray(known)) == by_enumeration(rule, known), known


def test_a_rule_that_comes_and_goes_is_exact_too():
    rule = lambda right, drawn: right == 2 and drawn % 3 == 0  # noqa: E731
    certainty = Certainty(rule, SAMPLES)
    for known in product((UNKNOWN, WRONG, RIGHT), repeat=SAMPLES):
        assert certainty.span(bytearray(known)) == by_enumeration(rule, known), known
