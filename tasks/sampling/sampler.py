"""The sampling loop: ledger first, engine kept full, each group stopped as soon as its outcome is certain.

A group is one question with its `samples`. What counts is a prefix: the samples 0, 1, 2, ... up to the one that makes
the outcome certain. Whatever finishes beyond it stays in the ledger and out of the tables, so that the same seeds give
the same tables whatever the batching, the order of finishing, or an interruption.
"""

import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from heapq import heapify, heappop, heapreplace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from tasks.core.errors import LimoError
from tasks.engines.params import SamplingParams
from tasks.engines.protocol import Engine, Request, response_ids
from tasks.ledger.ledger import Ledger
from tasks.records.response import LOOP, TOO_LONG, Response
from tasks.sampling.progress import Progress

# When an outcome is certain: which samples are needed in any case, and which cannot count any more.

Rule = Callable[[int, int], bool]
"""`rule(correct, drawn)`: whether the outcome is certain after `drawn` samples of which `correct` are right."""

UNKNOWN, WRONG, RIGHT = range(3)
"""What is known of a sample, as a byte."""


class Span(NamedTuple):
    """What is certain of the prefix that will count: it holds `floor` samples at least and `bound` at most."""

    floor: int
    bound: int


class Certainty:
    """A rule, tabulated for groups of so many samples."""

    def __init__(self, rule: Rule, samples: int) -> None:
        """Ask the rule once for each count; bit `c` of `_stops[d - 1]` says that `c` right of `d` end the sampling."""
        self._stops = [
            sum(1 << correct for correct in range(drawn + 1) if rule(correct, drawn)) for drawn in range(1, samples + 1)
        ]
        self._ends = any(self._stops)

    def span(self, known: bytearray) -> Span:
        """The shortest and the longest prefix over every way that the unknown samples can turn out.

        The numbers of right samples that can still be reached are kept as the bits of an integer. Exact for any rule.
        """
        if not self._ends:
            return Span(len(known), len(known))
        reachable, floor = 1, 0
        for drawn, (state, stops) in enumerate(zip(known, self._stops, strict=True), 1):
            if state == RIGHT:
                reachable <<= 1
            elif state == UNKNOWN:
                reachable |= reachable << 1
            if stopped := reachable & stops:
                floor = floor or drawn
                reachable ^= stopped
                if not reachable:
                    return Span(floor, drawn)
        return Span(floor or len(known), len(known))


def never(_correct: int, _drawn: int) -> bool:
    """The rule that never stops: every sample is drawn."""
    return False


# A group, the samples of one question, and what is known of them while they are drawn.


class Group(NamedTuple):
    """The samples of one question."""

    key: str
    """The id of the question or item."""
    prompt: str
    gold: str
    kind: str
    samples: int
    sampling: SamplingParams
    opened: str = ""
    """The end of the prompt that belongs to the response, such as `<think>`."""


class Drawn(NamedTuple):
    """One response to a group's prompt."""

    group: Group
    place: int
    """Number of the sample among all samples of all groups."""
    text: str
    finish_reason: str


Judge = Callable[[Sequence[Drawn]], Sequence[bool]]
"""Which of these responses are right, in order."""


class State:
    """One group while it is sampled."""

    def __init__(self, group: Group, offset: int, certainty: Certainty) -> None:
        """Nothing known yet; `offset` is the place of its first sample."""
        self.group = group
        self.offset = offset
        self.series = 0
        """Number of the series that it draws from."""
        self._certainty = certainty
        self._known = bytearray(group.samples)
        self.floor, self.bound = certainty.span(self._known)
        """Samples before `floor` count in any case; those from `bound` on cannot."""
        self.missing = self.bound
        """Unknown samples before `bound`."""

    def mark(self, results: Sequence[tuple[int, bool]]) -> None:
        """Note results: a sample's index, and whether it is right."""
        for index, correct in results:
            self._known[index] = RIGHT if correct else WRONG
        self.floor, self.bound = self._certainty.span(self._known)
        self.missing = self._known.count(UNKNOWN, 0, self.bound)


class Series:
    """The samples of one prompt, which all groups share that ask it with the same sampling parameters."""

    def __init__(self, model_id: str, states: list[State]) -> None:
        """Nothing asked for yet."""
        self.states = states
        self._model_id = model_id
        self._group = max((state.group for state in states), key=lambda group: group.samples)
        self.samples = self._group.samples
        self.max_tokens = self._group.sampling.max_tokens
        self.there = bytearray(self.samples)
        """Which samples have come, as bytes of 0 and 1."""
        self._next = 0

    @property
    def floor(self) -> int:
        """Samples before it count for a group in any case."""
        return max(state.floor for state in self.states)

    @property
    def bound(self) -> int:
        """Samples from here on count for none."""
        return max(state.bound for state in self.states)

    @property
    def decided(self) -> bool:
        """Whether every sample that counts is there, for every group."""
        return not any(state.missing for state in self.states)

    @property
    def next(self) -> int:
        """The lowest index that is neither there nor asked for."""
        found = self.there.find(0, self._next)
        self._next = self.samples if found < 0 else found
        return self._next

    def ask(self) -> Request:
        """The request for the next sample, which from now on is asked for."""
        index = self.next
        self._next += 1
        group = self._group
        return Request(self._model_id, group.prompt, group.sampling, index, self.ids(index, index + 1)[0])

    def ids(self, start: int, stop: int) -> list[str]:
        """The response ids of these samples."""
        return response_ids(self._model_id, self._group.prompt, self._group.sampling, range(start, stop))


