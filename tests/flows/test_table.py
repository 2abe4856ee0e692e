import json

import polars as pl
import pyarrow.parquet as pq
import pytest

from flows.grade_file import grade_file
from tasks.core.errors import LimoError
from tasks.grading.grader import GRADER
from tasks.grading.rules import Rules
from tasks.grading.symbolic import Limits

ROWS = [
    {"gold": 7, "answer": "7.0", "meta": {"a": [1]}, "n": 1},
    {"gold": "(0,1)", "response": "so \\boxed{(0,1]}", "kind": "interval"},
    {"gold": "C", "response": "Thus.\nThe answer is (C).", "kind": "mcq"},
    {"gold": [1, 2], "answer": "2, 1"},
    {"gold": None, "answer": "2"},
    {"gold": "3", "answer": None, "kind": "weird"},
    {"gold": 27.0, "answer": "27", "n": 2.5},
    {"gold": "x", "answer": "\ud800"},
]
VERDICTS = ["correct", "incorrect", "correct", "correct", "ungraded", "incorrect", "correct", "ungraded"]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(source, out, **options):
    return grade_file(source, out, rules=Rules(), limits=Limits(workers=1), **options)


def test_rows_and_columns_come_out_as_they_went_in_with_the_verdict_after_them(tmp_path):
    done = run(write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl")
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["verdict"] for row in out] == VERDICTS
    assert [{name: row[name] for name in given} for row, given in zip(out, ROWS, strict=True)] == ROWS
    assert list(out[0]) == ["gold", "answer", "meta", "n", "verdict", "extracted", "rule", "reason", "grader"]
    assert out[1]["extracted"] == "(0,1]"
    assert {row["grader"] for row in out} == {GRADER}
    assert out[4]["reason"] == "no_gold"
    assert done.unknown_kinds == {"weird": 1}
    assert done.verdicts == {"correct": 4, "incorrect": 2, "ungraded": 2}


def test_json_lines_become_parquet_and_parquet_keeps_its_types(tmp_path):
    run(write(tmp_path / "in.jsonl", ROWS), tmp_path / "a.parquet")
    table = pl.read_parquet(tmp_path / "a.parquet")
    assert table["verdict"].to_list() == VERDICTS
    assert table["n"].to_list() == [1.0, None, None, None, None, None, 2.5, None]
    assert json.loads(table["meta"][0]) == {"a": [1]}
    nested = pl.DataFrame({"tags": [["a"], []], "gold": ["1", "2"], "day": [1, 2], "answer": ["1", "3"]})
    nested.write_parquet(tmp_path / "b.parquet")
    run(tmp_path / "b.parquet", tmp_path / "c.parquet")
    out = pl.read_parquet(tmp_path / "c.parquet")
    assert out.select(nested.columns).equals(nested)
    assert out["verdict"].to_list() == ["correct", "incorrect"]
    run(tmp_path / "b.parquet", tmp_path / "c.jsonl")
    assert json.loads((tmp_path / "c.jsonl").read_text().splitlines()[0])["tags"] == ["a"]


