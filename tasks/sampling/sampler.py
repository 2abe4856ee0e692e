"""Draw samples of a model: ledger first, engine kept full, each group stopped as soon as its outcome is certain."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from tasks.core.errors import LimoError
from tasks.core.params import ChatParams
from tasks.engines.launch import open_engine
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.prompts import Renderer, prompt_renderer
from tasks.engines.protocol import Engine, Request
from tasks.grading.grader import Pair, Verdict, VerdictCache, grade_many, verdict_cache
from tasks.ledger.ledger import Ledger
from tasks.records.model import Model, load_models, require_model
from tasks.records.response import CUT_OFF, TOO_LONG, Response
from tasks.sampling.progress import Progress
from tasks.sampling.schedule import (
    Arrival,
    Certainty,
    Group,
    GroupState,
    Rule,
    SampleStore,
    Schedule,
    by_prompt,
    never,
    offsets,
)

POLL_SECONDS = 1.0
TOO_LONG_REASON = "prompt_too_long"
TOO_LONG_WORDS = {TOO_LONG_REASON: "does not fit the model's context"}
VERDICT = {"verdict": pl.String, "extracted": pl.String, "rule": pl.String, "verdict_reason": pl.String}
ROWS_A_FRAME = 50_000
BYTES_A_TOKEN = 6
PART_BYTES = 512 * 2**20
"""Texts held in memory at once, about."""


class Samples(NamedTuple):
    """The samples that count. Their texts stay in the ledger until they are wanted."""

    table: pl.DataFrame
    """SAMPLES, and whatever columns more."""
    facts: dict[str, Any]
    """For the manifest: what the samples are and what they cost; the same whether they were generated or reused."""
    run: dict[str, Any]
    """What this very run did, as in its progress file: how much it generated and reused, its engine, its time."""
    ledger: Ledger

    def with_texts(self) -> pl.DataFrame:
        """The table with the texts of the responses as `text`; all in memory.

        Raises:
            LimoError: the ledger has lost one since.
        """
        numbered = self.table.with_row_index("row")
        return _join_texts(numbered, _first([_NO_TEXTS, *_texts(numbered, self.ledger)]))

    def write(self, path: Path, columns: list[str]) -> None:
        """Write `columns` of `with_texts()` as Parquet, in memory that does not grow with the table.

        Texts come in the ledger's order and go in the table's: they are sorted by way of some files next to `path`.
        """
        parts = max(1, -(-int(self.table["n_tokens"].sum()) * BYTES_A_TOKEN // PART_BYTES))
        if parts == 1:
            self.with_texts().select(columns).write_parquet(path)
            return
        size = -(-self.table.height // parts)
        numbered = self.table.with_row_index("row")
        with TemporaryDirectory(dir=path.parent) as scratch:
            folder = Path(scratch)
            for number, frame in enumerate(_texts(numbered, self.ledger)):
                parted = frame.with_columns(part=pl.col("row") // size)
                for (part,), piece in parted.partition_by("part", as_dict=True, include_key=False).items():
                    piece.write_parquet(folder / f"{part}-{number:09d}.parquet")
            schema = _join_texts(numbered.clear(), _NO_TEXTS).select(columns).to_arrow().schema
            with pq.ParquetWriter(path, schema, compression="zstd") as writer:
                for part, rows in enumerate(numbered.iter_slices(size)):
                    pieces = [_NO_TEXTS, *map(pl.read_parquet, sorted(folder.glob(f"{part}-*.parquet")))]
                    writer.write_table(_join_texts(rows, _first(pieces)).select(columns).to_arrow().cast(schema))


_NO_TEXTS = pl.DataFrame(schema={"row": pl.UInt32, "text": pl.String})


def _texts(numbered: pl.DataFrame, ledger: Ledger) -> Iterator[pl.DataFrame]:
    """Row number and text of each response found, of just the rows that were counted (two runs may write two)."""
    wanted = numbered.filter(pl.col("finish_reason") != TOO_LONG)
    wanted = wanted.select("response_id", "row", counted="finished_at")
    for frame in ledger.scan(wanted, ["text", "finished_at"]):
        yield frame.filter(pl.col("finished_at").fill_null(0.0) == pl.col("counted")).select("row", "text")


def _first(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames).unique("row", keep="first", maintain_order=True)


def _join_texts(numbered: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    joined = numbered.join(found, on="row", how="left", maintain_order="left")
    lost = joined.filter(pl.col("text").is_null() & (pl.col("finish_reason") != TOO_LONG))
    if lost.height:
        raise LimoError(
            f"{lost.height} responses are no longer in the ledger ({lost['response_id'][0]}, ...): run again"
        )
    return joined.with_columns(text=pl.col("opened") + pl.col("text").fill_null("")).drop("row")


class Sampler:
    """Draws samples of one model for one stage. Its engine starts only where the ledger lacks what is needed."""

    def __init__(
        self,
        model: Model,
        engine: EngineParams,
        chat: ChatParams,
        ledger: Path,
        *,
        stage: str,
        start: Callable[[], Engine] | None = None,
    ) -> None:
        """A sampler of `model`; nothing starts yet.

        Args:
            ledger: folder of the ledgers of all models; vLLM's log goes there, progress next to it.
            stage: its name, for progress.
            start: starts the engine, where it is not the one of params.
        """
        self.model, self.stage = model, stage
        self._params, self._chat, self._ledger = engine.of(model.name), chat, ledger
        self._start = start or (lambda: open_engine(engine, model, ledger / model.model_id / "vllm.log"))

    @classmethod
    def of(
        cls, models: Path, name: str, key: str, engine: EngineParams, chat: ChatParams, ledger: Path, *, stage: str
    ) -> Self:
        """A sampler of the model called `name` in the file `models`; `key` is the param that names it.

        Raises:
            LimoError: there is no such model.
        """
        return cls(require_model(load_models(models), name, key), engine, chat, ledger, stage=stage)

    @cached_property
    def render(self) -> Renderer:
        """From a question's text to the prompt that the model is given."""
        return prompt_renderer(Path(self.model.path), self._chat)

    def attempts(self, questions: pl.DataFrame, *, samples: int, sampling: SamplingParams, rule: Rule) -> Samples:
        """Draw and grade up to `samples` responses to each pool question, until `rule` is certain.

        The table has the columns of ATTEMPT but for the text.
        """
        render = self.render
        groups = [
            Group(key, render(question), answer or "", "auto", samples, sampling, render.opened)
            for key, question, answer in questions.select("question_id", "question", "answer").iter_rows()
        ]
        verdicts = _Verdicts(verdict_cache(self._ledger))
        drawn = self.draw(groups, rule=rule, grade=verdicts.grade)
        graded = drawn.table.rename({"key": "question_id"})
        graded = graded.join(verdicts.table(), on="number", how="left", maintain_order="left")
        unsent = pl.col("finish_reason") == TOO_LONG
        filled = {"verdict": "ungraded", "rule": "none", "verdict_reason": TOO_LONG_REASON}
        graded = graded.with_columns(
            pl.lit(self.model.model_id).alias("model_id"),
            *(pl.when(unsent).then(pl.lit(value)).otherwise(column).alias(column) for column, value in filled.items()),
        )
        ungraded = graded.filter(pl.col("verdict") == "ungraded").height
        return drawn._replace(table=graded, facts={**drawn.facts, "ungraded": ungraded})

    def draw(self, groups: Sequence[Group], *, rule: Rule = never, grade: "Grader | None" = None) -> Samples:
        """Draw every group's samples until `rule` says that its outcome is certain.

        Args:
            grade: grades responses; None: nothing is graded, and `rule` sees no correct ones.
        """
        began = time.monotonic()
        model_id, params = self.model.model_id, self._params
        ledger = Ledger(self._ledger, model_id, params.flush_responses, params.flush_seconds)
        progress = Progress(self.stage, len(groups), self._ledger.parent / "progress")
        with terminate_cleanly() as signals, ledger, progress:
            state = SamplerState(groups, model_id, rule, grade, params.max_model_len)
            state.reuse(ledger)
            run: dict[str, Any] = {"ledger_seconds": round(time.monotonic() - began, 1), "engine": None}
            progress.start(state.known, state.decided)
            if not state.done:
                ledger.reserve()
                engine = self._start()
                try:
                    state.shorten(engine.facts.get("context"), ledger)
                    _generate(state, engine, ledger, params.concurrency, progress, signals)
                    run["engine"] = engine.facts
                finally:
                    engine.close()
            ledger.flush()
            run |= state.run_facts() | {"seconds": round(time.monotonic() - began, 1)}
            progress.finish(run)
        facts = {"model": self.model.name, "model_id": model_id, **state.facts()}
        return Samples(state.counted(), facts, run, ledger)