# What is known of each sample in a few bytes, so that millions fit in memory; the texts stay in the ledger.

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


# Which sample to ask for next: what is needed in any case first, then new questions, then what may be needed.
#
# Samples of one prompt that are certain to count are asked for one after another, so that they share its prefix; none
# of them is ever in vain. New prompts are taken up in order as places fall free. Only when none is left, at the end
# of a run, places are filled with samples that may turn out not to count: nearest to the certain ones first.


class Schedule:
    """The samples in flight, and those to ask for."""

    def __init__(self, series: list[Series]) -> None:
        """Nothing in flight."""
        self._series = series
        self._fresh = deque(range(len(series)))
        self._needed: deque[int] = deque()
        self._flying: dict[str, tuple[int, int]] = {}
        """By response id: number of the series, sample index."""
        self.open = {number for number, one in enumerate(series) if not one.decided}
        """Numbers of the undecided series."""

    @property
    def flying(self) -> int:
        """Samples in flight."""
        return len(self._flying)

    def next(self, places: int) -> list[Request]:
        """Requests to send now, so that `places` are in flight, or as many as there are."""
        asked: list[Request] = []
        while self.flying < places and (self._needed or self._fresh):
            number = (self._needed or self._fresh).popleft()
            series = self._series[number]
            if number in self.open and series.next < series.floor:
                asked.append(self._ask(number))
                self._needed.appendleft(number)
        if self.flying < places:
            asked += self._speculate(places)
        return asked

    def _speculate(self, places: int) -> list[Request]:
        """Samples beyond the certain ones; those of all open series in turn, each step one further."""
        asked: list[Request] = []
        near = [
            (one.next - one.floor, number) for number in self.open if (one := self._series[number]).next < one.bound
        ]
        heapify(near)
        while near and self.flying < places:
            distance, number = near[0]
            asked.append(self._ask(number))
            if self._series[number].next < self._series[number].bound:
                heapreplace(near, (distance + 1, number))
            else:
                heappop(near)
        return asked

    def _ask(self, number: int) -> Request:
        request = self._series[number].ask()
        self._flying[request.response_id] = (number, request.sample_index)
        return request

    def landed(self, response_id: str) -> tuple[int, int] | None:
        """Series and sample index of a response that was in flight; None when it was not, or no longer."""
        return self._flying.pop(response_id, None)

    def update(self, number: int) -> list[str]:
        """Take note that more is known of a series; returns the ids of its samples in flight that cannot count now."""
        series = self._series[number]
        if series.decided:
            self.open.discard(number)
        elif series.next < series.floor:
            self._needed.append(number)
        beyond = series.ids(series.bound, series.next) if series.next > series.bound else []
        return [key for key in beyond if self._flying.pop(key, None)]


# What a run of the sampler gives: the samples that count; their texts are read from the ledger when wanted.

BYTES_A_TOKEN = 6
PART_BYTES = 512 * 2**20
"""Texts held in memory at once, about."""


class Sampled(NamedTuple):
    """The samples that count (DRAWN, see book.py), and the facts of the run."""

    table: pl.DataFrame
    facts: dict[str, Any]
    ledger: Ledger


