"""The sampler against a scripted engine: a pure function of the request, finishing in whatever order."""

import os
import random
import signal
from functools import partial

import polars as pl
import pytest

from tasks import answer, band, reason
from tasks.band import BandParams, certain
from tasks.core.errors import LimoError
from tasks.core.files import read_json
from tasks.core.params import ChatParams
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.protocol import make_request
from tasks.ledger.ledger import Ledger
from tasks.records.benchmark import ITEM
from tasks.records.question import BANDED, QUESTION
from tasks.records.response import TOO_LONG, Response
from tasks.sampling import sampler
from tasks.sampling.sampler import Sampler, Samples
from tasks.sampling.schedule import SAMPLES, Group, never
from tests.builders import make_model, make_question, manifest_file, write_models

SAMPLING = SamplingParams(temperature=1.0, max_tokens=50)


class ScriptedEngine:
    """Answers right with the probability in the prompt; some time after the request, in an order of its own."""

    def __init__(self, order_seed=0, fails_after=None):
        self.order = random.Random(order_seed)
        self.fails_after = fails_after
        self.in_flight = {}
        self.requested = []
        self.cancelled = set()
        self.most_in_flight = 0
        self.closed = False

    @property
    def facts(self):
        return {"engine": "scripted"}

    def submit(self, requests):
        for request in requests:
            assert request.response_id not in self.in_flight
            self.in_flight[request.response_id] = request
            self.requested.append(request.response_id)
        self.most_in_flight = max(self.most_in_flight, len(self.in_flight))

    def finished(self, seconds):
        if self.fails_after is not None and len(self.requested) > self.fails_after:
            raise ConnectionError("the engine died")
        keys = self.order.sample(sorted(self.in_flight), k=self.order.randint(1, len(self.in_flight)))
        return [_respond(self.in_flight.pop(key)) for key in keys]

    def cancel(self, response_ids):
        for key in response_ids:
            del self.in_flight[key]
            self.cancelled.add(key)

    def close(self):
        self.closed = True


def _respond(request):
    if request.prompt == "endless":
        return request.finish("", TOO_LONG, 9999, 0, 0.0)
    dice = random.Random(request.own_seed)
    right = dice.random() < float(request.prompt.split()[0])
    return request.finish("right" if right else "wrong", "stop", 5, dice.randint(1, 50), 0.1, engine="scripted")


def grade(samples):
    return [one.text == one.group.gold for one in samples]


def make_groups(count, samples=32, sampling=SAMPLING):
    rates = [0.0, 0.02, 0.06, 0.15, 0.4, 0.9]
    return [
        Group(f"q_{i}", f"{rates[i % len(rates)]} question {i}", "right", "auto", samples, sampling)
        for i in range(count)
    ]


def draw(groups, folder, engine, rule, concurrency=64, grade=grade, context=None):
    params = EngineParams(in_flight=concurrency, max_model_len=context)
    one = Sampler(make_model("test"), params, ChatParams(), folder / "ledger", stage="test", start=lambda: engine)
    return one.draw(groups, rule=rule, grade=grade)


def ledger(folder):
    return Ledger(folder / "ledger", "m_test")


def table(sampled):
    """The samples that count: question, sample index, text, tokens."""
    return sampled.with_texts().select("key", "sample_index", "text", "n_tokens").rows()


def solved(sampled):
    counts = {}
    for key, _, text, _ in table(sampled):
        counts[key] = counts.get(key, 0) + (text == "right")
    return counts


BAND = partial(certain, band=BandParams())
SCREEN = lambda correct, drawn: correct >= 1  # noqa: E731


