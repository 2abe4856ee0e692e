"""One remote file into a local one, going on from the byte that an interrupted download reached.

Any protocol that fsspec knows. What came so far lies in `NAME.part`, and `NAME.part.json` says of which version of the
remote file it is a part.
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
"""Bytes asked for at a time from stores that are not http."""
WAITS = (1.0, 4.0, 15.0)
"""Seconds before another try; counted anew whenever bytes came."""
TAGS = ("ETag", "etag", "md5Hash", "Last-Modified", "LastModified", "mtime", "created")
TRY_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
HTTP = ("http://", "https://")
EXTRAS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}


class Remote(NamedTuple):
    """A remote file, as its server describes it."""

    store: Any
    """The fsspec file system."""
    path: str
    size: int | None
    """Bytes, where the server says."""
    tag: str | None
    """A mark that changes with the content, such as an ETag, where the server gives one."""


class UnreachableError(Exception):
    """A remote file that cannot be had, and why."""


def look_up(url: str, waits: tuple[float, ...] | None = None) -> Remote:
    """Ask the server about a file.

    Args:
        waits: seconds before another try, as many tries as there are; WAITS when left out.

    Raises:
        UnreachableError: there is no such file, it is refused, or the server does not answer.
    """
    store = open_store(url)
    path = store._strip_protocol(url)
    for wait in [*(WAITS if waits is None else waits), None]:
        try:
            info = store.info(path)
            break
        except Exception as error:  # each store has errors of its own
            if wait is None or _is_final(error):
                raise UnreachableError(_reason(error)) from None
            time.sleep(wait)
    tag = next((str(info[name]) for name in TAGS if info.get(name)), None)
    # Some servers announce no length by announcing 0.
    return Remote(store, path, info.get("size") or None, tag)


def open_store(url: str, headers: dict[str, str] | None = None) -> Any:
    """The fsspec file system of a url.

    Args:
        headers: sent along with every request to an http server.

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


def download(remote: Remote, target: Path) -> None:
    """Bring a remote file to `target`, which appears only when it is complete.

    Raises:
        UnreachableError: the connection breaks again and again, or what came has another size than the server said.
        LimoError: the disk is full, or cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    with disk_errors(part):
        _keep_only_own_part(part, remote)
        failures = 0
        while (error := _continue(remote, part)) is not None:
            failures = 1 if error.progress else failures + 1
            if failures > len(WAITS) or error.final:
                raise UnreachableError(error.reason)
            time.sleep(WAITS[failures - 1])
        size = part.stat().st_size
        if remote.size not in (None, size):
            part.unlink()
            raise UnreachableError(f"{size} bytes came where {remote.size} were announced")
        part.replace(target)
        _notes(part).unlink(missing_ok=True)


class Broken(NamedTuple):
    """A download that stopped before the end."""

    reason: str
    final: bool
    """Another try would end the same way."""
    progress: bool
    """Some bytes came."""


def _continue(remote: Remote, part: Path) -> Broken | None:
    """Append to `part` what it lacks; None when it has all."""
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
        return Broken(_reason(error), _is_final(error), part.exists() and part.stat().st_size > before)
    return None


@contextmanager
def _open_at(remote: Remote, start: int) -> Iterator[tuple[int, IO[bytes]]]:
    """The remote file from byte `start` on, or from its first byte where it cannot be entered in the middle."""
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


def _keep_only_own_part(part: Path, remote: Remote) -> None:
    """Remove what came of another version of the file, or of a file whose versions cannot be told apart."""
    part.parent.mkdir(parents=True, exist_ok=True)
    version = {"size": remote.size, "tag": remote.tag}
    telling = remote.size is not None and remote.tag is not None
    if not (telling and _notes(part).exists() and read_json(_notes(part)) == version):
        part.unlink(missing_ok=True)
    write_json(_notes(part), version)


def _notes(part: Path) -> Path:
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
        hint = "; make room and run again, it goes on from there" if error.errno == errno.ENOSPC else ""
        raise LimoError(f"{path}: cannot be written ({error.strerror}){hint}") from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A folder for one process at a time; the lock of a dead one is free.

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
    """Whether another try would end the same way."""
    cause = _cause(error)
    status = getattr(cause, "status", None)
    if isinstance(status, int):
        return HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in TRY_AGAIN
    # Botocore's NoCredentialsError and its kind are plain Exceptions.
    kinds = FileNotFoundError | PermissionError | ValueError | TypeError | ImportError
    return isinstance(cause, kinds) or "Credentials" in type(cause).__name__


def _cause(error: BaseException) -> BaseException:
    """What lies behind an error: fsspec calls whatever happens to an http request a missing file."""
    return error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ else error


def _reason(error: Exception) -> str:
    cause = _cause(error)
    status = getattr(cause, "status", None)
    if isinstance(status, int):
        return f"the server answers {status} {getattr(cause, 'message', '')}".strip()
    text = " ".join(str(cause).split())[:200]
    return "no such file" if isinstance(cause, FileNotFoundError) else f"{type(cause).__name__}: {text}".rstrip(": ")


# What a source's files held when they were first pulled, so that a later change is seen.
#
# One small JSON file a source file, named after its label: two stages that pull at the same time write different
# files, or the same bytes.


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
