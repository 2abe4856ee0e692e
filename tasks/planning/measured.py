"""What an earlier run has measured: questions, responses, their length and speed, from the manifests it left."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tasks.errors import LimoError
from tasks.files import MANIFEST, read_json
from tasks.models.hardware import Machine, gpu_kind
from tasks.planning.given import Given

COUNTED = {
    "screen.questions": "decontaminate",
    "band.questions": "screen",
    "reason.questions": "band",
    "train.samples": "train",
}
"""Whose kept rows are a stage's input; those of `train` are not too long."""


class Measured(NamedTuple):
    """Numbers by their keys, and tokens a second."""

    numbers: dict[str, Given]
    speeds: dict[str, Given]
    """By stage, or stage and model: of the machine it ran on, which is this kind of machine."""


NOTHING = Measured({}, {})


def read_measured(folder: Path, parameters: Mapping[str, int], machine: Machine | None) -> Measured:
    """What the artifacts in `folder` tell.

    Args:
        parameters: of each model of the profile, by name; those of the run must be the same.
        machine: speeds count if they were measured on GPUs of its kind (None: on a CPU).

    Raises:
        LimoError: there is no run, or it is one with other models.
    """
    facts = {path.parent.name: read_json(path) for path in sorted(folder.glob(f"*/{MANIFEST}"))}
    if "base" not in facts:
        raise LimoError(f"{folder}: no run there; --measured takes the artifacts folder of an earlier run")
    for name, there in facts["base"]["facts"].get("parameters", {}).items():
        if parameters.get(name) != there:
            ours = f"{parameters[name]:,} parameters" if name in parameters else "no such model"
            raise LimoError(f"{folder}: its model `{name}` has {there:,} parameters, the profile {ours}: another run")
    numbers = {
        key: Given(facts[stage]["kept"], _where(folder, stage)) for key, stage in COUNTED.items() if stage in facts
    }
    speeds: dict[str, Given] = {}
    for key, stage, told in _drawn(facts):
        numbers |= _lengths(key, told, _where(folder, stage))
        seconds = told["seconds"] - told.get("engine", {}).get("start_seconds", 0)
        if told.get("tokens_generated") and seconds > 0 and _same(told.get("engine", {}).get("engine", ""), machine):
            speeds[key] = Given(told["tokens_generated"] / seconds, _where(folder, stage))
    if "train" in facts:
        more = _trained(facts["train"], _where(folder, "train"), machine)
        numbers, speeds = numbers | more.numbers, speeds | more.speeds
    if "answer" in facts:
        numbers["answer.questions"] = Given(facts["answer"]["facts"]["items"], _where(folder, "answer"))
    return Measured(numbers, speeds)


def _where(folder: Path, stage: str) -> str:
    return f"measured: {folder / stage}"


def _drawn(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every drawing of responses: its key, its stage and its facts."""
    for stage in ("screen", "band"):
        if stage in facts:
            yield stage, stage, facts[stage]["facts"]
    for told in facts.get("reason", {}).get("facts", {}).get("teachers", []):
        yield f"reason.{told['model']}", "reason", told
    for arm, told in facts.get("answer", {}).get("facts", {}).get("arms", {}).items():
        yield f"answer.{arm}", "answer", told
    judge = facts.get("grade", {}).get("facts", {}).get("judge")
    if judge and judge.get("responses"):
        yield "grade", "grade", judge


def _lengths(key: str, told: Mapping[str, Any], where: str) -> dict[str, Given]:
    responses = told.get("responses", 0)
    if not responses:
        return {}
    found = {f"{key}.tokens": Given(told["tokens"] / responses, where)}
    if key in ("screen", "band"):
        found[f"{key}.drawn"] = Given(responses / (responses + told["samples_not_drawn"]), where)
    if key == "grade":
        found["grade.responses"] = Given(responses, where)
    return found


def _same(engine: str, machine: Machine | None) -> bool:
    """Whether an engine such as `vllm 0.26.0 NVIDIA-H200 bfloat16` ran on this kind of machine."""
    return " cpu " in f" {engine} " if machine is None else machine.gpu.name in engine.replace("-", " ").split()


def _trained(manifest: Mapping[str, Any], where: str, machine: Machine | None) -> Measured:
    told = manifest["facts"]
    numbers = {"train.tokens": Given(told["tokens"] / (told["epochs"] * manifest["kept"]), where)}
    kind = gpu_kind(told["device"])
    # On as many of them: how training scales is not known.
    same = told["device"] == "cpu" if machine is None else (kind, told["world_size"]) == (machine.gpu, machine.number)
    if not same or not told["step_seconds"]:
        return Measured(numbers, {})
    return Measured(numbers, {"train": Given(told["tokens"] / told["step_seconds"], where)})
