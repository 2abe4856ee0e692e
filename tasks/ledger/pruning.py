"""Taking responses out of the ledger for good: those of a model, of an engine, from before a day; and torn files."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from tasks.errors import LimoError
from tasks.ledger.compaction import LOCK, TornInRunError, only_one, replace
from tasks.ledger.journal import journals
from tasks.ledger.locks import lock
from tasks.ledger.recovery import drop_abandoned, recover
from tasks.ledger.room import writing
from tasks.ledger.segments import Entry, Segment, TornError, entries, size_of, stamp_of

LOGS = ("vllm.log", "vllm.logging.json")
"""What an engine leaves in the folder of its model."""


class Which(NamedTuple):
    """What goes: torn files, or the responses to which all of this applies."""

    torn: bool = False
    engine: str | None = None
    """A text in the name of what generated it."""
    before: float | None = None
    """Finished earlier, Unix seconds; where that was not recorded yet, written earlier."""


class Pruned(NamedTuple):
    """What goes, or has gone, of one model."""

    model_id: str
    responses: int
    tokens: int
    size: int
    """Bytes on disk: of torn files, and of segments by the share of rows that go."""
    files: int
    """Torn files."""


def doomed(folder: Path, which: Which) -> Pruned:
    """What `prune` would remove."""
    masks = {} if which.torn else _masks(folder, which)
    aside = _torn(folder) if which.torn else []
    sizes = [entry.size * float(chosen.go.mean()) for entry, chosen in masks.items()]
    return Pruned(
        folder.name,
        sum(int(chosen.go.sum()) for chosen in masks.values()),
        sum(chosen.tokens for chosen in masks.values()),
        round(sum(sizes)) + sum(map(size_of, aside)),
        len(aside),
    )


def prune(folder: Path, which: Which) -> Pruned:
    """Remove it; each segment is replaced by one without those rows.

    Raises:
        LimoError: a run is writing to this model, its segments are being merged, or its folder cannot be written.
    """
    with only_one(folder) as mine:
        if not mine or _written_to(folder):
            raise LimoError(f"{folder}: a run is writing to it; prune when it has ended")
        drop_abandoned(folder)
        recover(folder)
        pruned = doomed(folder, which)
        if which.torn:
            with writing(folder, "the files that are left stay as they are"):
                for path in _torn(folder):
                    path.unlink(missing_ok=True)
        else:
            _remove(_masks(folder, which))
    _remove_empty(folder)
    return pruned


def _remove(masks: "dict[Entry, _Chosen]") -> None:
    gone = 0
    for entry, chosen in masks.items():
        try:
            replace([entry], [~chosen.go])
        except (LimoError, TornInRunError) as error:
            said = f"{entry.path}: torn ({error}); run `limo ledger verify` first"
            told = said if isinstance(error, TornInRunError) else str(error)
            raise LimoError(told + (f"; {gone:,} responses of this model went before" if gone else "")) from None
        gone += int(chosen.go.sum())


class _Chosen(NamedTuple):
    go: np.ndarray
    tokens: int


def _masks(folder: Path, which: Which) -> dict[Entry, _Chosen]:
    """The segments that have rows to remove, with those rows."""
    found = {}
    for entry in entries(folder):
        try:
            with Segment(entry.path) as segment:
                rows = pl.DataFrame(pl.from_arrow(segment.read(["engine", "finished_at", "n_tokens"])))
        except FileNotFoundError:
            continue
        except TornError as error:
            raise LimoError(f"{entry.path}: torn ({error}); run `limo ledger verify` first") from None
        go = rows.select(_applies(which, entry.path)).to_series()
        if go.any():
            found[entry] = _Chosen(go.to_numpy(), int(rows.filter(go)["n_tokens"].sum()))
    return found


def _applies(which: Which, path: Path) -> pl.Expr:
    applies = pl.repeat(True, pl.len())
    if which.engine is not None:
        applies &= pl.col("engine").str.contains(which.engine, literal=True)
    if which.before is not None:
        stamp = stamp_of(path)
        written = int(stamp) / 1e9 if stamp.isdigit() else 0.0
        applies &= pl.when(pl.col("finished_at") > 0).then("finished_at").otherwise(written) < which.before
    return applies.alias("go")


def _torn(folder: Path) -> Sequence[Path]:
    return sorted(folder.glob("*.torn"))


def _written_to(folder: Path) -> bool:
    """Whether a living writer holds a journal."""
    for path in journals(folder):
        try:
            with path.open("rb") as file:
                if not lock(file.fileno()):
                    return True
        except FileNotFoundError:
            continue
        except OSError as error:
            raise LimoError(f"{path}: cannot be read ({error.strerror})") from None
    return False


def _remove_empty(folder: Path) -> None:
    """Remove the folder of a model that has nothing left but the logs of its engine."""
    left = [path for path in folder.iterdir() if path.name not in (LOCK, *LOGS)]
    if not left:
        for name in (*LOGS, LOCK):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
