"""What the ledger costs: adding, resuming with a million rows, reading, compaction; beside SQLite and JSON lines.

    python -m benchmarks.ledger_resume [--data ../shared/data] [--rows 1000000] [--folder FOLDER]

Responses have 300 to 1,400 characters, sentences of real questions; each hundredth that is wanted is missing.
Each measurement of reading runs in a process of its own, once to warm the file cache and once to be told.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.ledger_data import MODEL, Maker
from benchmarks.ledger_stores import WANTED, Jsonl, Sqlite, Store
from benchmarks.pool_data import DATA
from tasks.ledger.compaction import compact
from tasks.ledger.ledger import Ledger
from tasks.records.response import Response

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
        command = [sys.executable, "-m", "benchmarks.ledger_stores", task, store, str(folder)]
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
