"""The files of a source: local, or fetched; each with its digest."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from tasks.pool.hub import fetch
from tasks.pool.readers import find_files
from tasks.pool.source import SourceParams


class SourceFile(NamedTuple):
    """One file of a source, on this machine."""

    path: Path
    label: str
    size: int
    sha256: str


def fetch_files(source: SourceParams, key: str, downloads: Path) -> list[SourceFile]:
    """The files of a source, in order of name."""
    if source.hub is not None:
        found = [(file.path, file.label) for file in fetch(source.hub, f"{key}.hub")]
    else:
        assert source.path is not None
        found = [(path, str(path)) for path in find_files(source.path, f"{key}.path")]
    return [SourceFile(path, label, path.stat().st_size, _sha256(path)) for path, label in found]


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
