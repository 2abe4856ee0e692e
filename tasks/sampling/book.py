"""What is known of each sample in a few bytes, so that millions fit in memory; the texts stay in the ledger."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from tasks.records.response import LOOP, TOO_LONG
from tasks.sampling.groups import Series, State

REASONS = ("", "stop", "length", LOOP, TOO_LONG)
"""Finish reasons by their number; 0: the sample has not come."""

DRAWN = pl.Schema(
    {
        "key": pl.String,
        "place": pl.Int64,
        "response_id": pl.String,
        "sample_index": pl.Int64,
        "finish_reason": pl.String,
        "n_tokens": pl.Int64,
        "opened": pl.String,
        "finished_at": pl.Float64,
    }
)
"""The samples that count, in the order of groups and sample index. `opened` stands before the response's text."""


class Come(NamedTuple):
    """A response that has come."""

    series: int
    sample: int
    text: str
    finish_reason: str
    n_tokens: int
    finished_at: float


def offsets(sizes: Sequence[int]) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Where each of several runs of entries begins when they stand in one array, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(np.asarray(sizes, np.int64))]).astype(np.int64)


class Book:
    """One entry a sample, in the order of series and sample index."""

    def __init__(self, series: Sequence[Series]) -> None:
        """No sample has come."""
        self.offset = offsets([one.samples for one in series])
        self.reason = np.zeros(self.offset[-1], np.int8)
        self.tokens = np.zeros(self.offset[-1], np.int32)
        self.finished = np.zeros(self.offset[-1], np.float64)
        self.new = np.zeros(self.offset[-1], np.bool_)

    def note(self, come: Come, *, new: bool) -> None:
        """A response has come, from the ledger or `new`."""
        place = self.offset[come.series] + come.sample
        self.reason[place] = REASONS.index(come.finish_reason)
        self.tokens[place] = come.n_tokens
        self.finished[place] = come.finished_at
        self.new[place] = new

    def saved(self, state: State) -> float:
        """Tokens that a group did not draw, by an estimate: a sample not drawn is as long as its drawn ones."""
        start = self.offset[state.series]
        return float((state.group.samples - state.bound) * self.tokens[start : start + state.bound].mean())

    def counted(self, states: Sequence[State], series: Sequence[Series]) -> pl.DataFrame:
        """The samples that count (DRAWN): each group's prefix."""
        bounds = np.array([state.bound for state in states], np.int64)
        owner = np.repeat(np.arange(len(states)), bounds)
        index = np.arange(len(owner)) - offsets(list(bounds))[:-1][owner]
        entry = self.offset[[state.series for state in states]][owner] + index if states else index
        ids = [key for state in states for key in series[state.series].ids(0, state.bound)]
        table = pl.DataFrame(
            {
                "key": pl.Series([state.group.key for state in states], dtype=pl.String).gather(owner),
                "place": np.array([state.offset for state in states], np.int64)[owner] + index,
                "response_id": pl.Series(ids, dtype=pl.String),
                "sample_index": index,
                "finish_reason": pl.Series(REASONS).gather(self.reason[entry]),
                "n_tokens": self.tokens[entry],
                "opened": pl.Series([state.group.opened for state in states], dtype=pl.String).gather(owner),
                "finished_at": self.finished[entry],
            }
        )
        return table.select(pl.col(name).cast(kind) for name, kind in DRAWN.items())

    def facts(self, states: Sequence[State], series: Sequence[Series]) -> dict[str, int]:
        """What counts, where it came from, and what was not drawn."""
        counts = np.zeros(len(self.reason), np.bool_)
        for number, one in enumerate(series):
            counts[self.offset[number] : self.offset[number] + one.bound] = True
        sent = counts & (self.reason != REASONS.index(TOO_LONG))
        return {
            "responses": int(counts.sum()),
            "responses_from_ledger": int((sent & ~self.new).sum()),
            "responses_new": int((sent & self.new).sum()),
            "samples_not_drawn": sum(state.group.samples - state.bound for state in states),
            "tokens": int(self.tokens[sent].sum()),
            "truncated": int((counts & (self.reason == REASONS.index("length"))).sum()),
            "looped": int((counts & (self.reason == REASONS.index(LOOP))).sum()),
            "too_long": int((counts & ~sent).sum()),
        }
