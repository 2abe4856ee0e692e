import json

import polars as pl
import pytest

from tasks.core.errors import LimoError
from tasks.core.params import section_errors
from tasks.core.shards import ShardsParams
from tasks.decontaminate import Benchmarks, DecontaminateParams, decide, match_table, run
from tasks.families import problems
from tasks.records.benchmark import ITEM, item_id
from tasks.records.question import CLEANED, HIT, QUESTION
from tasks.text.ngrams import OverlapRule, build_index
from tests.builders import make_question, manifest_of


def item(question, benchmark="exam"):
    return {"item_id": item_id(benchmark, question), "benchmark": benchmark, "question": question, "gold": "1"} | {
        "kind": "auto",
        "language": "en",
        "origin": "f:1",
    }


def items(*questions):
    return pl.DataFrame([item(question) for question in questions], schema=ITEM)


def pool(*questions):
    rows = [make_question(question, "1") for question in questions]
    return pl.DataFrame(rows, schema=QUESTION).with_columns(language=pl.lit("en"))


def generated(split, count, levels, seed):
    return [problem.question for problem in problems("buttons", count, seed, levels, split)]


PAPER = DecontaminateParams(rules=(OverlapRule(name="ngram"),))
DEFAULT = DecontaminateParams()
TEMPLATED = DecontaminateParams(rules=(OverlapRule(name="ngram", min_share=0.5, boilerplate_items=3),))
EXAM = "Find the number of rectangles that can be formed inside a fixed regular dodecagon."


def test_the_evidence_names_item_and_words():
    decided = decide(
        pool("Well: find the number of rectangles that can be formed", "What is 3 + 4?"), items(EXAM), PAPER
    )

    assert decided["reason"].to_list() == ["benchmark_overlap", None]
    assert json.loads(decided["evidence"][0]) == {
        "benchmark": "exam",
        "item_id": item_id("exam", EXAM),
        "rule": "ngram",
        "match": "find the number of rectangles that can be formed",
        "share": 0.667,
    }


def test_planted_evaluation_questions_are_caught_and_the_templated_pool_is_kept():
    exam = generated("eval", 60, [8, 9, 10], seed=7)
    clean = generated("pool", 300, [3, 6, 9, 12], seed=1)
    planted = [exam[0], exam[1].upper(), "Solve this. " + exam[2] + " Answer in digits.", exam[3].replace(". ", ".\n")]

    decided = decide(pool(*clean, *planted), items(*exam), TEMPLATED)

    assert decided["reason"].to_list() == [None] * 300 + ["benchmark_overlap"] * 4


def test_without_a_boilerplate_rule_a_template_drops_its_pool():
    exam, clean = generated("eval", 60, [8, 9, 10], seed=7), generated("pool", 50, [8], seed=1)

    assert decide(pool(*clean), items(*exam), PAPER)["reason"].null_count() == 0


COPIED = "Let $x$ and $y$ be positive reals with $x^2+y^2=34$ and $xy=15$. Find the value of $\\frac{1}{x}+1$."


@pytest.mark.parametrize(
    "copy",
    [
        r"Let \(x\) and \(y\) be positive reals with \(x^{2}+y^2=34\),\(xy=15\). FIND the value of \(\dfrac1x + 1\)!",
        COPIED.replace("34", "74").replace("15", "35"),
        COPIED.replace("x", "a").replace("y", "b").replace("frbc", "frac"),
        f"Problem 7. Solve this. {COPIED.replace('^2', '²')} Why?",
    ],
)
def test_a_copy_is_found_however_it_is_written(copy):
    other = "Let $n$ be a positive integer with $n^2+1$ divisible by $5$. Find the number of such $n$ below $100$."

    assert decide(pool(copy, other), items(COPIED), DEFAULT)["reason"].to_list() == ["benchmark_overlap", None]


def test_a_rule_may_only_report():
    told = DecontaminateParams(rules=(OverlapRule(name="ngram", drops=False),))
    questions = pool("Well: " + EXAM, EXAM)
    tables = match_table(
        questions, Benchmarks(build_index(items(EXAM), told.rules), items(EXAM).select("item_id", "benchmark"))
    )

    assert tables["rows"]["reason"].to_list() == [None, "benchmark_overlap"]
    assert tables["hits"].select("rule", "drops").rows() == [("ngram", False), ("whole", True), ("ngram", False)]


def test_rules_have_different_names():
    rule = {"name": "ngram"}
    assert section_errors("d", {"rules": [rule, rule]}, DecontaminateParams) == [
        "d.rules: rules need different names, and `whole` is taken; found ngram, ngram"
    ]


@pytest.mark.slow
def test_shards_and_workers_make_no_difference(tmp_path):
    pool(*(f"{EXAM} {n}" if n % 7 == 0 else f"What is {n} + {n}?" for n in range(300))).write_parquet(
        tmp_path / "q.parquet", row_group_size=40
    )
    items(EXAM).write_parquet(tmp_path / "i.parquet")
    outs = []
    for workers in (1, 2):
        run(
            DEFAULT,
            ShardsParams(workers=workers),
            questions=tmp_path / "q.parquet",
            items=tmp_path / "i.parquet",
            out=tmp_path / "out",
        )
        outs.append([path.read_bytes() for path in sorted((tmp_path / "out").iterdir())])

    assert outs[0] == outs[1]
    assert len(outs[0]) == 3


def test_run_counts_hits_per_benchmark(tmp_path):
    pool(EXAM, "What is 3 + 4?").write_parquet(tmp_path / "q.parquet")
    items(EXAM).write_parquet(tmp_path / "i.parquet")

    run(PAPER, ShardsParams(), questions=tmp_path / "q.parquet", items=tmp_path / "i.parquet", out=tmp_path / "out")

    manifest = manifest_of(tmp_path / "out")
    assert (manifest["taken"], manifest["kept"]) == (2, 1)
    assert manifest["facts"]["sources"] == {"made": {"benchmark_overlap": 1, "kept": 1}}
    assert manifest["facts"]["rules"] == {
        "whole": {"drops": True, "questions": 1, "only_by_this_rule": 0, "benchmarks": {"exam": 1}},
        "ngram": {"drops": True, "questions": 1, "only_by_this_rule": 0, "benchmarks": {"exam": 1}},
    }
    assert pl.read_parquet(tmp_path / "out/kept.parquet").schema == CLEANED
    hits = pl.read_parquet(tmp_path / "out/hits.parquet")
    assert hits.schema == HIT
    assert hits.select("rule", "benchmark", "match", "share").rows() == [
        ("whole", "exam", EXAM.rstrip("."), 1.0),
        ("ngram", "exam", EXAM.rstrip("."), 1.0),
    ]


def test_a_wholly_contaminated_pool_is_an_error(tmp_path):
    pool(EXAM).write_parquet(tmp_path / "q.parquet")
    items(EXAM).write_parquet(tmp_path / "i.parquet")

    with pytest.raises(LimoError, match=r"decontaminate: no row is left of 1 \(1 benchmark_overlap\)"):
        run(PAPER, ShardsParams(), questions=tmp_path / "q.parquet", items=tmp_path / "i.parquet", out=tmp_path / "out")
