import numpy as np
import polars as pl
import pytest

from tasks.text import duplicates
from tasks.text.duplicates import duplicate_keys, near_duplicates, shingles, without_heading

LONG = "a bug starts from a vertex of a regular tetrahedron and crawls along an edge to the other end every minute"


def near(texts, blocks=None, answers=None, threshold=0.8):
    """(later, earlier, similarity) of every text that is near an earlier one."""
    ones = [1] * len(texts)
    keys = (np.array(values, np.uint64) for values in (blocks or ones, answers or ones))
    found = near_duplicates(pl.Series(texts, dtype=pl.String), *keys, 3, threshold)
    rows = [
        (later, int(earlier), round(float(found.similarity[later]), 3)) for later, earlier in enumerate(found.earlier)
    ]
    return [row for row in rows if row[1] >= 0]


@pytest.fixture(params=["all pairs", "proposed pairs"])
def way(request, monkeypatch):
    """Large blocks are compared another way, with the same result."""
    if request.param == "proposed pairs":
        monkeypatch.setattr(duplicates, "LARGE", 2)
        monkeypatch.setattr(duplicates, "SLICE", 2)


@pytest.mark.usefixtures("way")
def test_a_changed_word_is_near_and_another_text_is_not():
    texts = [LONG, LONG.replace("minute", "hour"), "ten people sit down at a round table and shake hands"]

    assert near(texts) == [(1, 0, 0.9)]


@pytest.mark.usefixtures("way")
def test_blocks_are_never_compared():
    assert near([LONG, LONG], blocks=[1, 2]) == []


@pytest.mark.usefixtures("way")
def test_a_dropped_text_drops_no_other():
    words = LONG.split(" ")
    chain = [" ".join([*words[: len(words) - step], *["x", "y", "z"][:step]]) for step in (0, 1, 2)]

    assert near(chain, threshold=0.85) == [(1, 0, 0.9)]


@pytest.mark.usefixtures("way")
def test_a_text_with_another_answer_is_kept_and_refers():
    other, third = LONG.replace("minute", "hour"), LONG.replace("minute", "day")

    assert near([LONG, other, third], answers=[1, 2, 2]) == [(1, 0, 0.9), (2, 1, 0.9)]


@pytest.mark.usefixtures("way")
def test_short_texts_are_one_shingle():
    assert near(["a b", "a b", "a c"], answers=[1, 1, 1]) == [(1, 0, 1.0)]


@pytest.mark.usefixtures("way")
def test_nothing_is_near_nothing():
    assert near([]) == []
    assert near(["", ""]) == []


def test_shingles_are_different_and_ascend():
    values, bounds = shingles(pl.Series(["a b c a b c", "", "a b"]), 3)

    assert bounds.tolist() == [0, 3, 3, 4]
    assert (np.diff(values[:3].astype(object)) > 0).all()


@pytest.mark.usefixtures("way")
def test_a_large_block_of_alike_texts_is_one_cluster():
    texts = [LONG.replace("minute", f"name{number}") for number in range(40)]

    found = near(texts)

    assert [(later, earlier) for later, earlier, _ in found] == [(later, 0) for later in range(1, 40)]


def test_hashes_of_texts_and_of_their_numbers():
    table = duplicate_keys(
        pl.Series(["What is $x+3$?", "what is  x + 3", "What is x + 4?", "What is y?", "?", "4 or 3", "3 or 4"])
    )

    text, numbers = table["text_hash"].to_list(), table["numbers_hash"].to_list()
    assert text[0] == text[1] != text[2]
    assert numbers[0] == numbers[1] != numbers[2]
    assert numbers[3] == 0
    assert (text[4], numbers[4]) == (0, 0)
    assert numbers[5] != numbers[6]


@pytest.mark.parametrize(
    "heading",
    ["Example 5. ", "Problem 12: ", "3. ", "12.4. ", "(7) ", "[7] ", "例3 ", "3. (10 points) ", "Task №2. ", "5、"],
)
def test_headings_are_removed(heading):
    assert without_heading(pl.Series([f"{heading}Find all x."]))[0] == "Find all x."


@pytest.mark.parametrize("text", ["3 + 4 is what?", "12.5 kg of sand", "2x = 4, find x", "5.", "7 people sit", "(3)"])
def test_what_belongs_to_the_question_is_kept(text):
    assert without_heading(pl.Series([text]))[0] == text
