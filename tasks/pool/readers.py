"""Rows of local files, each with where it stood; what is malformed is an error that names file and row."""

import glob
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import polars as pl

from tasks.errors import LimoError

PACKED = (".gz", ".zst")


class Row(NamedTuple):
    """One row of a source."""

    values: dict[str, Any]
    origin: str
    """`file:row`, counted from 1; the line of a .jsonl file."""


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


def read_rows(path: Path, label: str | None = None) -> Iterator[Row]:
    """The rows of one file, its format told by its suffix.

    Args:
        label: what to call the file in origins; its path when left out.

    Raises:
        LimoError: unknown format, or a row that cannot be read.
    """
    packed = path.suffix if path.suffix in PACKED else ""
    suffix = Path(path.name.removesuffix(packed)).suffix.lower()
    if suffix not in READERS:
        raise LimoError(f"{path}: unknown format `{suffix}`; it must be one of {', '.join(READERS)} (also .gz, .zst)")
    return READERS[suffix](path, label or str(path))


def _read_json(path: Path, label: str) -> Iterator[Row]:
    try:
        with _open(path) as handle:
            values = json.loads(handle.read().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise LimoError(f"{path}: not UTF-8 (byte {error.start}); convert it") from None
    except json.JSONDecodeError as error:
        hint = "; if it has one object a line, call it .jsonl" if error.msg == "Extra data" else ""
        raise LimoError(f"{path}:{error.lineno}: not JSON ({error.msg}, column {error.colno}){hint}") from None
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise LimoError(f"{path}: cannot be read ({error})") from None
    if not isinstance(values, list):
        raise LimoError(f"{path}: must be a JSON array of objects, found {type(values).__name__}")
    for number, value in enumerate(values, 1):
        yield Row(_as_object(value, f"{path}:{number}"), f"{label}:{number}")


def _read_jsonl(path: Path, label: str) -> Iterator[Row]:
    try:
        with _open(path) as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    yield Row(_parse_line(line, f"{path}:{number}"), f"{label}:{number}")
    except (OSError, EOFError) as error:
        raise LimoError(f"{path}: cannot be read ({error})") from None


def _parse_line(line: bytes, where: str) -> dict[str, Any]:
    try:
        return _as_object(json.loads(line.decode("utf-8-sig")), where)
    except UnicodeDecodeError as error:
        raise LimoError(f"{where}: not UTF-8 (byte {error.start} of the line); convert the file") from None
    except json.JSONDecodeError as error:
        raise LimoError(f"{where}: not JSON ({error.msg}, column {error.colno}); mend or remove the line") from None
    except (ValueError, RecursionError) as error:
        raise LimoError(f"{where}: cannot be read ({error}); mend or remove the line") from None


def _as_object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LimoError(f"{where}: must be an object with named fields, found {type(value).__name__}")
    if any(isinstance(cell, str) and not _is_text(cell) for cell in value.values()):
        raise LimoError(f"{where}: holds half a character (a lone surrogate such as \\ud800); mend or remove the row")
    return value


def _is_text(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_csv(path: Path, label: str) -> Iterator[Row]:
    # Everything as text: a guessed number would lose the zero of an answer such as 07.
    return _frame_rows(lambda: pl.read_csv(path, infer_schema=False), path, label)


def _read_parquet(path: Path, label: str) -> Iterator[Row]:
    return _frame_rows(lambda: pl.read_parquet(path), path, label)


def _frame_rows(read: Callable[[], pl.DataFrame], path: Path, label: str) -> Iterator[Row]:
    try:
        frame = read()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise LimoError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from None
    for number, values in enumerate(frame.iter_rows(named=True), 1):
        yield Row(values, f"{label}:{number}")


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path))
    if path.suffix == ".zst":
        import io

        import pyarrow

        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    return path.open("rb")


READERS: dict[str, Callable[[Path, str], Iterator[Row]]] = {
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
