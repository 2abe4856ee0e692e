"""`limo grade` as its user meets it: what it prints, its exit code, and one line for each mistake."""

import datetime
import decimal
import json
import sys

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.cli import main


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
def test_an_unknown_kind_is_told_once_and_graded_as_auto(grade, kind):
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
