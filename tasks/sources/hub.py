"""Files of Hugging Face data sets at a pinned commit, from the hub or from its local cache, each one verified.

HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and HF_HUB_CACHE are honoured. A file must hold what the hub lists (SHA-256 for
large files, git's hash for small ones), and what it held when it was first pulled: a commit cannot change, but a mirror
or a rewritten repository can serve other bytes under its name.

Large files are downloaded here, since the hub's own library (2.4) deletes the bytes of an interrupted download when its
process dies. A file in the cache's `blobs` folder under its digest, the documented layout of that cache, is then found
and linked by the library.
"""

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from tasks.core.errors import LimoError
from tasks.core.files import make_folder, one_line, read_json, write_json
from tasks.sources.download import (
    FileRecord,
    RemoteFile,
    SourceFile,
    UnreachableError,
    download,
    locked,
    open_store,
    read_record,
    record_path,
    sha256_of,
    short_hash,
    write_record,
)
from tasks.sources.source import HubFiles

SHA256_DIGITS = 64
SHARD = re.compile(r"-(\d{4,6})-of-(\d{4,6})\b")
DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class BlobInfo(NamedTuple):
    """What the hub lists of a file."""

    size: int
    """Bytes."""
    digest: str
    """SHA-256 (64 hex digits) of a large file, git's blob hash (40) of a small one."""


def fill_cache(hub: HubFiles, wanted: Mapping[str, BlobInfo], downloads: Path) -> None:
    """Download the large files that the cache lacks; failures are left to the hub's library to report.

    Args:
        wanted: by the name inside the repository.
        downloads: the folder of partial downloads.

    Raises:
        LimoError: the disk is full, or cannot be written.
    """
    from huggingface_hub import constants

    blobs = Path(constants.HF_HUB_CACHE) / f"datasets--{hub.repo.replace('/', '--')}" / "blobs"
    for file, info in wanted.items():
        if len(info.digest) != SHA256_DIGITS or (blobs / info.digest).exists():
            continue
        folder = downloads / "hub" / short_hash(info.digest)
        with locked(folder):
            if not (blobs / info.digest).exists():
                _fetch_blob(hub, file, info, folder / info.digest, blobs)


def _fetch_blob(hub: HubFiles, file: str, info: BlobInfo, fresh: Path, blobs: Path) -> None:
    from huggingface_hub import get_token, hf_hub_url

    token = get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = hf_hub_url(hub.repo, file, repo_type="dataset", revision=hub.revision)
    try:
        download(RemoteFile(open_store(url, headers), url, info.size, info.digest), fresh)
    except UnreachableError:
        return
    if sha256_of(fresh) == info.digest:
        blobs.mkdir(parents=True, exist_ok=True)
        # The cache may be on another disk, where a move is a copy: it must not be visible before it is complete.
        scratch = blobs / f"{info.digest}.{os.getpid()}.incomplete"
        shutil.move(fresh, scratch)
        scratch.replace(blobs / info.digest)
    else:
        fresh.unlink()


class Listing(NamedTuple):
    """The files of a repository, or why the hub does not list them."""

    files: dict[str, BlobInfo]
    problem: Exception | None


def fetch_hub(hub: HubFiles, key: str, downloads: Path) -> list[SourceFile]:
    """Download missing files, and verify all; an interrupted download resumes from the byte it reached.

    Args:
        key: the key of `hub` in params.yaml, for messages.
        downloads: the folder of partial downloads, and of the record of what every file held first.

    Raises:
        LimoError: the hub cannot be reached and the cache lacks the files, access is refused, no file matches, a file
            is damaged, or it changed under its revision.
    """
    # Its messages on retries would bury the one line that matters.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    listing = _listing(hub, key)
    if listing.problem is None:
        wanted = {file: info for file, info in listing.files.items() if fnmatch(file, hub.file)}
        fill_cache(hub, wanted, downloads)
    folder = _snapshot(hub, key, listing.problem)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    matching = [file for file in names if fnmatch(file, hub.file)]
    if not matching:
        raise LimoError(f"{_name(hub)}: no file matches `{hub.file}` (params.yaml: {key}.file)")
    _check_complete(hub, key, matching, listing.problem, downloads)
    return [_verify(hub, file, names[file], listing.files.get(file), downloads) for file in matching]


