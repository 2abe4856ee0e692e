"""The rows of a run's tables about a few questions, each table read at most once and never held as a whole.

A pool may have ten million rows: a table is scanned for the ids asked for, and only their rows are brought into memory.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from tasks.errors import LimoError
from tasks.files import MANIFEST


class Rows:
    """What the tables under an artifacts folder say about a few questions."""

    def __init__(self, artifacts: Path, question_ids: Sequence[str]) -> None:
        """Nothing is read yet; `question_ids` are those that may be asked about."""
        self.artifacts = artifacts
        self._ids = list(question_ids)
        self._read: dict[Path, pl.DataFrame] = {}

    def of(self, stage: str, name: str, question_id: str) -> pl.DataFrame:
        """The rows of `stage/name.parquet` about one question; no row and no column where there is no such table.

        Raises:
            LimoError: the table is torn or has no column `question_id`.
        """
        path = self.artifacts / stage / f"{name}.parquet"
        if path not in self._read:
            self._read[path] = where(path, "question_id", self._ids)
        found = self._read[path]
        return found if found.is_empty() else found.filter(pl.col("question_id") == question_id)

    def has_run(self, stage: str) -> bool:
        """Whether the stage has written its manifest."""
        return (self.artifacts / stage / MANIFEST).exists()


def where(path: Path, column: str, values: Sequence[str]) -> pl.DataFrame:
    """The rows of a table whose `column` is one of `values`; no row and no column where there is no such table."""
    if not path.exists() or not values:
        return pl.DataFrame()
    return fetch(path, pl.scan_parquet(path).filter(pl.col(column).is_in(list(values))))


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


def check_columns(path: Path, names: Iterable[str]) -> None:
    """Refuse a table without the columns `names`; only its footer is read.

    Raises:
        LimoError: a column is missing, or the file cannot be read.
    """
    missing = sorted(set(names) - set(fetch(path, pl.scan_parquet(path).head(0)).columns))
    if missing:
        raise LimoError(f"{path}: lacks {', '.join(missing)}; rerun the stage that writes it")
