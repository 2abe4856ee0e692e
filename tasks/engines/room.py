"""When the disk is full: one line that says so, and that what has finished is safe."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import LimoError
from tasks.files import FULL


def is_full(error: Exception) -> bool:
    """Whether the disk, or the user's quota on it, is used up; libraries tell it by number or in words."""
    return getattr(error, "errno", None) in FULL or "No space left" in str(error) or "quota exceeded" in str(error)


def no_room(folder: Path, said: str) -> LimoError:
    """The error of a full disk; `said` is what became of the responses."""
    free = shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.exists())).free
    return LimoError(
        f"{folder}: no space left on the device ({free / 2**20:.1f} MiB free); {said}; "
        "free some space and run again: only what is missing is generated"
    )


@contextmanager
def telling_full(folder: Path, said: str) -> Iterator[None]:
    """Turn a full disk inside the block into that error."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise no_room(folder, said) from None
