import json

import polars as pl
import pytest

from tasks.decontaminate import DecontaminateParams, decide, run
from tasks.errors import LimoError
from tasks.families import problems
from tasks.records.benchmark import ITEM, item_id
from tasks.records.question import QUESTION
from tests.builders import make_question


def item(question, benchmark="exam"):
    return {"item_id": item_id(benchmark, question), "benchmark": benchmark, "question": question, "gold": "1"} | {
        "kind": "auto",
        "language": "en",
        "origin": "f:1",
    }


def items(*questions):
    return pl.DataFrame([item(question) for question in questions], schema=ITEM)


def pool(*questions):
    return pl.DataFrame([make_question(question, "1").model_dump() for question in questions], schema=QUESTION)


def generated(split, count, levels, seed):
    return [problem.question for problem in problems("buttons", count, seed, levels, split)]


PAPER = DecontaminateParams()
TEMPLATED = DecontaminateParams(boilerplate_items=3, min_share=0.5)
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
        "match": "find the number of rectangles that can be",
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


def test_run_counts_hits_per_benchmark(tmp_path):
    pool(EXAM, "What is 3 + 4?").write_parquet(tmp_path / "q.parquet")
    items(EXAM).write_parquet(tmp_path / "i.parquet")

    run(PAPER, questions=tmp_path / "q.parquet", items=tmp_path / "i.parquet", out=tmp_path / "out")

    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert (manifest["taken"], manifest["kept"], manifest["facts"]["benchmarks"]) == (2, 1, {"exam": 1})
    assert pl.read_parquet(tmp_path / "out/kept.parquet").schema == QUESTION


def test_a_wholly_contaminated_pool_is_an_error(tmp_path):
    pool(EXAM).write_parquet(tmp_path / "q.parquet")
    items(EXAM).write_parquet(tmp_path / "i.parquet")

    with pytest.raises(LimoError, match=r"decontaminate: no row is left of 1 \(1 benchmark_overlap\)"):
        run(PAPER, questions=tmp_path / "q.parquet", items=tmp_path / "i.parquet", out=tmp_path / "out")