def test_adaptive_band_decides_as_the_full_32_samples_do(tmp_path):
    groups = make_groups(300)
    full = draw(groups, tmp_path / "full", ScriptedEngine(), never)
    adaptive = draw(groups, tmp_path / "adaptive", ScriptedEngine(7), BAND)

    def outcomes(sampled):
        return {key: min(count, 4) for key, count in solved(sampled).items()}

    assert outcomes(adaptive) == outcomes(full)
    assert {1, 2, 3} & set(outcomes(full).values())
    assert adaptive.facts["tokens_saved"] > 0
    assert adaptive.run["tokens_generated"] < full.run["tokens_generated"]
    kept = {key for key, count in solved(full).items() if 1 <= count <= 3}
    assert all(adaptive.table.filter(key=key).height == 32 for key in kept)


def test_a_band_that_begins_above_one_decides_as_the_full_samples_do(tmp_path):
    band = BandParams(samples=12, min_solved=4, max_solved=6)
    groups = make_groups(200, samples=12)
    full = draw(groups, tmp_path / "full", ScriptedEngine(), never)
    adaptive = draw(groups, tmp_path / "adaptive", ScriptedEngine(3), partial(certain, band=band))

    def kept(sampled):
        return {key for key, count in solved(sampled).items() if 4 <= count <= 6}

    assert kept(adaptive) == kept(full) != set()
    assert adaptive.facts["samples_not_drawn"] > 0


def test_a_response_that_a_shorter_context_cut_is_generated_again(tmp_path):
    class Short(ScriptedEngine):
        """Its context is 20 tokens, of which the prompt takes 5."""

        def finished(self, seconds):
            return [
                one.model_copy(update={"text": "cut", "finish_reason": "length", "n_tokens": 15})
                if one.n_tokens > 15
                else one
                for one in super().finished(seconds)
            ]

    groups = make_groups(10, samples=4)
    first = draw(groups, tmp_path, Short(), never)
    cut = [row for row in table(first) if row[2] == "cut"]
    engine = ScriptedEngine()
    whole = draw(groups, tmp_path, engine, never, context=55)
    assert len(engine.requested) == len(cut) > 10
    assert table(whole) == table(draw(groups, tmp_path / "fresh", ScriptedEngine(), never))
    # Under the short context the first run's rows are still the ones that count.
    assert table(draw(groups, tmp_path, ScriptedEngine(), never)) == table(first)


def test_a_context_shorter_than_the_stated_one_draws_nothing_twice(tmp_path):
    class Short(ScriptedEngine):
        """Its context is 20 tokens, whatever was stated."""

        @property
        def facts(self):
            return {"context": 20}

        def finished(self, seconds):
            cut = {"text": "cut", "finish_reason": "length", "n_tokens": 15}
            return [one.model_copy(update=cut) if one.n_tokens > 15 else one for one in super().finished(seconds)]

    groups = make_groups(10, samples=4)
    first = draw(groups, tmp_path, Short(), never, context=55)
    again = Short()
    assert table(draw(groups, tmp_path, again, never, context=55)) == table(first)
    assert again.requested == []
    assert again.closed


def test_what_had_finished_is_recorded_when_the_engine_fails(tmp_path):
    class Failing(ScriptedEngine):
        """It fails, and on the next call hands out what it had."""

        def finished(self, seconds):
            if len(self.requested) > 300 and seconds:
                raise LimoError("the engine is gone")
            return super().finished(seconds)

    engine = Failing()
    with pytest.raises(LimoError, match="is gone"):
        draw(make_groups(80), tmp_path, engine, never)
    assert len(ledger(tmp_path).lookup(engine.requested)) == len(engine.requested) - len(engine.in_flight)
    assert len(engine.in_flight) < 64


@pytest.mark.slow
@pytest.mark.parametrize("rule", [BAND, SCREEN, never])
def test_the_same_table_whatever_the_batching_and_the_order(tmp_path, rule):
    groups = make_groups(120)
    tables = [
        table(draw(groups, tmp_path / str(concurrency), ScriptedEngine(order_seed), rule, concurrency))
        for concurrency, order_seed in [(1, 0), (7, 1), (64, 2), (64, 3), (5000, 4)]
    ]
    assert all(other == tables[0] for other in tables)


