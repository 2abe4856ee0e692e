"""Grade a file of any size: a table of golds and responses in, the same table with verdicts out.

Read and written in batches, so that memory does not grow with the file. Rows and columns keep their order and their
types.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import LimoError
from tasks.files import full_disk, one_line
from tasks.grading.columns import ADDED, FIELDS, READ, cell, check_columns
from tasks.grading.grader import Pair, Verdict, grade_many
from tasks.grading.lines import Line, Row, as_json, read_lines, schema_of, typed
from tasks.grading.options import lettered
from tasks.grading.rules import KINDS, Rules, plain_kind, read_rules
from tasks.grading.symbolic import Limits

BATCH = 5_000
BATCH_BYTES = 32 << 20
"""A batch ends at this many rows, or with the row that brings it to this many bytes."""
SLICE = 100
"""Rows of a Parquet file that are decoded at a time."""
FORMS = (".jsonl", ".parquet")
READ_BYTES = 1 << 20


class Summary(NamedTuple):
    """What became of the rows of a file."""

    verdicts: Counter[str]
    rules: Counter[str]
    reasons: Counter[str]
    unknown_kinds: Counter[str]
    """Words in the column `kind` that are none of the kinds, whose rows were graded as `auto`."""


def grade_file(source: Path, out: Path, *, rules: Rules, limits: Limits, replace: bool = False) -> Summary:
    """Grade every row of `source` and write it, with its verdict, to `out`.

    Args:
        rules: for all rows; the column `kind` states the kind of a row's gold, or rules in JSON, which go before these.
        replace: replace columns that bear the names of ours.

    Raises:
        LimoError: a file that cannot be read or written, a row that is none, a column that lacks or would be lost.
    """
    for path in (source, out):
        if path.suffix not in FORMS:
            raise LimoError(f"{path}: the name must end in .jsonl or .parquet")
    if not source.is_file():
        raise LimoError(f"{source}: {'is a folder' if source.is_dir() else 'no such file'}")
    if out.is_dir():
        raise LimoError(f"{out}: is a folder")
    if not out.parent.is_dir():
        raise LimoError(f"{out}: the folder {out.parent} does not exist")
    if source.resolve() == out.resolve():
        raise LimoError(f"{out}: is the input itself; give another --out")
    summary = Summary(Counter(), Counter(), Counter(), Counter())
    job = _Job(source, out.suffix, out.with_name(f".{out.name}.{os.getpid()}"), rules, limits, replace, summary)
    try:
        with full_disk(out):
            (_parquet if source.suffix == ".parquet" else _lines)(job)
            job.part.replace(out)
    except OSError as error:
        raise LimoError(f"{out}: cannot be written ({error.strerror})") from None
    finally:
        job.part.unlink(missing_ok=True)
    return summary


class _Job(NamedTuple):
    source: Path
    form: str
    part: Path
    """Where the output is written until it is whole."""
    rules: Rules
    limits: Limits
    replace: bool
    summary: Summary


def _parquet(job: _Job) -> None:
    with _readable(job.source):
        # Read through a buffer: a row group may hold the whole file.
        file = pq.ParquetFile(job.source, buffer_size=READ_BYTES)
    names = file.schema_arrow.names
    check_columns(names, str(job.source), job.replace)
    if not file.metadata.num_rows:
        raise LimoError(f"{job.source}: holds no rows")
    kept = [name for name in names if name not in ADDED]
    if len(set(kept)) != len(kept):
        raise LimoError(f"{job.source}: two columns of one name; rename one")
    schema = pa.schema([*(file.schema_arrow.field(name) for name in kept), *FIELDS])
    with _sink(job, schema) as write:
        start = 0
        for batch in _batches(job.source, file):
            rows = batch.select([name for name in READ if name in kept]).to_pylist()
            verdicts = _graded(rows, [f"{job.source}: row {start + place}" for place in range(1, len(rows) + 1)], job)
            arrays = [batch.column(names.index(name)) for name in kept]
            arrays += [pa.array([getattr(one, name) for one in verdicts], pa.string()) for name in ADDED]
            write(pa.Table.from_arrays(arrays, schema=schema))
            start += len(rows)


@contextmanager
def _readable(source: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise LimoError(f"{source}: not a readable Parquet file ({one_line(error)})") from None


def _batches(source: Path, file: pq.ParquetFile) -> Iterator[pa.Table]:
    """The file in batches; it may turn out to be torn at any of them."""
    slices = _slices(file)
    held: list[pa.RecordBatch] = []
    rows = size = 0
    while True:
        with _readable(source):
            taken = next(slices, None)
        if taken is None:
            break
        held.append(taken)
        rows, size = rows + taken.num_rows, size + taken.nbytes
        if rows >= BATCH or size >= BATCH_BYTES:
            yield pa.Table.from_batches(held)
            held, rows, size = [], 0, 0
    if held:
        yield pa.Table.from_batches(held)


def _slices(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    """A few rows at a time, fewer where the metadata tells of large ones; repeated values may hide their size.

    One row group after the other: an iterator over several keeps what it has read of each.
    """
    for at in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(at)
        if group.num_rows:
            fitting = BATCH_BYTES * group.num_rows // max(group.total_byte_size, 1)
            yield from file.iter_batches(max(1, min(SLICE, fitting)), row_groups=[at])


def _lines(job: _Job) -> None:
    schema = schema_of(job.source, job.replace) if job.form == ".parquet" else None
    with _sink(job, schema) as write:
        for batch in _batches_of_lines(read_lines(job.source, job.replace)):
            rows = [line.row for line in batch]
            verdicts = _graded(rows, [line.where for line in batch], job)
            done = [_with_verdict(row, verdict) for row, verdict in zip(rows, verdicts, strict=True)]
            write(done if schema is None else pa.Table.from_pylist([typed(row, schema) for row in done], schema))


def _batches_of_lines(lines: Iterator[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    held = 0
    for line in lines:
        batch.append(line)
        held += line.size
        if len(batch) >= BATCH or held >= BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _with_verdict(row: Row, verdict: Verdict) -> Row:
    others = {name: value for name, value in row.items() if name not in ADDED}
    return others | {name: getattr(verdict, name) for name in ADDED}


@contextmanager
def _sink(job: _Job, schema: pa.Schema | None) -> Iterator[Callable[[Any], None]]:
    """What writes a batch, a table or a list of rows, in the form of the output."""
    if job.form == ".parquet":
        with pq.ParquetWriter(job.part, schema, compression="zstd") as writer:
            yield writer.write_table
    else:
        with job.part.open("w", encoding="utf-8") as lines:
            yield lambda rows: lines.writelines(map(as_json, rows if isinstance(rows, list) else rows.to_pylist()))


def _graded(rows: list[Row], places: list[str], job: _Job) -> list[Verdict]:
    summary = job.summary
    pairs = [_pair(row, where, job.rules, summary) for row, where in zip(rows, places, strict=True)]
    verdicts = grade_many(lettered(pairs, [row.get("question") for row in rows], job.limits), job.limits)
    for verdict in verdicts:
        summary.verdicts[verdict.verdict] += 1
        summary.rules[verdict.rule] += 1
        if verdict.reason:
            summary.reasons[verdict.reason] += 1
    return verdicts


def _pair(row: Row, where: str, rules: Rules, summary: Summary) -> Pair:
    """A row as a pair: its bare answer where it has one, else its response."""
    stated = _stated(row.get("kind"), where, rules, summary)
    bare = row.get("answer") is not None or "response" not in row
    given = row.get("answer") if bare else row["response"]
    answer = given if isinstance(given, str) else cell(given, where, "answer" if bare else "response")
    return Pair(cell(row["gold"], where, "gold"), answer, stated, bare)


def _stated(word: Any, where: str, rules: Rules, summary: Summary) -> str:
    """The rules of a row: its column `kind` holds a kind, or the JSON of rules, which go before those of the file."""
    text = word if isinstance(word, str) else json.dumps(word, default=str)
    if word and text.lstrip().startswith("{"):
        return rules.model_copy(update=_given(word, text, where)).text()
    kind = plain_kind(text if word else rules.kind)
    if kind not in KINDS:
        summary.unknown_kinds[str(kind)] += 1
        kind = "auto"
    return rules.model_copy(update={"kind": kind}).text() if kind != "auto" else rules.text()


def _given(word: Any, text: str, where: str) -> dict[str, Any]:
    # A struct of Parquet has null where a row says nothing.
    said = {name: value for name, value in word.items() if value is not None} if isinstance(word, dict) else None
    try:
        given = read_rules(text.strip() if said is None else json.dumps(said, default=str))
    except LimoError as error:
        raise LimoError(f"{where}: column `kind`: {one_line(error)}") from None
    return {name: getattr(given, name) for name in given.model_fields_set}
