import numpy as np
import polars as pl
import pytest

from tasks.text import duplicates as module
from tasks.text.duplicates import near_duplicates, shingles

LONG = "a bug starts from a vertex of a regular tetrahedron and crawls along an edge to the other end every minute"


def near(texts, blocks=None, answers=None, threshold=0.8):
    """(later, earlier, similarity) of every text that is near an earlier one."""
    ones = [1] * len(texts)
    keys = (np.array(values, np.uint64) for values in (blocks or ones, answers or ones))
    found = near_duplicates(pl.Series(texts, dtype=pl.String), *keys, 3, threshold)
    rows = [(later, int(of), round(float(found.similarity[later]), 3)) for later, of in enumerate(found.of)]
    return [row for row in rows if row[1] >= 0]


@pytest.fixture(params=["all pairs", "proposed pairs"], autouse=True)
def way(request, monkeypatch):
    """Large blocks are compared another way, with the same result."""
    if request.param == "proposed pairs":
        monkeypatch.setattr(module, "LARGE", 2)
        monkeypatch.setattr(module, "SLICE", 2)


def test_a_changed_word_is_near_and_another_text_is_not():
    texts = [LONG, LONG.replace("minute", "hour"), "ten people sit down at a round table and shake hands"]

    assert near(texts) == [(1, 0, 0.9)]


def test_blocks_are_never_compared():
    assert near([LONG, LONG], blocks=[1, 2]) == []


def test_a_text_that_goes_takes_no_other_with_it():
    words = LONG.split(" ")
    chain = [" ".join([*words[: len(words) - step], *["x", "y", "z"][:step]]) for step in (0, 1, 2)]

    assert near(chain, threshold=0.85) == [(1, 0, 0.9)]


def test_a_text_with_another_answer_stays_and_refers():
    other, third = LONG.replace("minute", "hour"), LONG.replace("minute", "day")

    assert near([LONG, other, third], answers=[1, 2, 2]) == [(1, 0, 0.9), (2, 1, 0.9)]


def test_short_texts_are_one_shingle():
    assert near(["a b", "a b", "a c"], answers=[1, 1, 1]) == [(1, 0, 1.0)]


def test_nothing_is_near_nothing():
    assert near([]) == []
    assert near(["", ""]) == []


def test_shingles_are_different_and_ascend():
    values, bounds = shingles(pl.Series(["a b c a b c", "", "a b"]), 3)

    assert bounds.tolist() == [0, 3, 3, 4]
    assert (np.diff(values[:3].astype(object)) > 0).all()


def test_a_large_block_of_alike_texts_is_one_cluster():
    texts = [LONG.replace("minute", f"name{number}") for number in range(40)]

    found = near(texts)

    assert [(later, of) for later, of, _ in found] == [(later, 0) for later in range(1, 40)]
