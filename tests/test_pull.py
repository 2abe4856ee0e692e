import hashlib
import json

import polars as pl
import pytest
from pydantic import ValidationError

from tasks.core.errors import LimoError
from tasks.core.params import section_errors
from tasks.core.shards import ShardsParams, exclusive
from tasks.pull import PullParams, decide, run
from tasks.records.question import QUESTION, question_id
from tasks.sources import readers
from tasks.sources.rows import SOURCE_ROW
from tasks.sources.source import SourceParams
from tests.builders import manifest_of


def pull(tmp_path, *sources, **shards):
    params = PullParams(sources=tuple(SourceParams(**source) for source in sources))
    run(params, ShardsParams(**shards), work=tmp_path / "work", out=tmp_path / "out")
    kept, rejected = (pl.read_parquet(tmp_path / f"out/{name}.parquet") for name in ("kept", "rejected"))
    return kept, rejected, manifest_of(tmp_path / "out")


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"name": path.stem, "path": str(path)}


def row(question, answer="1"):
    return {"question": question, "answer": answer}


def test_reasons_and_evidence(tmp_path):
    source = write(tmp_path / "s.jsonl", row("a"), row(""), row("b", None), row("a", "2"), row("x" * 1_000_001))

    kept, rejected, _ = pull(tmp_path, source)

    assert kept["question_id"].to_list() == [question_id("s", "a")]
    where = tmp_path / "s.jsonl"
    assert rejected["reason"].to_list() == ["empty_question", "no_answer", "repeated_row", "oversized_question"]
    assert rejected["evidence"].to_list()[:3] == [f"{where}:2", "null", f"{where}:1"]
    assert rejected["evidence"][3] == "1000001 characters, of which the first 10000 are kept"
    assert rejected["question_id"][3] == question_id("s", "x" * 1_000_001)
    assert len(rejected["question"][3]) == 10_000


def test_a_row_without_an_answer_does_not_shadow_a_later_one_with_it(tmp_path):
    kept, rejected, _ = pull(tmp_path, write(tmp_path / "s.jsonl", row("a", None), row("a", "2")))

    assert kept["answer"].to_list() == ["2"]
    assert rejected["reason"].to_list() == ["no_answer"]


def test_every_column_of_a_decided_table_is_in_the_schema():
    rows = pl.DataFrame([("a", "1", None, None, "f:1", False, None, None)], schema=SOURCE_ROW, orient="row")

    decided = decide(rows, SourceParams(name="s", path="f"))

    assert decided.columns[:9] == [*QUESTION.names(), "reason", "evidence"]


@pytest.mark.slow
def test_ranges_and_workers_make_no_difference(tmp_path, monkeypatch):
    rows = [row(f"question {number % 700}", str(number)) for number in range(1000)]
    source = write(tmp_path / "s.jsonl", *rows)
    whole, rejected, manifest = pull(tmp_path, source | {"limit": 900})
    files = [(tmp_path / f"out/{name}.parquet").read_bytes() for name in ("kept", "rejected")]

    monkeypatch.setattr(readers, "RANGE_BYTES", 4_000)
    again = pull(tmp_path, source | {"limit": 900}, workers=2)

    assert whole.height == 700 - len(set(range(700)) - {int(q.split()[1]) for q in whole["question"]})
    assert whole.height + rejected.height == 900
    assert again[2] == manifest
    assert [(tmp_path / f"out/{name}.parquet").read_bytes() for name in ("kept", "rejected")] == files


@pytest.mark.slow
def test_a_bad_row_stops_the_stage_and_what_was_done_is_not_done_again(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "RANGE_BYTES", 4_000)
    rows = [json.dumps(row(f"question {number}", str(number))) for number in range(1000)]
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join([*rows[:900], "{torn", *rows[900:]]))
    source = {"name": "s", "path": str(path)}

    with pytest.raises(LimoError, match=r"s.jsonl:901: not JSON"):
        pull(tmp_path, source)
    before = {part.name: part.stat().st_mtime_ns for part in (tmp_path / "out/.shards").glob("0*")}
    path.write_text("\n".join(rows))
    finished = []
    monkeypatch.setattr("tasks.core.shards.remove_shards", lambda folder: finished.extend(folder.glob("0*")))
    kept, _, _ = pull(tmp_path, source)

    assert len(before) > 5
    assert kept.height == 1000
    assert {part.name: part.stat().st_mtime_ns for part in finished}.items() >= before.items()


