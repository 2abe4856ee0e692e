"""`limo plan`: what a profile takes in memory, hours and money, on paper."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flows import check as checks
from flows import profiles
from flows.plan.estimate import Draw, Estimate, Setting, as_json, estimate_draw, estimate_train
from flows.plan.memory import SETTLED_GIB
from flows.plan.numbers import (
    ITEMS,
    NOTHING,
    ROWS,
    Band,
    Given,
    Numbers,
    banded,
    read_measured,
    read_said,
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
from tasks.engines.params import EngineParams
from tasks.grade import GradeParams
from tasks.models.shapes import Machine, Shape, parameters, read_machine
from tasks.pull import PullParams
from tasks.reason import ReasonParams
from tasks.screen import ScreenParams
from tasks.select import SelectParams
from tasks.sources.source import SourceParams
from tasks.train import TrainParams

# From a profile to what each of its stages asks for: questions, samples, lengths, and where each number is from.

MEAN_SHARE = 0.25
"""Of `max_tokens`, that responses take on average: assumed."""
OPEN_SHARE = 0.05
"""Of the answers, that are different and left to the judge: assumed."""
SPREAD = "assumed: a pool as hard as that of SwS (arXiv 2506.08989)"
ARMS = ("base", "trained")


class Asked(NamedTuple):
    """A profile's sections, and the shapes of its models."""

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


def read(tree: Mapping[str, Any]) -> Asked:
    """The sections of a valid tree that cost GPU time.

    Raises:
        LimoError: a model's shape is not known.
    """
    models = BaseParams.model_validate(tree["base"]).models
    shapes = {name: shape_of(name, source) for name, source in models.items()}
    sections = {name: tree.get(name) or {} for name in Asked._fields}
    return Asked(
        pull=PullParams.model_validate(sections["pull"]),
        benchmarks=BenchmarksParams.model_validate(sections["benchmarks"]),
        engine=EngineParams.model_validate(sections["engine"]),
        screen=ScreenParams.model_validate(sections["screen"]),
        band=BandParams.model_validate(sections["band"]),
        reason=ReasonParams.model_validate(sections["reason"]),
        select=SelectParams.model_validate(sections["select"]),
        train=TrainParams.model_validate(sections["train"]),
        answer=AnswerParams.model_validate(sections["answer"]),
        grade=GradeParams.model_validate(sections["grade"]),
        shapes=shapes,
    )


def estimates(asked: Asked, numbers: Numbers, setting: Setting, speeds: Mapping[str, Given]) -> list[Estimate]:
    """Every stage that samples or trains, with each of its models, in the order in which they run."""
    before = [_estimate(draw, asked, setting, speeds) for draw in (*_filters(asked, numbers), *_chains(asked, numbers))]
    samples, length = _training(asked, numbers, setting.prompt)
    shape = asked.shapes[asked.train.base]
    trained = estimate_train(shape, asked.train, samples, length, setting, speeds.get("train"))
    after = [_estimate(draw, asked, setting, speeds) for draw in _evaluation(asked, numbers)]
    return [*before, trained._replace(model=asked.train.base), *after]


def _estimate(draw: Draw, asked: Asked, setting: Setting, speeds: Mapping[str, Given]) -> Estimate:
    # The trained model has the shape of the one it was made from.
    shape = asked.shapes[asked.train.base if draw.model == "trained" else draw.model]
    return estimate_draw(draw, shape, asked.engine.of(draw.model), setting, speeds.get(draw.name))


def _filters(asked: Asked, numbers: Numbers) -> Iterator[Draw]:
    screen, band = asked.screen, asked.band
    expected = screened(screen.attempts)
    questions = numbers.of("screen.questions", _pool(asked.pull))
    if not questions:
        raise LimoError("limo plan: no source says how many rows it has; give --assume screen.questions=NUMBER")
    drawn = numbers.of("screen.drawn", Given(expected.drawn / screen.attempts, SPREAD))
    yield _draw("screen", screen.model, questions, screen.attempts, drawn, screen.sampling.max_tokens, asked, numbers)
    kept = 1.0 if numbers.has("band.questions") else numbers.of("screen.kept", Given(expected.kept, SPREAD))
    questions = numbers.of("band.questions", Given(questions * kept, "screen.questions x screen.kept"))
    spread = banded(Band(band.samples, band.min_solved, band.max_solved, band.adaptive), min(1, expected.kept))
    drawn = numbers.of("band.drawn", Given(spread.drawn / band.samples, f"{SPREAD}, its hardest part"))
    yield _draw("band", band.model, questions, band.samples, drawn, band.sampling.max_tokens, asked, numbers)
    kept = 1.0 if numbers.has("reason.questions") else numbers.of("band.kept", Given(spread.kept, SPREAD))
    numbers.of("reason.questions", Given(questions * kept, "band.questions x band.kept; the paper's band kept 2,125"))


