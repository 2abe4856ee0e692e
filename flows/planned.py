"""From a profile to what each of its stages asks for: questions, samples, lengths, and where each number is from."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tasks.answer import AnswerParams
from tasks.band import BandParams
from tasks.base import BaseParams
from tasks.benchmarks import BenchmarksParams
from tasks.engines.params import EngineParams
from tasks.errors import LimoError
from tasks.grade import GradeParams
from tasks.models.shapes import Shape
from tasks.planning.estimate import Draw, Estimate, Setting, estimate_draw, estimate_train
from tasks.planning.given import Given, Numbers
from tasks.planning.known import ITEMS, ROWS
from tasks.planning.models import shape_of
from tasks.planning.spread import Band, banded, screened
from tasks.pool.source import SourceParams
from tasks.pull import PullParams
from tasks.reason import ReasonParams
from tasks.screen import ScreenParams
from tasks.select import SelectParams
from tasks.train import TrainParams

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
