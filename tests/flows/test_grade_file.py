"""`limo grade`: the rows it writes, what it prints, its exit code, and one line for each error."""

import datetime
import decimal
import json
import sys

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.cli import main
from flows.grade_file import grade_file
from tasks.core.errors import LimoError
from tasks.grading.grader import GRADER
from tasks.grading.rules import Rules
from tasks.grading.symbolic import Limits


@pytest.fixture
def grade(tmp_path, monkeypatch, capsys):
    """Run the command in a folder of its own; gives the exit code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["limo", "grade", "--workers", "1", *options])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0, *capsys.readouterr()

    return run


ROWS = [{"gold": "1/2", "answer": "0.5", "id": 7}, {"gold": "3", "answer": "4", "id": 8}]


def write(name, rows):
    """Rows as the name's ending has them."""
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), name)
    else:
        with open(name, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def read(name):
    rows = pl.read_parquet(name) if name.endswith(".parquet") else pl.read_ndjson(name)
    return rows.to_dicts()


@pytest.mark.parametrize("source", ["in.jsonl", "in.parquet"])
@pytest.mark.parametrize("out", ["out.jsonl", "out.parquet"])
def test_each_form_in_and_out(grade, source, out):
    write(source, ROWS)
    code, printed, errors = grade("--in", source, "--out", out)
    assert (code, errors) == (0, "")
    assert "2 rows in" in printed
    assert "1 correct, 1 incorrect" in printed
    rows = read(out)
    assert [row["verdict"] for row in rows] == ["correct", "incorrect"]
    assert [{name: row[name] for name in ROWS[0]} for row in rows] == ROWS


def one_line(grade, source, *options, out="out.jsonl"):
    code, printed, errors = grade("--in", source, "--out", out, *options)
    assert (code, printed) == (2, "")
    assert errors.startswith("limo: ")
    assert errors.count("\n") == 1
    return errors


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize("out", ["out.jsonl", "out.parquet"])
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": "1"}, "no column `gold`; it has answer"),
        ({"gold": "1", "question": "?"}, "no column `response` (a whole response) or `answer` (a bare final answer)"),
        (
            {"gold": "1", "answer": {"value": "1"}},
            "column `answer` holds an object; it must be text, a number or a list",
        ),
        ({"gold": {"value": "1"}, "answer": "1"}, "column `gold` holds an object"),
        ({"gold": "1", "response": {"text": "1"}}, "column `response` holds an object"),
        ({"gold": "1", "answer": "1", "rule": "mine"}, "has rule already; rename, or replace by --replace"),
    ],
)
def test_a_column_that_lacks_or_does_not_fit(grade, tmp_path, form, out, row, message):
    write(f"in.{form}", [row])
    assert message in one_line(grade, f"in.{form}", out=out)
    assert [path.name for path in tmp_path.iterdir()] == [f"in.{form}"]


@pytest.mark.parametrize("source", ["in.jsonl", "in.parquet"])
def test_rows_of_a_nested_gold_stay_rows(grade, source):
    answers = ["[[1,2],[3,4]]", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "[[4,3],[2,1]]", "[[1,3],[2,4]]", "1, 2, 3, 4"]
    write(source, [{"gold": [[1, 2], [3, 4]], "answer": answer} for answer in answers])
    assert grade("--in", source, "--out", "out.jsonl")[0] == 0
    assert [row["verdict"] for row in read("out.jsonl")] == ["correct", "correct", *["incorrect"] * 3]


@pytest.mark.parametrize("source", ["in.jsonl", "in.parquet"])
def test_a_gold_that_is_an_object_of_numbers_is_their_list(grade, source):
    write(source, [{"gold": {"integer": 42, "square_of": 84}, "answer": answer} for answer in ("42, 84", "42")])
    assert grade("--in", source, "--out", "out.jsonl")[0] == 0
    assert [row["verdict"] for row in read("out.jsonl")] == ["correct", "incorrect"]