def test_the_prefix_ends_at_the_first_right_attempt(tmp_path):
    drawn = table(draw(make_groups(60, samples=4), tmp_path, ScriptedEngine(1), SCREEN))
    for key in {row[0] for row in drawn}:
        texts = [text for mine, _, text, _ in drawn if mine == key]
        assert "right" not in texts[:-1]
        assert texts[-1] == "right" or len(texts) == 4


def test_keeps_the_engine_full_and_cancels_what_no_longer_counts(tmp_path):
    engine = ScriptedEngine(3)
    drawn = draw(make_groups(60), tmp_path, engine, SCREEN, concurrency=150)
    assert engine.most_in_flight == 150
    assert engine.cancelled
    assert engine.closed
    assert drawn.run["responses_generated"] == drawn.facts["responses"] + drawn.run["responses_generated_beyond"]


def test_a_second_run_starts_no_engine(tmp_path):
    groups = make_groups(40)
    first = draw(groups, tmp_path, ScriptedEngine(), BAND)

    second = draw(groups, tmp_path, None, BAND, concurrency=4)
    assert table(second) == table(first)
    assert second.run["engine"] is None
    assert second.run["responses_generated"] == 0
    assert second.run["responses_from_ledger"] == second.facts["responses"]
    assert second.facts == first.facts
    assert first.facts["engines"] == ["scripted"]


def test_after_a_crash_only_the_missing_is_generated(tmp_path):
    groups = make_groups(80)
    undisturbed = draw(groups, tmp_path / "whole", ScriptedEngine(), never)
    broken = ScriptedEngine(5, fails_after=700)
    with pytest.raises(ConnectionError):
        draw(groups, tmp_path / "crash", broken, never)
    assert broken.closed
    kept = len(ledger(tmp_path / "crash").lookup(broken.requested))
    assert kept == len(broken.requested) - len(broken.in_flight) > 500
    rest = ScriptedEngine(6)
    resumed = draw(groups, tmp_path / "crash", rest, never)
    assert table(resumed) == table(undisturbed)
    assert len(rest.requested) == 80 * 32 - kept


def test_sigterm_writes_what_has_finished_and_ends(tmp_path):
    class Stopped(ScriptedEngine):
        def finished(self, seconds):
            if len(self.requested) > 300:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().finished(seconds)

    engine, before = Stopped(), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        draw(make_groups(80), tmp_path, engine, never)
    assert ended.value.code == 128 + signal.SIGTERM
    assert engine.closed
    assert len(ledger(tmp_path).lookup(engine.requested)) == len(engine.requested) - len(engine.in_flight) > 0
    assert signal.getsignal(signal.SIGTERM) == before


def test_one_question_more_generates_only_its_samples(tmp_path):
    draw(make_groups(10), tmp_path, ScriptedEngine(), never)
    engine = ScriptedEngine()
    draw(make_groups(11), tmp_path, engine, never)
    assert len(engine.requested) == 32


def test_the_same_text_in_two_questions_is_generated_once(tmp_path):
    twins = [Group(key, "0.06 twin", gold, "auto", 32, SAMPLING) for key, gold in [("q_a", "right"), ("q_b", "wrong")]]
    engine = ScriptedEngine()
    sampled = draw(twins, tmp_path, engine, SCREEN)
    assert len(engine.requested) == len(set(engine.requested))
    ends = {key: max(i for k, i, _, _ in table(sampled) if k == key) for key in ("q_a", "q_b")}
    alone = draw(twins[:1], tmp_path / "alone", ScriptedEngine(), SCREEN)
    assert ends["q_a"] == alone.table.height - 1
    assert ends["q_b"] == next(i for i, one in enumerate(_all_samples(twins[0])) if one == "wrong")


def _all_samples(group):
    return [_respond(make_request("m_test", group.prompt, SAMPLING, i)).text for i in range(group.samples)]


