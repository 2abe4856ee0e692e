"""The ledger's segments: Parquet files that are written once and never changed.

A segment is written under a temporary name, synced and renamed, so that readers never see half of one. Each page has a
checksum: a flipped byte is an error and not a response. Names sort by the time of writing.

Here are also the locks on the ledger's files, journals included: the holder of one is alive, and a file without one was
left by a process that died; and the errors of a full disk.
"""

import errno
import fcntl
import os
import secrets
import shutil
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from errno import EIO
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.errors import LimoError
from tasks.core.files import FULL, one_line
from tasks.records.response import RESPONSE, Response


def is_full(error: Exception) -> bool:
    """Whether the disk, or the user's quota on it, is used up; libraries report it by number or in words."""
    return getattr(error, "errno", None) in FULL or "No space left" in str(error) or "quota exceeded" in str(error)


def disk_full(folder: Path, outcome: str) -> LimoError:
    """The error of a full disk; `outcome` is what became of the responses."""
    free = shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.exists())).free
    return LimoError(
        f"{folder}: no space left on the device ({free / 2**20:.1f} MiB free); {outcome}; "
        "free some space and run again: only what is missing is generated"
    )


@contextmanager
def writing(folder: Path, outcome: str) -> Iterator[None]:
    """Turn a write error into one line; `outcome` is what became of the responses.

    Raises:
        FileNotFoundError: as it is: another process has removed a file.
        LimoError: the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if is_full(error):
            raise disk_full(folder, outcome) from None
        raise LimoError(f"{folder}: cannot be written ({one_line(error)}); {outcome}") from None


HELD = (errno.EWOULDBLOCK, errno.EACCES)
"""errno when another process holds the lock; any other errno means locking is unsupported."""
WAIT_SECONDS = 10
"""How long a file's creator waits for others, which hold its lock only to see whether it was abandoned."""
POLL_SECONDS = 0.01


def try_lock(file: int) -> bool:
    """Take the lock; False where another process holds it, or the file system has none: there all writers are alive."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def lock_own(file: int) -> None:
    """Lock a file that this process has just created; does nothing on a file system without locks.

    Raises:
        OSError: another process has held the lock for WAIT_SECONDS.
    """
    end = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in HELD:
                return
            if time.monotonic() > end:
                raise
            time.sleep(POLL_SECONDS)
        else:
            return


KINDS = {pl.String: pa.string(), pl.Int64: pa.int64(), pl.Float64: pa.float64()}
SCHEMA = pa.schema([(name, KINDS[type(kind)]) for name, kind in RESPONSE.items()])
LATER = {name: field.default for name, field in Response.model_fields.items() if not field.is_required()}
"""Columns that segments of earlier versions lack, with their defaults."""
REPEATED = ["model_id", "prompt", "sampling", "finish_reason", "engine"]
"""Columns with few different values: each is stored once a row group."""
GROUP_BYTES = 32 * 2**20
"""Text in a row group, about: what is read at once, and what a torn page costs."""


class TornError(Exception):
    """A segment that is not as it was written; the text is the error found."""


class Entry(NamedTuple):
    """A segment's file."""

    path: Path
    size: int


def entries(folder: Path) -> list[Entry]:
    """The segments of a model, oldest first."""
    found = []
    for path in sorted(folder.glob("*.parquet")):
        try:
            found.append(Entry(path, path.stat().st_size))
        except FileNotFoundError:
            continue  # merged by another process since the folder was listed
    return found


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where it no longer exists."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def stamp_of(path: Path) -> str:
    """The part of a segment's name that says when its first response was written."""
    return path.name.partition("-")[0]


def new_name(stamp: str | None = None) -> str:
    """A name that no other process uses."""
    return f"{stamp or f'{time.time_ns():020d}'}-{os.getpid()}-{secrets.token_hex(4)}"


def write_segment(folder: Path, tables: Iterable[pa.Table], stamp: str | None = None) -> Path:
    """Write tables of SCHEMA as one segment, synced; its path.

    Args:
        stamp: of the segment whose place in the order of writing it takes; None: now.

    Raises:
        OSError: it cannot be written; nothing of it is left.
    """
    scratch = write_scratch(folder, tables, stamp)
    return publish_scratch(scratch)


def write_scratch(folder: Path, tables: Iterable[pa.Table], stamp: str | None = None) -> Path:
    """As `write_segment`, but still under its temporary name."""
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f"{new_name(stamp)}.tmp"
    try:
        with scratch.open("wb") as file:
            # While it is locked, no process takes the file for abandoned.
            lock_own(file.fileno())
            with _writer(file) as writer:
                for table in tables:
                    for group in row_groups(table):
                        writer.write_table(group, row_group_size=group.num_rows)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    return scratch


def publish_scratch(scratch: Path) -> Path:
    """Rename a complete scratch file to a segment."""
    path = scratch.with_suffix(".parquet")
    scratch.rename(path)
    sync_folder(path.parent)
    return path


def _writer(file: Any) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        file,
        SCHEMA,
        compression="zstd",
        use_dictionary=REPEATED,
        write_page_checksum=True,
        # Statistics of texts would duplicate them in the footer.
        write_statistics=["n_tokens", "n_prompt_tokens", "seconds", "finished_at"],
    )


def row_groups(table: pa.Table) -> Iterator[pa.Table]:
    """Slices of about GROUP_BYTES."""
    rows = max(1, round(table.num_rows * GROUP_BYTES / max(table.nbytes, 1)))
    for start in range(0, table.num_rows, rows):
        yield table.slice(start, rows)


