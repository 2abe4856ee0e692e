"""Which checkpoint a run exports, and how that is told."""

import pytest

from tasks.training.data import Encoded, choice_of, schedule_of
from tasks.training.recipe import Recipe

SAMPLES = [Encoded(f"c_{place}", [1, 2, 3, 4], 2) for place in range(800)]


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (Recipe(global_batch=32, select_epoch=9), "epoch 9 of 15, step 225 of 375: chosen by train.select_epoch"),
        (Recipe(global_batch=32), "epoch 15 of 15, step 375 of 375: the last"),
        (Recipe(steps=30, batch_tokens=100), "step 30 of 30: the last"),
    ],
)
def test_the_choice_is_told(recipe, told):
    assert str(choice_of(schedule_of(SAMPLES, recipe), recipe)) == told
