"""A run that is not FSDP2 over all its ranks does not start."""

from types import SimpleNamespace

import pytest

from tasks.core.errors import LimoError
from tasks.training.fsdp import accelerate_config, require_fsdp2
from tasks.training.recipe import Recipe


def test_a_wrong_number_of_ranks():
    with pytest.raises(LimoError, match="train.processes is 2, but 1 ranks run"):
        require_fsdp2(SimpleNamespace(num_processes=1), None, 2)


def test_plain_data_parallelism_is_refused():
    from torch import nn

    accelerator = SimpleNamespace(num_processes=2, is_fsdp2=False, distributed_type="MULTI_CPU")
    with pytest.raises(
        RuntimeError, match="not sharded by FSDP2 over 2 ranks: MULTI_CPU, unsharded parameters .'weight'"
    ):
        require_fsdp2(accelerator, nn.Linear(2, 2), 2)


def test_the_launcher_gets_the_recipe():
    config = accelerate_config(Recipe(processes=8, activation_checkpointing=True, precision="fp32", device="cuda"))
    assert (config["num_processes"], config["mixed_precision"]) == (8, "no")
    assert config["fsdp_config"]["fsdp_version"] == 2
    assert config["fsdp_config"]["fsdp_activation_checkpointing"]