def test_every_sample_of_a_prompt_too_long_is_refused_and_the_rest_are_drawn(tmp_path):
    groups = [Group("q_long", "endless", "right", "auto", 32, SAMPLING), *make_groups(6)]
    sampled = draw(groups, tmp_path, ScriptedEngine(), never)
    mine = sampled.table.filter(key="q_long")
    # As many rows as any other question has, so that scores stay comparable.
    assert mine["finish_reason"].to_list() == [TOO_LONG] * 32
    assert sampled.facts["too_long"] == 32
    assert sampled.run["responses_generated"] == 6 * 32
    assert not ledger(tmp_path).lookup(mine["response_id"])


def test_without_a_grader_all_is_drawn(tmp_path):
    greedy = SamplingParams(temperature=0)
    groups = [Group("b_1", "0.5 a", "right", "auto", 1, greedy), Group("b_2", "0.5 b", "right", "auto", 3, SAMPLING)]
    sampled = draw(groups, tmp_path, ScriptedEngine(), never, grade=None)
    assert [(key, index) for key, index, _, _ in table(sampled)] == [("b_1", 0), *(("b_2", i) for i in range(3))]


def test_no_groups_is_no_work(tmp_path):
    assert draw([], tmp_path, ScriptedEngine(), never).table.is_empty()


@pytest.fixture
def written(tmp_path):
    """Forty responses in the order opposite to the table's, in several segments; one of them twice."""
    responses = [
        make_request("m_a", "3 + 4?", SAMPLING, index).finish(f"text {index}", "stop", 4, 9, 0.5) for index in range(40)
    ]
    other = responses[7].model_copy(update={"text": "of another run", "finished_at": 1.0})
    with Ledger(tmp_path / "ledger", "m_a") as ledger:
        for start in range(0, 41, 8):
            ledger.add([*reversed(responses), other][start : start + 8])
            ledger.flush()
    return responses, ledger


def samples_of(responses, ledger):
    rows = [
        ("q_1", index, one.response_id, one.sample_index, one.finish_reason, one.n_tokens, "<think>\n", one.finished_at)
        for index, one in enumerate(responses)
    ]
    return Samples(pl.DataFrame(rows, schema=SAMPLES, orient="row"), {}, {}, ledger)


def test_each_row_gets_its_text_with_what_the_prompt_had_opened(written):
    responses, opened = written
    whole = samples_of(responses, opened).with_texts()
    assert whole["text"].to_list() == [f"<think>\ntext {index}" for index in range(40)]


def test_of_two_rows_the_one_that_was_graded_is_read(written):
    responses, opened = written
    graded = responses[7].model_copy(update={"finished_at": 1.0})
    assert samples_of([graded], opened).with_texts()["text"].item() == "<think>\nof another run"


def test_written_in_parts_it_is_the_same_table(written, tmp_path, monkeypatch):
    responses, opened = written
    refused = make_request("m_a", "endless", SAMPLING, 0).finish("", TOO_LONG, 9999, 0, 0.0)
    samples = samples_of([*responses, refused, responses[3]], opened)
    columns = ["key", "sample_index", "text"]
    samples.write(tmp_path / "whole.parquet", columns)
    monkeypatch.setattr(sampler, "PART_BYTES", 300)
    samples.write(tmp_path / "parts.parquet", columns)
    whole, parts = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("whole", "parts"))
    assert parts.equals(whole)
    assert parts.height == 42
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger", "parts.parquet", "whole.parquet"]


def test_a_response_that_is_gone_is_one_line(written, tmp_path):
    responses, _ = written
    with pytest.raises(LimoError, match="40 responses are no longer in the ledger"):
        samples_of(responses, Ledger(tmp_path / "other", "m_a")).with_texts()


