"""What dead writers left: their journals are made into segments, their temporary files removed."""

import os
import sys
import time
from pathlib import Path

from tasks.ledger.journal import journals, read_journal
from tasks.ledger.locks import lock
from tasks.ledger.room import writing
from tasks.ledger.segments import sync_folder, write_segment

ABANDONED_SECONDS = 60


def drop_abandoned(folder: Path) -> None:
    """Remove the temporary files of processes that died while they wrote."""
    for path in folder.glob("*.tmp"):
        try:
            # The age first: the lock on a young one is its maker's to take.
            if time.time() - path.stat().st_mtime <= ABANDONED_SECONDS:
                continue
            with path.open("rb") as file:
                if lock(file.fileno()):
                    path.unlink()
        except OSError:
            continue  # gone, or not ours to remove


def recover(folder: Path) -> None:
    """Make segments of dead writers' journals, and remove those.

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
            # Without a name any more, it was recovered by another process between the two lines.
            if lock(file) and os.fstat(file).st_nlink:
                _recover(path)
        finally:
            os.close(file)


def _recover(path: Path) -> None:
    rows, whole = read_journal(path)
    if rows.num_rows:
        said = f"{rows.num_rows:,} responses of an earlier run are safe in {path.name}"
        with writing(path.parent, said):
            write_segment(path.parent, [rows])
    with writing(path.parent, f"{path.name} stays as it is"):
        _put_away(path, rows.num_rows, whole)


def _put_away(path: Path, rows: int, whole: bool) -> None:
    if whole:
        path.unlink(missing_ok=True)
    else:
        aside = path.with_name(path.name + ".torn")
        path.rename(aside)
        print(f"limo: {aside}: cut off while it was written; {rows} responses recovered", file=sys.stderr)
    sync_folder(path.parent)
