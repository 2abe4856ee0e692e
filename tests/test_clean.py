import json

import polars as pl
import pytest

from tasks.clean import CleanParams, decide, run
from tasks.core.errors import LimoError
from tasks.core.shards import ShardsParams
from tasks.families import problems
from tasks.records.question import CLEANED, CLUSTER, QUESTION, cluster_id
from tasks.text import duplicates
from tests.builders import make_question, manifest_of

TRAIN = "Amanda received $50 as a gift. She buys two tapes that cost $9 each. How much money will she have left?"


def table(*questions):
    return pl.DataFrame(questions, schema=QUESTION)


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
        ("What is the limit?", "We note that " * 40, "answer_too_long"),
        ("Prove that there are infinitely many primes.", "1", "asks_for_proof"),
        ("Show that n is even, and find the smallest n.", "2", None),
        ("求证: 三角形内角和为一百八十度, 并说明理由", "1", "asks_for_proof"),
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
    evidence = json.loads(decided["evidence"][1])
    assert evidence == {
        "question_id": first["question_id"],
        "similarity": 1.0,
        "cluster_id": cluster_id(first["question_id"]),
    }


def test_a_reworded_question_is_a_near_duplicate():
    first, second = make_question(TRAIN, "32"), make_question(TRAIN.replace("Amanda", "Josie"), "32")

    decided = decide(table(first, second), CleanParams())

    assert decided["reason"].to_list() == [None, "near_duplicate"]
    evidence = json.loads(decided["evidence"][1])
    assert evidence["question_id"] == first["question_id"]
    assert evidence["similarity"] >= 0.8


def test_other_numbers_or_another_answer_make_another_question():
    numbers = make_question(TRAIN.replace("9", "8"), "32")
    answer = make_question(TRAIN.replace("Amanda", "Josie"), "23")

    assert reasons(make_question(TRAIN, "32"), numbers, answer) == [None, None, None]


def test_generated_questions_are_all_kept():
    made = [make_question(p.question, p.answer) for p in problems("buttons", 400, 1, [2, 4, 8], "pool")]

    assert reasons(*made) == [None] * 400


@pytest.mark.parametrize(
    ("question", "shown"),
    [
        ("Find \x0crac{1}{2} + 1 of it", "\\x0c"),
        ("What is \x00 here, say?", "\\x00"),
        ("What is \ufffd + 1, say?", "\ufffd"),
    ],
)
def test_control_characters_are_what_is_left_of_a_broken_text(question, shown):
    decided = decide(table(make_question(question, "1")), CleanParams())

    assert decided["reason"].to_list() == ["control_characters"]
    assert shown in decided["evidence"][0]


def test_languages_are_recognised_and_can_be_chosen():
    questions = [
        make_question("Find the number of positive integers less than 100 that are divisible by 7.", "14"),
        make_question("Trouver le nombre d'entiers positifs inférieurs à 100 qui sont divisibles par 7.", "14"),
        make_question("求小于 100 且能被 7 整除的正整数的个数.", "14"),
        make_question("Compute $\\frac{x^8+12x^4+36}{x^4+6}$ when $x=5$.", "631"),
    ]

    assert decide(table(*questions), CleanParams())["language"].to_list() == ["en", "fr", "zh", "und"]
    assert reasons(*questions, languages=("en", "und")) == [None, "other_language", "other_language", None]


def test_where_a_question_stood_is_no_part_of_it():
    questions = [make_question(f"{heading}{TRAIN}", "32") for heading in ("", "Example 5. ", "3. (10 points) ", "[7] ")]

    assert reasons(*questions) == [None] + ["exact_duplicate"] * 3


def test_a_copy_of_a_question_that_went_points_at_the_one_that_stays():
    first = make_question(TRAIN, "32")
    near = make_question(TRAIN.replace("Amanda", "Josie"), "32")
    copy = make_question(TRAIN.replace("Amanda", "Josie").replace("?", "  ?"), "32", source="b")

    decided = decide(table(first, near, copy), CleanParams())

    assert decided["reason"].to_list() == [None, "near_duplicate", "exact_duplicate"]
    assert {json.loads(evidence)["question_id"] for evidence in decided["evidence"][1:]} == {first["question_id"]}


