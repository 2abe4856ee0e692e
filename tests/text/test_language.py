import polars as pl
import pytest

from tasks.text.language import languages


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Find the number of positive integers that are divisible by 7.", "en"),
        ("Find all $x$ with $\\text{something}=\\sin(x)$ such that the sum is even.", "en"),
        ("Берём число и делим его на семь, сколько останется?", "ru"),
        ("Найдите наименьшее натуральное число, которое делится на семь", "ru"),
        ("求小于 100 的正整数的个数", "zh"),
        ("正の整数をすべて求めよ", "ja"),
        ("양의 정수를 모두 구하시오", "ko"),
        ("Compute $x^2+1$.", "und"),
        ("", "und"),
    ],
)
def test_languages(text, language):
    assert languages(pl.Series([text])).to_list() == [language]


def test_order_is_kept():
    texts = pl.Series(["求正整数的个数", "Find the number of them all", "$x$", "Find the sum of these numbers"])

    assert languages(texts).to_list() == ["zh", "en", "und", "en"]
