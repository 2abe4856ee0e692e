"""What a plan takes from an earlier run's manifests: counts, lengths and speeds, and which of them it leaves."""

import pytest

from flows.plan.numbers import read_measured
from tasks.core.errors import LimoError
from tasks.core.files import publish
from tasks.core.stage import Stage, write_manifest
from tasks.models.shapes import read_machine

SIZES = {"weak": 1000, "base": 2000}


@pytest.fixture
def artifacts(tmp_path):
    """Writes a run's manifests; a stage's facts may be replaced."""

    def write(**changed):
        drawn = {"responses": 400, "tokens": 8000, "samples_not_drawn": 100, "seconds": 20.0}
        drawn["engines"] = ["vllm 0.26.0 NVIDIA-H200 bfloat16", "vllm 0.32.0 NVIDIA-H200 bfloat16"]
        trained = {"tokens": 64000, "epochs": 4.0, "step_seconds": 32.0, "device": "cpu", "world_size": 2}
        stages = {
            "base": (2, {"parameters": SIZES}),
            "decontaminate": (90, {}),
            "screen": (70, drawn),
            "train": (16, trained),
            "answer": (0, {"items": 30, "arms": {"trained": drawn}}),
        }
        for stage, (kept, facts) in stages.items():
            units = "samples" if stage == "train" else "questions"
            with publish(tmp_path / stage) as part:
                told = facts | changed.get(stage, {})
                write_manifest(part, Stage(stage, units), taken=kept, kept=kept, facts=told)
        return tmp_path

    return write


def values(given):
    return {key: each.value for key, each in given.items()}


def test_counts_and_lengths(artifacts):
    found = values(read_measured(artifacts(), SIZES, None).numbers)
    assert found == {
        "screen.questions": 90,
        "band.questions": 70,
        "train.samples": 16,
        "screen.tokens": 20,
        "screen.drawn": 0.8,
        "answer.trained.tokens": 20,
        "train.tokens": 1000,
        "answer.questions": 30,
    }


def test_speeds_are_taken_of_the_kind_of_machine_that_is_planned_for(artifacts):
    folder = artifacts()
    assert values(read_measured(folder, SIZES, read_machine("8xH200")).speeds) == {
        "screen": 400,
        "answer.trained": 400,
    }
    assert values(read_measured(folder, SIZES, read_machine("8xH100")).speeds) == {}
    assert values(read_measured(folder, SIZES, None).speeds) == {"train": 2000}


def test_the_speed_of_training_is_of_as_many_gpus_of_the_kind(artifacts):
    folder = artifacts(train={"device": "NVIDIA H200", "world_size": 8})
    assert read_measured(folder, SIZES, read_machine("8xH200")).speeds["train"].value == 2000
    for other in (read_machine("4xH200"), read_machine("8xH100"), None):
        assert "train" not in read_measured(folder, SIZES, other).speeds


@pytest.mark.parametrize(
    "unknown",
    [
        {"seconds": None},
        {"engines": []},
        {"engines": ["vllm 0.26.0 NVIDIA-H200 bfloat16", "vllm 0.26.0 NVIDIA-H100 bfloat16"]},
        {"engines": ["vllm 0.26.0 http://10.0.0.5:8000/v1"]},
    ],
)
def test_without_the_time_or_on_other_gpus_there_is_no_speed(artifacts, unknown):
    speeds = read_measured(artifacts(screen=unknown), SIZES, read_machine("8xH200")).speeds
    assert "screen" not in speeds
    assert "answer.trained" in speeds


def test_a_number_names_the_stage_that_it_is_from(artifacts):
    folder = artifacts()
    assert read_measured(folder, SIZES, None).numbers["screen.tokens"].source == f"measured: {folder / 'screen'}"


def test_a_run_with_other_models_is_refused(artifacts, tmp_path):
    folder = artifacts()
    with pytest.raises(LimoError, match="its model `weak` has 1,000 parameters, the profile 7 parameters: another run"):
        read_measured(folder, SIZES | {"weak": 7}, None)
    with pytest.raises(LimoError, match="no run there"):
        read_measured(tmp_path / "nowhere", SIZES, None)
