import re

import pytest

from tasks.reporting.figures import Interval, Series, curve, even_edges, histogram, intervals, shares_between, short


def test_shares_are_of_all_values_and_the_top_edge_belongs_to_the_last_bin():
    assert shares_between([0.0, 0.1, 0.5, 1.0], [0.0, 0.5, 1.0]) == [0.5, 0.5]
    assert shares_between([], [0.0, 0.5, 1.0]) == [0.0, 0.0]


@pytest.mark.parametrize(("largest", "top"), [(87, 100), (101, 150), (0.3, 0.3), (0, 1), (5000, 5000)])
def test_edges_end_at_a_round_number(largest, top):
    edges = even_edges([largest], 4)
    assert len(edges) == 5
    assert edges[-1] == pytest.approx(top)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.5, "0.5"), (5e-6, "5e-6"), (1234, "1,234"), (12000, "12k"), (3.2e6, "3.2M")],
)
def test_axis_numbers_are_short(value, text):
    assert short(value) == text


def test_a_histogram_draws_each_series_and_escapes_its_label():
    drawn = histogram([Series("a", "base", [0.1]), Series("b", "trained", [0.9])], "<x>", [0.0, 0.5, 1.0])
    assert drawn.count("<path") == 2
    assert "&lt;x&gt;" in drawn
    assert "<x>" not in drawn


def test_a_curve_falls_from_left_to_right():
    points = re.search(r'points="([^"]+)"', curve([1, 2, 3], [2.0, 1.0, 0.5], "loss")).group(1).split()
    heights = [float(point.split(",")[1]) for point in points]
    assert heights == sorted(heights)


def test_a_curve_of_one_step_is_drawn():
    assert "NaN" not in curve([1], [0.0], "loss")


def test_intervals_are_placed_by_per_cent():
    drawn = intervals([Interval("base", 50.0, 40.0, 60.0)])
    assert 'x1="90.0" x2="130.0"' in drawn
    assert 'cx="110.0"' in drawn
