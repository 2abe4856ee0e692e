"""Torn segments: what is sound in one goes on, the file is set aside."""

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from tasks.ledger.room import writing
from tasks.ledger.segments import SCHEMA, Segment, TornError, publish_scratch, stamp_of, write_scratch


def _all(table: pa.Table) -> pa.Table:
    return table


def set_aside(path: Path, problem: str, right: Callable[[pa.Table], pa.Table] = _all) -> Path | None:
    """Write the sound row groups of a torn segment as a new one, then rename it to `*.torn`, with one line of warning.

    Args:
        right: the rows of a sound row group that are kept.

    Returns:
        The new segment; None where nothing is sound.
    """
    sound = _Sound(path, right)
    try:
        with writing(path.parent, f"{path.name} is torn, and its sound part cannot be written anew"):
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
    """The sound row groups of a segment, as a table each, counted as they are read."""

    def __init__(self, path: Path, right: Callable[[pa.Table], pa.Table]) -> None:
        self._path, self._right = path, right
        self.rows = self.saved = 0

    def __iter__(self) -> Iterator[pa.Table]:
        # What cannot even be opened has none.
        with suppress(TornError), Segment(self._path) as segment:
            self.rows = segment.rows
            for group in range(len(segment.group_rows)):
                with suppress(TornError):
                    table = self._right(segment.read(SCHEMA.names, [group]))
                    self.saved += table.num_rows
                    yield table