def _listing(hub: HubFiles, key: str) -> Listing:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled, RevisionNotFoundError

    try:
        repository = HfApi().dataset_info(hub.repo, revision=hub.revision, files_metadata=True, timeout=20)
    except OfflineModeIsEnabled as error:
        return Listing({}, error)
    except RevisionNotFoundError:
        raise LimoError(
            f"{_name(hub)}: the hub has no such revision (any more); give another (params.yaml: {key}.revision), or "
            "set HF_HUB_OFFLINE=1 to use the cached files"
        ) from None
    except Exception as error:  # of whichever http library this huggingface_hub uses
        return Listing({}, error)
    files = {}
    for file in repository.siblings or []:
        if file.lfs is not None:
            files[file.rfilename] = BlobInfo(file.lfs.size, file.lfs.sha256)
        elif file.blob_id is not None:
            files[file.rfilename] = BlobInfo(file.size or 0, file.blob_id)
    return Listing(files, None)


def _snapshot(hub: HubFiles, key: str, problem: Exception | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                hub.repo,
                repo_type="dataset",
                revision=hub.revision,
                allow_patterns=hub.file,
                local_files_only=problem is not None,
            )
        )
    except Exception as error:  # of whichever http library this huggingface_hub uses
        reason = " ".join(str(problem or error).split())[:200]
        raise LimoError(
            f"{_name(hub)}: cannot be downloaded ({reason}); needs a connection to the Hugging Face hub (HF_ENDPOINT"
            " for a mirror, HF_TOKEN for a gated data set) or the files in its cache; or give a local `path`"
            f" (params.yaml: {key})"
        ) from None


def _check_complete(hub: HubFiles, key: str, files: list[str], problem: Exception | None, downloads: Path) -> None:
    """Without an answer of the hub, the cache must have all files that it once listed, or that their names count.

    Raises:
        LimoError: files are missing.
    """
    record = downloads / "digests" / f"{short_hash(f'list:{_name(hub)}/{hub.file}')}.json"
    if problem is None:
        make_folder(record.parent)
        write_json(record, files)
        return
    wanted = set(read_json(record)) if record.exists() else {name for file in files for name in _shard_names(file)}
    missing = sorted(wanted - set(files))
    if missing:
        raise LimoError(
            f"{_name(hub)}: the cache lacks {len(missing)} of {len(wanted)} files, such as {missing[0]}, and the hub"
            f" does not answer ({one_line(problem)}); pull once with a connection to it (params.yaml: {key})"
        )


def _shard_names(file: str) -> list[str]:
    """All names of a set such as `train-00001-of-00005.parquet`; the name itself when it is of none."""
    found = SHARD.search(file)
    if found is None:
        return [file]
    width, count = len(found[1]), int(found[2])
    return [f"{file[: found.start(1)]}{number:0{width}}{file[found.end(1) :]}" for number in range(count)]


def _verify(hub: HubFiles, file: str, path: Path, info: BlobInfo | None, downloads: Path) -> SourceFile:
    """The file, which must hold what the hub lists and what it held the first time."""
    label = f"hub:{_name(hub)}/{file}"
    found = SourceFile(path, label, path.stat().st_size, sha256_of(path))
    record = read_record(downloads, label)
    digest = info.digest if info is not None else _blob_name(path)
    if digest is not None and digest not in (found.sha256, _git_hash(path, digest)):
        if info is not None and record is not None and record.sha256 == found.sha256:
            raise LimoError(_changed(hub, file, record, digest, downloads))
        raise LimoError(
            f"{label}: damaged in the cache (it has {found.sha256} and must have {digest}); delete {path.resolve()}"
        )
    if record is not None and record.sha256 != found.sha256:
        raise LimoError(_changed(hub, file, record, found.sha256, downloads))
    if record is None:
        write_record(downloads, FileRecord(label, found.size, found.sha256))
    return found


def _changed(hub: HubFiles, file: str, record: FileRecord, now: str, downloads: Path) -> str:
    return (
        f"{hub.repo}: {file} changed under the pinned revision {hub.revision} ({record.sha256} when first pulled, "
        f"{now} now); "
        f"pin a revision you trust, or delete {record_path(downloads, record.label)} and the cached file to accept it"
    )


def _blob_name(path: Path) -> str | None:
    """The digest that the cache itself gives a file: its snapshots are links to blobs named after their content."""
    name = path.readlink().name if path.is_symlink() else ""
    return name if DIGEST.fullmatch(name) else None


def _git_hash(path: Path, digest: str) -> str | None:
    """Git's hash of a small file; None where the digest in question is a SHA-256."""
    if len(digest) == SHA256_DIGITS:
        return None
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _name(hub: HubFiles) -> str:
    return f"{hub.repo}@{hub.revision}"
