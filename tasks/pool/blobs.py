"""Large files of the hub into its local cache, going on where an interrupted download stopped.

The hub's own library (2.4) throws away what came of a file when its process dies. A file that lies in the cache's
`blobs` folder under its digest, the way that cache is documented, is what the library then finds and links.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tasks.pool.digests import sha256_of, short_hash
from tasks.pool.download import Remote, UnreachableError, download, locked, open_store
from tasks.pool.source import HubFiles

SHA256_DIGITS = 64


class Told(NamedTuple):
    """What the hub says of a file."""

    size: int
    """Bytes."""
    digest: str
    """SHA-256 (64 hex digits) of a large file, git's blob hash (40) of a small one."""


def fill_cache(hub: HubFiles, wanted: Mapping[str, Told], downloads: Path) -> None:
    """Download the large files that the cache lacks; what cannot be had is left to the hub's library to report.

    Args:
        wanted: by the name inside the repository.
        downloads: the folder for what has come so far.

    Raises:
        LimoError: the disk is full, or cannot be written.
    """
    from huggingface_hub import constants

    blobs = Path(constants.HF_HUB_CACHE) / f"datasets--{hub.repo.replace('/', '--')}" / "blobs"
    for file, told in wanted.items():
        if len(told.digest) != SHA256_DIGITS or (blobs / told.digest).exists():
            continue
        folder = downloads / "hub" / short_hash(told.digest)
        with locked(folder):
            if not (blobs / told.digest).exists():
                _fetch_blob(hub, file, told, folder / told.digest, blobs)


def _fetch_blob(hub: HubFiles, file: str, told: Told, fresh: Path, blobs: Path) -> None:
    from huggingface_hub import get_token, hf_hub_url

    token = get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = hf_hub_url(hub.repo, file, repo_type="dataset", revision=hub.revision)
    try:
        download(Remote(open_store(url, headers), url, told.size, told.digest), fresh)
    except UnreachableError:
        return
    if sha256_of(fresh) == told.digest:
        blobs.mkdir(parents=True, exist_ok=True)
        # The cache may be on another disk, where a move is a copy: it must not be seen before it is whole.
        scratch = blobs / f"{told.digest}.{os.getpid()}.incomplete"
        shutil.move(fresh, scratch)
        scratch.replace(blobs / told.digest)
    else:
        fresh.unlink()
