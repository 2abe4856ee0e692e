import json

import polars as pl
import pytest

from flows.cli import compare
from flows.explain.runs import FLIPPED, find_flips, parse_side
from tasks.core.errors import LimoError
from tests.artifacts import write_run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared") / "artifacts"
    write_run(folder, items=6, samples=3)
    return folder


def shares(root, arm):
    verdicts = pl.read_parquet(root / "grade/verdicts.parquet").filter(pl.col("arm") == arm)
    return dict(verdicts.group_by("item_id").agg((pl.col("verdict") == "correct").mean()).rows())


def test_the_questions_that_flipped_with_both_responses(root):
    found = find_flips(parse_side(f"{root}:base"), parse_side(str(root)), resamples=200)
    base, trained = shares(root, "base"), shares(root, "trained")
    changed = {item for item in base if base[item] != trained[item]}
    assert changed, "the made run must have some"
    assert set(found.table["item_id"]) == changed
    answers = dict(pl.read_parquet(root / "answer/answers.parquet").select("response_id", "text").rows())
    for row in found.table.iter_rows(named=True):
        assert (row["left"], row["right"]) == (base[row["item_id"]], trained[row["item_id"]])
        assert (row["left_verdict"] == "correct") == (row["left"] > row["right"])
        assert (row["right_verdict"] == "correct") == (row["right"] > row["left"])
        assert row["left_text"] == answers[row["left_response_id"]]
        assert row["right_text"] == answers[row["right_response_id"]]
    sizes = (found.table["right"] - found.table["left"]).abs().to_list()
    assert sizes == sorted(sizes, reverse=True)
    assert sum(test.gained + test.lost for test in found.tests.values()) == len(changed)


def test_a_run_does_not_differ_from_itself(root, capsys):
    compare(str(root), str(root), None, 20, False, None)
    shown = capsys.readouterr().out
    assert "0 questions flipped" in shown
    assert "difference +0.0 [" in shown
    assert "0 gained, 0 lost, p 1 " in shown


def test_no_flips_are_written_as_an_empty_table(root, tmp_path):
    compare(str(root), str(root), None, 20, False, tmp_path / "none.parquet")
    assert pl.read_parquet(tmp_path / "none.parquet").schema == FLIPPED


def test_another_gold_and_unequal_samples_are_reported(root, tmp_path, capsys):
    other = tmp_path / "other"
    for name in ("benchmarks", "grade"):
        (other / name).mkdir(parents=True)
    (other / "answer").symlink_to(root / "answer")
    items = pl.read_parquet(root / "benchmarks/items.parquet")
    first = pl.col("item_id") == items["item_id"][0]
    regolded = items.with_columns(gold=pl.when(first).then(pl.lit("another")).otherwise("gold"))
    regolded.write_parquet(other / "benchmarks/items.parquet")
    verdicts = pl.read_parquet(root / "grade/verdicts.parquet")
    verdicts.write_parquet(other / "grade/verdicts.parquet")
    compare(str(root), str(other), None, 20, False, None)
    assert "1 items have another gold" in capsys.readouterr().out
    verdicts.filter(~(first & (pl.col("sample_index") == 0))).write_parquet(other / "grade/verdicts.parquet")
    with pytest.raises(LimoError, match="items have unequal numbers of answers"):
        compare(str(root), str(other), None, 20, False, None)


def test_what_is_shown_and_written(root, capsys, tmp_path):
    compare(f"{root}:base", str(root), None, 1, False, tmp_path / "flips.jsonl")
    shown = capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "flips.jsonl").read_text().splitlines()]
    assert f"{len(rows)} questions flipped (1 shown)" in shown
    assert shown.count("\ngold: ") == 1
    assert rows[0]["question"] in shown
    assert rows[0]["left_response_id"] in shown
    assert rows[0]["right_response_id"] in shown


def test_items_of_one_run_alone_and_other_graders_are_reported(root, tmp_path, capsys):
    fewer = tmp_path / "fewer"
    (fewer / "grade").mkdir(parents=True)
    for name in ("benchmarks", "answer"):
        (fewer / name).symlink_to(root / name)
    verdicts = pl.read_parquet(root / "grade/verdicts.parquet")
    kept = verdicts.filter(pl.col("item_id") != verdicts["item_id"][0]).with_columns(grader=pl.lit("another"))
    kept.write_parquet(fewer / "grade/verdicts.parquet")
    compare(str(root), str(fewer), None, 20, False, None)
    shown = capsys.readouterr().out
    assert "not compared: 1 items of" in shown
    assert "graded by different graders" in shown
    assert "another" in shown


@pytest.mark.parametrize(
    ("text", "message"),
    [("nowhere", "nowhere: no artifacts folder, git revision"), ("x:best", "no arm `best`; give x:trained or x:base")],
)
def test_a_run_that_is_none_is_one_line(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LimoError, match=message):
        parse_side(text)


def test_an_unknown_benchmark_lists_the_known(root):
    with pytest.raises(LimoError, match="no benchmark `x`; there are"):
        compare(str(root), str(root), "x", 20, False, None)


def test_a_folder_that_is_not_there_is_reported_before_anything_is_compared(root, tmp_path):
    with pytest.raises(LimoError, match="there is no folder .*nowhere; make it"):
        compare(f"{root}:base", str(root), out=tmp_path / "nowhere/x.jsonl")
