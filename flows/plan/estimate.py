"""A stage's tokens, hours and money; and what does not fit."""

from typing import Any, NamedTuple

from flows.plan import memory, speed
from flows.plan.memory import tokens_a_second
from flows.plan.numbers import Given
from flows.plan.speed import Rates
from tasks.engines.params import EngineParams
from tasks.models.shapes import Machine, Shape
from tasks.training.recipe import Recipe

GIB = 2**30
HOUR = 3600


class Setting(NamedTuple):
    """What holds for all stages."""

    machine: Machine | None
    """None: a CPU, of which nothing is known but what was measured."""
    rates: Rates
    prompt: float
    """Tokens of a prompt."""


class Draw(NamedTuple):
    """What a stage asks of one model."""

    name: str
    model: str
    questions: float
    responses: float
    """Expected."""
    most_responses: float
    tokens: float
    """Of a response, on average."""
    most_tokens: int
    """Of a response, at most."""


class Estimate(NamedTuple):
    """What a stage comes to with one model."""

    name: str
    model: str
    questions: float | None
    responses: float
    tokens: float
    most_tokens: float
    """If every response that may be asked for runs to its limit."""
    rate: float | None
    """Tokens a second, of all GPUs that it uses; None: not known."""
    measured: bool
    hours: float | None
    gpus: int
    misfits: list[str]
    ways: list[str]
    notes: list[str]
    memory: dict[str, float]
    """GiB a GPU, by what for."""
    otherwise: dict[str, float]
    """The same of training, with `activation_checkpointing` the other way."""


def estimate_draw(draw: Draw, shape: Shape, engine: EngineParams, setting: Setting, speed: Given | None) -> Estimate:
    """A stage that samples.

    Args:
        engine: as it is for this model.
        speed: tokens a second, where measured.
    """
    machine, gpus = setting.machine, engine.tensor_parallel * engine.data_parallel
    made = Estimate(
        name=draw.name,
        model=draw.model,
        questions=draw.questions,
        responses=draw.responses,
        tokens=draw.responses * draw.tokens,
        most_tokens=draw.most_responses * draw.most_tokens,
        rate=speed.value if speed else None,
        measured=speed is not None,
        hours=None,
        gpus=gpus,
        misfits=[],
        ways=[],
        notes=[],
        memory={},
        otherwise={},
    )
    if engine.kind == "openai":
        made = made._replace(gpus=0, notes=["on servers of yours: their GPUs are not planned"])
    elif machine is not None:
        made = _on_gpus(made, draw, shape, engine, setting)
    return made._replace(hours=made.tokens / made.rate / HOUR if made.rate else None) if not made.misfits else made


def _on_gpus(made: Estimate, draw: Draw, shape: Shape, engine: EngineParams, setting: Setting) -> Estimate:
    machine = setting.machine
    assert machine is not None
    served = speed.serve(shape, engine, machine)
    memory = {"weights": served.weights / GIB, "kv_cache": served.cache / GIB, "cache_tokens": served.cache_tokens}
    misfits = speed.misfits(shape, engine, machine)
    if misfits:
        ways = speed.ways_to_fit(shape, engine, machine)
        return made._replace(misfits=misfits, ways=ways, memory=memory, rate=None)
    notes = _notes(shape, engine, machine)
    if made.rate is None:
        asked = {"prompt": setting.prompt, "tokens": draw.tokens}
        writing = made.tokens / speed.decoded_a_second(shape, engine, machine, setting.rates, **asked)
        reading = speed.prompt_seconds(
            shape, engine, machine, setting.rates, prompts=draw.questions, prompt=setting.prompt
        )
        made = made._replace(rate=made.tokens / (writing + reading))
    return made._replace(memory=memory, notes=notes)


def _notes(shape: Shape, engine: EngineParams, machine: Machine) -> list[str]:
    notes = []
    copies = machine.number // engine.tensor_parallel
    if copies > engine.data_parallel:
        idle = machine.number - engine.tensor_parallel * engine.data_parallel
        notes.append(f"{idle} GPUs idle: data_parallel {copies} would use {copies * engine.tensor_parallel}")
    if shape.width < 2 and not machine.gpu.fp8:
        notes.append(f"its weights are fp8, which {machine.gpu.name} does not multiply: vLLM may refuse them")
    return notes


def estimate_train(
    shape: Shape, recipe: Recipe, samples: float, length: float, setting: Setting, speed: Given | None
) -> Estimate:
    """Training on `samples` of `length` tokens on average."""
    machine, checkpointing = setting.machine, recipe.activation_checkpointing
    tokens = train_tokens(recipe, samples, length)
    made = Estimate(
        name="train",
        model="",
        questions=None,
        responses=samples,
        tokens=tokens,
        most_tokens=train_tokens(recipe, samples, recipe.max_length),
        rate=speed.value if speed else None,
        measured=speed is not None,
        hours=None,
        gpus=recipe.processes,
        misfits=[],
        ways=[],
        notes=[],
        memory=_parts(shape, recipe, machine),
        otherwise=_parts(shape, recipe.model_copy(update={"activation_checkpointing": not checkpointing}), machine),
    )
    if machine is not None:
        misfits = memory.misfits(shape, recipe, machine)
        if misfits:
            ways = [str(way) for way in memory.ways_to_fit(shape, recipe, machine)]
            return made._replace(misfits=misfits, ways=ways, rate=None)
        ranks = machine._replace(number=recipe.processes)
        rate = tokens_a_second(shape, recipe, ranks, length=length, mfu=setting.rates.mfu)
        idle = machine.number - recipe.processes
        notes = [f"{idle} GPUs idle: processes {machine.number} would use all"] if idle else []
        made = made._replace(rate=made.rate or rate, notes=notes)
    return made._replace(hours=tokens / made.rate / HOUR if made.rate else None)


def train_tokens(recipe: Recipe, samples: float, length: float) -> float:
    """Tokens of the whole run, up to the epoch that is exported."""
    if recipe.steps is not None and recipe.batch_tokens is not None:
        return recipe.steps * recipe.batch_tokens
    return samples * length * (recipe.select_epoch or recipe.epochs)


def _parts(shape: Shape, recipe: Recipe, machine: Machine | None) -> dict[str, float]:
    held = memory.on_gpu(shape, recipe)
    if machine is None:
        held = held._replace(settled=0)
    return {name: value / GIB for name, value in (held._asdict() | {"peak": held.peak}).items()}


def as_json(made: Estimate, machine: Machine | None, price: float | None) -> dict[str, Any]:
    """All of it, with the GPU-hours of the whole machine, and their cost where a price is given."""
    told: dict[str, Any] = made._asdict()
    told["gpu_hours"] = made.hours * machine.number if made.hours is not None and machine is not None else None
    told["cost"] = told["gpu_hours"] * price if told["gpu_hours"] is not None and price is not None else None
    return told
