"""What is asked for, and in which order."""

from functools import partial

from tasks.band import BandParams, certain
from tasks.engines.params import SamplingParams
from tasks.sampling.sampler import Certainty, Group, Schedule, Series, State, never

SAMPLING = SamplingParams(temperature=1.0)
BAND = partial(certain, band=BandParams(samples=8, min_solved=1, max_solved=3))


def make_series(rule, count, samples=8):
    states = [
        State(Group(f"q_{n}", f"prompt {n}", "7", "auto", samples, SAMPLING), n * samples, Certainty(rule, samples))
        for n in range(count)
    ]
    return [Series("m_a", [state]) for state in states]


def asked(requests):
    return [(int(request.prompt.split()[1]), request.sample_index) for request in requests]


def come(schedule, series, number, results):
    """Results of one series come in; returns what need not be generated any more."""
    for index, _ in results:
        series[number].there[index] = 1
        assert schedule.landed(series[number].ids(index, index + 1)[0]) == (number, index)
    series[number].states[0].mark(results)
    return schedule.update(number)


def test_samples_of_a_prompt_that_are_certain_to_count_are_asked_for_together():
    schedule = Schedule(make_series(BAND, 5))
    # Four right answers decide, so the first four samples of each question count in any case.
    assert asked(schedule.next(10)) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1)]
    assert schedule.next(10) == []


def test_what_became_needed_goes_before_new_questions():
    series = make_series(BAND, 5)
    schedule = Schedule(series)
    schedule.next(8)
    come(schedule, series, 0, [(0, False), (1, True)])
    # One right of two: three more decide at the earliest, so sample 4 is needed now.
    assert asked(schedule.next(8)) == [(0, 4), (2, 0)]


def test_while_there_are_questions_no_sample_is_asked_for_in_vain():
    series = make_series(BAND, 50)
    schedule = Schedule(series)
    wasted = 0
    for number in range(40):
        schedule.next(16)
        wasted += len(come(schedule, series, number, [(index, True) for index in range(4)]))
    assert wasted == 0


def test_without_new_questions_free_places_go_to_the_nearest_uncertain_samples():
    series = make_series(BAND, 2)
    schedule = Schedule(series)
    assert asked(schedule.next(13))[8:] == [(0, 4), (1, 4), (0, 5), (1, 5), (0, 6)]
    dropped = come(schedule, series, 0, [(index, True) for index in range(4)])
    assert dropped == series[0].ids(4, 7)
    assert asked(schedule.next(100)) == [(1, 6), (1, 7)]


def test_what_the_ledger_had_is_not_asked_for():
    series = make_series(never, 1)
    series[0].there[:] = bytes([1, 0, 1, 1, 0, 0, 0, 0])
    assert asked(Schedule(series).next(3)) == [(0, 1), (0, 4), (0, 5)]
