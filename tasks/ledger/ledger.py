"""The response ledger: every response once, on disk as it finishes, never lost and never generated again.

One folder per model. A finished response goes at once into its writer's journal, and with others into a Parquet
segment, which is never changed. Two writers never touch the same file. Many small segments are merged; a segment torn
by a broken disk is set aside as `*.torn`, and only what is unsound in it is generated again.
"""

import sys
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from tasks.core.errors import LimoError
from tasks.ledger import compaction
from tasks.ledger.journal import CHECK, Journal, drop_abandoned, journals, read_journal, recover, to_batch
from tasks.ledger.segments import SCHEMA, Segment, TornError, entries, set_aside, write_segment, writing
from tasks.records.response import RESPONSE, Response

FRAME_ROWS = 16_384
FRAME_BYTES = 64 * 2**20
"""The largest frame, about."""


class Hits(NamedTuple):
    """Pairs of a row of the ledger and a wanted row with its id, in the ledger's order."""

    rows: np.ndarray
    places: np.ndarray


class WantedIds:
    """Ids to look up, as sorted 64-bit hashes, so that millions are fast; one `response_id` may be in several rows."""

    def __init__(self, frame: pl.DataFrame) -> None:
        """Sort them by the hash of their id."""
        self._frame = frame
        hashes = frame["response_id"].hash().to_numpy()
        self._order = np.argsort(hashes)
        self._hashes = hashes[self._order]

    def find(self, ids: pl.Series) -> Hits:
        """The rows of a column of ids that are wanted, and by which rows."""
        hashes = ids.hash().to_numpy()
        # Sorted keys walk through the wanted ones from front to back, which is several times faster.
        order = np.argsort(hashes)
        first = np.searchsorted(self._hashes, hashes[order])
        last = np.searchsorted(self._hashes, hashes[order], side="right")
        hit = np.flatnonzero(last > first)
        hit = hit[np.argsort(order[hit])]
        found, first, count = order[hit], first[hit], (last - first)[hit]
        rows = np.repeat(found, count)
        # 0, 1, ... within each row's run of equal hashes.
        step = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
        places = self._order[np.repeat(first, count) + step]
        same = (ids.gather(rows) == self._frame["response_id"].gather(places)).to_numpy()
        return Hits(rows[same], places[same])

    def rows(self, hits: Hits) -> pl.DataFrame:
        """The wanted rows of `hits`."""
        return self._frame[hits.places]

    def join(self, table: pa.Table, hits: Hits) -> pl.DataFrame:
        """The wanted rows of `hits` with the columns of the ledger's; `rows` count within `table`."""
        if not np.array_equal(hits.rows, np.arange(table.num_rows)):
            # Arrow copies the rows it takes; a polars frame would keep all texts of the table alive.
            table = table.take(pa.array(hits.rows))
        own = pl.DataFrame(pl.from_arrow(table))
        return self.rows(hits).hstack(own.drop("response_id", strict=False))

    def select(self, table: pa.Table, columns: Sequence[str]) -> pl.DataFrame:
        """The wanted rows of a table in memory that has `response_id` and `columns`."""
        hits = self.find(pl.Series(table.column("response_id")))
        return self.join(table.select(columns), hits)


