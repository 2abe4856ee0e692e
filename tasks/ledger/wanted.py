"""Which rows of the ledger are wanted: millions of ids matched as sorted 64-bit integers."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

FRAME_ROWS = 16_384
FRAME_BYTES = 64 * 2**20
"""What a frame holds at most, about."""


class Hits(NamedTuple):
    """Pairs of a row of the ledger and a wanted row with its id, in the ledger's order."""

    rows: np.ndarray
    places: np.ndarray


class Wanted:
    """The rows somebody asks for, by `response_id`; an id may stand in several."""

    def __init__(self, frame: pl.DataFrame) -> None:
        """Sort them by the hash of their id."""
        self._frame = frame
        hashes = frame["response_id"].hash().to_numpy()
        self._order = np.argsort(hashes)
        self._hashes = hashes[self._order]

    def find(self, ids: pl.Series) -> Hits:
        """Which rows of a column of ids are wanted, and by which rows."""
        hashes = ids.hash().to_numpy()
        # Sorted needles go through the wanted ones from front to back, which is several times faster.
        order = np.argsort(hashes)
        first = np.searchsorted(self._hashes, hashes[order])
        last = np.searchsorted(self._hashes, hashes[order], side="right")
        hit = np.flatnonzero(last > first)
        hit = hit[np.argsort(order[hit])]
        there, first, count = order[hit], first[hit], (last - first)[hit]
        rows = np.repeat(there, count)
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
            # Arrow copies what it takes; a polars frame would keep all texts of the table alive.
            table = table.take(pa.array(hits.rows))
        own = pl.DataFrame(pl.from_arrow(table))
        return self.rows(hits).hstack(own.drop("response_id", strict=False))

    def select(self, table: pa.Table, columns: Sequence[str]) -> pl.DataFrame:
        """The wanted rows of a table in memory that has `response_id` and `columns`."""
        hits = self.find(pl.Series(table.column("response_id")))
        return self.join(table.select(columns), hits)


def gather(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows in frames of up to FRAME_ROWS rows or FRAME_BYTES, or one of those given."""
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
