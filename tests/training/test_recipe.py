"""Mistakes in the section `train`, all at once, with their key paths."""

import pytest

from tasks.core.params import section_errors
from tasks.training.recipe import Recipe


def test_all_mistakes_at_once():
    mistakes = section_errors("train", {"epochs": 0, "weighting": "word", "learning_rate": 1}, Recipe)
    assert [m.split(":")[0] for m in mistakes] == ["train.epochs", "train.weighting", "train.learning_rate"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epochs": 3, "select_epoch": 4}, "select_epoch 4 is past the last of 3 epochs"),
        ({"global_batch": 2, "processes": 4}, "global_batch 2 leaves some of the 4 processes without a sample"),
        ({"processes": 3, "nodes": 2}, "processes 3 is not a multiple of nodes 2"),
        ({"device": "cpu", "cpu_offload": True}, "need device cuda"),
    ],
)
def test_settings_that_contradict(given, said):
    assert any(said in mistake for mistake in section_errors("train", given, Recipe))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 10}, "steps and batch_tokens go together"),
        ({"steps": 10, "batch_tokens": 100, "select_epoch": 1}, "select_epoch goes with epochs"),
    ],
)
def test_a_run_counted_in_steps_is_consistent(given, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**given)
