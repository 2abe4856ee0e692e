import json

import polars as pl
import pytest
from pydantic import ValidationError

from tasks.errors import LimoError
from tasks.params import section_errors
from tasks.pool.drafts import Draft
from tasks.pool.source import SourceParams
from tasks.pull import PullParams, decide, run
from tasks.records.question import QUESTION, question_id


def draft(question, answer="1", origin="f:1"):
    return Draft(question, answer, None, None, origin, cell="null")


def test_reasons_and_evidence():
    decided = decide("s", [draft("a"), draft("", origin="f:2"), draft("b", None), draft("a", "2", "f:4")])

    assert decided["reason"].to_list() == [None, "empty_question", "no_answer", "repeated_row"]
    assert decided["evidence"].to_list() == [None, "f:2", "null", "f:1"]
    assert decided["question_id"][0] == question_id("s", "a")


def test_a_row_without_an_answer_does_not_shadow_a_later_one_with_it():
    decided = decide("s", [draft("a", None), draft("a", "2", "f:2")])
    assert decided["reason"].to_list() == ["no_answer", None]


def test_sources_are_joined_and_counted(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"question": "1+1?", "answer": "so\\n#### 2"}\n{"question": "2+2?", "answer": ""}\n'
    )
    (tmp_path / "b.json").write_text(json.dumps([{"problem": "1+1?", "answer": "2"}]))
    pull = PullParams(
        sources=(
            SourceParams(name="a", path=str(tmp_path / "a.jsonl")),
            SourceParams(name="b", path=str(tmp_path / "b.json")),
            SourceParams(name="days", family="days", levels=(2,), count=5),
        )
    )

    run(pull, out=tmp_path / "out")

    kept = pl.read_parquet(tmp_path / "out/kept.parquet")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert kept.schema == QUESTION
    assert kept.group_by("source").len().sort("source").rows() == [("a", 1), ("b", 1), ("days", 5)]
    assert (manifest["taken"], manifest["kept"], manifest["rejected"]) == (8, 7, {"no_answer": 1})
    assert manifest["facts"]["sources"]["a"] == {"rows": 2, "taken": 2, "rejected": {"no_answer": 1}}


def test_a_pool_without_an_answer_stops_the_stage_and_leaves_nothing(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"question": "1+1?", "answer": null}\n')

    with pytest.raises(LimoError, match=r"pull: no row is left of 1 \(1 no_answer\)"):
        run(PullParams(sources=(SourceParams(name="a", path=str(tmp_path / "a.jsonl")),)), out=tmp_path / "out")

    assert not (tmp_path / "out").exists()


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