def with_texts(table: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """`table`, DRAWN with whatever columns more, with the texts of the responses as `text`; all in memory.

    Raises:
        LimoError: the ledger has lost one since.
    """
    numbered = table.with_row_index("row")
    return _joined(numbered, _first([_NONE, *_texts(numbered, ledger)]))


def write_with_texts(table: pl.DataFrame, ledger: Ledger, path: Path, columns: list[str]) -> None:
    """Write `columns` of `with_texts(table, ledger)` as Parquet, in memory that does not grow with the table.

    Texts come in the ledger's order and go in the table's: they are sorted by way of some files beside `path`.
    """
    parts = max(1, -(-int(table["n_tokens"].sum()) * BYTES_A_TOKEN // PART_BYTES))
    if parts == 1:
        with_texts(table, ledger).select(columns).write_parquet(path)
        return
    size = -(-table.height // parts)
    numbered = table.with_row_index("row")
    with TemporaryDirectory(dir=path.parent) as folder:
        _spread(numbered, ledger, size, Path(folder))
        slices = list(enumerate(numbered.iter_slices(size)))
        schema = _joined(numbered.clear(), _NONE).select(columns).to_arrow().schema
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for part, rows in slices:
                pieces = [_NONE, *map(pl.read_parquet, sorted(Path(folder).glob(f"{part}-*.parquet")))]
                writer.write_table(_joined(rows, _first(pieces)).select(columns).to_arrow().cast(schema))


_NONE = pl.DataFrame(schema={"row": pl.UInt32, "text": pl.String})


def _spread(numbered: pl.DataFrame, ledger: Ledger, size: int, folder: Path) -> None:
    """Write the texts of each `size` rows into files of their own, in the order in which they were found."""
    for number, frame in enumerate(_texts(numbered, ledger)):
        parted = frame.with_columns(part=pl.col("row") // size)
        for (part,), piece in parted.partition_by("part", as_dict=True, include_key=False).items():
            piece.write_parquet(folder / f"{part}-{number:09d}.parquet")


def _texts(numbered: pl.DataFrame, ledger: Ledger) -> Iterator[pl.DataFrame]:
    """Row number and text of each response found, of just the copies that were taken (two runs may write two)."""
    wanted = numbered.filter(pl.col("finish_reason") != TOO_LONG)
    wanted = wanted.select("response_id", "row", taken="finished_at")
    for frame in ledger.scan(wanted, ["text", "finished_at"]):
        yield frame.filter(pl.col("finished_at").fill_null(0.0) == pl.col("taken")).select("row", "text")


def _first(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames).unique("row", keep="first", maintain_order=True)


def _joined(numbered: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    joined = numbered.join(found, on="row", how="left", maintain_order="left")
    lost = joined.filter(pl.col("text").is_null() & (pl.col("finish_reason") != TOO_LONG))
    if lost.height:
        raise LimoError(
            f"{lost.height} responses are no longer in the ledger ({lost['response_id'][0]}, ...): run again"
        )
    return joined.with_columns(text=pl.col("opened") + pl.col("text").fill_null("")).drop("row")


# One run of the sampler: responses come in, from the ledger and the engine, and groups become decided.

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


POLL_SECONDS = 1.0


def sample(
    groups: Sequence[Group],
    *,
    name: str,
    model_id: str,
    ledger: Ledger,
    open_engine: Callable[[], Engine],
    places: int,
    rule: Rule = never,
    judge: Judge | None = None,
    context: int | None = None,
    progress: Path | None = None,
) -> Sampled:
    """Draw every group's samples until `rule` says that its outcome is certain.

    Args:
        name: the stage, for progress.
        open_engine: starts the engine; not called when the ledger holds all that is needed.
        places: responses in flight at once.
        judge: grades responses; None: nothing is graded, and `rule` sees no correct ones.
        context: longest prompt plus response, tokens, where it is stated: what a shorter one once cut is drawn anew.
        progress: folder of machine-readable progress.
    """
    started = time.monotonic()
    with terminate_cleanly() as signals, ledger, Progress(name, len(groups), progress) as shown:
        run = Run(groups, model_id, rule, judge, context)
        run.take_from(ledger)
        facts: dict[str, object] = {"ledger_seconds": round(time.monotonic() - started, 1)}
        shown.start(run.known, run.decided)
        if not run.done:
            ledger.reserve()
            engine = open_engine()
            try:
                run.shorten(engine.facts.get("context"), ledger)
                _generate(run, engine, ledger, places, shown, signals)
                facts["engine"] = engine.facts
            finally:
                engine.close()
        ledger.flush()
        facts |= run.facts() | {"seconds": round(time.monotonic() - started, 1)}
    return Sampled(run.counted(), facts, ledger)


def _generate(run: Run, engine: Engine, ledger: Ledger, places: int, shown: Progress, signals: "Signals") -> None:
    """Draw what is missing."""
    try:
        while not run.done:
            engine.submit(run.next_requests(places))
            with signals.held():
                _keep(ledger, responses := engine.finished(POLL_SECONDS))
            engine.cancel(run.take(responses))
            shown.tell(run.decided, run.known, run.tokens_generated, round(run.tokens_saved), run.left)
    except BaseException:
        # Whatever ends the run, what has finished since the last turn is kept; an engine that failed says so once.
        with suppress(LimoError):
            _keep(ledger, engine.finished(0))
        raise


def _keep(ledger: Ledger, responses: Sequence[Response]) -> None:
    ledger.add([response for response in responses if response.finish_reason != TOO_LONG])
    ledger.flush_if_due()


class Signals:
    """What SIGTERM does: it ends the run, but never between taking responses from the engine and keeping them."""

    def __init__(self) -> None:
        """None has come."""
        self._holding = False
        self._come: int | None = None

    def leave(self, number: int, _frame: FrameType | None) -> None:
        """The handler."""
        self._come = number
        if not self._holding:
            sys.exit(128 + number)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Put the end off until after the block."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._come is not None:
            sys.exit(128 + self._come)


@contextmanager
def terminate_cleanly() -> Iterator[Signals]:
    """Turn SIGTERM into SystemExit, so that what has finished is written before the process ends."""
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = signal.signal(signal.SIGTERM, signals.leave)
    try:
        yield signals
    finally:
        signal.signal(signal.SIGTERM, before)
