import shutil

import polars as pl
import pytest

from flows.explain.question import Step, question_history, question_row, resolve
from tasks.core.errors import LimoError
from tasks.reporting.sources import Rows
from tests.artifacts import write_run
from tests.builders import forget


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("artifacts"))


def outcomes(artifacts, path, **where):
    question = pl.read_parquet(artifacts / path).filter(**where)["question_id"][0]
    return {step.stage: (step.outcome, step.why) for step in question_history(Rows(artifacts, [question]), question)}


def test_the_history_ends_at_the_stage_that_rejected_the_question(artifacts):
    history = outcomes(artifacts, "screen/rejected.parquet")
    assert list(history) == ["pull", "clean", "decontaminate", "screen"]
    solved = pl.read_parquet(artifacts / "screen/rejected.parquet")["evidence"][0]
    assert solved.startswith("r_")
    assert history["screen"] == (
        "rejected",
        f"solved_by_weak_model: too easy: the weak model solves it; {solved}; 1 of 1 response right",
    )


def test_a_selected_question_goes_through_to_training(artifacts):
    history = outcomes(artifacts, "select/kept.parquet", rank=1)
    assert list(history)[-4:] == ["reason", "score", "select", "train"]
    assert history["reason"] == ("kept", "2 right chains of 3 responses")
    assert history["train"][0] == "kept"


def test_a_question_below_the_cut_says_so(artifacts):
    history = outcomes(artifacts, "select/rejected.parquet", reason="below_cut")
    assert history["select"][0] == "rejected"
    assert history["select"][1].startswith("below_cut: good, but below the cut at `select.count`; place")
    assert "train" not in history


def test_a_question_of_another_run_is_refused(artifacts):
    with pytest.raises(LimoError, match="q_other: not in"):
        question_row(Rows(artifacts, ["q_other"]), "q_other")


def test_a_row_that_the_source_has_twice_is_kept_once_and_says_so(artifacts):
    history = outcomes(artifacts, "pull/rejected.parquet", reason="repeated_row")
    assert history["pull"] == ("kept", "1 further row of the same text rejected")
    assert history["clean"][0] == "rejected"


def test_a_kept_question_whose_answer_disagrees_is_flagged(artifacts):
    history = outcomes(artifacts, "clean/clusters.parquet", cluster_id="k_4", agrees=False)
    assert history["clean"][0] == "kept"
    assert "says nearly the same and has another answer" in history["clean"][1]


def test_evidence_in_json_is_told_in_short(artifacts):
    history = outcomes(artifacts, "decontaminate/rejected.parquet")
    item = pl.read_parquet(artifacts / "decontaminate" / "hits.parquet")["item_id"][0]
    assert history["decontaminate"][1] == (
        f"benchmark_overlap: overlaps a benchmark item; sums, {item}, rule ngram, share 0.8"
    )


def test_a_chain_left_out_of_training_says_why(artifacts, tmp_path):
    changed = shutil.copytree(artifacts, tmp_path / "artifacts")
    sample = pl.read_parquet(changed / "select" / "kept.parquet").head(1)
    left_out = sample.with_columns(reason=pl.lit("too_long"), evidence=pl.lit("900 tokens"))
    left_out.write_parquet(changed / "train" / "rejected.parquet")
    history = outcomes(changed, "select/kept.parquet", rank=1)
    assert history["train"] == ("rejected", "too_long: has more tokens than training takes; 900 tokens")


@pytest.mark.parametrize(
    ("gone", "last"), [("decontaminate", "clean"), ("screen", "decontaminate"), ("reason", "band"), ("select", "score")]
)
def test_stages_that_have_not_run_are_told_as_such(artifacts, tmp_path, gone, last):
    part = shutil.copytree(artifacts, tmp_path / "artifacts")
    question = pl.read_parquet(artifacts / "select" / "kept.parquet")["question_id"][0]
    stages = ["pull", "clean", "decontaminate", "screen", "band", "reason", "score", "select", "train"]
    for stage in stages[stages.index(gone) :]:
        forget(part, stage)
    history = question_history(Rows(part, [question]), question)
    assert [step.stage for step in history] == stages
    assert [step.stage for step in history if step.outcome == "kept"][-1] == last
    assert history[stages.index(gone) :] == [Step(stage, "not run", "") for stage in stages[stages.index(gone) :]]


def test_a_stage_that_ran_on_other_questions_says_so_and_ends_the_history(artifacts, tmp_path):
    stale = shutil.copytree(artifacts, tmp_path / "artifacts")
    question = pl.read_parquet(artifacts / "select" / "kept.parquet")["question_id"][0]
    for name in ("kept", "rejected"):
        path = stale / "screen" / f"{name}.parquet"
        pl.read_parquet(path).filter(pl.col("question_id") != question).write_parquet(path)
    last = question_history(Rows(stale, [question]), question)[-1]
    assert last == Step("screen", "not seen", "it ran on other questions; `dvc repro screen` brings it up to date")


def test_an_id_is_found_by_its_beginning(artifacts):
    question = pl.read_parquet(artifacts / "pull" / "kept.parquet")["question_id"][0]
    rows = Rows(artifacts, [])
    assert resolve(rows, question) == resolve(rows, question[:14]) == question


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("q_", r"'q_': several questions have an id that begins so, such as q_\w+, q_\w+, .*; give more of it"),
        ("q_zz", r"'q_zz': no question in .*pull has an id that begins so$"),
        ("c_1", r"'c_1': no question in .* begins so; `limo trace` explains chains"),
    ],
)
def test_an_id_that_is_no_questions_is_one_clear_line(artifacts, prefix, said):
    with pytest.raises(LimoError, match=said):
        resolve(Rows(artifacts, []), prefix)


def test_before_pull_there_is_nothing_to_ask_about(tmp_path):
    with pytest.raises(LimoError, match="pull: nothing there yet; `dvc repro pull`"):
        resolve(Rows(tmp_path, []), "q_1")
