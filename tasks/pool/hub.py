"""Files of Hugging Face data sets at a pinned commit, from the hub or from its local cache."""

import logging
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from tasks.errors import LimoError
from tasks.pool.source import HubFiles


class HubFile(NamedTuple):
    """One downloaded file."""

    path: Path
    label: str
    """`hub:repo@revision/file`, the same on every machine."""


def fetch(hub: HubFiles, key: str) -> list[HubFile]:
    """Download what is missing (interrupted downloads go on; HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are honoured).

    Raises:
        LimoError: the hub cannot be reached and the cache lacks the files, access is refused, or no file matches.
    """
    from huggingface_hub import snapshot_download

    # Its retries would bury the one line that counts.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    name = f"{hub.repo}@{hub.revision}"
    try:
        folder = Path(snapshot_download(hub.repo, repo_type="dataset", revision=hub.revision, allow_patterns=hub.file))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise LimoError(
            f"{name}: cannot be had ({reason}); needs a way to the Hugging Face hub (HF_ENDPOINT for a mirror, "
            f"HF_TOKEN for a gated data set) or the files in its cache; or give a local `path` (params.yaml: {key})"
        ) from None
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = [(path, path.relative_to(folder).as_posix()) for path in files]
    matching = [HubFile(path, f"hub:{name}/{file}") for path, file in found if fnmatch(file, hub.file)]
    if not matching:
        raise LimoError(f"{name}: no file matches `{hub.file}` (params.yaml: {key}.file)")
    return matching
