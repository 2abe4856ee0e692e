import polars as pl
import pytest

from tasks.errors import LimoError
from tasks.tracing.fate import question_fate, question_row
from tests.artifacts import write_run


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("artifacts"))


def outcomes(artifacts, path, **where):
    question = pl.read_parquet(artifacts / path).filter(**where)["question_id"][0]
    return {step.stage: (step.outcome, step.why) for step in question_fate(artifacts, question)}


def test_the_fate_ends_at_the_stage_that_rejected_the_question(artifacts):
    fate = outcomes(artifacts, "screen/rejected.parquet")
    assert list(fate) == ["pull", "clean", "decontaminate", "screen"]
    assert fate["screen"] == ("rejected", "solved; because of screen; 1 of 1 responses right")


def test_a_selected_question_goes_through_to_training(artifacts):
    fate = outcomes(artifacts, "select/kept.parquet", rank=1)
    assert list(fate)[-4:] == ["reason", "score", "select", "train"]
    assert fate["reason"] == ("kept", "2 right chains of 3 responses")
    assert fate["train"][0] == "kept"


def test_a_question_below_the_cut_says_so(artifacts):
    fate = outcomes(artifacts, "select/rejected.parquet", reason="below_cut")
    assert fate["select"][0] == "rejected"
    assert fate["select"][1].startswith("below_cut; place")
    assert "train" not in fate


def test_a_question_of_another_run_is_refused(artifacts):
    with pytest.raises(LimoError, match="q_other: not in"):
        question_row(artifacts, "q_other")
