import random

import polars as pl
import pytest

from benchmarks.decontamination import KINDS, SHORT_KINDS, plant
from benchmarks.near_duplicates import DIFFERENT, SAME, plant_pairs
from benchmarks.pool_data import QUESTIONS
from benchmarks.rewrites import rename, renumber, renumber_some, retypeset

LONG = (
    "If $x^2+\\frac12 x \\leq 3$ and $n$ is a positive integer such that triangle $ABC$ has area 17, "
    "find the smallest distinct value of $x+n$."
)
ITEMS = pl.DataFrame(
    {
        "item_id": ["b_1", "b_2", "b_3"],
        "question": [LONG, "Evaluate $2^{3}+1$.", "How long is a piece of string in the end"],
    }
)


def test_every_kind_is_planted_and_changes_the_text():
    planted = plant(ITEMS)
    assert set(planted["kind"]) == {*KINDS, *SHORT_KINDS}
    joined = planted.join(ITEMS, on="item_id", suffix="_item")
    same = joined.filter(pl.col("question") == pl.col("question_item"))
    assert set(same["kind"]) == {"verbatim", "under 8 words"}


def test_nothing_is_planted_where_a_kind_changes_nothing():
    kinds = set(plant(ITEMS.tail(1))["kind"])
    assert "all numbers changed" not in kinds
    assert "reformatted LaTeX" not in kinds
    assert "verbatim" in kinds


def test_planting_is_the_same_each_time():
    assert plant(ITEMS).equals(plant(ITEMS))
    assert plant(ITEMS, per_kind=1).height == len(KINDS) + len(SHORT_KINDS)


@pytest.mark.parametrize(
    ("text", "renamed"),
    [
        ("In triangle $ABC$, $bx=\\sin x$.", "In triangle $PQR$, $qt=\\sin t$."),
        ("A box is $\\mathbb{R}$ and $\\text{in}$", "A box is $\\mathbb{R}$ and $\\text{in}$"),
        ("已知 x+n=1", "已知 t+k=1"),
    ],
)
def test_rename_changes_letters_of_formulas_only(text, renamed):
    assert rename(text, random.Random(0)) == renamed


def test_renumber_replaces_equal_numbers_alike_and_keeps_their_length():
    first, second, third = renumber("12 and 345 and 12", random.Random(0)).split(" and ")
    assert first == third != "12"
    assert len(first) == 2
    assert len(second) == 3
    assert second != "345"
    some = renumber_some("1 2 3", random.Random(0)).split()
    assert sum(was != now for was, now in zip("123", some, strict=True)) == 1


def test_retypeset_leaves_money_alone():
    assert "\\$5 and \\$6" in retypeset("It costs \\$5 and \\$6, so $x^2$.", random.Random(0))


def test_pairs_that_say_the_same_keep_the_answer():
    pool = pl.DataFrame({"question_id": map(str, range(40)), "source": "s", "question": LONG, "answer": "7"}, QUESTIONS)
    planted = plant_pairs(pool, per_kind=2)
    assert len(planted.pairs) == 2 * (len(SAME) + len(DIFFERENT))
    for kind, first, copy in planted.pairs:
        original, made = planted.questions.row(first, named=True), planted.questions.row(copy, named=True)
        assert original["question"] != made["question"]
        assert (made["answer"] == "7") == (kind in SAME)
