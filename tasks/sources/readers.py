"""Files as ranges that one process can hold, and the rows of a range by column.

A range is of bytes of JSON Lines, or of rows of Parquet or CSV, so that workers read their own and no row passes
through the planner. Compressed JSON Lines cannot be split and are decompressed into a work folder first; a JSON array
is one range. Malformed content is an error that names file and row.
"""

import codecs
import glob
import gzip
import hashlib
import json
import mmap
import os
import shutil
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar, cast

import msgspec
import polars as pl

from tasks.core.errors import LimoError
from tasks.core.files import full_disk, make_folder, one_line

T = TypeVar("T")
NumberedRow = tuple[int, dict[str, Any]]
COMPRESSED = (".gz", ".zst")
FORMATS = (".json", ".jsonl", ".csv", ".parquet")
RANGE_BYTES = 16 << 20
RANGE_ROWS = 65_536
MAX_ARRAY_BYTES = 1 << 30
"""A JSON array is held whole, which takes several times its size."""


class FileRange(NamedTuple):
    """A range of a file's bytes or rows."""

    path: str
    label: str
    """The file's name in origins and messages, where a row is `label:number`."""
    format: str
    """`.jsonl`, `.json`, `.csv` or `.parquet`."""
    start: int
    stop: int
    """Bytes of .jsonl, rows of the others."""
    first: int
    """The number of its first row, or line, counted from 1."""
    last: bool = False
    """Whether it ends the file."""


def unreadable(path: Path, error: Exception) -> LimoError:
    """The error for a file that is torn, or not of the format in its name."""
    return LimoError(f"{path}: cannot be read ({one_line(error)}); is it whole? Fetch or write it again")


def open_decompressed(path: Path) -> IO[bytes]:
    """The bytes of a file, decompressed where its name ends in .gz or .zst."""
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path))
    if path.suffix == ".zst":
        import io

        import pyarrow

        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def parsed_lines(part: FileRange, most: int | None = None) -> list[NumberedRow]:
    """The rows of a range of JSON Lines, each with its line's number; at most `most`.

    Raises:
        LimoError: a line that is no object; names file and line.
    """
    with open(part.path, "rb") as handle:
        handle.seek(part.start)
        lines = handle.read(part.stop - part.start).split(b"\n")
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    rows: list[NumberedRow] = []
    for number, line in enumerate(lines, part.first):
        if len(rows) == most:
            break
        try:
            rows.append((number, decode(line)))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            if line.removeprefix(codecs.BOM_UTF8).strip():
                rows.append((number, _decode_leniently(line, f"{part.label}:{number}")))
    return rows


def _decode_leniently(line: bytes, where: str) -> dict[str, Any]:
    """For what the fast decoder refuses and the standard one may accept (a byte order mark, NaN)."""
    try:
        return _as_object(json.loads(line.decode("utf-8-sig")), where)
    except UnicodeDecodeError as error:
        raise LimoError(f"{where}: not UTF-8 (byte {error.start} of the line); convert the file") from None
    except json.JSONDecodeError as error:
        raise LimoError(f"{where}: not JSON ({error.msg}, column {error.colno}); fix or remove the line") from None
    except (ValueError, RecursionError) as error:
        raise LimoError(f"{where}: cannot be read ({error}); fix or remove the line") from None