class Clockwork(ScriptedEngine):
    """Answers the prompts of stages; text, length and time follow from the request, so that runs can be compared."""

    def __init__(self, _params, _model, _log):
        super().__init__()

    @property
    def facts(self):
        return {"engine": "clockwork 1", "start_seconds": 3.0}

    def finished(self, seconds):
        found = list(self.in_flight.values())
        self.in_flight.clear()
        return [self.respond(one) for one in found]

    @staticmethod
    def respond(request):
        dice = random.Random(request.response_id)
        text, length = dice.choice(["So \\boxed{7}.", "So \\boxed{8}.", "So \\boxed{9}."]), dice.randint(1, 50)
        one = request.finish(text, "stop", 5, length, round(dice.random(), 3), engine="clockwork 1")
        return one.model_copy(update={"finished_at": 1.7e9 + dice.randint(0, 9000) / 1000})


def run_band(folder, ledger):
    params = band.BandParams(model="base", samples=8, max_solved=4, sampling=SAMPLING)
    paths = {"questions": folder / "questions.parquet", "models": folder / "models.json"}
    band.run(params, EngineParams(), ChatParams(), **paths, ledger=ledger / "ledger", out=ledger / "band")


def run_reason(folder, ledger):
    teachers = tuple(reason.TeacherParams(model=name, sampling=SAMPLING) for name in ("base", "trained"))
    paths = {"questions": folder / "banded.parquet", "models": folder / "models.json"}
    params = reason.ReasonParams(teachers=teachers)
    reason.run(params, EngineParams(), ChatParams(), **paths, ledger=ledger / "ledger", out=ledger / "reason")


def run_answer(folder, ledger):
    paths = {"items": folder / "items.parquet", "models": folder / "models.json", "trained": folder / "models.json"}
    params = answer.AnswerParams(samples=2, sampling=SAMPLING)
    answer.run(params, EngineParams(), ChatParams(), **paths, ledger=ledger / "ledger", out=ledger / "answer")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    questions = [make_question(f"What is {n} + 4?") for n in range(12)]
    pl.DataFrame(questions, schema=QUESTION).write_parquet(folder / "questions.parquet")
    counts = {"solved": 1, "sampled": 8}
    pl.DataFrame([one | counts for one in questions], schema=BANDED).write_parquet(folder / "banded.parquet")
    item = {"benchmark": "sums", "gold": "7", "kind": "auto", "language": "en", "origin": "made"}
    items = [item | {"item_id": f"i_{n}", "question": f"What is {n} + 6?"} for n in range(12)]
    pl.DataFrame(items, schema=ITEM).write_parquet(folder / "items.parquet")
    write_models(folder / "models.json", make_model("base"), make_model("trained"))
    return folder


@pytest.mark.parametrize("run", [run_band, run_reason, run_answer])
def test_a_manifest_is_the_same_whether_responses_were_generated_or_reused(run, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(sampler, "open_engine", Clockwork)
    stage = run.__name__.removeprefix("run_")
    run(inputs, tmp_path / "all")
    manifest = manifest_file(tmp_path / f"all/{stage}")
    generated = manifest.read_bytes()
    for facts in drawn_facts(read_json(manifest)["facts"]):
        assert facts["engines"] == ["clockwork 1"]
        assert 0 < facts["seconds"] < 10
    for folder in (tmp_path / "all/ledger").iterdir():
        rows = pl.concat([pl.read_parquet(path) for path in folder.glob("*.parquet")])
        with Ledger(tmp_path / "half/ledger", folder.name) as half:
            half.add([Response(**row) for row in rows.sample(fraction=0.5, seed=1).iter_rows(named=True)])
    run(inputs, tmp_path / "half")
    assert manifest_file(tmp_path / f"half/{stage}").read_bytes() == generated
    monkeypatch.setattr(sampler, "open_engine", None)
    run(inputs, tmp_path / "all")
    assert manifest.read_bytes() == generated
    ran = [read_json(path)["run"] for path in (tmp_path / "all/progress").iterdir()]
    assert ran
    assert all((one["engine"], one["responses_generated"]) == (None, 0) for one in ran)


def drawn_facts(facts):
    """The facts of each drawing of samples in a stage's manifest."""
    return facts.get("teachers") or [*facts.get("arms", {}).values()] or [facts]