def test_columns_of_our_names_are_replaced_only_when_asked(tmp_path):
    rows = [{"gold": "1", "verdict": "mine", "answer": "1"}]
    with pytest.raises(LimoError, match=r"in.jsonl:1: has verdict already; rename, or replace by --replace"):
        run(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl")
    run(tmp_path / "in.jsonl", tmp_path / "out.jsonl", replace=True)
    assert json.loads((tmp_path / "out.jsonl").read_text())["verdict"] == "correct"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no rows"),
        ('{"gold": "1", "answer": "1"}\n{"gold": ', "in.jsonl:2: not a line of JSON"),
        ("[1]\n", "in.jsonl:1: must be an object"),
        ('{"answer": "1"}\n', "in.jsonl:1: no column `gold`; it has answer"),
        ('{"gold": "1"}\n', "in.jsonl:1: no column `response`"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_output(tmp_path, text, message):
    (tmp_path / "in.jsonl").write_text(text)
    with pytest.raises(LimoError, match=message) as error:
        run(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_bad_paths_are_one_line(tmp_path):
    good = write(tmp_path / "in.jsonl", ROWS[:1])
    for source, out, message in [
        (tmp_path / "no.jsonl", tmp_path / "o.jsonl", "no such file"),
        (tmp_path / "in.txt", tmp_path / "o.jsonl", "must end in .jsonl or .parquet"),
        (good, tmp_path / "no" / "o.jsonl", "does not exist"),
        (good, good, "is the input itself"),
    ]:
        with pytest.raises(LimoError, match=message):
            run(source, out)
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(LimoError, match=r"torn.parquet: not a readable Parquet file"):
        run(tmp_path / "torn.parquet", tmp_path / "o.jsonl")


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_batch_ends_by_size_too_so_that_long_responses_do_not_fill_the_memory(tmp_path, form):
    rows = [{"gold": str(n), "response": "so " * 1_000_000 + f"\\boxed{{{n}}}"} for n in range(13)]
    source = tmp_path / f"in.{form}"
    if form == "jsonl":
        write(source, rows)
    else:
        pl.DataFrame(rows).write_parquet(source, row_group_size=6)
    run(source, tmp_path / "out.parquet")
    out = pq.ParquetFile(tmp_path / "out.parquet")
    assert [out.metadata.row_group(at).num_rows for at in range(out.num_row_groups)] == [12, 1]
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table.select("gold", "response").to_dicts() == rows
    assert set(table["verdict"]) == {"correct"}


def test_the_row_of_a_parquet_file_is_named_past_the_first_batches(tmp_path):
    rows = [{"gold": None, "response": "so " * 1_000_000}] * 12 + [{"gold": {"n": "1"}, "response": "1"}]
    pl.DataFrame(rows, schema_overrides={"gold": pl.Struct({"n": pl.String})}).write_parquet(
        tmp_path / "in.parquet", row_group_size=5
    )
    with pytest.raises(LimoError, match=r"in.parquet: row 13: column `gold` holds an object"):
        run(tmp_path / "in.parquet", tmp_path / "out.jsonl")


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_row_may_have_rules_of_its_own(tmp_path, form):
    rows = [
        {"gold": "2.0", "answer": "2.1", "kind": '{"kind": "decimal", "tolerance": 0.1}'},
        {"gold": "2.0", "answer": "2.1", "kind": "decimal"},
        {"gold": "2.0", "answer": "2.1", "kind": '{"tolerance": 0.01}'},
        {"gold": "2, 1", "answer": "1, 2", "kind": '{"ordered": true}'},
        {"gold": "2, 1", "answer": "1, 2", "kind": None},
    ]
    source = tmp_path / f"in.{form}"
    write(source, rows) if form == "jsonl" else pl.DataFrame(rows).write_parquet(source)
    done = grade_file(source, tmp_path / "o.jsonl", rules=Rules(), limits=Limits(workers=1))
    assert verdicts_in(tmp_path / "o.jsonl") == ["correct", "incorrect", "incorrect", "incorrect", "correct"]
    assert not done.unknown_kinds
    grade_file(source, tmp_path / "o.jsonl", rules=Rules(tolerance=0.2), limits=Limits(workers=1))
    assert verdicts_in(tmp_path / "o.jsonl")[:3] == ["correct", "correct", "incorrect"]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_rules_may_be_an_object_too(tmp_path, form):
    # Parquet has every field in every row.
    second = {"kind": "decimal"} | ({"tolerance": None} if form == "parquet" else {})
    rows = [{"gold": "2.0", "answer": "2.1", "kind": kind} for kind in ({"kind": "decimal", "tolerance": 0.1}, second)]
    source = tmp_path / f"in.{form}"
    write(source, rows) if form == "jsonl" else pl.DataFrame(rows).write_parquet(source)
    run(source, tmp_path / "o.jsonl")
    assert verdicts_in(tmp_path / "o.jsonl") == ["correct", "incorrect"]


@pytest.mark.parametrize("kind", ['{"tolerence": 0.1}', '{"kind": ', {"tolerance": 3}])
def test_rules_that_are_none_are_one_line(tmp_path, kind):
    rows = [{"gold": "2", "answer": "2", "kind": "auto"}, {"gold": "2", "answer": "2", "kind": kind}]
    with pytest.raises(LimoError, match=r"in.jsonl:2: column `kind`: grading rules .* nor the JSON of rules") as error:
        run(write(tmp_path / "in.jsonl", rows), tmp_path / "o.jsonl")
    assert "\n" not in str(error.value)


def test_the_text_of_an_option_is_its_letter_where_the_question_is_given(tmp_path):
    question = "How many?\nA. 10\nB. 12\nC. 14"
    rows = [
        {"gold": "B", "answer": "12", "question": question},
        {"gold": "B", "answer": "14", "question": question, "kind": "choice"},
        {"gold": "B", "response": "So it is \\boxed{12}.", "question": question, "kind": "choice"},
        {"gold": "B", "answer": "12", "question": None},
        {"gold": "12", "answer": "12", "question": 7},
    ]
    run(write(tmp_path / "in.jsonl", rows), tmp_path / "o.jsonl")
    out = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [row["verdict"] for row in out] == ["correct", "incorrect", "correct", "incorrect", "correct"]
    assert [row["extracted"] for row in out] == ["B", "C", "B", "12", "12"]
    assert out[0]["question"] == question


def verdicts_in(path):
    return [json.loads(line)["verdict"] for line in path.read_text(encoding="utf-8").splitlines()]