def test_a_full_disk_is_one_line_and_earlier_shards_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "RANGE_BYTES", 4_000)
    source = write(tmp_path / "s.jsonl", *(row(f"question {number}") for number in range(1000)))
    mkdir = type(tmp_path).mkdir

    def mkdir_with_a_full_file(path, *args, **kwargs):
        mkdir(path, *args, **kwargs)
        if path.name.startswith("000005-"):
            (path / "rows.parquet").symlink_to("/dev/full")

    monkeypatch.setattr(type(tmp_path), "mkdir", mkdir_with_a_full_file)
    with pytest.raises(LimoError, match=r"no space left on the device; free some and run again") as error:
        pull(tmp_path, source, workers=1)

    assert "\n" not in str(error.value)
    assert len(list((tmp_path / "out/.shards").glob("0*"))) == 5
    monkeypatch.undo()
    assert pull(tmp_path, source)[0].height == 1000
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "kept.parquet",
        "rejected.parquet",
    ]


@pytest.mark.slow
def test_sources_are_joined_and_counted(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"question": "1+1?", "answer": "so\\n#### 2"}\n{"question": "2+2?", "answer": ""}\n'
    )
    (tmp_path / "b.json").write_text(json.dumps([{"problem": "1+1?", "answer": "2"}]))

    kept, _, manifest = pull(
        tmp_path,
        {"name": "a", "path": str(tmp_path / "a.jsonl"), "license": "mit"},
        {"name": "b", "path": str(tmp_path / "b.json")},
        {"name": "days", "family": "days", "levels": (2,), "count": 5},
    )

    assert kept.schema == QUESTION
    assert kept.group_by("source").len().sort("source").rows() == [("a", 1), ("b", 1), ("days", 5)]
    assert (manifest["taken"], manifest["kept"], manifest["rejected"]) == (8, 7, {"no_answer": 1})
    facts = manifest["facts"]["sources"]["a"]
    (file,) = facts.pop("files")
    assert facts == {"rows": 2, "taken": 2, "kept": 1, "rejected": {"no_answer": 1}, "license": "mit", "citation": None}
    assert (file["file"], file["bytes"]) == (str(tmp_path / "a.jsonl"), (tmp_path / "a.jsonl").stat().st_size)
    assert file["sha256"] == hashlib.sha256((tmp_path / "a.jsonl").read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_source_without_an_answer_stops_the_stage_and_leaves_no_table(tmp_path):
    sources = [write(tmp_path / "a.jsonl", row("1+1?")), write(tmp_path / "b.jsonl", row("1+1?", None))]

    with pytest.raises(
        LimoError, match=r"source `b` has no usable question \(1 no_answer\); see `pull.sources.1.fields"
    ):
        pull(tmp_path, *sources)

    assert [path.name for path in (tmp_path / "out").iterdir()] == [".shards"]


def test_an_id_used_twice_names_both_rows(tmp_path):
    source = write(tmp_path / "a.jsonl", row("a") | {"id": 7}, row("b") | {"id": 8}, row("c") | {"id": 7})

    with pytest.raises(LimoError, match=r"a.jsonl:3: id 7 was already used in .*a.jsonl:1"):
        pull(tmp_path, source | {"fields": {"id": "id"}})


def test_two_sources_of_one_name_are_refused():
    twice = SourceParams(name="a", path="x.json")

    with pytest.raises(ValidationError, match="the name a is used twice"):
        PullParams(sources=(twice, twice))


def test_an_empty_list_is_refused():
    with pytest.raises(ValidationError, match="list at least one"):
        PullParams(sources=())


def test_each_mistake_is_reported_once():
    sources = [{"name": "a", "path": "x.json", "colour": 3}, {"name": "b", "path": "y.json", "limit": -1}]

    assert section_errors("pull", {"sources": sources}, PullParams) == [
        "pull.sources.0.colour: unknown key",
        "pull.sources.1.limit: Input should be greater than 0 (found -1)",
    ]


@pytest.mark.slow
def test_a_file_of_a_glob_without_the_columns_is_named(tmp_path):
    pl.DataFrame([row("1+1?")]).write_parquet(tmp_path / "m1.parquet")
    pl.DataFrame([{"text": "1+2?", "gold": "3"}]).write_parquet(tmp_path / "m2.parquet")

    with pytest.raises(LimoError, match=r"m2.parquet: has no column question, answer, which other files of source `m`"):
        pull(tmp_path, {"name": "m", "path": str(tmp_path / "m*.parquet")})


def test_a_second_run_is_kept_out(tmp_path):
    with exclusive(tmp_path / "out"), pytest.raises(LimoError, match=r"out: another run is writing here"):
        pull(tmp_path, write(tmp_path / "s.jsonl", row("1+1?")))


def test_an_out_below_a_file_is_one_line(tmp_path):
    (tmp_path / "out").write_text("")

    with pytest.raises(LimoError, match=r"this folder cannot be made"):
        pull(tmp_path, write(tmp_path / "s.jsonl", row("1+1?")))


def truncated_parquet(folder):
    pl.DataFrame({"question": ["a" * 50] * 1000, "answer": ["1"] * 1000}).write_parquet(folder / "bad.parquet")
    whole = (folder / "bad.parquet").read_bytes()
    (folder / "bad.parquet").write_bytes(whole[: len(whole) // 2])
    return folder / "bad.parquet"


def torn_page(folder):
    """Whole at its end, so that the columns are there, but not in its middle."""
    texts = [f"{number} {number**3}" for number in range(5000)]
    pl.DataFrame({"question": texts, "answer": ["1"] * 5000}).write_parquet(folder / "bad.parquet")
    whole = bytearray((folder / "bad.parquet").read_bytes())
    whole[200:3000] = bytes(2800)
    (folder / "bad.parquet").write_bytes(whole)
    return folder / "bad.parquet"


def latin_1(folder):
    (folder / "bad.jsonl").write_bytes('{"question": "Wie groß?", "answer": "1"}\n'.encode("latin-1"))
    return folder / "bad.jsonl"


def latin_1_csv(folder):
    (folder / "bad.csv").write_bytes("question,answer\nWie groß?,1\n".encode("latin-1"))
    return folder / "bad.csv"


def other_columns(folder):
    return write_rows(folder, {"text": "1+1?", "gold": "2"})


def empty_column(folder):
    return write_rows(folder, {"question": "1+1?", "answer": None})


def half_json(folder):
    (folder / "bad.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n{"question": "1+2?", "ans')
    return folder / "bad.jsonl"


def no_rows(folder):
    (folder / "bad.jsonl").write_text("\n")
    return folder / "bad.jsonl"


def write_rows(folder, *rows):
    (folder / "bad.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return folder / "bad.jsonl"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (truncated_parquet, "bad.parquet: cannot be read"),
        (torn_page, "bad.parquet: cannot be read"),
        (latin_1, "bad.jsonl:1: not UTF-8 (byte 21 of the line); convert the file"),
        (latin_1_csv, "bad.csv: cannot be read"),
        (half_json, "bad.jsonl:2: not JSON"),
        (no_rows, "source `bad` has no rows (params.yaml: pull.sources.1)"),
        (other_columns, "pull.sources.1.fields.question: say which column holds it; there are text, gold"),
        (empty_column, "source `bad` has no usable question (1 no_answer); see `pull.sources.1.fields`"),
    ],
)
def test_bad_input_is_one_line_and_what_came_before_is_kept(tmp_path, make, message):
    good = write(tmp_path / "good.jsonl", row("1+1?"))

    with pytest.raises(LimoError) as error:
        pull(tmp_path, good, {"name": "bad", "path": str(make(tmp_path))}, workers=1)

    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_question_of_50_megabytes_is_rejected_with_its_size(tmp_path):
    long = row("1+" * 25_000_000 + "1?")

    kept, rejected, _ = pull(tmp_path, write(tmp_path / "s.jsonl", row("1+1?"), long, row("2+2?")))

    assert kept["question"].to_list() == ["1+1?", "2+2?"]
    assert rejected["reason"].to_list() == ["oversized_question"]
    assert rejected["evidence"].to_list() == ["50000002 characters, of which the first 10000 are kept"]
    assert rejected["origin"].to_list() == [f"{tmp_path / 's.jsonl'}:2"]