def parsed_array(part: FileRange) -> list[NumberedRow]:
    """The rows of a JSON array, counted from 1.

    Raises:
        LimoError: it is no array, or has an element that is no object; names file and line or row.
    """
    path = part.path
    try:
        with open_decompressed(Path(path)) as handle:
            values = json.loads(handle.read().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise LimoError(f"{path}: not UTF-8 (byte {error.start}); convert it") from None
    except json.JSONDecodeError as error:
        hint = "; if it has one object a line, name it .jsonl" if error.msg == "Extra data" else ""
        raise LimoError(f"{path}:{error.lineno}: not JSON ({error.msg}, column {error.colno}){hint}") from None
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise unreadable(Path(path), error) from None
    if not isinstance(values, list):
        raise LimoError(f"{path}: must be a JSON array of objects, found {type(values).__name__}")
    return [(number, _as_object(value, f"{path}:{number}")) for number, value in enumerate(values, 1)]


def _as_object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LimoError(f"{where}: must be an object with named fields, found {type(value).__name__}")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise LimoError(
            f"{where}: holds half a character (a lone surrogate such as \\ud800); fix or remove the row"
        ) from None
    return value


class Columns(NamedTuple):
    """The rows of a range."""

    values: dict[str, list[Any]]
    """The cells of each column; None where a row lacks it."""
    numbers: list[int]
    """Each row's number, or line, in the file."""


def find_files(pattern: str, key: str) -> list[Path]:
    """The files of a path or glob, in order of name.

    Raises:
        LimoError: there is none; names the params key.
    """
    files = [Path(name) for name in sorted(glob.glob(pattern, recursive=True)) if Path(name).is_file()]
    if not files:
        what = "is a folder; give a glob such as `folder/*.jsonl`" if Path(pattern).is_dir() else "no such file"
        raise LimoError(f"{pattern}: {what} (params.yaml: {key})")
    return files


def file_ranges(path: Path, label: str, spool: Path) -> Iterator[FileRange]:
    """Split a file into ranges, in order.

    Args:
        label: the file's name in origins.
        spool: a folder for decompressed files.

    Raises:
        LimoError: unknown format, or a file that cannot be read.
    """
    compression = path.suffix if path.suffix in COMPRESSED else ""
    format = Path(path.name.removesuffix(compression)).suffix.lower()
    if format == ".parquet" and compression:
        raise LimoError(f"{path}: Parquet is compressed inside; decompress the file, and name it .parquet")
    if format not in FORMATS:
        raise LimoError(f"{path}: unknown format `{format}`; it must be one of {', '.join(FORMATS)} (also .gz, .zst)")
    try:
        if format == ".jsonl":
            yield from _lines(_decompress(path, spool) if compression else path, label)
        elif format == ".json":
            yield _array(path, label)
        else:
            yield from _rows(path, label, format)
    except (OSError, EOFError, zlib.error, pl.exceptions.PolarsError) as error:
        raise unreadable(path, error) from None


def range_fingerprint(part: FileRange) -> bytes:
    """Differs between ranges and between versions of a file: by the bytes of JSON Lines, else by size and time."""
    if part.format == ".jsonl":
        with open(part.path, "rb") as handle:
            handle.seek(part.start)
            return (
                f"{part.label}:{part.first}:".encode() + hashlib.blake2b(handle.read(part.stop - part.start)).digest()
            )
    state = os.stat(part.path)
    return f"{part}:{state.st_size}:{state.st_mtime_ns}".encode()


def column_names(part: FileRange) -> list[str]:
    """The names of a range's columns, in their order; those of JSON are of its first thousand rows."""
    if part.format == ".parquet":
        return list(_or_unreadable(part, lambda: pl.read_parquet_schema(part.path)))
    if part.format == ".csv":
        return _or_unreadable(part, lambda: _scan(Path(part.path), part.format).collect_schema().names())
    rows = parsed_lines(part, 1000) if part.format == ".jsonl" else parsed_array(part)
    return list(dict.fromkeys(name for _, row in rows[:1000] for name in row))


def read_columns(part: FileRange, columns: Sequence[str]) -> Columns:
    """Some columns of a range.

    Raises:
        LimoError: a row that cannot be read.
    """
    if part.format in (".parquet", ".csv"):
        frame = _or_unreadable(part, lambda: _frame(part, columns))
        numbers = list(range(part.first, part.first + frame.height))
        return Columns({name: frame[name].to_list() for name in columns}, numbers)
    rows = parsed_lines(part) if part.format == ".jsonl" else parsed_array(part)
    return Columns({name: [row.get(name) for _, row in rows] for name in columns}, [number for number, _ in rows])


def _lines(path: Path, label: str) -> Iterator[FileRange]:
    """Byte ranges that end after a line."""
    size = path.stat().st_size
    if not size:
        return
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start, first = 0, 1
        while start < size:
            end = data.find(b"\n", start + RANGE_BYTES)
            stop = size if end < 0 else end + 1
            yield FileRange(str(path), label, ".jsonl", start, stop, first)
            first += data[start:stop].count(b"\n")
            start = stop


def _array(path: Path, label: str) -> FileRange:
    size = path.stat().st_size
    if size > MAX_ARRAY_BYTES:
        raise LimoError(
            f"{path}: a JSON array of {size / 2**30:.1f} GiB, which must be held whole; write it as .jsonl, one object"
            f" a line (`jq -c '.[]' {path}`)"
        )
    return FileRange(str(path), label, ".json", 0, size, 1)


def _rows(path: Path, label: str, format: str) -> Iterator[FileRange]:
    """Row ranges, of at most RANGE_ROWS rows and about RANGE_BYTES bytes."""
    height = _scan(path, format).select(pl.len()).collect(engine="streaming").item()
    row_bytes = max(path.stat().st_size // max(height, 1), 1)
    step = min(RANGE_ROWS, max(RANGE_BYTES // row_bytes, 1))
    for start in range(0, height, step):
        stop = min(start + step, height)
        yield FileRange(str(path), label, format, start, stop, start + 1, stop == height)


def _frame(part: FileRange, columns: Sequence[str]) -> pl.DataFrame:
    rows, planned = _scan(Path(part.path), part.format).select(columns), part.stop - part.start
    # The last range reads to the end: rows of a CSV file are counted by its quotes, and one left open would hide rows.
    frame = rows.slice(part.start, None if part.last else planned).collect()
    if frame.height != planned:
        where = f"{part.path}: near row {part.first + min(frame.height, planned) - 1}"
        raise LimoError(f"{where}: a quotation mark is not closed, or is alone in its cell; quote the cell or fix it")
    return frame


def _scan(path: Path, format: str) -> pl.LazyFrame:
    if format == ".parquet":
        return pl.scan_parquet(path)
    # Everything as text: a guessed number would lose the zero of an answer such as 07.
    return pl.scan_csv(path, infer_schema=False)


def _decompress(path: Path, spool: Path) -> Path:
    """The file decompressed under `spool`; once for a file of this name, size and time."""
    state = path.stat()
    name = hashlib.blake2b(f"{path.resolve()}:{state.st_size}:{state.st_mtime_ns}".encode(), digest_size=8).hexdigest()
    target = spool / f"{name}.jsonl"
    if not target.exists():
        make_folder(spool)
        part = spool / f"{name}.{uuid.uuid4().hex[:12]}.part"
        try:
            with full_disk(part), open_decompressed(path) as source, part.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
                part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    return target


def _or_unreadable(part: FileRange, read: Callable[[], T]) -> T:
    try:
        return read()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise unreadable(Path(part.path), error) from None
