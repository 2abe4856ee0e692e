"""When the disk is full or cannot be written: one line that says so, and that what has finished is safe."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import LimoError
from tasks.files import FULL, one_line


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
def writing(folder: Path, said: str) -> Iterator[None]:
    """Turn an error of writing into one line; `said` is what became of the responses.

    Raises:
        FileNotFoundError: as it is: another process has taken a file away.
        LimoError: the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if is_full(error):
            raise no_room(folder, said) from None
        raise LimoError(f"{folder}: cannot be written ({one_line(error)}); {said}") from None
