import re
from xml.etree import ElementTree

import pytest

from tasks.ablation.contrasts import ArmAccuracy, Difference, Finding
from tasks.ablation.page import contrast_line, figure, scale_for
from tasks.scoring.statistics import Estimate

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '</text><script>alert("1")</script>{{ 7 * 7 }} & "L1"'


def make_accuracy(label="L1", accuracy=(0.2, 0.1, 0.3), elsewhere=(0.05, 0.0, 0.1)):
    other = Estimate(*elsewhere) if elsewhere else None
    return ArmAccuracy(arm="a", label=label, accuracy=Estimate(*accuracy), elsewhere=other)


def make_difference(value=0.1234, low=0.04, high=0.2006, outcome="holds", labels=("L5", "L1")):
    return Difference(better="b", worse="a", labels=labels, value=value, low=low, high=high, outcome=outcome)


def make_finding(*arms, asks="Does it rise?", outcome="holds", contrasts=None):
    found = contrasts or (make_difference(),)
    return Finding(name="quality", asks=asks, paper="rises", outcome=outcome, arms=arms, contrasts=found)


def texts(drawn):
    return [each.text for each in ElementTree.fromstring(drawn).iter(f"{SVG}text")]


def test_a_contrast_is_printed_in_points():
    assert contrast_line(make_difference()) == "L5 - L1: +12.3 points [4.0, 20.1]"
    assert contrast_line(make_difference(-0.1, -0.2, 0.01)) == "L5 - L1: -10.0 points [-20.0, 1.0]"


def test_the_figure_is_whole_and_needs_nothing_else():
    drawn = figure(make_finding(make_accuracy("L1"), make_accuracy("L5")))
    words = texts(drawn)
    assert {"Does it rise?", "L1", "L5", "20.0", "holds", "L5 - L1: +12.3 points [4.0, 20.1]"} <= set(words)
    assert "class=" not in drawn
    assert re.findall(r"https?://[^\"]+", drawn) == ["http://www.w3.org/2000/svg"]


def test_arms_stand_from_left_to_right_in_order():
    drawn = ElementTree.fromstring(figure(make_finding(*(make_accuracy(f"L{n}") for n in range(1, 6)))))
    places = {each.text: float(each.get("x")) for each in drawn.iter(f"{SVG}text") if each.text.startswith("L")}
    order = [places[f"L{n}"] for n in range(1, 6)]
    assert order == sorted(order)
    assert 44 < order[0] < order[-1] < 624


def test_a_whisker_spans_the_interval():
    drawn = ElementTree.fromstring(figure(make_finding(make_accuracy(accuracy=(0.5, 0.25, 1.0), elsewhere=None))))
    (line,) = (each for each in drawn.iter(f"{SVG}line") if each.get("stroke-opacity"))
    (dot,) = (each for each in drawn.iter(f"{SVG}circle") if each.get("r") == "4.5")
    low, value, high = (float(each) for each in (line.get("y1"), dot.get("cy"), line.get("y2")))
    assert low > value > high
    assert (low - value) / (value - high) == pytest.approx(0.5, abs=0.01)


def test_without_a_benchmark_out_of_distribution_there_is_one_mark_and_no_key_for_two():
    words = texts(figure(make_finding(make_accuracy(elsewhere=None))))
    assert "families trained on" in words
    assert "out of distribution" not in words


@pytest.mark.parametrize(
    ("high", "step", "most"), [(0.031, 1, 4), (0.24, 5, 25), (0.5, 10, 50), (0.97, 20, 100), (0, 1, 1)]
)
def test_the_scale_ends_at_a_round_number_above_the_highest(high, step, most):
    scale = scale_for([make_accuracy(accuracy=(0, 0, high), elsewhere=None)], 0)
    assert (scale.step, scale.most) == (step, most)


def test_long_words_are_wrapped_inside_the_figure():
    asks = "Is the best chain by the score better than the longest, the one with most right equations, or a random one?"
    words = texts(figure(make_finding(*(make_accuracy("right equations of it all") for _ in range(5)), asks=asks)))
    assert asks not in words
    assert max(len(word) for word in words if word in asks) <= 78
    assert "right equations" in words


def test_hostile_words_are_escaped():
    drawn = figure(
        make_finding(make_accuracy(HOSTILE), asks=HOSTILE, contrasts=(make_difference(labels=(HOSTILE, "x")),))
    )
    assert "<script" not in drawn
    assert f"{HOSTILE} - x: +12.3 points [4.0, 20.1]" in texts(drawn)


def test_a_bare_figure_leaves_title_and_outcome_to_its_page():
    answer = make_finding(make_accuracy("L1"), make_accuracy("L5"))
    whole, bare = texts(figure(answer)), texts(figure(answer, bare=True))
    left_out = {"Does it rise?", "holds", "L5 - L1: +12.3 points [4.0, 20.1]", f"paper: {answer.paper}"}
    assert set(whole) - set(bare) == left_out
