import itertools
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.scoring.scores import majority_at_k


def by_hand(answers, k):
    """The definition, in fractions: R is right, other letters are wrong answers, - is none."""
    total, subsets = Fraction(0), list(itertools.combinations(answers, k))
    for votes in subsets:
        counts = {answer: votes.count(answer) for answer in votes if answer != "-"}
        most = [answer for answer, count in counts.items() if count == max(counts.values())]
        total += Fraction("R" in most, len(most) or 1)
    return total / len(subsets)


def voted(answers, k):
    return majority_at_k([each == "R" for each in answers], [None if each == "-" else each for each in answers], k, 0)


@pytest.mark.parametrize(
    ("answers", "k", "share"),
    [
        ("RRab", 4, 1),
        ("RaaR", 4, 0.5),
        ("Raab", 4, 0),
        ("R---", 4, 1),
        ("----", 4, 0),
        ("Rabc", 4, 0.25),
        ("RRaa", 3, 0.5),
    ],
)
def test_votes_with_ties_and_without_answers(answers, k, share):
    assert voted(answers, k) == pytest.approx(share)


@settings(max_examples=150, deadline=None)
@given(answers=st.text("Rab-", min_size=1, max_size=7), data=st.data())
def test_it_is_the_mean_over_all_subsets(answers, data):
    k = data.draw(st.integers(1, len(answers)))
    assert voted(answers, k) == pytest.approx(float(by_hand(answers, k)))


def test_drawn_subsets_come_close_to_all_of_them(monkeypatch):
    answers = "RRRRRaaaabbb----"
    exact = float(by_hand(answers, 4))
    monkeypatch.setattr("tasks.scoring.scores.MOST_SUBSETS", 1_500)
    assert voted(answers, 4) == pytest.approx(exact, abs=0.04)
    assert voted(answers, 4) == voted(answers, 4)


def test_a_vote_of_one_is_the_share_that_is_right():
    assert voted("RRab", 1) == 0.5
