import json

import polars as pl

from tasks.text.ngrams import FOUND, OverlapRule, RuleCounts, judged, rejections

RULES = (OverlapRule(name="loose", drops=False), OverlapRule(name="strict"))
ITEMS = pl.DataFrame({"item_id": ["b_1", "b_2"], "benchmark": ["exam", "quiz"]})
FOUND_ROWS = [
    ("q_2", "loose", "b_2", "words", 0.25),
    ("q_2", "strict", "b_1", "all the words", 0.98765),
    ("q_1", "whole", "b_1", "the text", 1.0),
    ("q_1", "strict", "b_1", "the text", 1.0),
    ("q_3", "loose", "b_1", "words", 0.5),
]


def hits():
    return judged(pl.DataFrame(FOUND_ROWS, schema=FOUND, orient="row"), ITEMS, RULES)


def test_hits_name_the_benchmark_and_whether_they_drop_in_the_order_found():
    assert hits().select("question_id", "rule", "benchmark", "drops").rows() == [
        ("q_2", "loose", "quiz", False),
        ("q_2", "strict", "exam", True),
        ("q_1", "whole", "exam", True),
        ("q_1", "strict", "exam", True),
        ("q_3", "loose", "exam", False),
    ]


def test_the_first_hit_that_drops_is_the_evidence():
    rejected = rejections(hits(), "question_id", "seen")

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
    counts.add(hits().head(2))
    counts.add(hits().slice(2))

    assert counts.facts() == {
        "whole": {"drops": True, "questions": 1, "only_by_this_rule": 0, "benchmarks": {"exam": 1}},
        "loose": {"drops": False, "questions": 2, "only_by_this_rule": 1, "benchmarks": {"exam": 1, "quiz": 1}},
        "strict": {"drops": True, "questions": 2, "only_by_this_rule": 0, "benchmarks": {"exam": 2}},
        "none": {"drops": True, "questions": 0, "only_by_this_rule": 0, "benchmarks": {}},
    }
