"""Files in pieces that one process can hold: where each piece lies, and its rows by column.

A piece is a byte range of JSON Lines, or a row range of Parquet or CSV, so that workers read their own and no row
passes through the planner. What cannot be cut (packed JSON Lines) is unpacked into a work folder first; a JSON array is
one piece. What is malformed is an error that names file and row.
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

# A part of a file, and what is said when it cannot be read.


class Piece(NamedTuple):
    """A part of a file."""

    path: str
    label: str
    """What its rows are called in origins and messages: `label:number`."""
    form: str
    """`.jsonl`, `.json`, `.csv` or `.parquet`."""
    start: int
    stop: int
    """Bytes of .jsonl, rows of the others."""
    first: int
    """The number of its first row, or line, counted from 1."""
    last: bool = False
    """Nothing of the file comes after it."""


def unreadable(path: Path, error: Exception) -> LimoError:
    """A file that is torn, or is not what its name says."""
    return LimoError(f"{path}: cannot be read ({one_line(error)}); is it whole? Fetch or write it again")


# Rows of JSON Lines and of JSON arrays; what is malformed is an error that names file and row.

NumberedRow = tuple[int, dict[str, Any]]


def open_packed(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked where its name ends in .gz or .zst."""
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path))
    if path.suffix == ".zst":
        import io

        import pyarrow

        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def parsed_lines(piece: Piece, most: int | None = None) -> list[NumberedRow]:
    """The rows of a range of JSON Lines, each with its line's number; at most `most`.

    Raises:
        LimoError: a line that is no object; names file and line.
    """
    with open(piece.path, "rb") as handle:
        handle.seek(piece.start)
        lines = handle.read(piece.stop - piece.start).split(b"\n")
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    rows: list[NumberedRow] = []
    for number, line in enumerate(lines, piece.first):
        if len(rows) == most:
            break
        try:
            rows.append((number, decode(line)))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            if line.removeprefix(codecs.BOM_UTF8).strip():
                rows.append((number, _slowly(line, f"{piece.label}:{number}")))
    return rows


def _slowly(line: bytes, where: str) -> dict[str, Any]:
    """What the fast decoder refuses, which the standard one may take (a byte order mark, NaN); else the reason."""
    try:
        return _as_object(json.loads(line.decode("utf-8-sig")), where)
    except UnicodeDecodeError as error:
        raise LimoError(f"{where}: not UTF-8 (byte {error.start} of the line); convert the file") from None
    except json.JSONDecodeError as error:
        raise LimoError(f"{where}: not JSON ({error.msg}, column {error.colno}); mend or remove the line") from None
    except (ValueError, RecursionError) as error:
        raise LimoError(f"{where}: cannot be read ({error}); mend or remove the line") from None


def parsed_array(piece: Piece) -> list[NumberedRow]:
    """The rows of a JSON array, counted from 1.

    Raises:
        LimoError: it is none, or has an element that is no object; names file and line or row.
    """
    path = piece.path
    try:
        with open_packed(Path(path)) as handle:
            values = json.loads(handle.read().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise LimoError(f"{path}: not UTF-8 (byte {error.start}); convert it") from None
    except json.JSONDecodeError as error:
        hint = "; if it has one object a line, call it .jsonl" if error.msg == "Extra data" else ""
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
            f"{where}: holds half a character (a lone surrogate such as \\ud800); mend or remove the row"
        ) from None
    return value


T = TypeVar("T")
PACKED = (".gz", ".zst")
FORMS = (".json", ".jsonl", ".csv", ".parquet")
PIECE_BYTES = 16 << 20
PIECE_ROWS = 65_536
MOST_JSON = 1 << 30
"""A JSON array is held whole, which takes several times its size."""


class Columns(NamedTuple):
    """The rows of a piece."""

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


def pieces(path: Path, label: str, spool: Path) -> Iterator[Piece]:
    """Cut a file into pieces, in order.

    Args:
        label: what to call the file in origins.
        spool: a folder for what must be unpacked.

    Raises:
        LimoError: unknown format, or a file that cannot be read.
    """
    packed = path.suffix if path.suffix in PACKED else ""
    form = Path(path.name.removesuffix(packed)).suffix.lower()
    if form == ".parquet" and packed:
        raise LimoError(f"{path}: Parquet is packed inside; unpack the file, and name it .parquet")
    if form not in FORMS:
        raise LimoError(f"{path}: unknown format `{form}`; it must be one of {', '.join(FORMS)} (also .gz, .zst)")
    try:
        if form == ".jsonl":
            yield from _lines(_unpack(path, spool) if packed else path, label)
        elif form == ".json":
            yield _array(path, label)
        else:
            yield from _rows(path, label, form)
    except (OSError, EOFError, zlib.error, pl.exceptions.PolarsError) as error:
        raise unreadable(path, error) from None


