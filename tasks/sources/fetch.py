"""The files of a source on this machine: local ones, those of a Hugging Face data set, or the file at a url.

The file at a url is downloaded once and checked against its checksum, or against what it held the first time.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tasks.core.errors import LimoError
from tasks.sources.download import (
    FileRecord,
    SourceFile,
    UnreachableError,
    download,
    locked,
    read_record,
    record_path,
    request_info,
    sha256_of,
    short_hash,
    write_record,
)
from tasks.sources.hub import fetch_hub
from tasks.sources.readers import find_files
from tasks.sources.source import SourceParams, UrlFile


def fetch_url(given: UrlFile, key: str, downloads: Path) -> SourceFile:
    """Download the file unless it is there, complete and unchanged.

    Without a `sha256` what the first pull found is recorded, and other content later is an error; while its server
    cannot be reached, the file downloaded before is used.

    Args:
        key: the key of the url in params.yaml, for messages.
        downloads: the folder of downloads and of the records.

    Raises:
        LimoError: it cannot be downloaded, or its content is not the expected one.
    """
    file = downloads / "urls" / short_hash(given.url) / file_name(given.url)
    with locked(file.parent):
        record = read_record(downloads, given.url)
        expected = given.sha256 or (record.sha256 if record else None)
        whole = expected is not None and file.exists() and sha256_of(file) == expected
        if not whole or (given.sha256 is None and record is not None and _may_have_changed(record)):
            expected = _download(given, key, downloads, file, record)
        assert expected is not None
        return SourceFile(file, given.url, file.stat().st_size, expected)


def file_name(url: str) -> str:
    """The last part of a url's path, which tells its format: `questions.jsonl` of `https://x.org/questions.jsonl?v=2`."""
    return unquote(urlsplit(url).path).rsplit("/", 1)[-1]


def _may_have_changed(record: FileRecord) -> bool:
    try:
        remote = request_info(record.label, waits=())
    except UnreachableError:
        return False
    return remote.tag != record.tag or remote.size not in (None, record.size)


def _download(given: UrlFile, key: str, downloads: Path, file: Path, record: FileRecord | None) -> str:
    fresh = file.with_name(f"new-{file.name}")
    try:
        remote = request_info(given.url)
        if given.sha256 is None and record is not None and remote.size not in (None, record.size):
            raise LimoError(_changed(given, key, downloads, f"{record.size} bytes then, {remote.size} now"))
        download(remote, fresh)
        torn = given.sha256 is None and request_info(given.url).tag != remote.tag
    except UnreachableError as error:
        raise LimoError(f"{given.url}: cannot be downloaded ({error}) (params.yaml: {key})") from None
    found = sha256_of(fresh)
    try:
        if torn:
            raise LimoError(
                f"{given.url}: changed while it was downloaded; run again, or give its sha256 ({key}.sha256)"
            )
        _check_content(given, key, downloads, record, found)
    except LimoError:
        fresh.unlink()
        raise
    fresh.replace(file)
    write_record(downloads, FileRecord(given.url, file.stat().st_size, found, remote.tag))
    return found


def _check_content(given: UrlFile, key: str, downloads: Path, record: FileRecord | None, found: str) -> None:
    if given.sha256 not in (None, found):
        raise LimoError(
            f"{given.url}: has sha256 {found}, not {given.sha256}; it changed, or the checksum is of another file "
            f"(params.yaml: {key}.sha256)"
        )
    if given.sha256 is None and record is not None and record.sha256 != found:
        raise LimoError(_changed(given, key, downloads, f"sha256 {record.sha256} then, {found} now"))


def _changed(given: UrlFile, key: str, downloads: Path, difference: str) -> str:
    return (
        f"{given.url}: changed since it was first pulled ({difference}); give the sha256 of the one you want "
        f"(params.yaml: {key}.sha256), or delete {record_path(downloads, given.url)} to accept the new one"
    )


def fetch_files(source: SourceParams, key: str, downloads: Path) -> list[SourceFile]:
    """Find or download the files of a source; none for a generator.

    Args:
        key: the source's key in params.yaml, such as `pull.sources.3`, for messages.
        downloads: the folder of downloads, and of the record of what every remote file held first.

    Raises:
        LimoError: a file is missing, cannot be downloaded, fails its checksum, or changed since it was first pulled.
    """
    if source.hub is not None:
        return fetch_hub(source.hub, f"{key}.hub", downloads)
    if source.url is not None:
        return [fetch_url(source.url, f"{key}.url", downloads)]
    if source.path is not None:
        return [
            SourceFile(path, str(path), path.stat().st_size, sha256_of(path))
            for path in find_files(source.path, f"{key}.path")
        ]
    return []


def source_facts(source: SourceParams, files: Iterable[SourceFile]) -> dict[str, Any]:
    """What a manifest says of a source's origin: license, citation, and every file with its checksum."""
    listed = [{"file": file.label, "bytes": file.size, "sha256": file.sha256} for file in files]
    return {"license": source.license, "citation": source.citation, "files": listed}