def _chains(asked: Asked, numbers: Numbers) -> Iterator[Draw]:
    questions = numbers.used["reason.questions"].value
    for teacher in asked.reason.teachers:
        name = f"reason.{teacher.model}"
        yield _draw(name, teacher.model, questions, teacher.samples, 1, teacher.sampling.max_tokens, asked, numbers)


def _draw(
    name: str, model: str, questions: float, samples: int, drawn: float, most: int, asked: Asked, numbers: Numbers
) -> Draw:
    limit = asked.engine.of(model).max_model_len or asked.shapes[model].context
    most = min(most, limit)
    tokens = numbers.of(f"{name}.tokens", Given(MEAN_SHARE * most, f"assumed: {MEAN_SHARE:.0%} of max_tokens"))
    return Draw(name, model, questions, questions * samples * drawn, questions * samples, tokens, most)


def _training(asked: Asked, numbers: Numbers, prompt: float) -> tuple[float, float]:
    """Samples, and the mean length of one."""
    chains = [numbers.used[f"reason.{teacher.model}.tokens"].value for teacher in asked.reason.teachers]
    samples = numbers.of("train.samples", Given(asked.select.count, "params: select.count"))
    length = min(asked.train.max_length, prompt + sum(chains) / len(chains))
    return samples, numbers.of("train.tokens", Given(length, "a prompt and a mean chain of reason"))


def _evaluation(asked: Asked, numbers: Numbers) -> Iterator[Draw]:
    items = {benchmark.name: _rows(benchmark, ITEMS) for benchmark in asked.benchmarks.suite}
    total = numbers.of("answer.questions", _total(items, "benchmarks.suite"))
    known = sum(count or 0 for count in items.values()) or 1
    samples = sum((count or 0) * asked.answer.protocol(name).samples for name, count in items.items())
    longest = max(asked.answer.protocol(name).sampling.max_tokens for name in items)
    responses = total * (samples / known)
    for arm in ARMS:
        model = asked.answer.base if arm == "base" else "trained"
        shape_name = asked.answer.base if arm == "base" else asked.train.base
        most = min(longest, asked.engine.of(model).max_model_len or asked.shapes[shape_name].context)
        given = Given(MEAN_SHARE * most, f"assumed: {MEAN_SHARE:.0%} of max_tokens")
        tokens = numbers.of(f"answer.{arm}.tokens", given)
        yield Draw(f"answer.{arm}", model, total, responses, responses, tokens, most)
    if judge := asked.grade.judge:
        given = Given(len(ARMS) * responses * OPEN_SHARE, f"assumed: {OPEN_SHARE:.0%} of the answers are left open")
        cases = numbers.of("grade.responses", given)
        made = _draw("grade", judge.model, cases, 1, 1, judge.sampling.max_tokens, asked, numbers)
        yield made._replace(most_responses=len(ARMS) * responses)


def _pool(pull: PullParams) -> Given:
    return _total({source.name: _rows(source, ROWS) for source in pull.sources}, "pull.sources, none dropped")


def _total(counts: Mapping[str, int | None], where: str) -> Given:
    unknown = [name for name, count in counts.items() if count is None]
    without = f", without {', '.join(unknown)}: not known" if unknown else ""
    return Given(sum(count or 0 for count in counts.values()), f"params and published sizes: {where}{without}")


def _rows(source: SourceParams, published: Mapping[str, int]) -> int | None:
    """Rows that a source gives, where params or its card say; None: not known before it is read."""
    rows = source.count or published.get(source.preset or "")
    if rows is not None and source.limit is not None:
        return min(rows, source.limit)
    return rows or source.limit


PROMPT = 200
PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "gathered", "layer", "settled", "peak", "host")


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
    if found := checks.mistakes(tree):
        raise LimoError(f"profiles/{profile}.yaml: {len(found)} errors; see `limo check {profile}`")
    asked = read(tree)
    sizes = {name: parameters(shape) for name, shape in asked.shapes.items()}
    told = read_measured(measured, sizes, machine) if measured is not None else NOTHING
    numbers = Numbers(read_said(assume, [*asked.shapes, *ARMS]), told.numbers)
    setting = Setting(machine, rates, PROMPT)
    made = estimates(asked, numbers, setting, told.speeds)
    numbers.check()
    return _as_json(made, numbers, setting, price) if as_text else _as_tables(made, numbers, setting, price)


