import json
from collections import Counter

import polars as pl
import pytest
from pydantic import ValidationError

from tasks.benchmarks import BenchmarkParams, BenchmarksParams, decide, run
from tasks.core.errors import LimoError
from tasks.grading.grader import grade
from tasks.grading.rules import Rules
from tasks.records.benchmark import ITEM
from tasks.sources.rows import SourceRow, with_options
from tasks.sources.source import BENCHMARKS, CHINESE_SYSTEM, Fields
from tests.builders import manifest_of


def test_golds_that_disagree_are_shown():
    rows = [
        SourceRow("a", "15", None, None, "f:1"),
        SourceRow("a", "27", None, None, "f:2"),
        SourceRow("b", None, None, None, "f:3"),
    ]

    decided = decide(BenchmarkParams(name="x", path="f"), rows)

    assert decided["reason"].to_list() == [None, "repeated_row", "no_gold"]
    assert decided["evidence"][1] == "f:1, whose gold is 15, not 27"


def test_a_gold_that_is_not_of_the_declared_kind_is_shown():
    rows = [SourceRow("a", "15", None, None, "f:1"), SourceRow("b", "x+1", None, None, "f:2")]

    decided = decide(BenchmarkParams(name="x", path="f", rules=Rules(kind="integer")), rows)

    assert decided["reason"].to_list() == [None, "gold_not_of_kind"]
    assert decided["evidence"][1] == "x+1 is expression, not integer"
    assert decided.select("gold_kind", "gold_value").rows() == [("integer", "15"), ("expression", "x+1")]


def test_an_item_has_one_id_however_its_options_are_shuffled():
    def ids(seed):
        fields = Fields(question="q", answer="a", distractors=("b", "c"), shuffle_seed=seed)
        shown = [with_options(f"Which {n}?", "one\nA. two", ["two", f"{n}"], seed) for n in range(5)]
        benchmark = BenchmarkParams(name="x", path="f", fields=fields)
        return decide(benchmark, [SourceRow(*choice, None, None, "f", True) for choice in shown])

    one, other = ids(1), ids(2)
    assert one["item_id"].to_list() == other["item_id"].to_list()
    assert one["item_id"].n_unique() == 5
    assert one["question"].to_list() != other["question"].to_list()


def test_golds_of_several_numbers_are_read(tmp_path):
    golds = [{"integer": 42, "square_of": 84}, [3568, 864], [[1, 2], [3, 4]], {"value": "3", "unit": "cm"}]
    rows = [json.dumps({"problem": f"q{n}", "answer": gold}) for n, gold in enumerate(golds)]
    (tmp_path / "f.jsonl").write_text("\n".join(rows))
    suite = BenchmarksParams(suite=(BenchmarkParams(name="x", path=str(tmp_path / "f.jsonl")),))
    run(suite, work=tmp_path / "work", out=tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out/items.parquet")["gold"].to_list() == [
        "42, 84",
        "3568, 864",
        "[[1, 2], [3, 4]]",
    ]
    assert manifest_of(tmp_path / "out")["rejected"] == {"no_gold": 1}


def test_a_prompt_without_its_question_is_refused():
    with pytest.raises(ValidationError, match="say where the question goes"):
        BenchmarkParams(name="x", path="f", prompt="Solve it.")


def test_items_of_files_and_generators(tmp_path):
    rows = [
        {"question": "哪个? A. 1 B. 2", "answer": "B. 2", "choice_answer": "B"},
        {"question": "几?", "answer": 27.0, "choice_answer": ""},
    ]
    (tmp_path / "g.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    suite = (
        BenchmarkParams(preset="Gaokao", path=str(tmp_path / "g.jsonl")),
        BenchmarkParams(name="days-hard", family="days", levels=(8,), count=3),
    )

    run(BenchmarksParams(suite=suite), work=tmp_path / "work", out=tmp_path / "out")

    items = pl.read_parquet(tmp_path / "out/items.parquet")
    assert items.schema == ITEM
    assert items.select("benchmark", "gold", "kind", "language").rows()[:2] == [
        ("Gaokao", "B", "choice", "zh"),
        ("Gaokao", "27", "auto", "zh"),
    ]
    golds = manifest_of(tmp_path / "out")["facts"]["benchmarks"]["Gaokao"]["golds"]
    assert golds == {"choice": 1, "integer": 1}
    assert items["origin"].to_list()[2:] == [f"family:days:eval:0:{number}" for number in (1, 2, 3)]


