"""What the ledger costs: adding, resuming with a million rows, reading, compaction; next to SQLite and JSON lines.

    python -m benchmarks.ledger [--data ../shared/data] [--rows 1000000] [--folder FOLDER]

Responses have 300 to 1,400 characters, sentences of real questions; each hundredth that is wanted is missing.
The stores are what a user would keep responses in instead: SQLite by key, and JSON lines read into a set. Each
measurement of reading runs in a process of its own, once to warm the file cache and once to be recorded:

    python -m benchmarks.ledger read missing|texts ledger|sqlite|jsonl FOLDER

prints seconds, peak memory and what came out as JSON.
"""

import argparse
import json
import platform
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from benchmarks.pool_data import DATA, real_questions
from tasks.engines.params import SamplingParams
from tasks.engines.protocol import make_request
from tasks.ledger.compaction import compact
from tasks.ledger.ledger import Ledger
from tasks.records.response import Response

MODEL = "m_" + "0" * 16
SAMPLES = 32
SAMPLING = SamplingParams(temperature=0.6)


class Maker:
    """Prompts and responses out of the sentences of real questions: they compress as mathematical prose does."""

    def __init__(self, data: Path) -> None:
        """Read the questions under `data`/pool."""
        questions = real_questions(data)["question"].to_list()
        self._sentences = [one for question in questions for one in re.split(r"(?<=[.?!])\s+", question) if one]

    def text(self, draw: random.Random, length: int) -> str:
        """Sentences with a number each, about `length` characters."""
        parts: list[str] = []
        size = 0
        while size < length:
            parts.append(f"{draw.choice(self._sentences)} So {draw.randrange(100_000)}.")
            size += len(parts[-1]) + 1
        return " ".join(parts)

    def prompt(self, question: int) -> str:
        """The prompt of a question, by number."""
        words = self.text(random.Random(question), 200)
        return f"<|im_start|>system\nPlease reason step by step.<|im_end|>\n<|im_start|>user\n{words}<|im_end|>\n"

    def responses(self, rows: int, low: int = 300, high: int = 1300) -> Iterator[Response]:
        """As many responses, SAMPLES a question, of `low` to `high` characters and a little more."""
        draw = random.Random(7)
        for row in range(rows):
            request = make_request(MODEL, self.prompt(row // SAMPLES), SAMPLING, row % SAMPLES)
            body = self.text(draw, draw.randrange(low, high))
            yield request.finish(body, "stop", 120, len(body) // 3, 4.2, -91.5, "vllm 0.32.0 cpu bfloat16")


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
    ids = set(wanted["response_id"])
    return sum(len(row[1]) for row in rows if row[0] in ids)


def texts_jsonl(folder: Path, wanted: pl.DataFrame) -> int:
    ids = set(wanted["response_id"])
    with (folder / "responses.jsonl").open(encoding="utf-8") as file:
        rows = map(json.loads, file)
        return sum(len(row["text"]) for row in rows if row["response_id"] in ids)


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
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def read(task: str, store: str, folder: Path) -> None:
    """One measurement of reading, in this process."""
    wanted = pl.read_parquet(folder / WANTED)
    before, started = peak(), time.perf_counter()
    out = WORK[f"{task} {store}"](folder, wanted)
    print(json.dumps({"seconds": time.perf_counter() - started, "mib": peak(), "before": before, "out": out}))


BATCH = 16
"""Responses that finish between two looks at the engine."""
STORES = ("ledger", "sqlite", "jsonl")
RESULTS = Path(__file__).parent / "results" / "ledger.json"


def write(folder: Path, given: Iterator[Response]) -> dict[str, float]:
    """Write all three stores, and what is wanted; seconds of each."""
    stores: dict[str, Store] = {"ledger": Ledger(folder, MODEL), "sqlite": Sqlite(folder), "jsonl": Jsonl(folder)}
    seconds = dict.fromkeys(STORES, 0.0)
    ids: list[str] = []
    while batch := list(islice(given, BATCH)):
        kept = [one for place, one in enumerate(batch, len(ids)) if place % 100 != 37]
        ids += [one.response_id for one in batch]
        for name, store in stores.items():
            started = time.perf_counter()
            store.add(kept)
            seconds[name] += time.perf_counter() - started
    for name, store in stores.items():
        started = time.perf_counter()
        store.close()
        seconds[name] += time.perf_counter() - started
    pl.DataFrame({"response_id": ids}).write_parquet(folder / WANTED)
    return seconds


def fresh(task: str, store: str, folder: Path) -> dict[str, Any]:
    """One measurement in a process of its own, the second of two."""
    for _ in range(2):
        command = [sys.executable, "-m", "benchmarks.ledger", "read", task, store, str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def on_disk(folder: Path) -> dict[str, int]:
    segments = list((folder / MODEL).iterdir())
    return {
        "ledger": sum(path.stat().st_size for path in segments),
        "sqlite": (folder / "responses.sqlite").stat().st_size,
        "jsonl": (folder / "responses.jsonl").stat().st_size,
    }


def adding(folder: Path, given: list[Response], batch: int) -> float:
    """Milliseconds of an `add`, flushes included."""
    started = time.perf_counter()
    calls = 0
    with Ledger(folder, MODEL) as ledger:
        left: Iterator[Response] = iter(given)
        while part := list(islice(left, batch)):
            ledger.add(part)
            calls += 1
    return 1000 * (time.perf_counter() - started) / calls


def row(title: str, found: dict[str, float], unit: str) -> None:
    ours = found["ledger"]
    others = "".join(f"{found[name]:12.1f} ({found[name] / ours:5.1f}x)" for name in STORES[1:] if name in found)
    print(f"{title:44}{ours:12.1f}{others} {unit}", flush=True)


def measure(folder: Path, maker: Maker, rows: int) -> dict[str, Any]:
    out: dict[str, Any] = {"rows": rows, "cpu": platform.processor() or platform.machine()}
    print(f"{rows:,} responses, 1% of them missing{'ledger':>18}{'sqlite':>20}{'jsonl':>20}")
    seconds = out["write"] = write(folder, maker.responses(rows))
    row(f"adding {BATCH} at a time", seconds, "s")
    size = on_disk(folder)
    out["segments"] = len(list((folder / MODEL).glob("*.parquet")))
    out["bytes"] = size
    row("on disk", {name: value / 1e6 for name, value in size.items()}, "MB")
    # Before compaction: entering the ledger would merge, so look from outside first.
    started = time.perf_counter()
    wanted = pl.read_parquet(folder / WANTED)
    found = sum(frame.height for frame in Ledger(folder, MODEL).scan(wanted, []))
    out["missing, before compaction"] = {"seconds": time.perf_counter() - started, "out": rows - found}
    print(f"missing, found in {out['segments']} segments: {out['missing, before compaction']['seconds']:.2f} s")
    started = time.perf_counter()
    done = compact(folder / MODEL)
    out["compaction"] = {"seconds": time.perf_counter() - started, "segments": done.after}
    print(f"compaction to {done.after} segments: {out['compaction']['seconds']:.1f} s")
    out["bytes, compacted"] = on_disk(folder)["ledger"]
    row("on disk, compacted", {n: v / 1e6 for n, v in (size | {"ledger": out["bytes, compacted"]}).items()}, "MB")
    for task in ("missing", "texts"):
        each = out[task] = {store: fresh(task, store, folder) for store in STORES}
        assert len({one["out"] for one in each.values()}) == 1, f"they differ: {each}"
        row(task, {store: one["seconds"] for store, one in each.items()}, "s")
        row("  peak memory of the process", {store: one["mib"] for store, one in each.items()}, "MiB")
    return out


def add_costs(folder: Path, maker: Maker) -> dict[str, float]:
    """Milliseconds of an `add` by what is added."""
    short, long = list(maker.responses(8000)), list(maker.responses(512, 120_000, 120_001))
    out = {}
    for title, given, batch in (("short", short, 1), ("short", short, 10), ("long", long, 1), ("long", long, 10)):
        name = f"{batch} of {sum(len(one.text) for one in given) // len(given):,} characters"
        out[name] = adding(folder / f"{title}{batch}", given, batch)
        print(f"add {name}: {out[name]:.2f} ms, {1000 * batch / out[name]:,.0f} responses/s")
    return out


def main() -> None:
    if sys.argv[1:2] == ["read"]:
        read(*sys.argv[2:4], Path(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with pool/")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the stores are made; by default one that is removed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        maker = Maker(options.data)
        adds = add_costs(folder, maker)
        out = measure(folder, maker, options.rows) | {"add, ms": adds}
    RESULTS.write_text(json.dumps(out, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
