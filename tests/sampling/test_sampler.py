"""The sampler against a scripted engine: a pure function of the request, finishing in whatever order."""

import os
import random
import signal
from functools import partial

import pytest

from tasks.band import BandParams, certain
from tasks.core.errors import LimoError
from tasks.engines.params import SamplingParams
from tasks.ledger.ledger import Ledger
from tasks.records.response import TOO_LONG
from tasks.sampling.sampler import Group, never, sample, with_texts

SAMPLING = SamplingParams(temperature=1.0, max_tokens=50)


class ScriptedEngine:
    """Answers right with the probability in the prompt; some time after being asked, in an order of its own."""

    def __init__(self, order_seed=0, fails_after=None):
        self.order = random.Random(order_seed)
        self.fails_after = fails_after
        self.flying = {}
        self.asked = []
        self.cancelled = set()
        self.most_in_flight = 0
        self.closed = False

    @property
    def facts(self):
        return {"engine": "scripted"}

    def submit(self, requests):
        for request in requests:
            assert request.response_id not in self.flying
            self.flying[request.response_id] = request
            self.asked.append(request.response_id)
        self.most_in_flight = max(self.most_in_flight, len(self.flying))

    def finished(self, seconds):
        if self.fails_after is not None and len(self.asked) > self.fails_after:
            raise ConnectionError("the engine died")
        keys = self.order.sample(sorted(self.flying), k=self.order.randint(1, len(self.flying)))
        return [_respond(self.flying.pop(key)) for key in keys]

    def cancel(self, response_ids):
        for key in response_ids:
            del self.flying[key]
            self.cancelled.add(key)

    def close(self):
        self.closed = True


def _respond(request):
    if request.prompt == "endless":
        return request.finish("", TOO_LONG, 9999, 0, 0.0)
    dice = random.Random(request.own_seed)
    right = dice.random() < float(request.prompt.split()[0])
    return request.finish("right" if right else "wrong", "stop", 5, dice.randint(1, 50), 0.1)


def judge(drawn):
    return [one.text == one.group.gold for one in drawn]


def make_groups(count, samples=32, sampling=SAMPLING):
    rates = [0.0, 0.02, 0.06, 0.15, 0.4, 0.9]
    return [
        Group(f"q_{i}", f"{rates[i % len(rates)]} question {i}", "right", "auto", samples, sampling)
        for i in range(count)
    ]


def draw(groups, ledger, engine, rule, places=64, judge=judge, context=None):
    return sample(
        groups,
        name="test",
        model_id="m_test",
        ledger=Ledger(ledger, "m_test"),
        open_engine=lambda: engine,
        places=places,
        rule=rule,
        judge=judge,
        context=context,
    )


def table(sampled):
    """The samples that count: question, sample index, text, tokens."""
    whole = with_texts(sampled.table, sampled.ledger)
    return whole.select("key", "sample_index", "text", "n_tokens").rows()


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
    assert adaptive.facts["tokens_generated"] < full.facts["tokens_generated"]
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


def test_a_response_that_a_shorter_context_cut_is_drawn_anew(tmp_path):
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
    assert len(engine.asked) == len(cut) > 10
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
    assert again.asked == []
    assert again.closed


def test_what_had_finished_is_kept_when_the_engine_fails(tmp_path):
    class Failing(ScriptedEngine):
        """It fails, and on the next call hands out what it had."""

        def finished(self, seconds):
            if len(self.asked) > 300 and seconds:
                raise LimoError("the engine is gone")
            return super().finished(seconds)

    engine = Failing()
    with pytest.raises(LimoError, match="is gone"):
        draw(make_groups(80), tmp_path, engine, never)
    assert len(Ledger(tmp_path, "m_test").lookup(engine.asked)) == len(engine.asked) - len(engine.flying)
    assert len(engine.flying) < 64


