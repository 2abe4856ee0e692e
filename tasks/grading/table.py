"""Grade a file of any size: a table of golds and responses in, the same table with verdicts out.

Read and written in batches, so that memory does not grow with the file. Rows and columns keep their order and their
types.
"""

import itertools
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
from tasks.grading.grader import Pair, Verdict, grade_many
from tasks.grading.rules import KINDS, Rules, plain_kind
from tasks.grading.symbolic import Limits
from tasks.pool.answers import as_text

ADDED = ("verdict", "extracted", "rule", "reason", "grader")
BATCH = 5_000
FORMS = (".jsonl", ".parquet")
READ = ("gold", "response", "answer", "kind")
FIELDS = tuple(pa.field(name, pa.string()) for name in ADDED)


class Summary(NamedTuple):
    """What became of the rows of a file."""

    verdicts: Counter[str]
    rules: Counter[str]
    reasons: Counter[str]
    unknown_kinds: Counter[str]
    """Words in the column `kind` that are none of the kinds, whose rows were graded as `auto`."""


Row = dict[str, Any]


def grade_file(source: Path, out: Path, *, rules: Rules, limits: Limits, replace: bool = False) -> Summary:
    """Grade every row of `source` and write it, with its verdict, to `out`.

    Args:
        rules: for all rows; the column `kind` states the kind of a row's gold.
        replace: replace columns that bear the names of ours.

    Raises:
        LimoError: a file that cannot be read or written, a row that is none, a column that lacks or would be lost.
    """
    for path in (source, out):
        if path.suffix not in FORMS:
            raise LimoError(f"{path}: the name must end in .jsonl or .parquet")
    if not source.is_file():
        raise LimoError(f"{source}: no such file")
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
    try:
        file = pq.ParquetFile(job.source)
    except (pa.ArrowException, OSError) as error:
        raise LimoError(f"{job.source}: not a readable Parquet file ({one_line(error)})") from None
    names = file.schema_arrow.names
    _check_columns(names, str(job.source), job.replace)
    kept = [name for name in names if name not in ADDED]
    if len(set(kept)) != len(kept):
        raise LimoError(f"{job.source}: two columns of one name; rename one")
    schema = pa.schema([*(file.schema_arrow.field(name) for name in kept), *FIELDS])
    with _sink(job, schema) as write:
        for batch in file.iter_batches(BATCH):
            rows = batch.select([name for name in READ if name in kept]).to_pylist()
            verdicts = _graded(rows, job)
            arrays = [batch.column(names.index(name)) for name in kept]
            arrays += [pa.array([getattr(one, name) for one in verdicts], pa.string()) for name in ADDED]
            write(pa.Table.from_arrays(arrays, schema=schema))


def _lines(job: _Job) -> None:
    schema = _schema(job.source, job.replace) if job.form == ".parquet" else None
    with _sink(job, schema) as write:
        rows = _read_lines(job.source, job.replace)
        while batch := list(itertools.islice(rows, BATCH)):
            verdicts = _graded(batch, job)
            done = [_with_verdict(row, verdict) for row, verdict in zip(batch, verdicts, strict=True)]
            write(done if schema is None else pa.Table.from_pylist([_typed(row, schema) for row in done], schema))


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
            yield lambda rows: lines.writelines(map(_json, rows if isinstance(rows, list) else rows.to_pylist()))


def _schema(source: Path, replace: bool) -> pa.Schema:
    """The columns of JSON lines as Parquet has them: one type a column; text where rows disagree, or hold nothing."""
    types: dict[str, pa.DataType | None] = {}
    for row in _read_lines(source, replace):
        for name, value in row.items():
            if name in ADDED or value is None:
                types.setdefault(name, None)
                continue
            found, known = _type(value), types.get(name)
            types[name] = found if known in (None, found) else _wider(known, found)
    fields = [pa.field(name, kind or pa.string()) for name, kind in types.items() if name not in ADDED]
    return pa.schema([*fields, *FIELDS])


def _type(value: Any) -> pa.DataType:
    """The Parquet type of a value; integers past 64 bits, lists and objects are kept as JSON text."""
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int) and abs(value) < 2**63:
        return pa.int64()
    return pa.float64() if isinstance(value, float) else pa.string()


def _wider(known: pa.DataType | None, found: pa.DataType) -> pa.DataType:
    numbers = (pa.int64(), pa.float64())
    return pa.float64() if known in numbers and found in numbers else pa.string()


def _typed(row: Row, schema: pa.Schema) -> Row:
    return {
        name: _utf8(value) if value is not None and schema.field(name).type == pa.string() else value
        for name, value in row.items()
    }


def _utf8(value: Any) -> str:
    """A value as text that can be stored: a lone surrogate becomes a question mark."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode(errors="replace").decode()


def _read_lines(source: Path, replace: bool) -> Iterator[Row]:
    seen = False
    with source.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise LimoError(f"{source}:{number}: not a line of JSON ({one_line(error)})") from None
            if not isinstance(row, dict):
                raise LimoError(f'{source}:{number}: must be an object such as {{"gold": ..., "answer": ...}}')
            _check_columns(list(row), f"{source}:{number}", replace)
            seen = True
            yield row
    if not seen:
        raise LimoError(f"{source}: holds no rows")


def _check_columns(names: list[str], where: str, replace: bool) -> None:
    if "gold" not in names:
        raise LimoError(f"{where}: no column `gold`; it has {', '.join(names) or 'none'}")
    if "response" not in names and "answer" not in names:
        raise LimoError(f"{where}: no column `response` (a whole response) or `answer` (a bare final answer)")
    taken = [name for name in ADDED if name in names]
    if taken and not replace:
        raise LimoError(f"{where}: has {', '.join(taken)} already; rename, or replace by --replace")


def _graded(rows: list[Row], job: _Job) -> list[Verdict]:
    summary = job.summary
    verdicts = grade_many([_pair(row, job.rules, summary) for row in rows], job.limits)
    for verdict in verdicts:
        summary.verdicts[verdict.verdict] += 1
        summary.rules[verdict.rule] += 1
        if verdict.reason:
            summary.reasons[verdict.reason] += 1
    return verdicts


def _pair(row: Row, rules: Rules, summary: Summary) -> Pair:
    """A row as a pair: its bare answer where it has one, else its response."""
    kind = plain_kind(row.get("kind") or rules.kind)
    if kind not in KINDS:
        summary.unknown_kinds[str(kind)] += 1
        kind = "auto"
    stated = rules.model_copy(update={"kind": kind}).text() if kind != "auto" else rules.text()
    bare = row.get("answer") is not None or "response" not in row
    given = row.get("answer") if bare else row["response"]
    # A file's cells mean what a benchmark's do: 27.0 is the integer 27, a list its elements.
    return Pair(as_text(row["gold"]) or "", given if isinstance(given, str) else as_text(given) or "", stated, bare)


def _json(row: Row) -> str:
    # A lone surrogate cannot be written as UTF-8, but can be escaped.
    text = json.dumps(row, ensure_ascii=False, default=str)
    return (text if text.isprintable() else json.dumps(row, default=str)) + "\n"
