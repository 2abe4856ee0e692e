"""`limo grade` on a file of any size: a table of golds and responses in, the same table with verdicts out.

Read and written in batches, so that memory does not grow with the file. Rows and columns keep their order and their
types.
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.cells import as_text
from tasks.core.errors import LimoError
from tasks.core.files import full_disk, one_line
from tasks.grading.grader import GRADER, Pair, Verdict, grade_many
from tasks.grading.options import replace_by_letters
from tasks.grading.rules import KINDS, Rules, plain_kind, read_rules
from tasks.grading.symbolic import Limits

VERDICT_COLUMNS = ("verdict", "extracted", "rule", "reason", "grader")
INPUT_COLUMNS = ("gold", "response", "answer", "kind", "question")
VERDICT_FIELDS = tuple(pa.field(name, pa.string()) for name in VERDICT_COLUMNS)
TYPE_NAMES: dict[type, str] = {dict: "an object", bytes: "bytes"}
"""Names for the types of cells that hold no answer."""


def check_columns(names: Sequence[str], where: str, replace: bool) -> None:
    """Raise a LimoError, one line that begins with `where`, for a column that is missing or would be overwritten."""
    if "gold" not in names:
        raise LimoError(f"{where}: no column `gold`; it has {', '.join(names) or 'none'}")
    if "response" not in names and "answer" not in names:
        raise LimoError(f"{where}: no column `response` (a whole response) or `answer` (a bare final answer)")
    taken = [name for name in VERDICT_COLUMNS if name in names]
    if taken and not replace:
        raise LimoError(f"{where}: has {', '.join(taken)} already; rename, or replace by --replace")


def cell(value: Any, where: str, column: str) -> str:
    """A cell as a benchmark's golds are read: 27.0 is the integer 27, a list its elements, an object its numbers.

    Raises:
        LimoError: it holds something that is no answer, such as bytes.
    """
    text = as_text(value)
    if text is None and not isinstance(value, str | bool | int | float | Decimal | list | None):
        found = TYPE_NAMES.get(type(value), type(value).__name__)
        raise LimoError(f"{where}: column `{column}` holds {found}; it must be text, a number or a list")
    return text or ""


Row = dict[str, Any]


class Line(NamedTuple):
    """A row and its place."""

    where: str
    """File and line, for errors."""
    row: Row
    size: int
    """Characters of the line."""


def read_lines(source: Path, replace: bool) -> Iterator[Line]:
    """The rows of a file, one at a time.

    Raises:
        LimoError: an invalid line, a column that is missing or would be overwritten, no rows.
    """
    seen = False
    with source.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{source}:{number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise LimoError(f"{where}: not a line of JSON ({one_line(error)})") from None
            if not isinstance(row, dict):
                raise LimoError(f'{where}: must be an object such as {{"gold": ..., "answer": ...}}')
            check_columns(list(row), where, replace)
            seen = True
            yield Line(where, row, len(line))
    if not seen:
        raise LimoError(f"{source}: holds no rows")


def schema_of(source: Path, replace: bool) -> pa.Schema:
    """The columns of JSON lines as Parquet has them: one type a column; text where rows disagree, or hold nothing."""
    types: dict[str, pa.DataType | None] = {}
    for line in read_lines(source, replace):
        for name, value in line.row.items():
            if name in VERDICT_COLUMNS or value is None:
                types.setdefault(name, None)
                continue
            found, known = _type(value), types.get(name)
            types[name] = found if known in (None, found) else _wider_type(known, found)
    fields = [pa.field(name, kind or pa.string()) for name, kind in types.items() if name not in VERDICT_COLUMNS]
    return pa.schema([*fields, *VERDICT_FIELDS])


def _type(value: Any) -> pa.DataType:
    """The Parquet type of a value; integers past 64 bits, lists and objects become JSON text."""
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int) and abs(value) < 2**63:
        return pa.int64()
    return pa.float64() if isinstance(value, float) else pa.string()


def _wider_type(known: pa.DataType | None, found: pa.DataType) -> pa.DataType:
    numbers = (pa.int64(), pa.float64())
    return pa.float64() if known in numbers and found in numbers else pa.string()


def cast_row(row: Row, schema: pa.Schema) -> Row:
    """The row with the types of `schema`."""
    return {
        name: _utf8(value) if value is not None and schema.field(name).type == pa.string() else value
        for name, value in row.items()
    }


def _utf8(value: Any) -> str:
    """A value as text that can be stored: a lone surrogate becomes a question mark."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode(errors="replace").decode()