def range_fingerprint(piece: Piece) -> bytes:
    """Tells a piece from any other: its bytes where it is a range of them, else its file's state."""
    if piece.form == ".jsonl":
        with open(piece.path, "rb") as handle:
            handle.seek(piece.start)
            return (
                f"{piece.label}:{piece.first}:".encode()
                + hashlib.blake2b(handle.read(piece.stop - piece.start)).digest()
            )
    state = os.stat(piece.path)
    return f"{piece}:{state.st_size}:{state.st_mtime_ns}".encode()


def names(piece: Piece) -> list[str]:
    """The names of a piece's columns, in their order; those of JSON are of its first thousand rows."""
    if piece.form == ".parquet":
        return list(_checked(piece, lambda: pl.read_parquet_schema(piece.path)))
    if piece.form == ".csv":
        return _checked(piece, lambda: _scan(Path(piece.path), piece.form).collect_schema().names())
    rows = parsed_lines(piece, 1000) if piece.form == ".jsonl" else parsed_array(piece)
    return list(dict.fromkeys(name for _, row in rows[:1000] for name in row))


def read(piece: Piece, columns: Sequence[str]) -> Columns:
    """Some columns of a piece.

    Raises:
        LimoError: a row that cannot be read.
    """
    if piece.form in (".parquet", ".csv"):
        frame = _checked(piece, lambda: _frame(piece, columns))
        numbers = list(range(piece.first, piece.first + frame.height))
        return Columns({name: frame[name].to_list() for name in columns}, numbers)
    rows = parsed_lines(piece) if piece.form == ".jsonl" else parsed_array(piece)
    return Columns({name: [row.get(name) for _, row in rows] for name in columns}, [number for number, _ in rows])


def _lines(path: Path, label: str) -> Iterator[Piece]:
    """Byte ranges that end after a line."""
    size = path.stat().st_size
    if not size:
        return
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start, first = 0, 1
        while start < size:
            end = data.find(b"\n", start + PIECE_BYTES)
            stop = size if end < 0 else end + 1
            yield Piece(str(path), label, ".jsonl", start, stop, first)
            first += data[start:stop].count(b"\n")
            start = stop


def _array(path: Path, label: str) -> Piece:
    size = path.stat().st_size
    if size > MOST_JSON:
        raise LimoError(
            f"{path}: a JSON array of {size / 2**30:.1f} GiB, which must be held whole; write it as .jsonl, one object"
            f" a line (`jq -c '.[]' {path}`)"
        )
    return Piece(str(path), label, ".json", 0, size, 1)


def _rows(path: Path, label: str, form: str) -> Iterator[Piece]:
    """Row ranges, of at most PIECE_ROWS rows and about PIECE_BYTES bytes."""
    height = _scan(path, form).select(pl.len()).collect(engine="streaming").item()
    row_bytes = max(path.stat().st_size // max(height, 1), 1)
    step = min(PIECE_ROWS, max(PIECE_BYTES // row_bytes, 1))
    for start in range(0, height, step):
        stop = min(start + step, height)
        yield Piece(str(path), label, form, start, stop, start + 1, stop == height)


def _frame(piece: Piece, columns: Sequence[str]) -> pl.DataFrame:
    rows, planned = _scan(Path(piece.path), piece.form).select(columns), piece.stop - piece.start
    # The last piece reads to the end: rows of a CSV file are counted by its quotes, and one left open would hide rows.
    frame = rows.slice(piece.start, None if piece.last else planned).collect()
    if frame.height != planned:
        where = f"{piece.path}: near row {piece.first + min(frame.height, planned) - 1}"
        raise LimoError(
            f"{where}: a quotation mark is not closed, or stands alone in a cell; quote the cell or mend it"
        )
    return frame


def _scan(path: Path, form: str) -> pl.LazyFrame:
    if form == ".parquet":
        return pl.scan_parquet(path)
    # Everything as text: a guessed number would lose the zero of an answer such as 07.
    return pl.scan_csv(path, infer_schema=False)


def _unpack(path: Path, spool: Path) -> Path:
    """The file unpacked under `spool`; done once for a file of this name, size and time."""
    state = path.stat()
    name = hashlib.blake2b(f"{path.resolve()}:{state.st_size}:{state.st_mtime_ns}".encode(), digest_size=8).hexdigest()
    target = spool / f"{name}.jsonl"
    if not target.exists():
        make_folder(spool)
        part = spool / f"{name}.{uuid.uuid4().hex[:12]}.part"
        try:
            with full_disk(part), open_packed(path) as source, part.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
                part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    return target


def _checked(piece: Piece, read: Callable[[], T]) -> T:
    try:
        return read()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise unreadable(Path(piece.path), error) from None
