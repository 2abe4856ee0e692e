import polars as pl
import pytest

from tasks import band, clean, decontaminate, reason, screen, select
from tasks.core import files
from tasks.core.errors import LimoError
from tasks.core.files import publish
from tasks.core.filter import write_filter
from tasks.core.stage import Stage, has_run, read_manifests, write_manifest
from tasks.sampling.sampler import TOO_LONG_REASON
from tests.builders import manifest_of


def decided(*reasons):
    rows = {
        "question_id": [f"q_{n}" for n in range(len(reasons))],
        "reason": list(reasons),
        "evidence": [""] * len(reasons),
    }
    return pl.DataFrame(rows, schema_overrides={"reason": pl.String, "evidence": pl.String})


WORDS = {"too_long": "has too many characters", "no_answer": "has no answer", "unused": "never happens"}
STAGE = Stage("clean", "questions", WORDS)


def write(tmp_path, decided, facts=None):
    """The manifest of a filter that took artifacts/pull/kept.parquet."""
    with publish(tmp_path / "clean") as part:
        write_filter(part, STAGE, decided, tmp_path / "pull/kept.parquet", facts)
    return manifest_of(tmp_path / "clean")


def test_a_filter_keeps_what_has_no_reason_and_describes_itself(tmp_path):
    manifest = write(tmp_path, decided(None, "too_long", "too_long", "no_answer"), {"seconds": 1})
    kept, rejected = (pl.read_parquet(tmp_path / "clean" / f"{name}.parquet") for name in ("kept", "rejected"))
    assert kept.to_dict(as_series=False) == {"question_id": ["q_0"]}
    assert rejected["question_id"].to_list() == ["q_1", "q_2", "q_3"]
    assert manifest == {
        "stage": "clean",
        "unit": "questions",
        "takes": "pull",
        "taken": 4,
        "kept": 1,
        "rejected": {"no_answer": 1, "too_long": 2},
        "reasons": WORDS,
        "facts": {"seconds": 1},
    }


def test_a_filter_that_keeps_nothing_says_what_dropped_it_and_writes_nothing(tmp_path):
    with pytest.raises(LimoError, match=r"clean: no row is left of 3 \(2 too_long, 1 no_answer\)"):
        write(tmp_path, decided("too_long", "too_long", "no_answer"))
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_do_not_add_up_are_a_bug(tmp_path):
    with pytest.raises(AssertionError, match="1 kept"):
        write_manifest(tmp_path, STAGE, taken=3, kept=1, rejected={"no_answer": 1})


def test_a_reason_without_words_is_a_bug(tmp_path):
    with pytest.raises(AssertionError, match="a reason without words"):
        write_manifest(tmp_path, STAGE, taken=3, kept=1, rejected={"odd": 2})


def test_a_table_with_sources_has_each_ones_counts_among_the_facts(tmp_path):
    table = decided(None, "too_long", None, "too_long").with_columns(source=pl.Series(["b", "b", "a", "b"]))
    facts = write(tmp_path, table, {"seconds": 1})["facts"]
    assert facts == {"sources": {"b": {"kept": 1, "too_long": 2}, "a": {"kept": 1}}, "seconds": 1}


def test_a_stages_own_account_of_its_sources_is_left_as_it_is(tmp_path):
    told = {"sources": {"a": {"rows": 9, "taken": 1, "rejected": {}}}}
    assert write(tmp_path, decided(None).with_columns(source=pl.lit("a")), told)["facts"] == told


def test_a_manifest_of_a_stage_that_dvc_yaml_no_longer_has_is_left_out(tmp_path):
    for stage in ("clean", "gone", "pull"):
        with publish(tmp_path / stage) as part:
            write_manifest(part, Stage(stage, "questions"), takes=None, taken=1, kept=1)
    assert list(read_manifests(tmp_path)) == ["pull", "clean"]


def test_a_run_that_dies_among_its_tables_leaves_no_manifest_of_the_run_before(tmp_path, monkeypatch):
    write(tmp_path, decided(None))
    monkeypatch.setattr(files, "_replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(tmp_path, decided(None, None))
    assert not has_run(tmp_path, "clean")
    assert list((tmp_path / "manifests").iterdir()) == []


def test_the_reasons_of_the_stages_have_words():
    assert {screen.SOLVED, TOO_LONG_REASON} == set(screen.STAGE.reasons)
    assert {band.NEVER, band.TOO_SELDOM, band.TOO_OFTEN, TOO_LONG_REASON} == set(band.STAGE.reasons)
    reasons = {reason.WRONG, reason.UNGRADED, reason.TRUNCATED, reason.LOOPED, TOO_LONG_REASON}
    assert reasons == set(reason.STAGE.reasons)
    assert decontaminate.REASON in decontaminate.STAGE.reasons
    assert {rule.reason for rule in clean.rules(clean.CleanParams())} <= set(clean.STAGE.reasons)
    assert select.LEAKED in select.STAGE.reasons
