"""The numbers of a plan: public counts, what the user assumes, and what it takes from an earlier run's manifests."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from flows.plan.numbers import CONFIGS, SMOLLM2, Band, Number, Numbers, one, read_assumed, read_measured
from tasks.core.errors import LimoError
from tasks.core.files import publish
from tasks.core.stage import Stage, write_manifest
from tasks.models.shapes import parameters, read_machine, read_shape

SHIPPED = sorted(Path("tasks/shipped").glob("*/config.json"))
SIZES = {"weak": 1000, "base": 2000}


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (CONFIGS["Qwen/Qwen2.5-32B-Instruct"], 32_763_876_352),
        (CONFIGS["Qwen/Qwen2.5-Math-7B-Instruct"], 7_615_616_512),
        (CONFIGS["deepseek-ai/DeepSeek-R1"], 671_026_419_200),
        (SMOLLM2, 134_515_008),
    ],
)
def test_parameters_of_public_models(config, count):
    assert parameters(read_shape(config, "x")) == count


@pytest.mark.parametrize("config", SHIPPED, ids=str)
def test_parameters_of_the_shipped_models(config):
    with safe_open(config.parent / "model.safetensors", "np") as file:
        sizes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    there = sum(size[0] * (size[1] if len(size) > 1 else 1) for size in sizes)
    assert parameters(read_shape(json.loads(config.read_text()), str(config))) == there


def test_sampling_ends_when_the_outcome_is_certain():
    assert one(1, Band(32, 1, 3)) == (4, 0)
    assert one(0, Band(32, 1, 3)) == (32, 0)


@pytest.mark.parametrize("text", ["8H200", "0xH200", "8xH900", ""])
def test_no_such_machine(text):
    with pytest.raises(LimoError, match="--gpus"):
        read_machine(text)


def test_what_is_assumed_goes_before_what_is_measured():
    numbers = Numbers(read_assumed(["band.tokens=9000"], []), {"band.tokens": Number(5, "measured")})
    assert numbers.of("band.tokens", Number(1, "assumed")) == 9000
    with pytest.raises(LimoError, match="STAGE.WHAT=NUMBER"):
        read_assumed(["band.x=3"], [])


@pytest.fixture
def artifacts(tmp_path):
    """Writes a run's manifests; a stage's facts may be replaced."""

    def write(**changed):
        drawn = {"responses": 400, "tokens": 8000, "samples_not_drawn": 100, "seconds": 20.0}
        drawn["engines"] = ["vllm 0.26.0 NVIDIA-H200 bfloat16", "vllm 0.32.0 NVIDIA-H200 bfloat16"]
        trained = {"tokens": 64000, "epochs": 4.0, "seconds": 32.0, "device": "cpu", "world_size": 2}
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
                own = facts | changed.get(stage, {})
                write_manifest(part, Stage(stage, units), taken=kept, kept=kept, facts=own)
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
