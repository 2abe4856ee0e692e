import polars as pl
import pytest

from tasks.pool.text import canonical, numbers, plain, words


def of(function, text):
    return pl.DataFrame({"text": [text]}).select(function(plain(pl.col("text")))).item()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("$x^2+1$", r"\(x^{2} + 1\)"),
        (r"$\left( \dfrac{1}{2} \right)$", r"\frac{1}{2}"),
        (r"\frac mn", r"\frac{m}{n}"),
        ("10,000 and 1,000,000", "$10,000$ and 1000000"),
        ("ＡＢＣ　１２", "abc 12"),
        (r"32,\!348", "32348"),
        ("3 × 4", r"$3 \cdot 4$"),
        ("x² − 1", "X^2 - 1"),
    ],
)
def test_typesetting_makes_no_difference_to_the_words(one, other):
    assert list(of(words, one)) == list(of(words, other))


def test_a_chinese_character_is_a_word():
    assert list(of(words, "计算：$403 \\times 2.5$")) == ["计", "算", "403", "*", "2.5"]


@pytest.mark.parametrize(("one", "other"), [("f(x+1)", "f(x)+1"), ("5!", "5"), ("x^{12}", "x^1 2"), ("3.5", "35")])
def test_the_canonical_form_keeps_what_changes_the_meaning(one, other):
    assert of(canonical, one) != of(canonical, other)


def test_the_canonical_form_drops_spaces_dollars_and_sentence_marks():
    assert of(canonical, "What is $x+y$?") == of(canonical, "what is  x + y")


def test_numbers_in_their_order():
    assert of(numbers, "He has 12 apples, 3.5 kg and 1,000 pears") == "12 3.5 1000"
