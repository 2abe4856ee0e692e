"""A part of a file, and what is said when it cannot be read."""

from pathlib import Path
from typing import NamedTuple

from tasks.errors import LimoError
from tasks.files import one_line


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