class _Verdicts:
    """The verdict of each sample by its number, in columns, so that millions fit in memory."""

    def __init__(self, cache: VerdictCache) -> None:
        self._cache = cache
        self._rows: list[tuple[int, Verdict]] = []
        self._frames = [pl.DataFrame(schema={"number": pl.Int64, **VERDICT})]

    def grade(self, samples: "Sequence[Sample]") -> list[bool]:
        graded = [one for one in samples if one.finish_reason != TOO_LONG]
        verdicts = grade_many(
            [Pair(one.group.gold, one.text, one.group.kind, cut_off=one.finish_reason in CUT_OFF) for one in graded],
            cache=self._cache,
        )
        numbers = [one.number for one in graded]
        self._rows += zip(numbers, verdicts, strict=True)
        if len(self._rows) >= ROWS_A_FRAME:
            self._pack()
        right = {number for number, verdict in zip(numbers, verdicts, strict=True) if verdict.verdict == "correct"}
        return [one.number in right for one in samples]

    def _pack(self) -> None:
        rows = [(number, *verdict[: len(VERDICT)]) for number, verdict in self._rows]
        self._frames.append(pl.DataFrame(rows, schema=self._frames[0].schema, orient="row"))
        self._rows.clear()

    def table(self) -> pl.DataFrame:
        self._pack()
        return pl.concat(self._frames)


