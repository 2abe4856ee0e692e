"""What a run of the sampler gives: the samples that count; their texts are read from the ledger when wanted."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import polars as pl
import pyarrow.parquet as pq

from tasks.errors import LimoError
from tasks.ledger.ledger import Ledger
from tasks.records.response import TOO_LONG

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
