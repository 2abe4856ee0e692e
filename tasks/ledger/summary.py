"""What is in a ledger: counted, one response found, and every byte verified."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa

from tasks.engines.protocol import response_id
from tasks.errors import LimoError
from tasks.ledger.journal import journals, read_journal
from tasks.ledger.ledger import Ledger
from tasks.ledger.recovery import recover
from tasks.ledger.segments import SCHEMA, Segment, TornError, entries, size_of
from tasks.ledger.torn import set_aside
from tasks.records.response import Response

COUNTED = ("response_id", "finish_reason", "n_prompt_tokens", "n_tokens", "engine", "finished_at")
ADDRESS = ("response_id", "model_id", "prompt", "sampling", "seed", "sample_index")

KINDS = ("*.parquet", "*.journal", "*.torn")
"""The files that hold responses, or what is left of them."""


class Summary(NamedTuple):
    """The responses of one model."""

    model_id: str
    responses: int
    """Each once."""
    repeated: int
    """Rows beside those: written twice, dropped by compaction."""
    finished: dict[str, int]
    """Responses by finish reason."""
    tokens: int
    """Generated."""
    prompt_tokens: int
    size: int
    """Bytes on disk of segments, journals and torn files."""
    segments: int
    waiting: int
    """Rows in journals."""
    torn: int
    """Files set aside."""
    engines: dict[str, int]
    """Responses by what generated them."""
    first: float
    """When the first and the last finished, Unix seconds; 0: not recorded."""
    last: float


class Verified(NamedTuple):
    """What was verified of one model."""

    model_id: str
    responses: int
    """Sound rows."""
    torn: list[str]
    """Files set aside, with what was wrong."""


def folders(ledger: Path) -> list[Path]:
    """The folder of each model.

    Raises:
        LimoError: there is no ledger.
    """
    if not ledger.is_dir():
        raise LimoError(f"{ledger}: no ledger there; it is made when a stage samples, or give --ledger")
    return [path for path in sorted(ledger.iterdir()) if path.is_dir() and any(map(any, map(path.glob, KINDS)))]


def tables(folder: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """These columns of all that a model has, one segment or journal at a time; torn segments are set aside."""
    waiting = [read_journal(path).rows.select(columns) for path in journals(folder)]
    seen: set[str] = set()
    while left := [entry.path for entry in entries(folder) if entry.path.name not in seen]:
        for path in left:
            seen.add(path.name)
            try:
                with Segment(path) as segment:
                    yield segment.read(columns)
            except FileNotFoundError:
                continue
            except TornError as error:
                set_aside(path, str(error))
    yield from waiting


def summarise(folder: Path) -> Summary:
    """Count a model's responses."""
    parts = [pl.DataFrame(pl.from_arrow(table)) for table in tables(folder, COUNTED)]
    rows = pl.concat(parts) if parts else pl.DataFrame(pl.from_arrow(SCHEMA.empty_table().select(COUNTED)))
    once = rows.unique("response_id", keep="first", maintain_order=True)
    times = once.filter(pl.col("finished_at") > 0)["finished_at"]
    return Summary(
        model_id=folder.name,
        responses=once.height,
        repeated=rows.height - once.height,
        finished=_counts(once, "finish_reason"),
        tokens=int(once["n_tokens"].sum()),
        prompt_tokens=int(once["n_prompt_tokens"].sum()),
        size=sum(size_of(path) for kind in KINDS for path in folder.glob(kind)),
        segments=len(entries(folder)),
        waiting=sum(read_journal(path).rows.num_rows for path in journals(folder)),
        torn=len(list(folder.glob("*.torn"))),
        engines=_counts(once, "engine"),
        first=_time(times.min()),
        last=_time(times.max()),
    )


def _counts(rows: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(sorted(Counter(rows[column].to_list()).items(), key=lambda entry: -entry[1]))


def _time(value: object) -> float:
    return value if isinstance(value, float) else 0.0


def verify(folder: Path) -> Verified:
    """Read every byte of a model's segments and compare ids with what they stand for; what fails is set aside."""
    recover(folder)
    torn: list[str] = []
    rows = 0
    for entry in entries(folder):
        try:
            rows += _verify(entry.path)
        except FileNotFoundError:
            continue
        except TornError as error:
            torn.append(f"{entry.path}: {error}")
            new = set_aside(entry.path, str(error), right_rows)
            rows += _verify(new) if new else 0
    return Verified(folder.name, rows, torn)


def _verify(path: Path) -> int:
    with Segment(path) as segment:
        for group in range(len(segment.group_rows)):
            table = segment.read(SCHEMA.names, [group])
            wrong = table.num_rows - right_rows(table).num_rows
            if wrong:
                raise TornError(f"{wrong} responses are not what their id says")
        return segment.rows


def right_rows(table: pa.Table) -> pa.Table:
    """The rows whose id is the hash of model, prompt, sampling parameters, seed and sample index."""
    key, *parts = (table.column(name).to_pylist() for name in ADDRESS)
    right = [response_id(*row) == given for given, row in zip(key, zip(*parts, strict=True), strict=True)]
    return table if all(right) else table.filter(pa.array(right, pa.bool_()))


def find(ledger: Path, beginning: str) -> Response:
    """The response with this id, or the one whose id begins so.

    Raises:
        LimoError: there is none, or several.
    """
    found: dict[str, Path] = {}
    for folder in folders(ledger):
        for table in tables(folder, ["response_id"]):
            ids = pl.Series(table.column(0))
            found |= dict.fromkeys(ids.filter(ids.str.starts_with(beginning)).to_list(), folder)
    if len(found) != 1:
        some = ", ".join(list(found)[:3])
        raise LimoError(f"{ledger}: " + (f"{len(found)} responses begin so: {some}" if some else f"no `{beginning}`"))
    key, folder = found.popitem()
    return Ledger(ledger, folder.name).lookup([key])[key]