def test_the_row_is_named_past_the_first_batch(grade):
    rows = [{"gold": "1", "answer": ["1"]}] * 5_001
    write("in.jsonl", [*rows, {"gold": "1", "answer": {"a": "1"}}])
    assert "in.jsonl:5002: column `answer`" in one_line(grade, "in.jsonl")
    cells = pa.array([{"a": None}] * 5_000 + [{"a": "1"}], pa.struct([("a", pa.string())]), mask=None)
    gone = pa.array([None] * 5_000 + [{"a": "1"}], cells.type)
    pq.write_table(pa.table({"gold": ["1"] * 5_001, "answer": gone}), "in.parquet")
    assert "in.parquet: row 5001: column `answer`" in one_line(grade, "in.parquet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"gold": "1", "answer": "1"}\n{"gold": ', "in.jsonl:2: not a line of JSON"),
        ('{"gold": "1", "answer": "1"}\n\n7\n', "in.jsonl:3: must be an object"),
        ('{"gold": "1", "answer": "1"}\n{"answer": "1"}\n', "in.jsonl:2: no column `gold`"),
        ('{"gold": ' + "[" * 100_000, "in.jsonl:1: not a line of JSON"),
        ('{"gold": ' + "9" * 5_000 + ', "answer": 1}', "in.jsonl:1: not a line of JSON"),
        ("", "in.jsonl: holds no rows"),
        ("\n \n", "in.jsonl: holds no rows"),
        ("gold,answer\n1,1\n", "in.jsonl:1: not a line of JSON"),
    ],
)
def test_broken_json(grade, text, message):
    with open("in.jsonl", "w", encoding="utf-8") as file:
        file.write(text)
    assert message in one_line(grade, "in.jsonl")


def test_parquet_that_is_empty_or_torn(grade):
    write("in.parquet", ROWS)
    pq.write_table(pq.read_table("in.parquet").slice(0, 0), "empty.parquet")
    assert "empty.parquet: holds no rows" in one_line(grade, "empty.parquet")
    pq.write_table(pa.table({"gold": ["1"], "answer": [b"1"]}), "bytes.parquet")
    assert "bytes.parquet: row 1: column `answer` holds bytes" in one_line(grade, "bytes.parquet")
    pq.write_table(pa.table([["1"], ["2"], ["1"]], names=["gold", "gold", "answer"]), "twice.parquet")
    assert "twice.parquet: two columns of one name" in one_line(grade, "twice.parquet")
    with open("in.parquet", "r+b") as file:
        content = bytearray(file.read())
        # The pages, between the first magic bytes and the schema at the end.
        content[4:120] = bytes(116)
        file.seek(0)
        file.write(content)
    assert "in.parquet: not a readable Parquet file" in one_line(grade, "in.parquet")


@pytest.mark.parametrize(
    ("gold", "answer", "verdict", "reason"),
    [
        (None, "1", "ungraded", "no_gold"),
        ("1", None, "incorrect", "no_answer"),
        (27.0, 27, "correct", None),
        (decimal.Decimal("1.50"), "3/2", "correct", None),
        ([1, 2], ["2", "1"], "correct", None),
        (True, "true", "correct", None),
        ("", "1", "ungraded", "no_gold"),
    ],
)
def test_cells_that_are_not_text(grade, gold, answer, verdict, reason):
    row = {"gold": gold, "answer": answer, "when": datetime.date(2025, 1, 1), "nested": [{"a": [1.5, None]}]}
    write("in.parquet", [row])
    for out in ("out.parquet", "out.jsonl"):
        assert grade("--in", "in.parquet", "--out", out)[0] == 0
        found = read(out)[0]
        assert (found["verdict"], found["reason"]) == (verdict, reason)
        assert found["nested"] == row["nested"]
    assert pq.read_schema("out.parquet").field("when").type == pa.date32()


@pytest.mark.parametrize("kind", ["riddle", 3, ["set"]])
def test_an_unknown_kind_is_reported_once_and_graded_as_auto(grade, kind):
    write("in.jsonl", [{"gold": "1", "answer": "1", "kind": kind}] * 2)
    code, printed, errors = grade("--in", "in.jsonl", "--out", "out.jsonl")
    assert code == 0
    assert "2 correct" in printed
    assert errors.startswith(f"limo: in.jsonl: kind `{kind if isinstance(kind, str) else json.dumps(kind)}` (2 rows)")
    assert errors.count("\n") == 1


