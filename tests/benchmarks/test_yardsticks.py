import pytest

from benchmarks.yardsticks import as_published, charitable, eight_grams

ITEM = "What is the sum of the first ten odd primes"
POOL = [
    "Tell me: WHAT is the  sum of the first ten numbers",
    "What is the sum of the first",
    "what is the sum, of the first ten odd primes",
    "Nothing alike stands here at all, or does it now",
]


def test_eight_grams_split_at_whitespace_only():
    assert eight_grams("A b\nc  d e f g, h i") == ["a b c d e f g, h", "b c d e f g, h i"]
    assert eight_grams("seven words are too few for one") == []


@pytest.mark.parametrize("method", [as_published, charitable])
def test_the_published_method_flags_one_common_eight_gram(method):
    benchmarks = {"other": ["An item that has nothing to do with it at all"], "mine": [ITEM]}
    assert method(POOL, benchmarks).places == {0}
    assert method([ITEM.split(" ", 2)[2]], {"mine": [ITEM]}).places == {0}
    assert method(["2 + 2"], {"mine": ["2 + 2"]}).places == set()
