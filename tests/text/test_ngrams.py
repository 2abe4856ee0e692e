import json

import polars as pl

from tasks.text.ngrams import (
    OVERLAPS,
    OverlapRule,
    RuleCounts,
    annotate_hits,
    build_index,
    find_overlaps,
    rejections,
)

ITEM = "Let $x$ and $y$ be real numbers with $x^2+y^2=25$ and $xy=12$. Find the largest value of $x-y$."
SHORT = "Compute $3^7-2$."


def table(key, texts):
    return pl.DataFrame({key: [f"{key[0]}{index}" for index in range(len(texts))], "question": texts})


def found(questions, items, *rules):
    return find_overlaps(table("question_id", questions), build_index(table("item_id", items), rules))


def hits(questions, items, **rule):
    """The hit of each question: the first rule's."""
    rows = found(questions, items, OverlapRule(name="ngram", **rule)).to_dicts()
    return {row["question_id"]: row for row in reversed(rows)}


def test_reformatted_prefixed_and_verbatim_copies_are_found():
    reformatted = r"Let \( x \) and \( y \) be real  numbers with \( x^{2} + y^{2} = 25 \) AND \(xy = 12\)."
    one = hits(
        [ITEM, reformatted, "Solve it. " + ITEM + " Thank you.", "What is the sum of 3 and 4 and 5 and 6?"], [ITEM]
    )

    assert {key: row["item_id"] for key, row in one.items()} == {"q0": "i0", "q1": "i0", "q2": "i0"}
    assert (one["q0"]["rule"], one["q1"]["rule"]) == ("whole", "ngram")
    assert one["q1"]["match"] == reformatted.removesuffix(r"\).")
    assert one["q2"]["share"] == 1.0


def test_a_short_text_is_compared_whole():
    one = hits(["compute 3^{7} - 2", "Compute $3^7-3$."], [SHORT])

    assert list(one) == ["q0"]
    assert one["q0"]["rule"] == "whole"


def test_the_item_with_most_in_common_is_the_evidence():
    other = "Let $x$ and $y$ be real numbers with $x+y=1$. How large can $xy$ be at most in this case?"

    assert hits(["Really: " + ITEM], [other, ITEM])["q0"]["item_id"] == "i1"


def test_shared_boilerplate_is_no_evidence_but_a_copy_still_is():
    template = "A display shows {}. Only the last two digits are kept. Each button is pressed once, in this order: {}."
    items = [template.format(number, f"add {number}, add 3") for number in range(10, 20)]
    pool = [template.format(77, "take away 5, add 8"), items[4]]

    assert set(hits(pool, items)) == {"q0", "q1"}
    assert set(hits(pool, items, boilerplate_items=3, min_share=0.5)) == {"q1"}


def test_min_share_is_of_the_shorter_text():
    part = "Let x and y be real numbers with x^2 + y^2 = 25, how large is x?"

    share = hits([part], [ITEM])["q0"]["share"]

    assert 0.5 < share < 1
    assert set(hits([part], [ITEM], min_share=share)) == {"q0"}
    assert hits([part], [ITEM], min_share=share + 0.01) == {}


def test_n_grams_do_not_run_from_one_text_into_the_next():
    halves = ["one two three four five six", "seven eight nine ten eleven twelve"]

    assert hits(halves, [" ".join(halves)]) == {}


def test_nothing_to_match_is_no_hit():
    assert hits([], [ITEM]) == {}
    assert hits(["", "?"], ["", ITEM]) == {}


def test_every_rule_reports_by_itself_in_order():
    rules = [OverlapRule(name="long", n=12), OverlapRule(name="masked", n=4, masked=True)]
    other_numbers = ITEM.replace("25", "13").replace("12", "6")

    rows = found([ITEM, other_numbers, "What is 3 and 4?"], [ITEM], *rules)

    assert rows.schema == OVERLAPS
    assert rows.select("question_id", "rule").rows() == [
        ("q0", "whole"),
        ("q0", "long"),
        ("q0", "masked"),
        ("q1", "long"),
        ("q1", "masked"),
    ]
    assert rows.filter(rule="masked")["share"].to_list() == [1.0, 1.0]


def test_a_masked_rule_takes_any_number_and_any_variable():
    renamed = ITEM.replace("$x$", "$s$").replace("$y$", "$t$").replace("xy", "uv").replace("x-y", "s-t")

    assert hits([renamed], [ITEM], n=8, masked=True, min_share=0.5)
    assert not hits([renamed.replace("25", "7")], [ITEM], n=8, min_share=0.5)


def test_shared_n_grams_count_once_however_often_they_stand():
    item = "one two three one two three one two three"

    assert hits(["one two three one two three"], [item], n=3)["q0"]["share"] == 1.0
    assert not hits(["one two three"] * 1, [item], n=3, min_common=2)