def test_options_and_paths(grade, tmp_path):
    write("in.jsonl", ROWS)
    assert "--kind riddle: none of auto, integer" in one_line(grade, "in.jsonl", "--kind", "riddle")
    assert "no.jsonl: no such file" in one_line(grade, "no.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    assert "folder.jsonl: is a folder" in one_line(grade, "folder.jsonl")
    assert "folder.jsonl: is a folder" in one_line(grade, "in.jsonl", out="folder.jsonl")
    assert "must end in .jsonl or .parquet" in one_line(grade, "in.jsonl", out="out.csv")
    assert "the folder no does not exist" in one_line(grade, "in.jsonl", out="no/out.jsonl")
    assert "is the input itself" in one_line(grade, "in.jsonl", out="in.jsonl")


def test_an_earlier_output_is_replaced_by_a_whole_one_or_kept(grade):
    write("in.jsonl", ROWS)
    write("out.jsonl", [{"earlier": 1}])
    write("broken.jsonl", [*ROWS, {"answer": "1"}])
    one_line(grade, "broken.jsonl")
    assert read("out.jsonl") == [{"earlier": 1}]
    assert grade("--in", "in.jsonl", "--out", "out.jsonl")[0] == 0
    assert len(read("out.jsonl")) == 2


MIXED_ROWS = [
    {"gold": 7, "answer": "7.0", "meta": {"a": [1]}, "n": 1},
    {"gold": "(0,1)", "response": "so \\boxed{(0,1]}", "kind": "interval"},
    {"gold": "C", "response": "Thus.\nThe answer is (C).", "kind": "mcq"},
    {"gold": [1, 2], "answer": "2, 1"},
    {"gold": None, "answer": "2"},
    {"gold": "3", "answer": None, "kind": "weird"},
    {"gold": 27.0, "answer": "27", "n": 2.5},
    {"gold": "x", "answer": "\ud800"},
]
MIXED_VERDICTS = ["correct", "incorrect", "correct", "correct", "ungraded", "incorrect", "correct", "ungraded"]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(source, out, **options):
    return grade_file(source, out, rules=Rules(), limits=Limits(workers=1), **options)


def test_rows_and_columns_come_out_as_they_went_in_with_the_verdict_after_them(tmp_path):
    done = run(write_lines(tmp_path / "in.jsonl", MIXED_ROWS), tmp_path / "out.jsonl")
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["verdict"] for row in out] == MIXED_VERDICTS
    assert [{name: row[name] for name in given} for row, given in zip(out, MIXED_ROWS, strict=True)] == MIXED_ROWS
    assert list(out[0]) == ["gold", "answer", "meta", "n", "verdict", "extracted", "rule", "reason", "grader"]
    assert out[1]["extracted"] == "(0,1]"
    assert {row["grader"] for row in out} == {GRADER}
    assert out[4]["reason"] == "no_gold"
    assert done.unknown_kinds == {"weird": 1}
    assert done.verdicts == {"correct": 4, "incorrect": 2, "ungraded": 2}


def test_json_lines_become_parquet_and_parquet_keeps_its_types(tmp_path):
    run(write_lines(tmp_path / "in.jsonl", MIXED_ROWS), tmp_path / "a.parquet")
    table = pl.read_parquet(tmp_path / "a.parquet")
    assert table["verdict"].to_list() == MIXED_VERDICTS
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
        run(write_lines(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl")
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
    good = write_lines(tmp_path / "in.jsonl", MIXED_ROWS[:1])
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
        write_lines(source, rows)
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
    write_lines(source, rows) if form == "jsonl" else pl.DataFrame(rows).write_parquet(source)
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
    write_lines(source, rows) if form == "jsonl" else pl.DataFrame(rows).write_parquet(source)
    run(source, tmp_path / "o.jsonl")
    assert verdicts_in(tmp_path / "o.jsonl") == ["correct", "incorrect"]


@pytest.mark.parametrize("kind", ['{"tolerence": 0.1}', '{"kind": ', {"tolerance": 3}])
def test_invalid_rules_are_a_one_line_error(tmp_path, kind):
    rows = [{"gold": "2", "answer": "2", "kind": "auto"}, {"gold": "2", "answer": "2", "kind": kind}]
    with pytest.raises(LimoError, match=r"in.jsonl:2: column `kind`: grading rules .* nor the JSON of rules") as error:
        run(write_lines(tmp_path / "in.jsonl", rows), tmp_path / "o.jsonl")
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
    run(write_lines(tmp_path / "in.jsonl", rows), tmp_path / "o.jsonl")
    out = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [row["verdict"] for row in out] == ["correct", "incorrect", "correct", "incorrect", "correct"]
    assert [row["extracted"] for row in out] == ["B", "C", "B", "12", "12"]
    assert out[0]["question"] == question


def verdicts_in(path):
    return [json.loads(line)["verdict"] for line in path.read_text(encoding="utf-8").splitlines()]
