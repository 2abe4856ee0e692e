"""One run of the sampler: responses come in, from the ledger and the engine, and groups become decided."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import polars as pl

from tasks.engines.protocol import Request, response_ids
from tasks.ledger.ledger import Ledger
from tasks.records.response import TOO_LONG, Response
from tasks.sampling.book import Book, Come, offsets
from tasks.sampling.groups import Drawn, Group, Judge, Series, State
from tasks.sampling.outcomes import Certainty, Rule
from tasks.sampling.schedule import Schedule

READ = ("finish_reason", "n_prompt_tokens", "n_tokens", "finished_at", "text")
Results = list[tuple[int, bool]]
"""Samples of a group: index, and whether it is right."""


class Run:
    """All groups while they are sampled."""

    def __init__(
        self, groups: Sequence[Group], model_id: str, rule: Rule, judge: Judge | None, context: int | None
    ) -> None:
        """Nothing known yet."""
        certainty: Callable[[int], Certainty] = lru_cache(maxsize=None)(lambda samples: Certainty(rule, samples))
        places = offsets([group.samples for group in groups])
        self._states = [
            State(group, int(place), certainty(group.samples)) for group, place in zip(groups, places, strict=False)
        ]
        self._series = _share(self._states, model_id)
        self._book = Book(self._series)
        self._schedule = Schedule(self._series)
        self._judge, self._context = judge, context
        self.known = self.generated = self.tokens_generated = 0
        self.tokens_saved = 0.0
        """So far, by an estimate."""
        self.left = sum(state.missing for state in self._states)
        """Samples that may still be needed, at most."""
        self.decided = sum(not state.missing for state in self._states)

    @property
    def done(self) -> bool:
        """Whether every outcome is certain."""
        return self.decided == len(self._states)

    def take_from(self, ledger: Ledger) -> None:
        """Take every response that the ledger has already."""
        for frame in ledger.scan(self._wanted(), READ):
            whole = frame.filter(self._not_cut())
            self._settle([Come(*row) for row in whole.select(Come._fields).iter_rows()])
        self._schedule = Schedule(self._series)

    def shorten(self, context: int | None, ledger: Ledger) -> None:
        """Take what the ledger has after all, where the engine turns out to have a shorter context than stated."""
        if self._context is not None and context is not None and context < self._context:
            self._context = context
            self.take_from(ledger)

    def _wanted(self) -> pl.DataFrame:
        """The ids of all samples, with their series, sample index and limit."""
        sizes = [one.samples for one in self._series]
        numbers = np.repeat(np.arange(len(sizes)), sizes)
        ids = chain.from_iterable(one.ids(0, one.samples) for one in self._series)
        return pl.DataFrame(
            {
                "response_id": pl.Series(ids, dtype=pl.String),
                "series": numbers,
                "sample": np.arange(len(numbers)) - self._book.offset[numbers],
                "max_tokens": np.repeat(np.array([one.max_tokens for one in self._series], np.int64), sizes),
            }
        )

    def _not_cut(self) -> pl.Expr:
        """Whether a response was not cut off by a context shorter than the one stated now."""
        if self._context is None:
            return pl.lit(True)
        below = pl.col("n_prompt_tokens") + pl.col("n_tokens") < self._context
        return ~((pl.col("finish_reason") == "length") & below & (pl.col("n_tokens") < pl.col("max_tokens")))

    def next_requests(self, places: int) -> list[Request]:
        """New requests, so that `places` are in flight, or as many as may be needed."""
        asked = self._schedule.next(places)
        assert self._schedule.flying or self.done, "undecided groups, and nothing in flight that could decide them"
        return asked

    def take(self, responses: Sequence[Response]) -> list[str]:
        """Take finished responses; returns the ids in flight that nobody needs any more."""
        come: list[Come] = []
        for one in responses:
            if one.finish_reason != TOO_LONG:
                self.generated += 1
                self.tokens_generated += one.n_tokens
            if place := self._schedule.landed(one.response_id):
                series, index = place
                # No sample of a prompt fits when one does not.
                all_alike = range(self._series[series].samples) if one.finish_reason == TOO_LONG else [index]
                come += [Come(series, i, one.text, one.finish_reason, one.n_tokens, one.finished_at) for i in all_alike]
        changed = self._settle(come, new=True)
        return [key for number in changed for key in self._schedule.update(number)]

    def _settle(self, come: list[Come], *, new: bool = False) -> set[int]:
        """Grade responses for every group that shares them; returns their series."""
        come = [one for one in come if self._note(one, new=new)]
        told = [(state, one) for one in come for state in self._series[one.series].states if one.sample < state.bound]
        drawn = [
            Drawn(state.group, state.offset + one.sample, state.group.opened + one.text, one.finish_reason)
            for state, one in told
        ]
        verdicts = self._judge(drawn) if self._judge and drawn else [False] * len(drawn)
        results: dict[int, Results] = {}
        for (state, one), right in zip(told, verdicts, strict=True):
            results.setdefault(state.offset, []).append((one.sample, right))
        for state in {state.offset: state for state, _ in told}.values():
            self._mark(state, results[state.offset])
        return {one.series for one in come}

    def _note(self, one: Come, *, new: bool) -> bool:
        """Note that a response has come; False when it was there before."""
        there = self._series[one.series].there
        if there[one.sample]:
            return False
        there[one.sample] = 1
        self.known += 1
        self._book.note(one, new=new)
        return True

    def _mark(self, state: State, results: Results) -> None:
        before = state.missing
        state.mark(results)
        self.left += state.missing - before
        if before and not state.missing:
            self.decided += 1
            self.tokens_saved += self._book.saved(state)

    def counted(self) -> pl.DataFrame:
        """The samples that count (DRAWN): each group's prefix."""
        return self._book.counted(self._states, self._series)

    def facts(self) -> dict[str, Any]:
        """What the run cost and saved. Tokens saved are an estimate, see `Book.saved`."""
        facts = self._book.facts(self._states, self._series)
        return {
            "responses_generated": self.generated,
            "responses_generated_beyond": self.generated - facts.pop("responses_new"),
            "tokens_generated": self.tokens_generated,
            "tokens_saved": round(self.tokens_saved),
            **facts,
        }


def _share(states: list[State], model_id: str) -> list[Series]:
    """One series for each prompt and sampling parameters; tells each state the number of its own."""
    shared: dict[str, list[State]] = {}
    for state in states:
        first = response_ids(model_id, state.group.prompt, state.group.sampling, [0])[0]
        shared.setdefault(first, []).append(state)
    for number, those in enumerate(shared.values()):
        for state in those:
            state.series = number
    return [Series(model_id, those) for those in shared.values()]
