"""The ledger's journals: finished responses are written at once, so that a killed process loses none.

A journal is an Arrow IPC stream in a file of its writer, which holds a lock on it for as long as it lives. Disk space
is reserved ahead of need: the zeros there end the stream, and what finishes while the disk is full has room. Each row
has a checksum, since a process or machine that dies may leave half a write.
"""

import errno
import io
import os
import sys
import time
import zlib
from collections.abc import Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from tasks.core.errors import LimoError
from tasks.core.files import make_folder
from tasks.ledger.segments import (
    SCHEMA,
    disk_full,
    is_full,
    lock_own,
    new_name,
    sync_folder,
    try_lock,
    write_segment,
    writing,
)
from tasks.records.response import Response

ROOM = 4 * 2**20
"""Bytes reserved in the journal for what finishes next; after a larger write, twice as many as it took."""
CHECK = "crc32"
JOURNAL = SCHEMA.append(pa.field(CHECK, pa.int64()))
OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
VALUES = attrgetter(*SCHEMA.names)
NO_FALLOCATE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""errno of a file system that cannot reserve space."""


def to_batch(responses: Sequence[Response]) -> pa.RecordBatch:
    """Responses as a batch of JOURNAL, each with its checksum."""
    rows = [VALUES(response) for response in responses]
    try:
        return _batch(rows)
    except UnicodeEncodeError:
        # Half a surrogate pair, from a server's JSON, is not valid text.
        return _batch([tuple(_text(value) if isinstance(value, str) else value for value in row) for row in rows])


def _batch(rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = [*zip(*rows, strict=True), [_checksum(row) for row in rows]]
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, JOURNAL, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=JOURNAL)


def _text(value: str) -> str:
    return value.encode("utf-8", "replace").decode("utf-8")


def _checksum(row: Iterable[Any]) -> int:
    return zlib.crc32("\x1f".join(map(str, row)).encode())


_OPEN: set[int] = set()
"""The journals of this process."""


def _close_in_child() -> None:
    """A forked worker that outlives its killed parent would hold the lock on its journal."""
    for file in _OPEN:
        os.close(file)
    _OPEN.clear()


os.register_at_fork(after_in_child=_close_in_child)


class Journal:
    """One writer's journal, open and locked."""

    def __init__(self, folder: Path) -> None:
        """Create it, with space reserved.

        Raises:
            LimoError: the disk has no room for it.
        """
        self._folder = folder
        make_folder(folder)
        scratch = folder / f"{new_name()}.tmp"
        self.path = scratch.with_suffix(".journal")
        self._reserve = ROOM
        with writing(folder, "finished responses are safe"):
            self._file = os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            try:
                # Renamed once it is locked, so that no other process takes it for a dead writer's.
                lock_own(self._file)
                self._begin()
                scratch.rename(self.path)
                _OPEN.add(self._file)
            except BaseException:
                scratch.unlink(missing_ok=True)
                os.close(self._file)
                raise

    def _begin(self) -> None:
        self._sink = io.BytesIO()
        self._stream = pa.ipc.new_stream(self._sink, JOURNAL, options=OPTIONS)
        os.ftruncate(self._file, 0)
        self._end = self._at = 0
        self._reserve_room(self._reserve)

    def _reserve_room(self, size: int) -> None:
        """Reserve `size` bytes of the disk from here on."""
        if self._end - self._at >= size:
            return
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._file, self._at, 2 * size)
        except OSError as error:
            if error.errno not in NO_FALLOCATE:
                raise
        self._end = self._at + 2 * size

    def write(self, batch: pa.RecordBatch, safe: int) -> None:
        """Append rows.

        Args:
            batch: of JOURNAL.
            safe: rows in it before, for the error message.

        Raises:
            LimoError: the disk is full; the rows were written into the reserved space all the same, or, where there
                were more than would fit, as the message says.
        """
        self._stream.write_batch(batch)
        raw = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        try:
            self._append(raw)
            self._reserve = max(self._reserve, 2 * len(raw))
            safe += batch.num_rows
            self._reserve_room(self._reserve)
        except OSError as error:
            if not is_full(error):
                raise LimoError(f"{self.path}: cannot be written ({error.strerror})") from None
            raise disk_full(self._folder, f"the last {safe:,} responses are safe in the journal") from None

    def _append(self, raw: bytes) -> None:
        """Write at the end of the stream; the next write overwrites one that failed half way."""
        view, at = memoryview(raw), self._at
        while view:
            written = os.pwrite(self._file, view, at)
            view, at = view[written:], at + written
        self._at = at

    @property
    def removed(self) -> bool:
        """Whether its file was removed: what is written into it is lost with this process."""
        return os.fstat(self._file).st_nlink == 0

    def reset(self) -> None:
        """Start over: its rows are in a segment."""
        with writing(self._folder, "all finished responses are safe in the ledger"):
            self._begin()

    def close(self) -> None:
        """Remove it: its rows are in a segment."""
        self.path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Unlock it and leave it to the next process that opens the ledger."""
        _OPEN.discard(self._file)
        os.close(self._file)


class JournalRows(NamedTuple):
    """The rows of a journal."""

    rows: pa.Table
    """Of SCHEMA."""
    complete: bool
    """False where its writer died in the middle of a write."""


def read_journal(path: Path) -> JournalRows:
    """The complete batches of a journal, a living writer's too; none where it no longer exists.

    Raises:
        LimoError: it cannot be read.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return JournalRows(SCHEMA.empty_table(), True)
    except OSError as error:
        raise LimoError(f"{path}: cannot be read ({error.strerror})") from None
    batches: list[pa.RecordBatch] = []
    try:
        stream = pa.ipc.open_stream(pa.py_buffer(raw))
        for batch in stream:
            _check_batch(batch)
            batches.append(batch.drop_columns([CHECK]))
        complete = True
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        # The end of what its writer got onto the disk, which `recover` reports; nothing but reserved space is no tear.
        complete = not raw.strip(b"\0")
    return JournalRows(pa.Table.from_batches(batches, SCHEMA), complete)