class Sample(NamedTuple):
    """One response to a group's prompt."""

    group: Group
    number: int
    """Of the sample among those of all groups."""
    text: str
    finish_reason: str


Grader = Callable[[Sequence[Sample]], Sequence[bool]]
"""Which of these responses are right, in order."""

LEDGER_COLUMNS = ("finish_reason", "n_prompt_tokens", "n_tokens", "seconds", "engine", "finished_at", "text")
Results = list[tuple[int, bool]]
"""Samples of a group: index, and whether it is right."""


class SamplerState:
    """All groups while they are sampled: responses come in, from the ledger and the engine, and groups are decided."""

    def __init__(
        self, groups: Sequence[Group], model_id: str, rule: Rule, grade: Grader | None, context: int | None
    ) -> None:
        """No sample known.

        Args:
            context: longest prompt plus response, tokens, where it is stated: what a shorter one once cut is generated
                again.
        """
        certainty: Callable[[int], Certainty] = lru_cache(maxsize=None)(lambda samples: Certainty(rule, samples))
        starts = offsets([group.samples for group in groups])
        self._groups = [
            GroupState(group, int(start), certainty(group.samples))
            for group, start in zip(groups, starts, strict=False)
        ]
        self._prompts = by_prompt(self._groups, model_id)
        self._store = SampleStore(self._prompts)
        self._schedule = Schedule(self._prompts)
        self._grade, self._context = grade, context
        self.known = self.generated = self.tokens_generated = 0
        self.tokens_saved = 0.0
        """So far, by an estimate."""
        self.left = sum(state.missing for state in self._groups)
        """Samples that may still be needed, at most."""
        self.decided = sum(not state.missing for state in self._groups)

    @property
    def done(self) -> bool:
        """Whether every outcome is certain."""
        return self.decided == len(self._groups)

    def reuse(self, ledger: Ledger) -> None:
        """Take every response that is in the ledger."""
        for frame in ledger.scan(self._wanted(), LEDGER_COLUMNS):
            whole = frame.filter(self._not_cut())
            self._settle([Arrival(*row) for row in whole.select(Arrival._fields).iter_rows()])
        self._schedule = Schedule(self._prompts)

    def shorten(self, context: int | None, ledger: Ledger) -> None:
        """Reuse what a short context cut after all, where the engine's context turns out shorter than stated."""
        if self._context is not None and context is not None and context < self._context:
            self._context = context
            self.reuse(ledger)

    def _wanted(self) -> pl.DataFrame:
        """The ids of all samples, with the number of their prompt, sample index and limit."""
        sizes = [one.samples for one in self._prompts]
        numbers = np.repeat(np.arange(len(sizes)), sizes)
        ids = chain.from_iterable(one.ids(0, one.samples) for one in self._prompts)
        return pl.DataFrame(
            {
                "response_id": pl.Series(ids, dtype=pl.String),
                "prompt": numbers,
                "sample": np.arange(len(numbers)) - self._store.offset[numbers],
                "max_tokens": np.repeat(np.array([one.max_tokens for one in self._prompts], np.int64), sizes),
            }
        )

    def _not_cut(self) -> pl.Expr:
        """Whether a response was not cut off by a context shorter than the one stated now."""
        if self._context is None:
            return pl.lit(True)
        below = pl.col("n_prompt_tokens") + pl.col("n_tokens") < self._context
        return ~((pl.col("finish_reason") == "length") & below & (pl.col("n_tokens") < pl.col("max_tokens")))

    def next_requests(self, concurrency: int) -> list[Request]:
        """New requests, so that `concurrency` are in flight, or as many as may be needed."""
        requests = self._schedule.next(concurrency)
        assert self._schedule.in_flight or self.done, "undecided groups, and nothing in flight that could decide them"
        return requests

    def take(self, responses: Sequence[Response]) -> list[str]:
        """Take finished responses; returns the ids in flight that nobody needs any more."""
        arrivals: list[Arrival] = []
        for one in responses:
            if one.finish_reason != TOO_LONG:
                self.generated += 1
                self.tokens_generated += one.n_tokens
            if place := self._schedule.finish(one.response_id):
                prompt, index = place
                # No sample of a prompt fits when one does not.
                alike = range(self._prompts[prompt].samples) if one.finish_reason == TOO_LONG else [index]
                rest = (one.text, one.finish_reason, one.n_tokens, one.seconds, one.engine, one.finished_at)
                arrivals += [Arrival(prompt, i, *rest) for i in alike]
        changed = self._settle(arrivals, new=True)
        return [key for number in changed for key in self._schedule.update(number)]

    def _settle(self, arrivals: list[Arrival], *, new: bool = False) -> set[int]:
        """Grade responses for every group that shares them; returns the numbers of their prompts."""
        arrivals = [one for one in arrivals if self._note(one, new=new)]
        shared = [
            (state, one) for one in arrivals for state in self._prompts[one.prompt].groups if one.sample < state.bound
        ]
        samples = [
            Sample(state.group, state.offset + one.sample, state.group.opened + one.text, one.finish_reason)
            for state, one in shared
        ]
        right = self._grade(samples) if self._grade and samples else [False] * len(samples)
        results: dict[int, Results] = {}
        for (state, one), correct in zip(shared, right, strict=True):
            results.setdefault(state.offset, []).append((one.sample, correct))
        for state in {state.offset: state for state, _ in shared}.values():
            self._mark(state, results[state.offset])
        return {one.prompt for one in arrivals}

    def _note(self, one: Arrival, *, new: bool) -> bool:
        """Note that a response has arrived; False when it had before."""
        arrived = self._prompts[one.prompt].arrived
        if arrived[one.sample]:
            return False
        arrived[one.sample] = 1
        self.known += 1
        self._store.add(one, new=new)
        return True

    def _mark(self, state: GroupState, results: Results) -> None:
        before = state.missing
        state.mark(results)
        self.left += state.missing - before
        if before and not state.missing:
            self.decided += 1
            state.tokens_saved = self._store.saved(state)
            self.tokens_saved += state.tokens_saved

    def counted(self) -> pl.DataFrame:
        """The samples that count (SAMPLES): each group's prefix."""
        return self._store.counted(self._groups, self._prompts)

    def facts(self) -> dict[str, Any]:
        """What the samples are and what they cost, see `SampleStore.facts`."""
        return self._store.facts(self._groups, self._prompts)

    def run_facts(self) -> dict[str, int]:
        """What this run generated and reused; `beyond` counts responses generated beyond the one that decided."""
        from_ledger, new = self._store.reused(self._prompts)
        return {
            "responses_from_ledger": from_ledger,
            "responses_generated": self.generated,
            "responses_generated_beyond": self.generated - new,
            "tokens_generated": self.tokens_generated,
        }


