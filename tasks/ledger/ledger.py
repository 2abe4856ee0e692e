"""The response ledger: every response once, on disk as it finishes, never lost and never generated again.

One folder per model. A finished response goes at once into its writer's journal, and with others into a Parquet
segment, which is never changed. Two writers never touch the same file. Many small segments are merged; what a broken
disk or copy has torn is set aside as `*.torn`, and only what is unsound of it is generated again.
"""

import sys
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from tasks.errors import LimoError
from tasks.ledger import compaction
from tasks.ledger.journal import CHECK, Journal, journals, read_journal, to_batch
from tasks.ledger.recovery import drop_abandoned, recover
from tasks.ledger.room import writing
from tasks.ledger.segments import SCHEMA, Segment, TornError, entries, write_segment
from tasks.ledger.torn import set_aside
from tasks.ledger.wanted import Hits, Wanted, gather
from tasks.records.response import RESPONSE, Response

MANY_SEGMENTS = 256
"""So many that could be merged are merged when the ledger is entered: each costs two milliseconds to look into."""


class Ledger:
    """The responses of one model. Use it as a context manager, so that what a killed run left is taken over.

    Raises:
        LimoError: of every method: the disk is full (what had been added is safe), or a file cannot be read or written.
    """

    def __init__(self, folder: Path, model_id: str, flush_responses: int = 512, flush_seconds: float = 30) -> None:
        """Open the model's folder under `folder`; it is made when the first response is written."""
        self._folder = folder / model_id
        self._flush_responses = flush_responses
        self._flush_seconds = flush_seconds
        self._waiting: list[pa.RecordBatch] = []
        self._journal: Journal | None = None
        self._flushed = time.monotonic()

    def __enter__(self) -> "Ledger":
        """The ledger itself, with what dead writers left made into segments, and many segments merged."""
        drop_abandoned(self._folder)
        recover(self._folder)
        if compaction.mergeable(self._folder) >= MANY_SEGMENTS:
            self._merge()
        return self

    def _merge(self) -> None:
        try:
            compaction.compact(self._folder)
        except LimoError as error:
            # Merging saves time and is no reason to stop.
            print(f"limo: segments not merged: {error}", file=sys.stderr)

    def __exit__(self, *_: object) -> None:
        """Write what waits, whatever ended the block."""
        self.close()

    def reserve(self) -> None:
        """Take room on the disk for what finishes next, so that a full disk is known before anything is generated."""
        if self._journal and self._journal.gone:
            print(f"limo: {self._journal.path}: has been removed; a new one is begun", file=sys.stderr)
            gone, self._journal = self._journal, None
            gone.leave()
        if self._journal is None:
            self._journal = Journal(self._folder)
            self._write_waiting(self._journal)

    def _write_waiting(self, journal: Journal) -> None:
        """What stood only in a journal that has gone."""
        rows = pa.Table.from_batches(self._waiting, SCHEMA).to_pylist()
        if rows:
            journal.write(to_batch([Response(**row) for row in rows]), 0)

    def add(self, responses: Sequence[Response]) -> None:
        """Take finished responses: from here on they outlive the process, and after the next flush a power cut."""
        if responses:
            self.reserve()
            assert self._journal
            batch = to_batch(responses)
            before = self._rows
            self._waiting.append(batch.drop_columns([CHECK]))
            self._journal.write(batch, before)
        self.flush_if_due()

    @property
    def _rows(self) -> int:
        return sum(batch.num_rows for batch in self._waiting)

    def flush_if_due(self) -> None:
        """Write what waits once there is enough of it, or it has waited long enough."""
        overdue = time.monotonic() - self._flushed >= self._flush_seconds
        if self._rows >= self._flush_responses or overdue:
            self.flush()

    def flush(self) -> None:
        """Write what waits as one new segment, and begin the journal anew."""
        self._flushed = time.monotonic()
        if not self._waiting:
            return
        self.reserve()
        assert self._journal
        with writing(self._folder, f"the last {self._rows:,} responses are safe in the journal"):
            write_segment(self._folder, [pa.Table.from_batches(self._waiting, SCHEMA)])
        self._waiting.clear()
        self._journal.empty()

    def close(self) -> None:
        """Write what waits and remove the journal; where that fails it stays, and the next run takes it over."""
        try:
            self.flush()
        except BaseException:
            if self._journal:
                self._journal.leave()
            raise
        finally:
            journal, self._journal = self._journal, None
        if journal:
            journal.close()

    def lookup(self, response_ids: Iterable[str]) -> dict[str, Response]:
        """The responses that are there, by id; where one was written twice, the older. For few: all are in memory."""
        wanted = pl.DataFrame({"response_id": list(response_ids)}, schema={"response_id": pl.String})
        found: dict[str, Response] = {}
        for frame in self.scan(wanted, RESPONSE.names()):
            for row in frame.iter_rows(named=True):
                found.setdefault(row["response_id"], Response(**row))
        return found

    def scan(self, wanted: pl.DataFrame, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """The responses to `wanted` that are there, oldest first, in frames of bounded size.

        Args:
            wanted: `response_id`, and further columns.
            columns: of RESPONSE; what else is in a segment is not read.

        Yields:
            `wanted`'s columns, then `columns`, for each row that is found. An id may come twice: the first counts.
        """
        asked = [name for name in columns if name != "response_id"]
        assert not {*asked} & {*wanted.columns}, "columns of `wanted` with the names of a response's"
        if not wanted.is_empty():
            yield from gather(self._found(Wanted(wanted), asked))

    def _found(self, wanted: Wanted, columns: list[str]) -> Iterator[pl.DataFrame]:
        # The journals first: what is moved out of them meanwhile is then in a segment that is not listed yet.
        own = self._journal and self._journal.path
        tables = [read_journal(path).rows for path in journals(self._folder) if path != own]
        tables.append(pa.Table.from_batches(self._waiting, SCHEMA))
        newest = [wanted.select(table, columns) for table in tables]
        yield from self._in_segments(wanted, columns)
        yield from newest

    def _in_segments(self, wanted: Wanted, columns: list[str]) -> Iterator[pl.DataFrame]:
        seen: set[str] = set()
        left = [entry.path for entry in entries(self._folder)]
        while left:
            path = left.pop(0)
            seen.add(path.name)
            if not (yield from _in_segment(path, wanted, columns)):
                # Merged with others by another process, or set aside: what was in it is in a segment that is new.
                left = [entry.path for entry in entries(self._folder) if entry.path.name not in seen]


def _in_segment(path: Path, wanted: Wanted, columns: list[str]) -> Generator[pl.DataFrame, None, bool]:
    """The wanted rows of a segment; returns whether it was there and sound."""
    try:
        with Segment(path) as segment:
            hits = wanted.find(segment.column("response_id"))
            if not columns:
                yield wanted.rows(hits)
                return True
            starts = np.cumsum([0, *segment.group_rows])
            bounds = np.searchsorted(hits.rows, starts)
            for group in np.flatnonzero(np.diff(bounds)).tolist():
                part = slice(bounds[group], bounds[group + 1])
                rows = hits.rows[part] - starts[group]
                yield wanted.join(segment.read(columns, [group]), Hits(rows, hits.places[part]))
    except FileNotFoundError:
        return False
    except TornError as error:
        set_aside(path, str(error))
        return False
    return True