def test_a_benchmark_without_items_is_named(tmp_path):
    (tmp_path / "g.jsonl").write_text('{"question": "a", "answer": {"x": "1"}}\n')

    with pytest.raises(LimoError, match="benchmark `x` has no usable item"):
        run(
            BenchmarksParams(suite=(BenchmarkParams(name="x", path=str(tmp_path / "g.jsonl")),)),
            work=tmp_path,
            out=tmp_path / "out",
        )


def test_every_preset_is_valid_or_says_what_it_lacks():
    for name, preset in BENCHMARKS.items():
        if "hub" not in preset:
            with pytest.raises(ValidationError, match=f"preset `{name}` is on no hub; give the `path`"):
                BenchmarkParams(preset=name)
        elif "revision" not in preset["hub"]:
            with pytest.raises(ValidationError, match=f"preset {name} needs hub.revision"):
                BenchmarkParams(preset=name)
        else:
            assert BenchmarkParams(preset=name).name == name
    assert len(BENCHMARKS) == 12


def test_rules_and_system_message_of_a_benchmark_stand_in_its_items(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"question": "How far?", "answer": "4.5e33"}\n')
    rules = {"tolerance": 0.01, "required": ["unit"]}
    suite = (
        BenchmarkParams(preset="Minerva", path=str(tmp_path / "m.jsonl")),
        BenchmarkParams(preset="Kaoyan", path=str(tmp_path / "m.jsonl")),
        BenchmarkParams(name="own", path=str(tmp_path / "m.jsonl"), rules=rules, system="Answer in SI units."),
    )

    run(BenchmarksParams(suite=suite), work=tmp_path / "work", out=tmp_path / "out")

    items = pl.read_parquet(tmp_path / "out/items.parquet")
    assert items["kind"].to_list() == ['{"tolerance":0.01}', "auto", '{"required":["unit"],"tolerance":0.01}']
    assert items["system"].to_list() == [None, CHINESE_SYSTEM, "Answer in SI units."]
    assert grade(items["gold"][0], "\\boxed{4.52 \\times 10^{33}}", items["kind"][0]).rule == "tolerance"


def test_options_are_shuffled_by_a_seed_of_params(tmp_path):
    header = "Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3\n"
    (tmp_path / "g.csv").write_text(header + "".join(f"Which of {n}?,one,two,three,four\n" for n in range(40)))

    def letters(seed):
        given = {"preset": "GPQA", "path": str(tmp_path / "g.csv"), "fields": {"shuffle_seed": seed}}
        suite = (BenchmarkParams.model_validate(given),)
        run(BenchmarksParams(suite=suite), work=tmp_path / "work", out=tmp_path / f"out{seed}")
        items = pl.read_parquet(tmp_path / f"out{seed}/items.parquet")
        assert set(items["kind"]) == {"choice"}
        assert all(f"{row['gold']}. one" in row["question"] for row in items.iter_rows(named=True))
        facts = manifest_of(tmp_path / f"out{seed}")["facts"]["benchmarks"]["GPQA"]
        assert facts["shuffle_seed"] == seed
        assert facts["letters"] == dict(sorted(Counter(items["gold"]).items()))
        return items["gold"].to_list()

    first = letters(1)
    assert set(first) == set("ABCD")
    assert letters(1) == first
    assert letters(2) != first


def test_a_path_replaces_the_hub_of_a_preset():
    given = BenchmarkParams(preset="GPQA", path="gpqa.csv")

    assert given.hub is None
    assert len(given.fields.distractors) == 3


def test_rules_given_next_to_a_preset_are_added_to_its_own():
    found = BenchmarkParams(preset="Minerva", path="m.jsonl", rules={"required": ["unit"]}).rules
    assert (found.tolerance, found.required) == (0.01, ("unit",))


def test_an_unknown_preset_lists_the_known():
    with pytest.raises(ValidationError, match="no preset `AIME23`; there are AIME24, MATH500"):
        BenchmarkParams(preset="AIME23")


def test_a_benchmark_without_a_row_is_named(tmp_path):
    (tmp_path / "g.jsonl").write_text("")

    with pytest.raises(LimoError, match=r"source `x` has no rows \(params.yaml: benchmarks.suite.0\)"):
        run(
            BenchmarksParams(suite=(BenchmarkParams(name="x", path=str(tmp_path / "g.jsonl")),)),
            work=tmp_path,
            out=tmp_path / "out",
        )
