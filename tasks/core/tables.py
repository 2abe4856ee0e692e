"""Tables that need not fit into memory: read row group by row group, queried batch by batch, written as rows come."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from tasks.core.errors import LimoError
from tasks.core.files import check_table, full_disk, one_line
from tasks.core.shards import Shard

ROW_GROUP = 65_536
"""Rows; the same whatever the shards were, so that equal tables are equal files."""
GROUP_BYTES = 64 << 20
"""Of questions, with which a row group is closed even if it has fewer rows: a worker holds one at a time."""


class Group(NamedTuple):
    """A row group of a Parquet file."""

    path: str
    number: int
    columns: tuple[str, ...]


def row_groups(path: Path, schema: Mapping[str, Any]) -> list[Shard]:
    """A table's row groups, as shards.

    Raises:
        LimoError: as `files.read_table`.
    """
    import pyarrow.parquet as pq

    check_table(path, schema)
    count = pq.ParquetFile(path).num_row_groups
    if not count:
        raise LimoError(f"{path}: has no rows; run the stage that writes it again, with other params")
    return [Shard(Group(str(path), index, tuple(schema)), group_fingerprint) for index in range(count)]


def group_fingerprint(group: Group) -> bytes:
    """Differs between versions of a table: a stage writes a new file, never in place."""
    state = os.stat(group.path)
    return f"{group}:{state.st_size}:{state.st_mtime_ns}".encode()


def read_group(group: Group) -> pl.DataFrame:
    """The rows of a row group."""
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(group.path).read_row_group(group.number, columns=list(group.columns))
    except OSError as error:
        raise LimoError(
            f"{group.path}: torn ({one_line(error)}); delete it and rerun the stage that writes it"
        ) from None
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def fetch(path: Path, query: pl.LazyFrame) -> pl.DataFrame:
    """The result of a query over the table at `path`, batch by batch.

    Raises:
        LimoError: the file cannot be read, or lacks a column of the query.
    """
    try:
        return query.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise LimoError(f"{path}: cannot be searched ({what}); delete it and rerun the stage that writes it") from None


def where(path: Path, column: str, values: Sequence[str]) -> pl.DataFrame:
    """The rows of a table whose `column` is one of `values`; no row and no column where there is no such table."""
    if not path.exists() or not values:
        return pl.DataFrame()
    return fetch(path, pl.scan_parquet(path).filter(pl.col(column).is_in(list(values))))


class TableWriter:
    """Writes rows to a Parquet file as they come."""

    def __init__(self, path: Path, schema: Mapping[str, Any], row_group: int = ROW_GROUP) -> None:
        """The file is whole after `close`; `row_group` is in rows."""
        import pyarrow.parquet as pq

        self.schema = pl.Schema(schema)
        self.height = 0
        self._path = path
        self._row_group = row_group
        # As Arrow, which holds just these rows: a few rows that polars filters out keep all text they were read with.
        self._waiting: list[Any] = []
        self._arrow = self.schema.to_frame().to_arrow().schema
        with full_disk(path):
            self._writer = pq.ParquetWriter(path, self._arrow, compression="zstd")

    def add(self, rows: pl.DataFrame) -> None:
        """Append rows, whose columns are those of the schema."""
        self.height += rows.height
        self._waiting.append(rows.select(self.schema.names()).to_arrow().cast(self._arrow))
        self._write(last=False)

    def close(self) -> None:
        """Write what waits."""
        self._write(last=True)
        with full_disk(self._path):
            self._writer.close()

    def _write(self, last: bool) -> None:
        import pyarrow as pa

        if not last and self._size(self._waiting) is None:
            return
        rows = pa.concat_tables(self._waiting) if self._waiting else self._arrow.empty_table()
        while size := self._size([rows]) or (rows.num_rows if last else 0):
            with full_disk(self._path):
                self._writer.write_table(rows.slice(0, size).combine_chunks(), row_group_size=size)
            rows = rows.slice(size)
        # A copy, so that the rows already written are let go.
        self._waiting = [rows.take(np.arange(rows.num_rows))] if rows.num_rows else []

    def _size(self, tables: list[Any]) -> int | None:
        """Rows of the next row group; None while there are too few for one, and too little text."""
        lengths = np.concatenate([np.zeros(0, np.int64), *(_text_bytes(table) for table in tables)])
        enough = int(np.searchsorted(np.cumsum(lengths), GROUP_BYTES)) + 1
        size = min(enough, self._row_group)
        return size if size <= len(lengths) else None


def _text_bytes(table: Any) -> np.ndarray:
    """Bytes of each row's question."""
    import pyarrow.compute as pc

    if "question" not in table.column_names:
        return np.zeros(table.num_rows, np.int64)
    lengths: np.ndarray = pc.fill_null(pc.binary_length(table["question"]), 0).to_numpy().astype(np.int64)
    return lengths
