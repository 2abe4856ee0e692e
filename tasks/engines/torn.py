"""Torn segments: what is sound in one goes on, the file is set aside."""

import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from tasks.engines.room import writing
from tasks.engines.segments import SCHEMA, Segment, TornError, stamp_of, write_segment


def _all(table: pa.Table) -> pa.Table:
    return table


def set_aside(path: Path, problem: str, right: Callable[[pa.Table], pa.Table] = _all) -> Path | None:
    """Write the sound row groups of a torn segment as a new one, then rename it to `*.torn`, with one line of warning.

    Args:
        right: the rows of a sound row group that are kept.

    Returns:
        The new segment; None where nothing is sound.
    """
    try:
        sound, rows = _sound_groups(path, right)
    except FileNotFoundError:
        return None
    saved = sum(table.num_rows for table in sound)
    new = None
    if saved:
        with writing(path.parent, f"{path.name} is torn, and its sound part cannot be written anew"):
            new = write_segment(path.parent, sound, stamp_of(path))
    aside = path.with_name(path.name + ".torn")
    try:
        with writing(path.parent, f"{path.name} is torn, and cannot be set aside"):
            path.rename(aside)
    except FileNotFoundError:
        return new  # another process was faster
    kept = f"{saved} of its {rows} responses are sound and kept, the others" if saved else "its responses"
    print(f"limo: {aside}: torn segment set aside ({problem}); {kept} are generated again", file=sys.stderr)
    return new


def _sound_groups(path: Path, right: Callable[[pa.Table], pa.Table]) -> tuple[list[pa.Table], int]:
    sound: list[pa.Table] = []
    try:
        with Segment(path) as segment:
            for group in range(len(segment.group_rows)):
                try:
                    sound.append(right(segment.read(SCHEMA.names, [group])))
                except TornError:
                    continue
            return sound, segment.rows
    except TornError:
        return sound, 0
