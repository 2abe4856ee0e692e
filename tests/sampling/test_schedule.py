"""What is certain, against every way that the unknown samples can turn out; what is requested, in which order."""

from functools import partial
from itertools import product

import numpy as np
import pytest

from tasks.band import BandParams, certain
from tasks.engines.params import SamplingParams
from tasks.sampling.schedule import (
    RIGHT,
    UNKNOWN,
    WRONG,
    Certainty,
    Group,
    GroupState,
    PromptSamples,
    Schedule,
    busy_seconds,
    never,
)

SAMPLING = SamplingParams(temperature=1.0)
BAND = partial(certain, band=BandParams(samples=8, min_solved=1, max_solved=3))


def make_prompts(rule, count, samples=8):
    certainty = Certainty(rule, samples)
    states = [
        GroupState(Group(f"q_{n}", f"prompt {n}", "7", "auto", samples, SAMPLING), n * samples, certainty)
        for n in range(count)
    ]
    return [PromptSamples("m_a", [state]) for state in states]


def indices(requests):
    return [(int(request.prompt.split()[1]), request.sample_index) for request in requests]


def arrive(schedule, prompts, number, results):
    """Results of one prompt arrive; returns what need not be generated any more."""
    for index, _ in results:
        prompts[number].arrived[index] = 1
        assert schedule.finish(prompts[number].ids(index, index + 1)[0]) == (number, index)
    prompts[number].groups[0].mark(results)
    return schedule.update(number)


def test_samples_of_a_prompt_that_are_certain_to_count_are_requested_together():
    schedule = Schedule(make_prompts(BAND, 5))
    # Four right answers decide, so the first four samples of each question count in any case.
    first = [(number, index) for number in range(3) for index in range(4)]
    assert indices(schedule.next(10)) == first[:10]
    assert schedule.next(10) == []


def test_what_became_needed_goes_before_new_questions():
    prompts = make_prompts(BAND, 5)
    schedule = Schedule(prompts)
    schedule.next(8)
    arrive(schedule, prompts, 0, [(0, False), (1, True)])
    # One right of two: three more decide at the earliest, so sample 4 is needed now.
    assert indices(schedule.next(8)) == [(0, 4), (2, 0)]


def test_while_there_are_questions_no_sample_is_wasted():
    prompts = make_prompts(BAND, 50)
    schedule = Schedule(prompts)
    wasted = 0
    for number in range(40):
        schedule.next(16)
        wasted += len(arrive(schedule, prompts, number, [(index, True) for index in range(4)]))
    assert wasted == 0


def test_without_new_questions_free_slots_go_to_the_nearest_uncertain_samples():
    prompts = make_prompts(BAND, 2)
    schedule = Schedule(prompts)
    assert indices(schedule.next(13))[8:] == [(0, 4), (1, 4), (0, 5), (1, 5), (0, 6)]
    dropped = arrive(schedule, prompts, 0, [(index, True) for index in range(4)])
    assert dropped == prompts[0].ids(4, 7)
    assert indices(schedule.next(100)) == [(1, 6), (1, 7)]


def test_what_the_ledger_had_is_not_requested():
    prompts = make_prompts(never, 1)
    prompts[0].arrived[:] = bytes([1, 0, 1, 1, 0, 0, 0, 0])
    assert indices(Schedule(prompts).next(3)) == [(0, 1), (0, 4), (0, 5)]


def test_busy_seconds_are_those_in_which_anything_was_generated():
    finished = np.array([10.0, 14.0, 12.0, 100.0])
    # From 8 to 14 without a gap, and from 99 to 100.
    assert busy_seconds(finished, np.array([2.0, 3.0, 4.0, 1.0])) == pytest.approx(7)
    assert busy_seconds(finished[:0], finished[:0]) == 0


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
