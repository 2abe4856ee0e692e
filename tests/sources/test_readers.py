import gzip
import json

import polars as pl
import pytest

from tasks.core.errors import LimoError
from tasks.sources import readers
from tasks.sources.readers import column_names, file_ranges, find_files, read_columns

ROWS = [{"question": "1+1?", "answer": 2}, {"question": "Wie groß?", "answer": "三"}]


def write(path, rows=ROWS):
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def rows(path, spool=None):
    """Every row with its number, read range by range."""
    found = []
    for part in file_ranges(path, str(path), spool or path.parent / "spool"):
        columns = column_names(part)
        cells = read_columns(part, columns)
        cut = zip(*(cells.values[name] for name in columns), strict=True)
        found += [
            (number, dict(zip(columns, row, strict=True))) for number, row in zip(cells.numbers, cut, strict=True)
        ]
    return found


def values(path):
    return [row for _, row in rows(path)]


def test_jsonl_rows_carry_their_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"q": 1}\n\n{"q": 2}\n')

    assert rows(path) == [(1, {"q": 1}), (3, {"q": 2})]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet", ".jsonl.gz"])
def test_ranges_are_the_whole_file_in_order(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(readers, "RANGE_BYTES", 100)
    table = pl.DataFrame({"question": [f"What is {number} + 1?" for number in range(50)], "answer": ["1"] * 50})
    path = tmp_path / f"a{suffix}"
    if suffix == ".jsonl.gz":
        path.write_bytes(gzip.compress(table.write_ndjson().encode()))
    else:
        {".jsonl": table.write_ndjson, ".csv": table.write_csv, ".parquet": table.write_parquet}[suffix](path)

    cut = list(file_ranges(path, "label", tmp_path / "spool"))

    assert len(cut) > 2
    assert {part.label for part in cut} == {"label"}
    assert rows(path) == [(number, row) for number, row in enumerate(table.to_dicts(), 1)]


def test_a_last_line_without_an_end_is_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"q": 1}\n{"q": 2}')

    assert values(path) == [{"q": 1}, {"q": 2}]


def test_blank_lines_and_marks_before_the_first_row_are_passed_over(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf\n" + b"\n" * 2000 + b'{"q": 1}\n')

    assert rows(path) == [(2002, {"q": 1})]


def test_long_numbers_and_a_byte_order_mark_are_taken(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"q": 123456789012345678901234567890}\n{"q": NaN}\n')

    first, second = values(path)

    assert first == {"q": 123456789012345678901234567890}
    assert second["q"] != second["q"]


def test_a_json_array_too_large_to_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MAX_ARRAY_BYTES", 10)
    path = write(tmp_path / "a.json")

    with pytest.raises(LimoError, match=r"a.json: a JSON array of .*write it as .jsonl"):
        values(path)


def test_every_format_gives_the_same_rows(tmp_path):
    jsonl = write(tmp_path / "a.jsonl")
    (tmp_path / "a.json").write_text(json.dumps(ROWS), encoding="utf-8")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(jsonl.read_bytes()))
    frame = pl.DataFrame({"question": [row["question"] for row in ROWS], "answer": ["2", "三"]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_csv(tmp_path / "a.csv")

    assert values(jsonl) == values(tmp_path / "a.json") == values(tmp_path / "a.jsonl.gz") == ROWS
    assert values(tmp_path / "a.parquet") == values(tmp_path / "a.csv") == frame.to_dicts()


def test_zstandard_is_unpacked(tmp_path):
    import pyarrow

    jsonl, packed = write(tmp_path / "a.jsonl"), tmp_path / "b.jsonl.zst"
    with pyarrow.output_stream(str(packed), compression="zstd") as stream:
        stream.write(jsonl.read_bytes())

    assert values(packed) == ROWS


def test_csv_keeps_leading_zeros(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("question,answer\nWhat is shown?,07\n")

    assert values(path) == [{"question": "What is shown?", "answer": "07"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"q": 1}\n{"q": \n', "a.jsonl:2: not JSON"),
        ("a.jsonl", b'{"q": 1}\n[1]\n', "a.jsonl:2: must be an object"),
        ("a.jsonl", b'{"q": "caf\xe9"}\n', "a.jsonl:1: not UTF-8"),
        ("a.jsonl", b'{"q": "\\ud800"}\n', "a.jsonl:1: holds half a character"),
        ("a.json", b'{"q": 1}', "must be a JSON array of objects, found dict"),
        ("a.json", b'{"q": 1}\n{"q": 2}\n', "name it .jsonl"),
        ("a.json", b'[{"q": 1},\n{"q" 2}]', "a.json:2: not JSON"),
        ("a.json", b'[{"q": 1}, 2]', "a.json:2: must be an object"),
        ("a.json", b"[" * 200_000, "cannot be read"),
        ("a.json", b"\xff\xfe", "not UTF-8"),
        ("a.jsonl.gz", gzip.compress(b'{"q": 1}\n' * 1000, mtime=0)[:40], "cannot be read"),
        ("a.parquet", b"PAR1 torn", "cannot be read"),
        ("a.csv", b"q,a\ncaf\xe9,1\n", "cannot be read"),
        ("a.csv", b"q,a\n" + b"x,1\n" * 20 + b'5" of wood,2\n' + b"y,3\n" * 50, "a.csv"),
        ("a.csv", b"q,a\n" + b"x,1\n" * 20 + b'"5 of wood,2\n' + b"y,3\n" * 50, "a.csv"),
        ("a.jsonl.gz", gzip.compress(b'{"q": 1}\n' * 1000, mtime=0)[:20] + bytes(30), "cannot be read"),
        ("a.json.gz", gzip.compress(b'[{"q": 1}]' * 1000, mtime=0)[:20] + bytes(30), "cannot be read"),
        ("a.jsonl", b'{"q": ["\\ud800"]}\n', "a.jsonl:1: holds half a character"),
        ("a.json", b'[{"q": ["\\ud800"]}]', "a.json:1: holds half a character"),
        ("a.parquet.gz", b"x", "Parquet is compressed inside; decompress the file"),
        ("a.txt", b"", "unknown format `.txt`"),
    ],
)
def test_malformed_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(LimoError) as error:
        values(tmp_path / name)

    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_glob_is_read_in_order_of_name(tmp_path):
    for name in ("b.jsonl", "a.jsonl"):
        write(tmp_path / name)

    assert [path.name for path in find_files(str(tmp_path / "*.jsonl"), "key")] == ["a.jsonl", "b.jsonl"]


def test_a_missing_file_names_the_params_key(tmp_path):
    with pytest.raises(LimoError, match=r"gone.jsonl: no such file \(params.yaml: pull.sources.0.path\)"):
        find_files(str(tmp_path / "gone.jsonl"), "pull.sources.0.path")
    with pytest.raises(LimoError, match="is a folder; give a glob"):
        find_files(str(tmp_path), "key")
