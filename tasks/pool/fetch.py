"""The files of a source on this machine, whichever form the source has."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tasks.pool.digests import SourceFile, sha256_of
from tasks.pool.hub import fetch
from tasks.pool.readers import find_files
from tasks.pool.source import SourceParams
from tasks.pool.url import fetch_url

__all__ = ["SourceFile", "fetch_files", "source_facts"]


def fetch_files(source: SourceParams, key: str, downloads: Path) -> list[SourceFile]:
    """Find or download the files of a source; none for a generator.

    Args:
        key: the source's key in params.yaml, such as `pull.sources.3`, for messages.
        downloads: the folder of downloads, and of the record of what every remote file held first.

    Raises:
        LimoError: a file is missing, cannot be had, fails its checksum, or changed since it was first pulled.
    """
    if source.hub is not None:
        return fetch(source.hub, f"{key}.hub", downloads)
    if source.url is not None:
        return [fetch_url(source.url, f"{key}.url", downloads)]
    if source.path is not None:
        return [_local(path) for path in find_files(source.path, f"{key}.path")]
    return []


def source_facts(source: SourceParams, files: Iterable[SourceFile]) -> dict[str, Any]:
    """What a manifest keeps of where a source came from: license, citation, and every file with its checksum."""
    listed = [{"file": file.label, "bytes": file.size, "sha256": file.sha256} for file in files]
    return {"license": source.license, "citation": source.citation, "files": listed}


def _local(path: Path) -> SourceFile:
    return SourceFile(path, str(path), path.stat().st_size, sha256_of(path))
