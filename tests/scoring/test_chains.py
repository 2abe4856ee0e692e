import polars as pl
import pytest

from tasks.scoring.chains import keyword_pattern, keyword_share, length_share, right_equations


def matches(words, text):
    return pl.select(pl.lit(text).str.count_matches(keyword_pattern(words))).item()


@pytest.mark.parametrize(
    ("words", "text", "count"),
    [
        (["check"], "Check it. CHECK! check", 3),
        (["check"], "checked, recheck, checking, check_sum", 0),
        (["check", "let me check"], "let me check", 1),
        (["let me check"], "Let me\n  check", 1),
        (["since"], "12=12,since", 1),
        (["a.b"], "axb a.b", 1),
        (["检查"], "我们检查一下,再检查", 2),
        (["prüfen"], "wir prüfen, überprüfen", 1),
    ],
)
def test_keywords_match_whole_and_in_any_case(words, text, count):
    assert matches(words, text) == count


def share(text, full=1.0):
    return pl.DataFrame({"text": [text]}).select(keyword_share(pl.col("text"), ["since"], full)).item()


def test_density_is_per_hundred_words():
    assert share("since" + " x" * 199, full=1.0) == pytest.approx(0.5)


def test_a_short_text_counts_as_a_hundred_words():
    assert share("since yes", full=2.0) == pytest.approx(0.5)


def test_density_is_capped_at_one():
    assert share("since " * 500) == 1.0


def test_chinese_characters_count_as_words():
    assert share("since" + "数" * 399) == pytest.approx(0.25)


def test_length_is_capped_at_one():
    shares = pl.DataFrame({"n": [0, 50, 100, 900]}).select(length_share(pl.col("n"), 100)).to_series()
    assert shares.to_list() == [0.0, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("text", "modulus", "expected"),
    [
        ("", None, 0),
        ("47+8=55, 55*3=165", None, 2),
        ("47+8=55, 55*3=65", 100, 2),
        ("47+8=55, 55*3=65", None, 1),
        ("03-8=95", 100, 1),
        ("47 + 8 = 56. Check again: 47+8=56, yes.", 100, 0),
        ("6×7=42 and 6*7=42", None, 2),
        ("1.5+2=3.5", None, 0),
        ("47 plus 8 is 55", None, 0),
        ("9" * 50 + "+1=0", None, 0),
    ],
)
def test_right_equations_are_counted(text, modulus, expected):
    assert right_equations(text, modulus) == expected
