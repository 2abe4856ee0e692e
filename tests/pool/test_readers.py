import gzip
import json

import polars as pl
import pytest

from tasks.errors import LimoError
from tasks.pool.readers import find_files, read_rows

ROWS = [{"question": "1+1?", "answer": 2}, {"question": "Wie groß?", "answer": "三"}]


def write(path, rows=ROWS):
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def values(path):
    return [row.values for row in read_rows(path)]


def test_jsonl_rows_carry_their_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"q": 1}\n\n{"q": 2}\n')

    assert [row.origin for row in read_rows(path)] == [f"{path}:1", f"{path}:3"]


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
        ("a.json", b'{"q": 1}\n{"q": 2}\n', "call it .jsonl"),
        ("a.json", b'[{"q": 1},\n{"q" 2}]', "a.json:2: not JSON"),
        ("a.json", b'[{"q": 1}, 2]', "a.json:2: must be an object"),
        ("a.json", b"[" * 200_000, "cannot be read"),
        ("a.json", b"\xff\xfe", "not UTF-8"),
        ("a.jsonl.gz", gzip.compress(b'{"q": 1}\n' * 1000)[:40], "cannot be read"),
        ("a.parquet", b"PAR1 torn", "cannot be read"),
        ("a.txt", b"", "unknown format `.txt`"),
    ],
)
def test_malformed_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(LimoError) as error:
        list(read_rows(tmp_path / name))

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