class Segment:
    """A segment opened for reading.

    Raises:
        FileNotFoundError: another process has merged it with others meanwhile; list the folder again.
        LimoError: it cannot be read (permissions, too many open files, memory), though it may be sound; or it is sound
            but lacks columns, so that another version wrote it.
        TornError: it is not as it was written.
    """

    def __init__(self, path: Path) -> None:
        """Read the footer."""
        self.path = path
        self._file = self._checked(lambda: pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False))
        try:
            self._lacks = _lacks(self._file, path)
        except BaseException:
            self.close()
            raise
        self.has_more_columns = len(self._file.schema_arrow.names) + len(self._lacks) > len(SCHEMA.names)
        meta = self._file.metadata
        self.group_rows = [meta.row_group(group).num_rows for group in range(meta.num_row_groups)]

    def __enter__(self) -> "Segment":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def rows(self) -> int:
        """Responses in it, duplicates included."""
        return sum(self.group_rows)

    def column(self, name: str) -> pl.Series:
        """A column of all its rows."""
        return pl.Series(name, self.read([name]).column(name))

    def read(self, columns: Sequence[str], groups: Sequence[int] | None = None) -> pa.Table:
        """These columns of these row groups (None: all), as in SCHEMA."""
        present = [name for name in columns if name not in self._lacks]
        chosen = range(len(self.group_rows)) if groups is None else groups
        return self._checked(lambda: self._read(columns, present, chosen))

    def _read(self, columns: Sequence[str], present: list[str], groups: Iterable[int]) -> pa.Table:
        table = self._file.read_row_groups(list(groups), columns=present or ["response_id"])
        wanted = pa.schema([SCHEMA.field(name) for name in columns])
        arrays = [
            table.column(name).cast(wanted.field(name).type) if name in present else self._default(name, table.num_rows)
            for name in columns
        ]
        read = pa.Table.from_arrays(arrays, schema=wanted)
        read.validate(full=True)
        return read

    @staticmethod
    def _default(name: str, rows: int) -> pa.Array:
        return pa.repeat(pa.scalar(LATER[name], SCHEMA.field(name).type), rows)

    def _checked(self, read: Any) -> Any:
        try:
            return read()
        except FileNotFoundError:
            raise
        except MemoryError:
            raise LimoError(f"{self.path}: takes more memory to read than there is") from None
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            if getattr(error, "errno", None) not in (None, EIO):
                # Too many open files, no permission: the segment itself may be sound.
                raise LimoError(f"{self.path}: cannot be read ({one_line(error)})") from None
            raise TornError(one_line(error)) from None


def _lacks(file: pq.ParquetFile, path: Path) -> list[str]:
    """The columns of LATER that a segment does not have; further columns, of later versions, are left alone."""
    names = file.schema_arrow.names
    lacks = [name for name in SCHEMA.names if name not in names]
    if lacks not in ([], list(LATER)):
        if names != _names_in_metadata(file):
            raise TornError("not the columns of a response")
        missing = [name for name in lacks if name not in LATER]
        if missing:
            raise LimoError(
                f"{path}: written by another version of limo (no column {', '.join(missing)}); "
                "use that version, or move the file out of the ledger"
            )
    return lacks


def _names_in_metadata(file: pq.ParquetFile) -> list[str]:
    """The names of the columns in Arrow's own metadata in the footer; where it has none, Parquet's."""
    stored = (file.metadata.metadata or {}).get(b"ARROW:schema")
    if stored is None:
        return list(file.schema_arrow.names)
    try:
        return list(pa.ipc.read_schema(pa.py_buffer(b64decode(stored))).names)
    except (ValueError, pa.ArrowException, OSError):
        return []


def sync_folder(folder: Path) -> None:
    """Make a rename or removal survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _all(table: pa.Table) -> pa.Table:
    return table


def set_aside(path: Path, problem: str, right: Callable[[pa.Table], pa.Table] = _all) -> Path | None:
    """Write the sound row groups of a torn segment as a new one, then rename it to `*.torn`, with one line of warning.

    Args:
        right: selects the rows of a sound row group that are kept.

    Returns:
        The new segment; None where nothing is sound.
    """
    sound = _Sound(path, right)
    try:
        with writing(path.parent, f"{path.name} is torn, and its sound part cannot be rewritten"):
            scratch = write_scratch(path.parent, sound, stamp_of(path))
    except FileNotFoundError:
        return None
    new = None
    if sound.saved:
        new = publish_scratch(scratch)
    else:
        scratch.unlink()
    aside = path.with_name(path.name + ".torn")
    try:
        with writing(path.parent, f"{path.name} is torn, and cannot be set aside"):
            path.rename(aside)
    except FileNotFoundError:
        return new  # another process was faster
    kept = f"{sound.saved} of its {sound.rows} responses are sound and kept, the others" if new else "its responses"
    print(f"limo: {aside}: torn segment set aside ({problem}); {kept} are generated again", file=sys.stderr)
    return new


class _Sound:
    """The sound row groups of a segment, a table each, counted as they are read."""

    def __init__(self, path: Path, right: Callable[[pa.Table], pa.Table]) -> None:
        self._path, self._right = path, right
        self.rows = self.saved = 0

    def __iter__(self) -> Iterator[pa.Table]:
        # A file that cannot be opened has none.
        with suppress(TornError), Segment(self._path) as segment:
            self.rows = segment.rows
            for group in range(len(segment.group_rows)):
                with suppress(TornError):
                    table = self._right(segment.read(SCHEMA.names, [group]))
                    self.saved += table.num_rows
                    yield table