@pytest.mark.parametrize("rule", [BAND, SCREEN, never])
def test_the_same_table_whatever_the_batching_and_the_order(tmp_path, rule):
    groups = make_groups(120)
    tables = [
        table(draw(groups, tmp_path / str(places), ScriptedEngine(order_seed), rule, places))
        for places, order_seed in [(1, 0), (7, 1), (64, 2), (64, 3), (5000, 4)]
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
    facts = draw(make_groups(60), tmp_path, engine, SCREEN, places=150).facts
    assert engine.most_in_flight == 150
    assert engine.cancelled
    assert engine.closed
    assert facts["responses_generated"] == facts["responses"] + facts["responses_generated_beyond"]


def test_a_second_run_starts_no_engine(tmp_path):
    groups = make_groups(40)
    first = draw(groups, tmp_path, ScriptedEngine(), BAND)

    def refuse():
        raise AssertionError("an engine was started")

    book = Ledger(tmp_path, "m_test")
    second = sample(
        groups, name="test", model_id="m_test", ledger=book, open_engine=refuse, places=4, rule=BAND, judge=judge
    )
    assert table(second) == table(first)
    assert second.facts["responses_generated"] == 0
    assert second.facts["responses_from_ledger"] == second.facts["responses"] == first.facts["responses"]


def test_after_a_crash_only_the_missing_is_generated(tmp_path):
    groups = make_groups(80)
    undisturbed = draw(groups, tmp_path / "whole", ScriptedEngine(), never)
    broken = ScriptedEngine(5, fails_after=700)
    with pytest.raises(ConnectionError):
        draw(groups, tmp_path / "crash", broken, never)
    assert broken.closed
    kept = len(Ledger(tmp_path / "crash", "m_test").lookup(broken.asked))
    assert kept == len(broken.asked) - len(broken.flying) > 500
    rest = ScriptedEngine(6)
    resumed = draw(groups, tmp_path / "crash", rest, never)
    assert table(resumed) == table(undisturbed)
    assert len(rest.asked) == 80 * 32 - kept


def test_sigterm_writes_what_has_finished_and_ends(tmp_path):
    class Stopped(ScriptedEngine):
        def finished(self, seconds):
            if len(self.asked) > 300:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().finished(seconds)

    engine, before = Stopped(), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        draw(make_groups(80), tmp_path, engine, never)
    assert ended.value.code == 128 + signal.SIGTERM
    assert engine.closed
    assert len(Ledger(tmp_path, "m_test").lookup(engine.asked)) == len(engine.asked) - len(engine.flying) > 0
    assert signal.getsignal(signal.SIGTERM) == before


def test_one_question_more_generates_only_its_samples(tmp_path):
    draw(make_groups(10), tmp_path, ScriptedEngine(), never)
    engine = ScriptedEngine()
    draw(make_groups(11), tmp_path, engine, never)
    assert len(engine.asked) == 32


def test_the_same_text_in_two_questions_is_generated_once(tmp_path):
    twins = [Group(key, "0.06 twin", gold, "auto", 32, SAMPLING) for key, gold in [("q_a", "right"), ("q_b", "wrong")]]
    engine = ScriptedEngine()
    sampled = draw(twins, tmp_path, engine, SCREEN)
    assert len(engine.asked) == len(set(engine.asked))
    ends = {key: max(i for k, i, _, _ in table(sampled) if k == key) for key in ("q_a", "q_b")}
    alone = draw(twins[:1], tmp_path / "alone", ScriptedEngine(), SCREEN)
    assert ends["q_a"] == alone.table.height - 1
    assert ends["q_b"] == next(i for i, one in enumerate(_all_samples(twins[0])) if one == "wrong")


def _all_samples(group):
    from tasks.engines.protocol import make_request

    return [_respond(make_request("m_test", group.prompt, SAMPLING, i)).text for i in range(group.samples)]


def test_every_sample_of_a_prompt_too_long_is_refused_and_the_rest_go_on(tmp_path):
    groups = [Group("q_long", "endless", "right", "auto", 32, SAMPLING), *make_groups(6)]
    sampled = draw(groups, tmp_path, ScriptedEngine(), never)
    mine = sampled.table.filter(key="q_long")
    # As many rows as any other question has, so that scores stay comparable.
    assert mine["finish_reason"].to_list() == [TOO_LONG] * 32
    assert sampled.facts["too_long"] == 32
    assert sampled.facts["responses_generated"] == 6 * 32
    assert not Ledger(tmp_path, "m_test").lookup(mine["response_id"])


def test_without_a_judge_all_is_drawn(tmp_path):
    greedy = SamplingParams(temperature=0)
    groups = [Group("b_1", "0.5 a", "right", "auto", 1, greedy), Group("b_2", "0.5 b", "right", "auto", 3, SAMPLING)]
    sampled = draw(groups, tmp_path, ScriptedEngine(), never, judge=None)
    assert [(key, index) for key, index, _, _ in table(sampled)] == [("b_1", 0), *(("b_2", i) for i in range(3))]


def test_no_groups_is_no_work(tmp_path):
    assert draw([], tmp_path, ScriptedEngine(), never).table.is_empty()
