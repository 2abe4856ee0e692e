"""Download one remote file, resuming an interrupted download from the byte it reached, and record its checksum.

Any protocol that fsspec knows. The bytes so far are in `NAME.part`, and `NAME.part.json` holds the version of the
remote file that they belong to. The first pull records what every file held, so that a later change is an error: one
small JSON file a source file, named after its label, so that two stages that pull at the same time write different
files, or the same bytes.
"""

import errno
import fcntl
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, NamedTuple

from tasks.core.errors import LimoError
from tasks.core.files import read_json, write_json

CHUNK = 4 * 2**20
"""Bytes a request to stores that are not http."""
RETRY_SECONDS = (1.0, 4.0, 15.0)
"""Waits before retries; the count starts again whenever bytes arrived."""
TAGS = ("ETag", "etag", "md5Hash", "Last-Modified", "LastModified", "mtime", "created")
RETRYABLE = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
HTTP = ("http://", "https://")
EXTRAS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}


class RemoteFile(NamedTuple):
    """A remote file, as its server describes it."""

    store: Any
    """The fsspec file system."""
    path: str
    size: int | None
    """Bytes, where the server says."""
    tag: str | None
    """A version that changes with the content, such as an ETag, where the server gives one."""


class UnreachableError(Exception):
    """A remote file that cannot be downloaded, and why."""


def request_info(url: str, waits: tuple[float, ...] | None = None) -> RemoteFile:
    """Request a file's size and version from its server.

    Args:
        waits: seconds before each retry; RETRY_SECONDS when left out.

    Raises:
        UnreachableError: there is no such file, it is refused, or the server does not answer.
    """
    store = open_store(url)
    path = store._strip_protocol(url)
    for wait in [*(RETRY_SECONDS if waits is None else waits), None]:
        try:
            info = store.info(path)
            break
        except Exception as error:  # each store has errors of its own
            if wait is None or _is_final(error):
                raise UnreachableError(_reason(error)) from None
            time.sleep(wait)
    tag = next((str(info[name]) for name in TAGS if info.get(name)), None)
    # Some servers announce an unknown length as 0.
    return RemoteFile(store, path, info.get("size") or None, tag)


def open_store(url: str, headers: dict[str, str] | None = None) -> Any:
    """The fsspec file system of a url.

    Args:
        headers: of every request to an http server.

    Raises:
        UnreachableError: the protocol is unknown, or its package is missing (with the command that installs it).
    """
    import fsspec

    scheme = url.split("://", 1)[0]
    options = _http_options(headers) if url.startswith(HTTP) else {}
    try:
        return fsspec.filesystem(scheme, skip_instance_cache=True, **options)
    except ImportError as error:
        package = EXTRAS.get(scheme)
        raise UnreachableError(f"needs a package: pip install {package}" if package else str(error)) from None
    except ValueError as error:
        raise UnreachableError(str(error)) from None