def _generate(
    state: SamplerState, engine: Engine, ledger: Ledger, concurrency: int, progress: Progress, signals: "Signals"
) -> None:
    """Generate what is missing."""
    try:
        while not state.done:
            engine.submit(state.next_requests(concurrency))
            with signals.held():
                _record(ledger, responses := engine.finished(POLL_SECONDS))
            engine.cancel(state.take(responses))
            progress.update(state.decided, state.known, state.tokens_generated, round(state.tokens_saved), state.left)
    except BaseException:
        # Whatever ends the run, what has finished since the last turn is recorded; a failed engine reports it once.
        with suppress(LimoError):
            _record(ledger, engine.finished(0))
        raise


def _record(ledger: Ledger, responses: Sequence[Response]) -> None:
    ledger.add([response for response in responses if response.finish_reason != TOO_LONG])
    ledger.flush_if_due()


class Signals:
    """What SIGTERM does: it ends the run, but never between taking responses from the engine and recording them."""

    def __init__(self) -> None:
        self._holding = False
        self._pending: int | None = None

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """The handler."""
        self._pending = number
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
        if self._pending is not None:
            sys.exit(128 + self._pending)


@contextmanager
def terminate_cleanly() -> Iterator[Signals]:
    """Turn SIGTERM into SystemExit, so that what has finished is written before the process ends."""
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = signal.signal(signal.SIGTERM, signals.handle)
    try:
        yield signals
    finally:
        signal.signal(signal.SIGTERM, before)