def as_json(row: Row) -> str:
    """The row as a line."""
    # A lone surrogate cannot be written as UTF-8, but can be escaped.
    text = json.dumps(row, ensure_ascii=False, default=str)
    return (text if text.isprintable() else json.dumps(row, default=str)) + "\n"


BATCH = 5_000
BATCH_BYTES = 32 << 20
"""A batch ends at this many rows, or with the row that brings it to this many bytes."""
SLICE = 100
"""Rows of a Parquet file that are decoded at a time."""
SUFFIXES = (".jsonl", ".parquet")
READ_BYTES = 1 << 20


class Summary(NamedTuple):
    """Counts over the rows of a file."""

    verdicts: Counter[str]
    rules: Counter[str]
    reasons: Counter[str]
    unknown_kinds: Counter[str]
    """Unknown words in the column `kind`, whose rows were graded as `auto`."""


def main(source: Path, out: Path, *, kind: str, tolerance: float | None, replace: bool, limits: Limits) -> None:
    """The command `limo grade`: grade a file and print a summary.

    Raises:
        LimoError: an unknown kind, or any error of `grade_file`.
    """
    if plain_kind(kind) not in KINDS:
        raise LimoError(f"limo grade: --kind {kind}: none of {', '.join(KINDS)}")
    rules = Rules.model_validate({"kind": plain_kind(kind), "tolerance": tolerance})
    started = time.perf_counter()
    summary = grade_file(source, out, rules=rules, limits=limits, replace=replace)
    for word, rows in summary.unknown_kinds.items():
        print(
            f"limo: {source}: kind `{word}` ({rows} rows) is none of {', '.join(KINDS)}; graded as auto",
            file=sys.stderr,
        )
    seconds, rows = time.perf_counter() - started, summary.verdicts.total()
    print(f"{rows:,} rows in {seconds:.1f} s ({rows / seconds:,.0f} a second): {_counts(summary.verdicts)}")
    print(f"decided by: {_counts(summary.rules)}")
    print(f"reasons: {_counts(summary.reasons) or 'none'}")
    print(f"{out}: written by {GRADER}")


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counted.most_common())


def grade_file(source: Path, out: Path, *, rules: Rules, limits: Limits, replace: bool = False) -> Summary:
    """Grade every row of `source` and write it, with its verdict, to `out`.

    Args:
        rules: for all rows; the column `kind` has the kind of a row's gold, or rules in JSON, which override these.
        replace: overwrite columns of the names that are added.

    Raises:
        LimoError: a file that cannot be read or written, an invalid row, a missing column, or one to be overwritten.
    """
    for path in (source, out):
        if path.suffix not in SUFFIXES:
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
            (_grade_parquet if source.suffix == ".parquet" else _grade_lines)(job)
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
    """Where the output is written until it is complete."""
    rules: Rules
    limits: Limits
    replace: bool
    summary: Summary


def _grade_parquet(job: _Job) -> None:
    with _readable(job.source):
        # Read through a buffer: a row group may hold the whole file.
        file = pq.ParquetFile(job.source, buffer_size=READ_BYTES)
    names = file.schema_arrow.names
    check_columns(names, str(job.source), job.replace)
    if not file.metadata.num_rows:
        raise LimoError(f"{job.source}: holds no rows")
    kept = [name for name in names if name not in VERDICT_COLUMNS]
    if len(set(kept)) != len(kept):
        raise LimoError(f"{job.source}: two columns of one name; rename one")
    schema = pa.schema([*(file.schema_arrow.field(name) for name in kept), *VERDICT_FIELDS])
    with _writer(job, schema) as write:
        start = 0
        for batch in _batches(job.source, file):
            rows = batch.select([name for name in INPUT_COLUMNS if name in kept]).to_pylist()
            verdicts = _grade(rows, [f"{job.source}: row {start + place}" for place in range(1, len(rows) + 1)], job)
            arrays = [batch.column(names.index(name)) for name in kept]
            arrays += [pa.array([getattr(one, name) for one in verdicts], pa.string()) for name in VERDICT_COLUMNS]
            write(pa.Table.from_arrays(arrays, schema=schema))
            start += len(rows)


