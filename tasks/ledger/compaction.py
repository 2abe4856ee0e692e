"""Compaction: merges many small segments into few big ones, without duplicate rows.

The new segment is read back and compared before it gets its name, and the old ones are removed only then. Killed in
between, it leaves duplicates or a temporary file, never a gap. Readers that miss a segment list the folder again.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from tasks.core.errors import LimoError
from tasks.ledger.segments import (
    GROUP_BYTES,
    SCHEMA,
    Entry,
    Segment,
    TornError,
    entries,
    publish_scratch,
    set_aside,
    stamp_of,
    sync_folder,
    write_scratch,
    writing,
)

SEGMENT_BYTES = 256 * 2**20
"""A merged segment's size on disk, about, and at most."""
LOCK = "compaction.lock"
SAME = ("response_id", "finish_reason", "n_tokens")
"""Rows equal in these are duplicates of one response."""


class Compaction(NamedTuple):
    """The result of a compaction."""

    before: int
    """Segments."""
    after: int
    dropped: int
    """Duplicate rows."""
    ran: bool = True
    """False: another process is compacting."""


@contextmanager
def exclusive(folder: Path) -> Iterator[bool]:
    """Hold the lock for removing segments; False when another process has it.

    Raises:
        LimoError: the folder cannot be written.
    """
    with writing(folder, "everything in it stays as it is"):
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(file)


def mergeable(folder: Path) -> int:
    """How many segments fewer there would be after `compact`."""
    return sum(len(run) - 1 for run in _runs(entries(folder), SEGMENT_BYTES))


def compact(folder: Path, segment_bytes: int = SEGMENT_BYTES) -> Compaction:
    """Merge the segments of a model.

    Raises:
        LimoError: the disk is full, or a segment cannot be read; nothing has changed.
    """
    with exclusive(folder) as mine:
        before = entries(folder)
        if not mine:
            return Compaction(len(before), len(before), 0, ran=False)
        while True:
            try:
                return _compact(folder, segment_bytes)._replace(before=len(before))
            except TornInRunError as torn:
                set_aside(torn.path, str(torn))
            except FileNotFoundError:
                continue  # set aside by a reader meanwhile


def _compact(folder: Path, segment_bytes: int) -> Compaction:
    found = entries(folder)
    first = _first_written(found)
    dropped = 0
    for run in _runs([entry for entry in found if not _has_more_columns(entry)], segment_bytes):
        masks = [first[entry.path] for entry in run]
        dropped += sum(int((~mask).sum()) for mask in masks)
        replace(run, masks)
    return Compaction(len(found), len(entries(folder)), dropped)


def _has_more_columns(entry: Entry) -> bool:
    """Whether it has columns of a later version, which a segment of this version would lose."""
    with _sound(entry.path) as segment:
        return segment.has_more_columns


def _runs(found: Sequence[Entry], segment_bytes: int) -> list[list[Entry]]:
    """Neighbours in the order of writing that fit into one segment together."""
    runs: list[list[Entry]] = []
    room = 0
    for entry in found:
        if not runs or entry.size > room:
            runs.append([])
            room = segment_bytes
        runs[-1].append(entry)
        room -= entry.size
    return [run for run in runs if len(run) > 1]


def _first_written(found: Sequence[Entry]) -> dict[Path, np.ndarray]:
    """For each segment which of its rows are the first of their kind, in it and all older ones.

    Rows are compared by a 64-bit hash: at ten million, two different ones collide with probability 3e-6, and then one
    is generated again.
    """
    hashes = []
    for entry in found:
        with _sound(entry.path) as segment:
            keys = pl.DataFrame(pl.from_arrow(segment.read(SAME)))
            hashes.append(keys.hash_rows())
    if not hashes:
        return {}
    first = pl.concat(hashes).is_first_distinct().to_numpy()
    ends = np.cumsum([len(column) for column in hashes])[:-1]
    return dict(zip([entry.path for entry in found], np.split(first, ends), strict=True))


def replace(run: Sequence[Entry], masks: Sequence[np.ndarray]) -> None:
    """Put the rows of `masks` of some segments into one new segment, then remove those.

    Raises:
        LimoError: the disk is full, or what was written is not what is read back; nothing has changed.
        TornInRunError: one of them is torn; nothing has changed.
    """
    folder = run[0].path.parent
    written: list[pl.Series] = []
    if any(mask.any() for mask in masks):
        with writing(folder, "its segments stay as they are"):
            scratch = write_scratch(folder, _kept_rows(run, masks, written), stamp_of(run[0].path))
        _require_same(scratch, written)
        publish_scratch(scratch)
    for entry in run:
        entry.path.unlink(missing_ok=True)
    sync_folder(folder)


def _kept_rows(run: Sequence[Entry], masks: Sequence[np.ndarray], written: list[pl.Series]) -> Iterator[pa.Table]:
    """The rows of `masks` in tables of about GROUP_BYTES; their hashes go to `written`."""
    waiting: list[pa.Table] = []
    size = 0
    for entry, mask in zip(run, masks, strict=True):
        for table in _groups(entry.path, mask):
            waiting.append(table)
            written.append(_hashes(table))
            size += table.nbytes
            if size >= GROUP_BYTES:
                yield pa.concat_tables(waiting).combine_chunks()
                waiting, size = [], 0
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _groups(path: Path, mask: np.ndarray) -> Iterator[pa.Table]:
    with _sound(path) as segment:
        start = 0
        for group, rows in enumerate(segment.group_rows):
            part = mask[start : start + rows]
            start += rows
            if part.any():
                table = segment.read(SCHEMA.names, [group])
                yield table if part.all() else table.filter(pa.array(part))


def _hashes(table: pa.Table) -> pl.Series:
    return pl.DataFrame(pl.from_arrow(table)).hash_rows()


def _require_same(scratch: Path, written: list[pl.Series]) -> None:
    try:
        with Segment(scratch) as segment:
            parts = [_hashes(segment.read(SCHEMA.names, [group])) for group in range(len(segment.group_rows))]
        same = pl.concat(parts).equals(pl.concat(written), check_names=False)
    except TornError:
        same = False
    if not same:
        scratch.unlink()
        raise LimoError(f"{scratch}: not read back as it was written; check this disk. The segments stay as they are")


class TornInRunError(Exception):
    """A segment that proved to be torn."""

    def __init__(self, path: Path, problem: str) -> None:
        """Of the segment at `path`."""
        super().__init__(problem)
        self.path = path


@contextmanager
def _sound(path: Path) -> Iterator[Segment]:
    try:
        with Segment(path) as segment:
            yield segment
    except TornError as error:
        raise TornInRunError(path, str(error)) from None
