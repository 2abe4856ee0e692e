"""Rows of JSON Lines and of JSON arrays; what is malformed is an error that names file and row."""

import codecs
import gzip
import json
import zlib
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from tasks.errors import LimoError
from tasks.pool.piece import Piece, unreadable

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