def _check_batch(batch: pa.RecordBatch) -> None:
    batch.validate(full=True)
    if batch.schema != JOURNAL:
        raise pa.ArrowInvalid("not the columns of a journal")
    columns = [column.to_pylist() for column in batch.columns]
    checks = columns.pop()
    if [_checksum(row) for row in zip(*columns, strict=True)] != checks:
        raise pa.ArrowInvalid("checksum")


def journals(folder: Path) -> list[Path]:
    """The journals of a model, by the time their writers started."""
    return sorted(folder.glob("*.journal"))


ABANDONED_SECONDS = 60


def drop_abandoned(folder: Path) -> None:
    """Remove the temporary files of processes that died while they wrote."""
    for path in folder.glob("*.tmp"):
        try:
            # The age first: the lock on a young one is for its creator to take.
            if time.time() - path.stat().st_mtime <= ABANDONED_SECONDS:
                continue
            with path.open("rb") as file:
                if try_lock(file.fileno()):
                    path.unlink()
        except OSError:
            continue  # removed meanwhile, or not ours to remove


def recover(folder: Path) -> None:
    """Turn dead writers' journals into segments, and remove them.

    Raises:
        LimoError: the disk has no room for it, or one cannot be opened or removed; the journals stay.
    """
    for path in journals(folder):
        try:
            with writing(folder, "its journals stay as they are"):
                file = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            # Without a link, it was recovered by another process between the two lines.
            if try_lock(file) and os.fstat(file).st_nlink:
                _recover(path)
        finally:
            os.close(file)


def _recover(path: Path) -> None:
    rows, complete = read_journal(path)
    if rows.num_rows:
        with writing(path.parent, f"{rows.num_rows:,} responses of an earlier run are safe in {path.name}"):
            write_segment(path.parent, [rows])
    with writing(path.parent, f"{path.name} stays as it is"):
        _discard(path, rows.num_rows, complete)


def _discard(path: Path, rows: int, complete: bool) -> None:
    if complete:
        path.unlink(missing_ok=True)
    else:
        aside = path.with_name(path.name + ".torn")
        path.rename(aside)
        print(f"limo: {aside}: cut off while it was written; {rows} responses recovered", file=sys.stderr)
    sync_folder(path.parent)
