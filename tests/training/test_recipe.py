"""Errors in the section train, what decides the folder of checkpoints, and its lock."""

import threading
import time

import pytest

from tasks.core.params import section_errors
from tasks.training.recipe import Recipe, job_key, lock_work
from tests.training.tiny import make_samples


def test_all_errors_at_once():
    errors = section_errors("train", {"epochs": 0, "weighting": "word", "learning_rate": 1}, Recipe)
    assert [line.split(":")[0] for line in errors] == ["train.epochs", "train.weighting", "train.learning_rate"]


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
    assert any(said in line for line in section_errors("train", given, Recipe))


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


GIVEN = (Recipe(), make_samples(3), "m_1", "Think.")


@pytest.mark.parametrize(
    "changed",
    [
        (Recipe(lr=1e-5), *GIVEN[1:]),
        (Recipe(precision="fp32"), *GIVEN[1:]),
        (GIVEN[0], make_samples(3, text="another"), *GIVEN[2:]),
        (GIVEN[0], make_samples(2), *GIVEN[2:]),
        (*GIVEN[:2], "m_2", "Think."),
        (*GIVEN[:3], "Do not think."),
    ],
)
def test_another_setting_starts_from_step_0(changed):
    assert job_key(*changed) != job_key(*GIVEN)


def test_what_does_not_matter_resumes():
    recipe = Recipe(checkpoint_every=2, keep_checkpoints=1, export_dtype="float32", select_epoch=9)
    assert job_key(recipe, *GIVEN[1:]) == job_key(*GIVEN)


def test_another_way_to_compute_a_step_resumes():
    how = {"pack_tokens": 9, "activation_checkpointing": True, "cpu_offload": True, "compile": True}
    recipe = Recipe(processes=4, nodes=2, **how)
    assert job_key(recipe, *GIVEN[1:]) == job_key(*GIVEN)


def test_a_second_run_reports_that_it_waits_and_continues_when_the_first_has_ended(tmp_path, capfd):
    first, locks = lock_work(tmp_path), []
    second = threading.Thread(target=lambda: locks.append(lock_work(tmp_path)), daemon=True)
    second.start()
    printed = ""
    while not printed:
        assert second.is_alive()
        time.sleep(0.05)
        printed = capfd.readouterr().out
    assert printed == f"train: an earlier run is still saving to {tmp_path}; waiting for its lock\n"
    assert locks == []
    first.close()
    second.join(600)
    assert len(locks) == 1
    locks[0].close()
