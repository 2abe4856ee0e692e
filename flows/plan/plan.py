"""`limo plan`: what a profile takes in memory, tokens, hours and money, on paper; and what does not fit."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from flows import check as checks
from flows import profiles
from flows.plan import memory, speed
from flows.plan.numbers import (
    ITEMS,
    NOTHING,
    ROWS,
    Band,
    Number,
    Numbers,
    banded,
    read_assumed,
    read_measured,
    screened,
    shape_of,
)
from flows.plan.speed import Rates
from flows.summary import render, table
from tasks.answer import AnswerParams
from tasks.band import BandParams
from tasks.base import BaseParams
from tasks.benchmarks import BenchmarksParams
from tasks.core.errors import LimoError
from tasks.core.params import TRAINED
from tasks.engines.params import EngineParams
from tasks.grade import GradeParams
from tasks.models.shapes import Machine, Shape, parameters, read_machine
from tasks.pull import PullParams
from tasks.reason import ReasonParams
from tasks.screen import ScreenParams
from tasks.select import SelectParams
from tasks.sources.source import SourceParams
from tasks.train import TrainParams
from tasks.training.recipe import Recipe

GIB = 2**30
HOUR = 3600
PROMPT = 200.0
"""Tokens of a prompt: assumed."""
MEAN_SHARE = 0.25
"""Of `max_tokens`, that responses take on average: assumed."""
OPEN_SHARE = 0.05
"""Of the answers, that are different and left to the judge: assumed."""
SPREAD = "assumed: a pool as hard as that of SwS (arXiv 2506.08989)"
ARMS = ("base", TRAINED)
PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "gathered", "layer", "settled", "peak", "host")


class Profile(NamedTuple):
    """The sections of a profile that cost GPU time, and the shapes of its models."""

    pull: PullParams
    benchmarks: BenchmarksParams
    engine: EngineParams
    screen: ScreenParams
    band: BandParams
    reason: ReasonParams
    select: SelectParams
    train: TrainParams
    answer: AnswerParams
    grade: GradeParams
    shapes: dict[str, Shape]

    def shape(self, model: str) -> Shape:
        """The shape of a model; the trained one has that of the model it was made from."""
        return self.shapes[self.train.base if model == TRAINED else model]


def read_profile(tree: Mapping[str, Any]) -> Profile:
    """The sections of a valid tree.

    Raises:
        LimoError: a model's shape is not known.
    """
    models = BaseParams.model_validate(tree["base"]).models
    shapes = {name: shape_of(name, source) for name, source in models.items()}
    sections = {name: hint for name, hint in get_type_hints(Profile).items() if name != "shapes"}
    return Profile(
        **{name: model.model_validate(tree.get(name) or {}) for name, model in sections.items()}, shapes=shapes
    )


class Estimate(NamedTuple):
    """The cost of a stage with one model."""

    name: str
    model: str
    questions: float | None
    responses: float
    """Expected."""
    tokens: float
    most_tokens: float
    """If every response that may be requested runs to its limit."""
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


class Plan:
    """A profile on a machine: the estimates of its stages, and the numbers that they rest on."""

    def __init__(
        self,
        profile: Profile,
        machine: Machine | None,
        rates: Rates,
        numbers: Numbers,
        speeds: Mapping[str, Number],
    ) -> None:
        """Plan every stage that samples or trains, with each of its models, in the order in which they run.

        Args:
            machine: None: a CPU, of which nothing is known but what was measured.
            speeds: tokens a second, where measured.
        """
        self.profile, self.machine, self.rates, self.numbers, self._speeds = profile, machine, rates, numbers, speeds
        self.stages = [*self._filters(), *self._chains(), self._training(), *self._evaluation()]

    def _filters(self) -> Iterator[Estimate]:
        screen, band, numbers = self.profile.screen, self.profile.band, self.numbers
        expected = screened(screen.attempts)
        questions = numbers.of("screen.questions", _pool(self.profile.pull))
        if not questions:
            raise LimoError("limo plan: no source says how many rows it has; give --assume screen.questions=NUMBER")
        drawn = numbers.of("screen.drawn", Number(expected.drawn / screen.attempts, SPREAD))
        most = questions * screen.attempts
        yield self._sampling("screen", screen.model, questions, most * drawn, most, screen.sampling.max_tokens)
        kept = 1.0 if numbers.has("band.questions") else numbers.of("screen.kept", Number(expected.kept, SPREAD))
        questions = numbers.of("band.questions", Number(questions * kept, "screen.questions x screen.kept"))
        spread = banded(Band(band.samples, band.min_solved, band.max_solved, band.adaptive), min(1, expected.kept))
        drawn = numbers.of("band.drawn", Number(spread.drawn / band.samples, f"{SPREAD}, its hardest part"))
        most = questions * band.samples
        yield self._sampling("band", band.model, questions, most * drawn, most, band.sampling.max_tokens)
        kept = 1.0 if numbers.has("reason.questions") else numbers.of("band.kept", Number(spread.kept, SPREAD))
        source = "band.questions x band.kept; the paper's band kept 2,125"
        numbers.of("reason.questions", Number(questions * kept, source))

    def _chains(self) -> Iterator[Estimate]:
        questions = self.numbers.used["reason.questions"].value
        for teacher in self.profile.reason.teachers:
            name, responses = f"reason.{teacher.model}", questions * teacher.samples
            yield self._sampling(name, teacher.model, questions, responses, responses, teacher.sampling.max_tokens)

    def _training(self) -> Estimate:
        recipe, numbers = self.profile.train, self.numbers
        chains = [numbers.used[f"reason.{teacher.model}.tokens"].value for teacher in self.profile.reason.teachers]
        samples = numbers.of("train.samples", Number(self.profile.select.count, "params: select.count"))
        length = min(recipe.max_length, PROMPT + sum(chains) / len(chains))
        length = numbers.of("train.tokens", Number(length, "a prompt and a mean chain of reason"))
        trained = estimate_train(
            self.profile.shape(TRAINED), recipe, samples, length, self.machine, self.rates, self._speeds.get("train")
        )
        return trained._replace(model=recipe.base)

    def _evaluation(self) -> Iterator[Estimate]:
        answer, grade, numbers = self.profile.answer, self.profile.grade, self.numbers
        items = {benchmark.name: _rows(benchmark, ITEMS) for benchmark in self.profile.benchmarks.suite}
        total = numbers.of("answer.questions", _total(items, "benchmarks.suite"))
        known = sum(count or 0 for count in items.values()) or 1
        samples = sum((count or 0) * answer.protocol(name).samples for name, count in items.items())
        longest = max(answer.protocol(name).sampling.max_tokens for name in items)
        responses = total * (samples / known)
        for arm in ARMS:
            model = answer.base if arm == "base" else TRAINED
            yield self._sampling(f"answer.{arm}", model, total, responses, responses, longest)
        if judge := grade.judge:
            source = f"assumed: {OPEN_SHARE:.0%} of the answers are left open"
            cases = numbers.of("grade.responses", Number(len(ARMS) * responses * OPEN_SHARE, source))
            most = len(ARMS) * responses
            yield self._sampling("grade", judge.model, cases, cases, most, judge.sampling.max_tokens)

    def _sampling(
        self, name: str, model: str, questions: float, responses: float, most_responses: float, max_tokens: int
    ) -> Estimate:
        """A stage that samples.

        Args:
            responses: expected.
            max_tokens: of a response, within the model's context.
        """
        engine, shape = self.profile.engine.of(model), self.profile.shape(model)
        longest = min(max_tokens, engine.max_model_len or shape.context)
        mean = Number(MEAN_SHARE * longest, f"assumed: {MEAN_SHARE:.0%} of max_tokens")
        tokens = self.numbers.of(f"{name}.tokens", mean)
        measured = self._speeds.get(name)
        estimate = Estimate(
            name=name,
            model=model,
            questions=questions,
            responses=responses,
            tokens=responses * tokens,
            most_tokens=most_responses * longest,
            rate=measured.value if measured else None,
            measured=measured is not None,
            hours=None,
            gpus=0 if engine.kind == "openai" else engine.tensor_parallel * engine.data_parallel,
            misfits=[],
            ways=[],
            notes=["on servers of yours: their GPUs are not planned"] if engine.kind == "openai" else [],
            memory={},
            otherwise={},
        )
        if engine.kind != "openai" and self.machine is not None:
            estimate = _on_gpus(estimate, tokens, shape, engine, self.machine, self.rates)
        return estimate._replace(hours=estimate.tokens / estimate.rate / HOUR if estimate.rate else None)


def _on_gpus(
    estimate: Estimate, mean: float, shape: Shape, engine: EngineParams, machine: Machine, rates: Rates
) -> Estimate:
    """With memory and speed on GPUs.

    Args:
        mean: tokens of a response.
    """
    replica = speed.serve(shape, engine, machine)
    memory = {"weights": replica.weights / GIB, "kv_cache": replica.cache / GIB, "cache_tokens": replica.cache_tokens}
    if misfits := speed.misfits(shape, engine, machine):
        ways = speed.ways_to_fit(shape, engine, machine)
        return estimate._replace(misfits=misfits, ways=ways, memory=memory, rate=None)
    notes, rate = [], estimate.rate
    replicas = machine.number // engine.tensor_parallel
    if replicas > engine.data_parallel:
        idle = machine.number - engine.tensor_parallel * engine.data_parallel
        notes.append(f"{idle} GPUs idle: data_parallel {replicas} would use {replicas * engine.tensor_parallel}")
    if shape.width < 2 and not machine.gpu.fp8:
        notes.append(f"its weights are fp8, which {machine.gpu.name} does not multiply: vLLM may refuse them")
    if rate is None:
        decoding = estimate.tokens / speed.decoded_a_second(shape, engine, machine, rates, prompt=PROMPT, tokens=mean)
        prompts = speed.prompt_seconds(shape, engine, machine, rates, prompts=estimate.questions or 0, prompt=PROMPT)
        rate = estimate.tokens / (decoding + prompts)
    return estimate._replace(memory=memory, notes=notes, rate=rate)


def estimate_train(
    shape: Shape,
    recipe: Recipe,
    samples: float,
    length: float,
    machine: Machine | None,
    rates: Rates,
    measured: Number | None,
) -> Estimate:
    """Training on `samples` of `length` tokens on average.

    Args:
        measured: tokens a second.
    """
    other = recipe.model_copy(update={"activation_checkpointing": not recipe.activation_checkpointing})
    estimate = Estimate(
        name="train",
        model="",
        questions=None,
        responses=samples,
        tokens=train_tokens(recipe, samples, length),
        most_tokens=train_tokens(recipe, samples, recipe.max_length),
        rate=measured.value if measured else None,
        measured=measured is not None,
        hours=None,
        gpus=recipe.processes,
        misfits=[],
        ways=[],
        notes=[],
        memory=_parts(shape, recipe, machine),
        otherwise=_parts(shape, other, machine),
    )
    if machine is not None:
        if misfits := memory.misfits(shape, recipe, machine):
            ways = [str(way) for way in memory.ways_to_fit(shape, recipe, machine)]
            return estimate._replace(misfits=misfits, ways=ways, rate=None)
        ranks = machine._replace(number=recipe.processes)
        rate = memory.tokens_a_second(shape, recipe, ranks, length=length, mfu=rates.mfu)
        idle = machine.number - recipe.processes
        notes = [f"{idle} GPUs idle: processes {machine.number} would use all"] if idle else []
        estimate = estimate._replace(rate=estimate.rate or rate, notes=notes)
    return estimate._replace(hours=estimate.tokens / estimate.rate / HOUR if estimate.rate else None)


def train_tokens(recipe: Recipe, samples: float, length: float) -> float:
    """Tokens of the whole run, up to the epoch that is exported."""
    if recipe.steps is not None and recipe.batch_tokens is not None:
        return recipe.steps * recipe.batch_tokens
    return samples * length * (recipe.select_epoch or recipe.epochs)


def _parts(shape: Shape, recipe: Recipe, machine: Machine | None) -> dict[str, float]:
    needed = memory.on_gpu(shape, recipe)
    if machine is None:
        needed = needed._replace(settled=0)
    return {name: value / GIB for name, value in (needed._asdict() | {"peak": needed.peak}).items()}


def _pool(pull: PullParams) -> Number:
    return _total({source.name: _rows(source, ROWS) for source in pull.sources}, "pull.sources, none dropped")


def _total(counts: Mapping[str, int | None], where: str) -> Number:
    unknown = [name for name, count in counts.items() if count is None]
    without = f", without {', '.join(unknown)}: not known" if unknown else ""
    return Number(sum(count or 0 for count in counts.values()), f"params and published sizes: {where}{without}")


def _rows(source: SourceParams, published: Mapping[str, int]) -> int | None:
    """Rows that a source gives, where params or its card say; None: not known before it is read."""
    rows = source.count or published.get(source.preset or "")
    if rows is not None and source.limit is not None:
        return min(rows, source.limit)
    return rows or source.limit


def describe(
    profile: str,
    *,
    gpus: str | None,
    price: float | None,
    measured: Path | None,
    assume: Sequence[str],
    rates: Rates,
    as_text: bool,
) -> str:
    """What a profile takes on a machine, as tables or as JSON."""
    machine = read_machine(gpus) if gpus is not None else None
    if price is not None and machine is None:
        raise LimoError("limo plan: --price is of a GPU: give --gpus too")
    tree = profiles.compose(profile)
    if found := checks.tree_errors(tree):
        raise LimoError(f"profiles/{profile}.yaml: {len(found)} errors; see `limo check {profile}`")
    sections = read_profile(tree)
    sizes = {name: parameters(shape) for name, shape in sections.shapes.items()}
    earlier = read_measured(measured, sizes, machine) if measured is not None else NOTHING
    numbers = Numbers(read_assumed(assume, [*sections.shapes, *ARMS]), earlier.numbers)
    plan = Plan(sections, machine, rates, numbers, earlier.speeds)
    numbers.check()
    return _as_json(plan, price) if as_text else _as_tables(plan, price)


def _as_json(plan: Plan, price: float | None) -> str:
    """All of it, with the GPU-hours of the whole machine, and their cost where a price is given."""
    machine, stages = plan.machine, []
    for each in plan.stages:
        gpu_hours = each.hours * machine.number if each.hours is not None and machine is not None else None
        cost = gpu_hours * price if gpu_hours is not None and price is not None else None
        stages.append(each._asdict() | {"gpu_hours": gpu_hours, "cost": cost})
    whole = {
        "gpus": str(machine) if machine else None,
        "rates": plan.rates._asdict(),
        "price": price,
        "stages": stages,
        "numbers": {key: number._asdict() for key, number in plan.numbers.used.items()},
    }
    return json.dumps(whole, indent=2) + "\n"


def _as_tables(plan: Plan, price: float | None) -> str:
    train = next(one for one in plan.stages if one.name == "train")
    sampling = [one for one in plan.stages if one.name != "train"]
    machine = plan.machine
    pieces = [table(_train_rows(train), f"Training: GiB on each of {train.gpus} ranks")]
    if machine is not None:
        rows = [_replica_row(one, machine) for one in sampling]
        pieces.append(table(rows, f"Sampling: GiB on each {machine.gpu.name}"))
    pieces.append(table(_cost_rows(plan.stages, machine, price), f"Tokens and hours on {machine or 'this machine'}"))
    pieces.append(table([_number_row(key, number) for key, number in plan.numbers.used.items()], "Numbers it rests on"))
    return render(*pieces) + "\n".join([*_lines(plan), ""])


def _train_rows(train: Estimate) -> list[dict[str, Any]]:
    words = {"gathered": "gathered layers", "layer": "or a layer", "settled": "CUDA, NCCL", "host": "main memory, all"}
    # Only one of the two keeps more than the layers' inputs.
    on = train.memory["activations"] < train.otherwise["activations"]
    both = {("on, as here" if on else "off, as here"): train.memory, ("off" if on else "on"): train.otherwise}
    return [
        {"activation checkpointing": name}
        | {words.get(part, part): f"{gib[part]:.3g}" if gib[part] < 1 else f"{gib[part]:.1f}" for part in PARTS}
        for name, gib in both.items()
    ]


def _replica_row(one: Estimate, machine: Machine) -> dict[str, Any]:
    if not one.memory:
        columns = ("GPUs", "weights", "KV cache", "cache tokens", "fits")
        return {"stage": one.name, "model": one.model} | dict.fromkeys(columns, "")
    return {
        "stage": one.name,
        "model": one.model,
        "GPUs": f"{one.gpus} of {machine.number}",
        "weights": f"{one.memory['weights']:.1f}",
        "KV cache": f"{max(one.memory['kv_cache'], 0):.1f}",
        "cache tokens": f"{one.memory['cache_tokens']:,.0f}",
        "fits": "no" if one.misfits else "yes",
    }


def _cost_rows(stages: Sequence[Estimate], machine: Machine | None, price: float | None) -> list[dict[str, Any]]:
    rows = [_cost_row(one, machine, price) for one in stages]
    known = [one.hours for one in stages if one.hours is not None]
    total: dict[str, Any] = dict.fromkeys(rows[0], "")
    whole = len(known) == len(stages)
    total |= {"stage": "all" if whole else "all that is known", "hours": _round(sum(known)) if known else "?"}
    if price is not None and machine is not None:
        total["cost"] = f"{sum(known) * machine.number * price:,.0f}"
    return [*rows, total]


def _cost_row(one: Estimate, machine: Machine | None, price: float | None) -> dict[str, Any]:
    row = {
        "stage": one.name,
        "model": one.model,
        "questions": "" if one.questions is None else f"{one.questions:,.0f}",
        "responses": f"{one.responses:,.0f}" + (" samples" if one.questions is None else ""),
        "M tokens": _round(one.tokens / 1e6),
        "at most": _round(one.most_tokens / 1e6),
        "tokens/s": "" if one.rate is None else f"{one.rate:,.0f}{' measured' if one.measured else ''}",
        "hours": "does not fit" if one.misfits else "?" if one.hours is None else _round(one.hours),
    }
    if price is not None and machine is not None:
        row["cost"] = "" if one.hours is None else f"{one.hours * machine.number * price:,.0f}"
    return row


def _number_row(key: str, number: Number) -> dict[str, Any]:
    value = f"{number.value:,.0f}" if number.value >= 100 else f"{number.value:.3g}"
    return {"number": key, "value": value, "from": number.source}


def _round(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _lines(plan: Plan) -> list[str]:
    """What does not fit and what would, and notes; each once."""
    lines: list[str] = []
    for one in plan.stages:
        who = f"{one.name} ({one.model})"
        lines += [f"Does not fit: {who}: {misfit}" for misfit in one.misfits]
        if one.ways:
            lines.append("\n".join([f"Each of these would make {who} fit:", *(f"  - {way}" for way in one.ways)]))
        elif one.misfits:
            lines.append(f"Nothing that is known here would make {who} fit")
        lines += [f"Note: {who}: {note}" for note in one.notes]
    if plan.machine is not None:
        lines.append(
            f"Speeds that are not measured: {plan.rates.mfu:.0%} of peak FLOP/s (recomputing comes on top), "
            f"{plan.rates.mbu:.0%} of peak bandwidth, prompts of {PROMPT:.0f} tokens; CUDA and NCCL are "
            f"taken to hold {memory.SETTLED_GIB:.0f} GiB. Left out of the hours: downloads, CPU stages, checkpoints, "
            "talk between GPUs, and the slow end of each stage."
        )
    return list(dict.fromkeys(lines))