@contextmanager
def _readable(source: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise LimoError(f"{source}: not a readable Parquet file ({one_line(error)})") from None


def _batches(source: Path, file: pq.ParquetFile) -> Iterator[pa.Table]:
    """The file in batches; any of them may turn out to be corrupt."""
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
    """A few rows at a time, fewer where the metadata shows large ones; repeated values may hide their size.

    One row group after the other: an iterator over several holds what it has read of each in memory.
    """
    for at in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(at)
        if group.num_rows:
            fitting = BATCH_BYTES * group.num_rows // max(group.total_byte_size, 1)
            yield from file.iter_batches(max(1, min(SLICE, fitting)), row_groups=[at])


def _grade_lines(job: _Job) -> None:
    schema = schema_of(job.source, job.replace) if job.form == ".parquet" else None
    with _writer(job, schema) as write:
        for batch in _batches_of_lines(read_lines(job.source, job.replace)):
            rows = [line.row for line in batch]
            verdicts = _grade(rows, [line.where for line in batch], job)
            done = [_with_verdict(row, verdict) for row, verdict in zip(rows, verdicts, strict=True)]
            write(done if schema is None else pa.Table.from_pylist([cast_row(row, schema) for row in done], schema))


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
    others = {name: value for name, value in row.items() if name not in VERDICT_COLUMNS}
    return others | {name: getattr(verdict, name) for name in VERDICT_COLUMNS}


@contextmanager
def _writer(job: _Job, schema: pa.Schema | None) -> Iterator[Callable[[Any], None]]:
    """A function that writes a batch, a table or a list of rows, in the format of the output."""
    if job.form == ".parquet":
        with pq.ParquetWriter(job.part, schema, compression="zstd") as writer:
            yield writer.write_table
    else:
        with job.part.open("w", encoding="utf-8") as lines:
            yield lambda rows: lines.writelines(map(as_json, rows if isinstance(rows, list) else rows.to_pylist()))


def _grade(rows: list[Row], places: list[str], job: _Job) -> list[Verdict]:
    summary = job.summary
    pairs = [_pair(row, where, job.rules, summary) for row, where in zip(rows, places, strict=True)]
    verdicts = grade_many(replace_by_letters(pairs, [row.get("question") for row in rows], job.limits), job.limits)
    for verdict in verdicts:
        summary.verdicts[verdict.verdict] += 1
        summary.rules[verdict.rule] += 1
        if verdict.reason:
            summary.reasons[verdict.reason] += 1
    return verdicts


def _pair(row: Row, where: str, rules: Rules, summary: Summary) -> Pair:
    """A row as a pair: its bare answer where it has one, else its response."""
    stated = _rules_of_row(row.get("kind"), where, rules, summary)
    bare = row.get("answer") is not None or "response" not in row
    given = row.get("answer") if bare else row["response"]
    answer = given if isinstance(given, str) else cell(given, where, "answer" if bare else "response")
    return Pair(cell(row["gold"], where, "gold"), answer, stated, bare)


def _rules_of_row(word: Any, where: str, rules: Rules, summary: Summary) -> str:
    """The rules of a row: its column `kind` holds a kind, or the JSON of rules, which override those of the file."""
    text = word if isinstance(word, str) else json.dumps(word, default=str)
    if word and text.lstrip().startswith("{"):
        return rules.model_copy(update=_row_rules(word, text, where)).text()
    kind = plain_kind(text if word else rules.kind)
    if kind not in KINDS:
        summary.unknown_kinds[str(kind)] += 1
        kind = "auto"
    return rules.model_copy(update={"kind": kind}).text() if kind != "auto" else rules.text()


def _row_rules(word: Any, text: str, where: str) -> dict[str, Any]:
    # A struct of Parquet has null for each field that a row leaves out.
    said = {name: value for name, value in word.items() if value is not None} if isinstance(word, dict) else None
    try:
        given = read_rules(text.strip() if said is None else json.dumps(said, default=str))
    except LimoError as error:
        raise LimoError(f"{where}: column `kind`: {one_line(error)}") from None
    return {name: getattr(given, name) for name in given.model_fields_set}