def test_other_answers_are_flagged_or_dropped(tmp_path):
    first, second, third = (
        make_question(TRAIN, "32"),
        make_question(TRAIN.replace("Amanda", "Josie"), "23"),
        make_question(TRAIN.replace("Amanda", "Mary"), "23"),
    )
    other = make_question("What is 3 + 4, and nothing else?", "7")
    table(first, second, third, other).write_parquet(tmp_path / "in.parquet")

    run(CleanParams(), ShardsParams(), questions=tmp_path / "in.parquet", out=tmp_path / "out")

    kept = pl.read_parquet(tmp_path / "out/kept.parquet")
    clusters = pl.read_parquet(tmp_path / "out/clusters.parquet")
    assert kept["question_id"].to_list() == [first["question_id"], second["question_id"], other["question_id"]]
    assert clusters.schema == CLUSTER
    assert clusters["cluster_id"].unique().to_list() == [cluster_id(first["question_id"])]
    assert clusters.select("question_id", "form", "agrees").rows() == [
        (first["question_id"], "representative", True),
        (second["question_id"], "near", False),
        (third["question_id"], "near", False),
    ]
    assert reasons(first, second, third, other, drop_disagreeing=True) == [
        "answers_disagree",
        "answers_disagree",
        "near_duplicate",
        None,
    ]


def test_equal_answers_may_be_written_otherwise():
    first = make_question("What is 3 divided by 6, as a number?", "\\frac{1}{2}")
    second = make_question("What is $3$ divided by $6$, as a number?", "1/2", source="b")

    decided = decide(table(first, second), CleanParams(drop_disagreeing=True))

    assert decided["reason"].to_list() == [None, "exact_duplicate"]


@pytest.mark.slow
def test_shards_parts_and_workers_make_no_difference(tmp_path, monkeypatch):
    names = ["Amanda", "Josie", "Mary", "Tom"]
    questions = [
        make_question(TRAIN.replace("Amanda", names[n % 4]).replace("50", str(n // 8)), str(n // 8), source=f"s{n % 3}")
        for n in range(800)
    ]
    table(*questions).unique("question_id", maintain_order=True).write_parquet(
        tmp_path / "in.parquet", row_group_size=100
    )
    outs = {}
    for workers in (1, 2):
        monkeypatch.setattr(duplicates, "PART_ROWS", 100 * workers)
        run(CleanParams(), ShardsParams(workers=workers), questions=tmp_path / "in.parquet", out=tmp_path / "out")
        outs[workers] = [path.read_bytes() for path in sorted((tmp_path / "out").iterdir())]
    whole = decide(pl.read_parquet(tmp_path / "in.parquet"), CleanParams())

    assert outs[1] == outs[2]
    assert len(outs[1]) == 3
    rejected = pl.read_parquet(tmp_path / "out/rejected.parquet")
    assert rejected.equals(whole.filter(pl.col("reason").is_not_null()))
    assert set(rejected["reason"]) == {"near_duplicate", "exact_duplicate"}


def test_run_counts_per_source(tmp_path):
    questions = table(make_question(TRAIN, "32"), make_question("3+4", "7", source="b"))
    questions.write_parquet(tmp_path / "in.parquet")

    run(CleanParams(), ShardsParams(), questions=tmp_path / "in.parquet", out=tmp_path / "out")

    manifest = manifest_of(tmp_path / "out")
    assert manifest["facts"]["sources"] == {"made": {"kept": 1}, "b": {"question_too_short": 1}}
    assert pl.read_parquet(tmp_path / "out/kept.parquet").schema == CLEANED


def test_nothing_left_names_the_reasons(tmp_path):
    table(make_question("3+4", "7")).write_parquet(tmp_path / "in.parquet")

    with pytest.raises(LimoError, match=r"clean: no row is left of 1 \(1 question_too_short\)"):
        run(CleanParams(), ShardsParams(), questions=tmp_path / "in.parquet", out=tmp_path / "out")
