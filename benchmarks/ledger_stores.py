"""The ledger, and what a user would keep responses in instead: SQLite by key, and JSON lines read into a set.

    python -m benchmarks.ledger_stores missing|texts ledger|sqlite|jsonl FOLDER

does one thing in a process of its own, and prints seconds, peak memory and what came out as JSON. FOLDER is one that
`python -m benchmarks.ledger_resume` wrote.
"""

import json
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import polars as pl

from benchmarks.ledger_data import MODEL
from tasks.ledger.ledger import Ledger
from tasks.records.response import Response

NAMES = tuple(Response.model_fields)
WANTED = "wanted.parquet"


class Store(Protocol):
    """Somewhere to put finished responses."""

    def add(self, responses: Sequence[Response]) -> None:
        """Take them, so that they outlive the process."""

    def close(self) -> None:
        """Finish."""


class Sqlite:
    """A table with the id as its key; each batch a transaction, which outlives the process (WAL, not synced)."""

    def __init__(self, folder: Path) -> None:
        self._file = sqlite3.connect(folder / "responses.sqlite")
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("PRAGMA synchronous=NORMAL")
        self._file.execute(f"CREATE TABLE responses (response_id TEXT PRIMARY KEY, {', '.join(NAMES[1:])})")

    def add(self, responses: Sequence[Response]) -> None:
        marks = ", ".join("?" * len(NAMES))
        rows = [tuple(vars(one).values()) for one in responses]
        self._file.executemany(f"INSERT INTO responses VALUES ({marks})", rows)
        self._file.commit()

    def close(self) -> None:
        self._file.close()


class Jsonl:
    """A line a response, flushed after each batch."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "responses.jsonl").open("w", encoding="utf-8")

    def add(self, responses: Sequence[Response]) -> None:
        self._file.writelines(json.dumps(vars(one), ensure_ascii=False) + "\n" for one in responses)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def missing_ledger(folder: Path, wanted: pl.DataFrame) -> int:
    with Ledger(folder, MODEL) as ledger:
        numbered = wanted.with_row_index("place")
        missing = pl.repeat(True, wanted.height, eager=True)
        for frame in ledger.scan(numbered, []):
            missing[frame["place"]] = False
    return int(missing.sum())


def missing_sqlite(folder: Path, wanted: pl.DataFrame) -> int:
    rows = sqlite3.connect(folder / "responses.sqlite").execute("SELECT response_id FROM responses")
    have = {row[0] for row in rows}
    return sum(key not in have for key in wanted["response_id"])


def missing_jsonl(folder: Path, wanted: pl.DataFrame) -> int:
    with (folder / "responses.jsonl").open(encoding="utf-8") as file:
        have = {json.loads(line)["response_id"] for line in file}
    return sum(key not in have for key in wanted["response_id"])


def texts_ledger(folder: Path, wanted: pl.DataFrame) -> int:
    with Ledger(folder, MODEL) as ledger:
        return sum(int(frame["text"].str.len_chars().sum()) for frame in ledger.scan(wanted, ["text", "n_tokens"]))


def texts_sqlite(folder: Path, wanted: pl.DataFrame) -> int:
    rows = sqlite3.connect(folder / "responses.sqlite").execute("SELECT response_id, text, n_tokens FROM responses")
    asked = set(wanted["response_id"])
    return sum(len(row[1]) for row in rows if row[0] in asked)


def texts_jsonl(folder: Path, wanted: pl.DataFrame) -> int:
    asked = set(wanted["response_id"])
    with (folder / "responses.jsonl").open(encoding="utf-8") as file:
        rows = map(json.loads, file)
        return sum(len(row["text"]) for row in rows if row["response_id"] in asked)


WORK: dict[str, Callable[[Path, pl.DataFrame], int]] = {
    "missing ledger": missing_ledger,
    "missing sqlite": missing_sqlite,
    "missing jsonl": missing_jsonl,
    "texts ledger": texts_ledger,
    "texts sqlite": texts_sqlite,
    "texts jsonl": texts_jsonl,
}


def peak() -> float:
    """This process' largest size so far, MiB. (`getrusage` would count the parent's, too.)"""
    told = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(told.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    task, store, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    wanted = pl.read_parquet(folder / WANTED)
    before, started = peak(), time.perf_counter()
    out = WORK[f"{task} {store}"](folder, wanted)
    print(json.dumps({"seconds": time.perf_counter() - started, "mib": peak(), "before": before, "out": out}))


if __name__ == "__main__":
    main()
