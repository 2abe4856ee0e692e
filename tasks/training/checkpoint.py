"""Checkpoints that are whole or not there: sharded, hashed, published by rename; a damaged one is passed over.

A shard that is cut off fails to load, but one with flipped bytes loads without a word, hence the hashes.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.errors import LimoError
from tasks.core.files import full_disk, read_json, write_json
from tasks.training.log import Log

if TYPE_CHECKING:
    from accelerate import Accelerator

HASHES = "hashes.json"
PREFIX = "step-"
ROOM = 2**20
"""Bytes; a disk with less free is full."""


def save(accelerator: "Accelerator", log: Log, work: Path, step: int, keep: int) -> None:
    """Save model, optimizer and log after `step` steps, then remove all but the newest `keep` up to this one.

    Raises:
        LimoError: the disk is full.
    """
    log.gather()
    scratch = work / f".{PREFIX}{step:08d}"
    with full_disk(work), _all_or_nothing(scratch):
        if accelerator.is_main_process:
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            log.write(scratch)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(scratch))
        accelerator.wait_for_everyone()
        hashes = _merge(_hash_share(accelerator, scratch))
        if accelerator.is_main_process:
            write_json(scratch / HASHES, hashes)
    if accelerator.is_main_process:
        final = work / f"{PREFIX}{step:08d}"
        shutil.rmtree(final, ignore_errors=True)
        scratch.replace(final)
        for old in [folder for folder in checkpoints(work) if step_of(folder) <= step][keep:]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


@contextmanager
def _all_or_nothing(scratch: Path) -> Iterator[None]:
    """Leave nothing of a checkpoint that failed: on a full disk its ranks then have room to say why they end."""
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        yield
    # The second is no Exception but a BaseException, and holds those of the ranks.
    except (Exception, CheckpointException) as error:
        full = shutil.disk_usage(scratch.parent).free < ROOM
        shutil.rmtree(scratch, ignore_errors=True)
        if full:
            # What torch writes on a full disk is cut short, of which it says "unexpected pos".
            raise OSError(errno.ENOSPC, "No space left on device") from error
        if isinstance(error, CheckpointException):
            raise next(iter(error.failures.values()))[0] from error
        raise


def resume(accelerator: "Accelerator", log: Log, work: Path, last: int) -> int:
    """Load the newest undamaged checkpoint of at most `last` steps; its number of steps, 0 when there is none."""
    for folder in checkpoints(work):
        if step_of(folder) > last:
            continue
        if _whole(accelerator, folder):
            _load(accelerator, folder)
            log.read(folder)
            if (ranks := _ranks_of(folder)) != accelerator.num_processes:
                _say(accelerator, f"{folder} was saved by {ranks} ranks, {accelerator.num_processes} go on from it")
            return step_of(folder)
        _say(accelerator, f"{folder}: damaged checkpoint, passed over")
    if checkpoints(work):
        _say(accelerator, f"{work}: no checkpoint of step {last} or before is left; from the start")
    return 0


def remove_torn(work: Path) -> None:
    """Remove what a run that was killed while it saved has left; only the holder of the lock may."""
    for torn in work.glob(f".{PREFIX}*"):
        shutil.rmtree(torn)


def _load(accelerator: "Accelerator", folder: Path) -> None:
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        accelerator.load_state(str(folder))
    except CheckpointException as error:
        # It is a BaseException, which a rank would not report.
        raise next(iter(error.failures.values()))[0] from error


def checkpoints(work: Path) -> list[Path]:
    """The checkpoint folders, newest first."""
    return sorted(work.glob(f"{PREFIX}*"), reverse=True)


def step_of(folder: Path) -> int:
    """How many steps a checkpoint folder holds."""
    return int(folder.name.removeprefix(PREFIX))


def _ranks_of(folder: Path) -> int:
    """How many ranks saved a checkpoint. Shards are cut anew for any number, and no step draws random numbers."""
    from accelerate.utils.constants import RNG_STATE_NAME

    return len(list(folder.glob(f"{RNG_STATE_NAME}_*.pkl")))


def _say(accelerator: "Accelerator", line: str) -> None:
    if accelerator.is_main_process:
        # Not to stderr, which goes to the ranks' log.
        print(f"train: {line}", flush=True)


def _whole(accelerator: "Accelerator", folder: Path) -> bool:
    if not (folder / HASHES).exists():
        return False
    found = _merge(_hash_share(accelerator, folder))
    try:
        written: dict[str, str] = read_json(folder / HASHES)
    except (LimoError, UnicodeDecodeError):
        # A power cut can leave it empty; an older checkpoint may be whole.
        return False
    return found == written


def _hash_share(accelerator: "Accelerator", folder: Path) -> dict[str, str]:
    """The hashes of every n-th file, so that n ranks hash them all."""
    from tasks.records.model import digest_file

    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != HASHES)
    share = files[accelerator.process_index :: accelerator.num_processes]
    return {str(path.relative_to(folder)): digest_file(path) for path in share}


def _merge(share: dict[str, str]) -> dict[str, str]:
    import torch.distributed as dist

    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, share)
    return {name: digest for part in everyone for name, digest in part.items()}