def rebatch(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows in frames of up to FRAME_ROWS rows or FRAME_BYTES, or a single input frame."""
    waiting: list[pl.DataFrame] = []
    rows, size = 0, 0.0
    for frame in frames:
        if frame.is_empty():
            continue
        waiting.append(frame)
        rows, size = rows + frame.height, size + frame.estimated_size()
        if rows >= FRAME_ROWS or size >= FRAME_BYTES:
            yield from pl.concat(waiting).iter_slices(FRAME_ROWS)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield from pl.concat(waiting).iter_slices(FRAME_ROWS)


MANY_SEGMENTS = 256
"""Merge once so many segments could be merged: each costs two milliseconds to open."""


class Ledger:
    """The responses of one model. Use it as a context manager, so that what a killed run left is recovered.

    Raises:
        LimoError: of every method: the disk is full (added responses are safe), or a file cannot be read or written.
    """

    def __init__(self, folder: Path, model_id: str, flush_responses: int = 512, flush_seconds: float = 30) -> None:
        """Open the model's folder under `folder`; it is created when the first response is written."""
        self._folder = folder / model_id
        self._flush_responses = flush_responses
        self._flush_seconds = flush_seconds
        self._waiting: list[pa.RecordBatch] = []
        self._journal: Journal | None = None
        self._flushed = time.monotonic()

    def __enter__(self) -> "Ledger":
        """Recover what dead writers left, and merge segments where there are many."""
        drop_abandoned(self._folder)
        recover(self._folder)
        if compaction.mergeable(self._folder) >= MANY_SEGMENTS:
            self._merge()
        return self

    def _merge(self) -> None:
        try:
            compaction.compact(self._folder)
        except LimoError as error:
            # Merging only saves time.
            print(f"limo: segments not merged: {error}", file=sys.stderr)

    def __exit__(self, *_: object) -> None:
        self.close()

    def reserve(self) -> None:
        """Reserve disk space for what finishes next, so that a full disk is known before anything is generated."""
        if self._journal and self._journal.removed:
            print(f"limo: {self._journal.path}: has been removed; starting a new one", file=sys.stderr)
            removed, self._journal = self._journal, None
            removed.release()
        if self._journal is None:
            self._journal = Journal(self._folder)
            self._write_waiting(self._journal)

    def _write_waiting(self, journal: Journal) -> None:
        """Write what was only in a journal that has been removed."""
        rows = pa.Table.from_batches(self._waiting, SCHEMA).to_pylist()
        if rows:
            journal.write(to_batch([Response(**row) for row in rows]), 0)

    def add(self, responses: Sequence[Response]) -> None:
        """Record finished responses: from here on they outlive the process, and after the next flush a power cut."""
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
        """Flush once enough responses wait, or have waited long enough."""
        overdue = time.monotonic() - self._flushed >= self._flush_seconds
        if self._rows >= self._flush_responses or overdue:
            self.flush()

    def flush(self) -> None:
        """Write waiting responses as one new segment, and reset the journal."""
        self._flushed = time.monotonic()
        if not self._waiting:
            return
        self.reserve()
        assert self._journal
        with writing(self._folder, f"the last {self._rows:,} responses are safe in the journal"):
            write_segment(self._folder, [pa.Table.from_batches(self._waiting, SCHEMA)])
        self._waiting.clear()
        self._journal.reset()

    def close(self) -> None:
        """Flush and remove the journal; where that fails it stays, and the next run recovers it."""
        try:
            self.flush()
        except BaseException:
            if self._journal:
                self._journal.release()
            raise
        finally:
            journal, self._journal = self._journal, None
        if journal:
            journal.close()

    def lookup(self, response_ids: Iterable[str]) -> dict[str, Response]:
        """The responses that are there, by id; of duplicates the older. For few: all are in memory."""
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
            columns: of RESPONSE; no others are read.

        Yields:
            `wanted`'s columns, then `columns`, for each row that is found. Of duplicate ids the first counts.
        """
        read = [name for name in columns if name != "response_id"]
        assert not {*read} & {*wanted.columns}, "columns of `wanted` with the names of a response's"
        if not wanted.is_empty():
            yield from rebatch(self._found(WantedIds(wanted), read))

    def _found(self, wanted: WantedIds, columns: list[str]) -> Iterator[pl.DataFrame]:
        # The journals first: rows that leave them meanwhile are then in a segment that is not listed yet.
        own = self._journal and self._journal.path
        tables = [read_journal(path).rows for path in journals(self._folder) if path != own]
        tables.append(pa.Table.from_batches(self._waiting, SCHEMA))
        newest = [wanted.select(table, columns) for table in tables]
        yield from self._in_segments(wanted, columns)
        yield from newest

    def _in_segments(self, wanted: WantedIds, columns: list[str]) -> Iterator[pl.DataFrame]:
        seen: set[str] = set()
        left = [entry.path for entry in entries(self._folder)]
        while left:
            path = left.pop(0)
            seen.add(path.name)
            if not (yield from _in_segment(path, wanted, columns)):
                # Merged with others by another process, or set aside: its rows are in a new segment.
                left = [entry.path for entry in entries(self._folder) if entry.path.name not in seen]


def _in_segment(path: Path, wanted: WantedIds, columns: list[str]) -> Generator[pl.DataFrame, None, bool]:
    """The wanted rows of a segment; returns whether it exists and is sound."""
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
