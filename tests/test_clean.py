import json

import polars as pl
import pytest

from tasks.clean import CleanParams, decide, run
from tasks.errors import LimoError
from tasks.families import problems
from tasks.records.question import QUESTION
from tests.builders import make_question

TRAIN = "Amanda received $50 as a gift. She buys two tapes that cost $9 each. How much money will she have left?"


def table(*questions):
    return pl.DataFrame([question.model_dump() for question in questions], schema=QUESTION)


def reasons(*questions, **params):
    return decide(table(*questions), CleanParams(**params))["reason"].to_list()


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("What is 3 + 4?", "7", None),
        ("3 + 4", "7", "question_too_short"),
        ("What is " + "1 + " * 3000 + "1?", "3001", "question_too_long"),
        ("What is the limit?", None, "no_verifiable_answer"),
        ("What is the limit?", "See solution.", "no_verifiable_answer"),
        ("What is the limit?", "We note that " * 40, "no_verifiable_answer"),
        ("Prove that there are infinitely many primes.", "1", "no_verifiable_answer"),
        ("Show that n is even, and find the smallest n.", "2", None),
        ("求证: 三角形内角和为一百八十度, 并说明理由", "1", "no_verifiable_answer"),
        ("Let f(x)=x. (a) Find f(1). (b) Find f(2).", "1, 2", "several_parts"),
        ("Find k such that (1) a is even. (2) b is odd and a+b=k.", "3", None),
        ("Which one? (A) 1 (B) 2 (C) 3", "B", None),
        ("What is the area of the triangle? [asy]draw(A--B);[/asy]", "6", "needs_image"),
    ],
)
def test_a_question_by_itself(question, answer, reason):
    assert reasons(make_question(question, answer)) == [reason]


def test_marks_of_images_are_params():
    question = make_question("Find x in the figure below [asy]draw();[/asy]", "6")

    assert reasons(question, image_marks=()) == [None]
    assert reasons(question, image_marks=("Figure below",)) == ["needs_image"]


def test_the_first_source_keeps_an_equal_question():
    first = make_question("What is $x^2+1$ at x=2?", "5", source="a")
    second = make_question("what is  x^{2} + 1 at $x=2$", "5", source="b")

    decided = decide(table(first, second), CleanParams())

    assert decided["reason"].to_list() == [None, "exact_duplicate"]
    assert decided["evidence"][1] == first.question_id


def test_a_reworded_question_is_a_near_duplicate():
    first, second = make_question(TRAIN, "32"), make_question(TRAIN.replace("Amanda", "Josie"), "32")

    decided = decide(table(first, second), CleanParams())

    assert decided["reason"].to_list() == [None, "near_duplicate"]
    evidence = json.loads(decided["evidence"][1])
    assert evidence["question_id"] == first.question_id
    assert evidence["similarity"] >= 0.8


def test_other_numbers_or_another_answer_make_another_question():
    numbers = make_question(TRAIN.replace("9", "8"), "32")
    answer = make_question(TRAIN.replace("Amanda", "Josie"), "23")

    assert reasons(make_question(TRAIN, "32"), numbers, answer) == [None, None, None]


def test_generated_questions_are_all_kept():
    made = [make_question(p.question, p.answer) for p in problems("buttons", 400, 1, [2, 4, 8], "pool")]

    assert reasons(*made) == [None] * 400


def test_run_counts_per_source(tmp_path):
    questions = table(make_question(TRAIN, "32"), make_question("3+4", "7", source="b"))
    questions.write_parquet(tmp_path / "in.parquet")

    run(CleanParams(), questions=tmp_path / "in.parquet", out=tmp_path / "out")

    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["facts"]["sources"] == {"made": {"kept": 1}, "b": {"question_too_short": 1}}
    assert pl.read_parquet(tmp_path / "out/kept.parquet").schema == QUESTION


def test_nothing_left_names_the_reasons(tmp_path):
    table(make_question("3+4", "7")).write_parquet(tmp_path / "in.parquet")

    with pytest.raises(LimoError, match=r"clean: no row is left of 1 \(1 question_too_short\)"):
        run(CleanParams(), questions=tmp_path / "in.parquet", out=tmp_path / "out")