def _as_json(made: Sequence[Estimate], numbers: Numbers, setting: Setting, price: float | None) -> str:
    machine = setting.machine
    whole = {
        "gpus": str(machine) if machine else None,
        "rates": setting.rates._asdict(),
        "price": price,
        "stages": [as_json(one, machine, price) for one in made],
        "numbers": {key: given._asdict() for key, given in numbers.used.items()},
    }
    return json.dumps(whole, indent=2) + "\n"


def _as_tables(made: Sequence[Estimate], numbers: Numbers, setting: Setting, price: float | None) -> str:

    train = next(one for one in made if one.name == "train")
    drawn = [one for one in made if one.name != "train"]
    machine = setting.machine
    pieces = [table(_train_rows(train), f"Training: GiB on each of {train.gpus} ranks")]
    if machine is not None:
        pieces.append(table([_served_row(one, machine) for one in drawn], f"Sampling: GiB on each {machine.gpu.name}"))
    pieces.append(table(_cost_rows(made, machine, price), f"Tokens and hours on {machine or 'this machine'}"))
    pieces.append(table([_number_row(key, given) for key, given in numbers.used.items()], "Numbers it rests on"))
    return render(*pieces) + "\n".join([*_lines(made, setting), ""])


def _train_rows(train: Estimate) -> list[dict[str, Any]]:
    words = {"gathered": "gathered layers", "layer": "or a layer", "settled": "CUDA, NCCL", "host": "main memory, all"}
    # Only one of the two keeps more than the layers' inputs.
    on = train.memory["activations"] < train.otherwise["activations"]
    both = {("on" if on else "off"): train.memory, ("off" if on else "on"): train.otherwise}
    return [
        {"activation checkpointing": f"{name}{', as here' if memory is train.memory else ''}"}
        | {
            words.get(part, part): f"{memory[part]:.3g}" if memory[part] < 1 else f"{memory[part]:.1f}"
            for part in PARTS
        }
        for name, memory in both.items()
    ]


def _served_row(one: Estimate, machine: Machine) -> dict[str, Any]:
    if not one.memory:
        return {
            "stage": one.name,
            "model": one.model,
            "GPUs": "",
            "weights": "",
            "KV cache": "",
            "cache tokens": "",
            "fits": "",
        }
    return {
        "stage": one.name,
        "model": one.model,
        "GPUs": f"{one.gpus} of {machine.number}",
        "weights": f"{one.memory['weights']:.1f}",
        "KV cache": f"{max(one.memory['kv_cache'], 0):.1f}",
        "cache tokens": f"{one.memory['cache_tokens']:,.0f}",
        "fits": "no" if one.misfits else "yes",
    }


def _cost_rows(made: Sequence[Estimate], machine: Machine | None, price: float | None) -> list[dict[str, Any]]:
    rows = [_cost_row(one, machine, price) for one in made]
    known = [one.hours for one in made if one.hours is not None]
    total: dict[str, Any] = dict.fromkeys(rows[0], "")
    whole = len(known) == len(made)
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


def _number_row(key: str, given: Given) -> dict[str, Any]:
    value = f"{given.value:,.0f}" if given.value >= 100 else f"{given.value:.3g}"
    return {"number": key, "value": value, "from": given.source}


def _round(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _lines(made: Sequence[Estimate], setting: Setting) -> list[str]:
    said: dict[str, None] = {}
    for one in made:
        who = f"{one.name} ({one.model})"
        for misfit in one.misfits:
            said[f"Does not fit: {who}: {misfit}"] = None
        if one.ways:
            said["\n".join([f"Each of these would make {who} fit:", *(f"  - {way}" for way in one.ways)])] = None
        elif one.misfits:
            said[f"Nothing that is known here would make {who} fit"] = None
        for note in one.notes:
            said[f"Note: {who}: {note}"] = None
    if setting.machine is not None:
        said[
            f"Speeds that are not measured: {setting.rates.mfu:.0%} of peak FLOP/s (recomputing comes on top), "
            f"{setting.rates.mbu:.0%} of peak bandwidth, prompts of {setting.prompt:.0f} tokens; CUDA and NCCL are "
            f"taken to hold {SETTLED_GIB:.0f} GiB. Left out of the hours: downloads, CPU stages, checkpoints, talk "
            "between GPUs, and the slow end of each stage."
        ] = None
    return list(said)
