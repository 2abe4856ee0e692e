"""What decides the course of training decides the folder of its checkpoints."""

import pytest

from tasks.training.recipe import Recipe, job_key
from tests.training.tiny import make_samples

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
def test_another_setting_starts_afresh(changed):
    assert job_key(*changed) != job_key(*GIVEN)


def test_what_does_not_matter_goes_on():
    recipe = Recipe(checkpoint_every=2, keep_checkpoints=1, export_dtype="float32", select_epoch=9)
    assert job_key(recipe, *GIVEN[1:]) == job_key(*GIVEN)


def test_how_a_step_is_computed_goes_on():
    how = {"pack_tokens": 9, "activation_checkpointing": True, "cpu_offload": True, "compile": True}
    recipe = Recipe(processes=4, nodes=2, **how)
    assert job_key(recipe, *GIVEN[1:]) == job_key(*GIVEN)
