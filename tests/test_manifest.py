import polars as pl
import pytest

from tasks.core.errors import LimoError
from tasks.core.files import read_json
from tasks.core.stage import write_filter, write_manifest


def decided(*reasons):
    rows = {
        "question_id": [f"q_{n}" for n in range(len(reasons))],
        "reason": list(reasons),
        "evidence": [""] * len(reasons),
    }
    return pl.DataFrame(rows, schema_overrides={"reason": pl.String})


def test_a_filter_keeps_what_has_no_reason_and_counts_the_rest(tmp_path):
    write_filter(tmp_path, "clean", decided(None, "too_long", "too_long", "no_answer"), {"seconds": 1})
    assert pl.read_parquet(tmp_path / "kept.parquet").to_dict(as_series=False) == {"question_id": ["q_0"]}
    assert pl.read_parquet(tmp_path / "rejected.parquet")["question_id"].to_list() == ["q_1", "q_2", "q_3"]
    assert read_json(tmp_path / "manifest.json") == {
        "stage": "clean",
        "taken": 4,
        "kept": 1,
        "rejected": {"no_answer": 1, "too_long": 2},
        "facts": {"seconds": 1},
    }


def test_a_filter_that_keeps_nothing_says_what_dropped_it_and_writes_nothing(tmp_path):
    with pytest.raises(LimoError, match=r"band: no row is left of 3 \(2 never_solved, 1 solved_too_often\)"):
        write_filter(tmp_path, "band", decided("never_solved", "never_solved", "solved_too_often"))
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_do_not_add_up_are_a_bug(tmp_path):
    with pytest.raises(AssertionError, match="1 kept"):
        write_manifest(tmp_path, "pull", taken=3, kept=1, rejected={"no_answer": 1})


def test_a_table_with_sources_has_each_ones_counts_among_the_facts(tmp_path):
    table = decided(None, "too_long", None, "too_long").with_columns(source=pl.Series(["b", "b", "a", "b"]))
    write_filter(tmp_path, "screen", table, {"seconds": 1})
    facts = read_json(tmp_path / "manifest.json")["facts"]
    assert facts == {"sources": {"b": {"kept": 1, "too_long": 2}, "a": {"kept": 1}}, "seconds": 1}


def test_a_stages_own_account_of_its_sources_is_left_as_it_is(tmp_path):
    told = {"sources": {"a": {"rows": 9, "taken": 1, "rejected": {}}}}
    write_filter(tmp_path, "pull", decided(None).with_columns(source=pl.lit("a")), told)
    assert read_json(tmp_path / "manifest.json")["facts"] == told