def test_the_match_is_the_longest_run_as_it_stands():
    text = "We ask: Let $x$ and $y$ be real numbers with $x^2+y^2=25$ but then $xy=12$. Find the largest value of it"

    assert hits([text], [ITEM])["q0"]["match"] == "Let $x$ and $y$ be real numbers with $x^2+y^2=25"


def test_what_stands_in_the_known_text_is_not_in_common():
    half, rest = "Let $x$ and $y$ be real numbers with $x^2+y^2=25$", " and $xy=12$. Find the largest value of $x-y$."
    questions = table("question_id", [ITEM, ITEM, half]).with_columns(known=pl.Series([half, None, ITEM]))

    rows = (
        find_overlaps(questions, build_index(table("item_id", [ITEM]), [OverlapRule(name="ngram")]))
        .filter(rule="ngram")
        .to_dicts()
    )

    # 12 of the 22 n-grams do not lie in the first half.
    assert [(row["question_id"], round(row["share"], 3)) for row in rows] == [("q0", 0.545), ("q1", 1.0)]
    assert rows[0]["match"].endswith(rest.removesuffix("$."))
    assert not rows[0]["match"].startswith("Let")


def test_threads_and_chunks_make_no_difference(monkeypatch):
    questions = table("question_id", [f"{ITEM} {number}" if number % 3 else str(number) for number in range(100)])
    index = build_index(table("item_id", [ITEM, SHORT]), [OverlapRule(name="ngram")])
    whole = find_overlaps(questions, index)
    assert whole.height == 66

    monkeypatch.setattr("tasks.text.ngrams.CHUNK", 7)
    assert find_overlaps(questions, index, threads=2).equals(whole)
    monkeypatch.setattr("tasks.text.ngrams.CHUNK_BYTES", 250)
    assert find_overlaps(questions, index).equals(whole)


def test_no_items_no_hits():
    empty = pl.DataFrame(schema={"item_id": pl.String, "question": pl.String})

    assert find_overlaps(table("question_id", [ITEM]), build_index(empty, [OverlapRule(name="ngram")])).is_empty()


RULES = (OverlapRule(name="loose", drops=False), OverlapRule(name="strict"))
HIT_ITEMS = pl.DataFrame({"item_id": ["b_1", "b_2"], "benchmark": ["exam", "quiz"]})
OVERLAP_ROWS = [
    ("q_2", "loose", "b_2", "words", 0.25),
    ("q_2", "strict", "b_1", "all the words", 0.98765),
    ("q_1", "whole", "b_1", "the text", 1.0),
    ("q_1", "strict", "b_1", "the text", 1.0),
    ("q_3", "loose", "b_1", "words", 0.5),
]


def annotated():
    return annotate_hits(pl.DataFrame(OVERLAP_ROWS, schema=OVERLAPS, orient="row"), HIT_ITEMS, RULES)


def test_hits_name_the_benchmark_and_whether_they_drop_in_the_order_found():
    assert annotated().select("question_id", "rule", "benchmark", "drops").rows() == [
        ("q_2", "loose", "quiz", False),
        ("q_2", "strict", "exam", True),
        ("q_1", "whole", "exam", True),
        ("q_1", "strict", "exam", True),
        ("q_3", "loose", "exam", False),
    ]


def test_the_first_hit_that_drops_is_the_evidence():
    rejected = rejections(annotated(), "question_id", "seen")

    assert rejected.select("question_id", "reason").rows() == [("q_2", "seen"), ("q_1", "seen")]
    assert json.loads(rejected["evidence"][0]) == {
        "benchmark": "exam",
        "item_id": "b_1",
        "rule": "strict",
        "match": "all the words",
        "share": 0.988,
    }
    assert json.loads(rejected["evidence"][1])["rule"] == "whole"


def test_rules_are_counted_over_all_parts_and_a_rule_without_hits_too():
    counts = RuleCounts((*RULES, OverlapRule(name="none")), "question_id", "questions")
    counts.add(annotated().head(2))
    counts.add(annotated().slice(2))

    assert counts.facts() == {
        "whole": {"drops": True, "questions": 1, "only_by_this_rule": 0, "benchmarks": {"exam": 1}},
        "loose": {"drops": False, "questions": 2, "only_by_this_rule": 1, "benchmarks": {"exam": 1, "quiz": 1}},
        "strict": {"drops": True, "questions": 2, "only_by_this_rule": 0, "benchmarks": {"exam": 2}},
        "none": {"drops": True, "questions": 0, "only_by_this_rule": 0, "benchmarks": {}},
    }