def download(remote: RemoteFile, target: Path) -> None:
    """Download a remote file to `target`, which appears only when it is complete.

    Raises:
        UnreachableError: every retry failed, or the size differs from the one announced.
        LimoError: the disk is full, or cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    with disk_errors(part):
        _drop_other_version(part, remote)
        failures = 0
        while (error := _resume(remote, part)) is not None:
            failures = 1 if error.progress else failures + 1
            if failures > len(RETRY_SECONDS) or error.final:
                raise UnreachableError(error.reason)
            time.sleep(RETRY_SECONDS[failures - 1])
        size = part.stat().st_size
        if remote.size not in (None, size):
            part.unlink()
            raise UnreachableError(f"{size} bytes received where {remote.size} were announced")
        part.replace(target)
        _version_file(part).unlink(missing_ok=True)


class Interruption(NamedTuple):
    """Why a download stopped before the end."""

    reason: str
    final: bool
    """A retry would end the same way."""
    progress: bool
    """Some bytes arrived."""


def _resume(remote: RemoteFile, part: Path) -> Interruption | None:
    """Append the missing bytes to `part`; None when it is complete."""
    before = part.stat().st_size if part.exists() else 0
    if before and before == remote.size:
        return None
    try:
        with _open_at(remote, before) as (start, source), part.open("ab") as sink:
            sink.truncate(start)
            while chunk := source.read(CHUNK):
                with disk_errors(part):
                    sink.write(chunk)
                    sink.flush()
    except LimoError:
        raise
    except Exception as error:  # each store has errors of its own
        return Interruption(_reason(error), _is_final(error), part.exists() and part.stat().st_size > before)
    return None


@contextmanager
def _open_at(remote: RemoteFile, start: int) -> Iterator[tuple[int, IO[bytes]]]:
    """The remote file from byte `start` on, or from its first byte where its server has no ranges."""
    if not remote.path.startswith(HTTP):
        with remote.store.open(remote.path, "rb", block_size=CHUNK, cache_type="none") as source:
            source.seek(start)
            yield start, source
        return
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if remote.tag and remote.tag.startswith('"'):
            headers["If-Range"] = remote.tag
    with remote.store.open(remote.path, "rb", block_size=0, size=remote.size, headers=headers) as source:
        yield (start if source.r.status == HTTPStatus.PARTIAL_CONTENT else 0), source


def _drop_other_version(part: Path, remote: RemoteFile) -> None:
    """Delete the bytes of another version of the file, or of a file whose versions cannot be distinguished."""
    part.parent.mkdir(parents=True, exist_ok=True)
    version = {"size": remote.size, "tag": remote.tag}
    versioned = remote.size is not None and remote.tag is not None
    if not (versioned and _version_file(part).exists() and read_json(_version_file(part)) == version):
        part.unlink(missing_ok=True)
    write_json(_version_file(part), version)


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk, or one that cannot be written, into one line.

    Raises:
        LimoError: names the path.
    """
    try:
        yield
    except OSError as error:
        hint = "; free some space and run again, the download resumes from there" if error.errno == errno.ENOSPC else ""
        raise LimoError(f"{path}: cannot be written ({error.strerror}){hint}") from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder for one process at a time; a lock ends with its process.

    Raises:
        LimoError: the folder cannot be written.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _http_options(headers: dict[str, str] | None) -> dict[str, Any]:
    import aiohttp

    # aiohttp's own limit of five minutes is for the whole file.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
    return {"client_kwargs": {"trust_env": True, "timeout": timeout, "headers": headers or {}}}


def _is_final(error: Exception) -> bool:
    """Whether a retry would end the same way."""
    cause = _cause(error)
    status = getattr(cause, "status", None)
    if isinstance(status, int):
        return HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in RETRYABLE
    # Botocore's NoCredentialsError and its kind are plain Exceptions.
    kinds = FileNotFoundError | PermissionError | ValueError | TypeError | ImportError
    return isinstance(cause, kinds) or "Credentials" in type(cause).__name__


def _cause(error: BaseException) -> BaseException:
    """The cause of an error: fsspec reports any failure of an http request as a missing file."""
    return error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ else error


def _reason(error: Exception) -> str:
    cause = _cause(error)
    status = getattr(cause, "status", None)
    if isinstance(status, int):
        return f"the server answers {status} {getattr(cause, 'message', '')}".strip()
    text = " ".join(str(cause).split())[:200]
    return "no such file" if isinstance(cause, FileNotFoundError) else f"{type(cause).__name__}: {text}".rstrip(": ")


class SourceFile(NamedTuple):
    """One file of a source, on this machine."""

    path: Path
    label: str
    """Its name in origins, the same on every machine: a local path as given, `hub:repo@revision/file`, or the url."""
    size: int
    """Bytes."""
    sha256: str


class FileRecord(NamedTuple):
    """What a file held when it was first pulled."""

    label: str
    size: int
    """Bytes."""
    sha256: str
    tag: str | None = None
    """The server's own version, such as an ETag."""


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
    """A name for a file or folder, from any text."""
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def record_path(downloads: Path, label: str) -> Path:
    """The path of the record of the file with this label."""
    return downloads / "digests" / f"{short_hash(label)}.json"


def read_record(downloads: Path, label: str) -> FileRecord | None:
    """What the file held when it was first pulled; None before that.

    Raises:
        LimoError: the record is damaged.
    """
    path = record_path(downloads, label)
    if not path.exists():
        return None
    try:
        return FileRecord(**read_json(path))
    except TypeError:
        raise LimoError(f"{path}: is not a record of a source file; delete it") from None


def write_record(downloads: Path, record: FileRecord) -> None:
    """Record what a file holds now.

    Raises:
        LimoError: the disk is full, or cannot be written.
    """
    path = record_path(downloads, record.label)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, record._asdict())
