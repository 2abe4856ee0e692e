"""What a source's files held when they were first pulled, so that a later change is seen.

One small JSON file a source file, named after its label: two stages that pull at the same time write different
files, or the same bytes.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

from tasks.errors import LimoError
from tasks.files import read_json, write_json
from tasks.pool.download import disk_errors


class SourceFile(NamedTuple):
    """One file of a source, on this machine."""

    path: Path
    label: str
    """Its name in origins, the same on every machine: a local path as given, `hub:repo@revision/file`, or the url."""
    size: int
    """Bytes."""
    sha256: str


class Recorded(NamedTuple):
    """What a file held when it was first pulled."""

    label: str
    size: int
    """Bytes."""
    sha256: str
    tag: str | None = None
    """The server's own mark of this version, such as an ETag."""


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex.

    Raises:
        LimoError: it cannot be read.
    """
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise LimoError(f"{path}: cannot be read ({error.strerror})") from None


def short_hash(text: str) -> str:
    """A name for a file or folder, made of any text."""
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def record_path(downloads: Path, label: str) -> Path:
    """Where the record of the file with this label lies."""
    return downloads / "digests" / f"{short_hash(label)}.json"


def read_record(downloads: Path, label: str) -> Recorded | None:
    """What the file held when it was first pulled; None before that.

    Raises:
        LimoError: the record is damaged.
    """
    path = record_path(downloads, label)
    if not path.exists():
        return None
    try:
        return Recorded(**read_json(path))
    except TypeError:
        raise LimoError(f"{path}: is not a record of a source file; delete it") from None


def write_record(downloads: Path, recorded: Recorded) -> None:
    """Keep what a file holds now.

    Raises:
        LimoError: the disk is full, or cannot be written.
    """
    path = record_path(downloads, recorded.label)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, recorded._asdict())
