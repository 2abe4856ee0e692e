"""Checkpoints that are complete or absent: sharded, hashed, published by rename; a damaged one is skipped.

A shard that is cut off fails to load, but one with flipped bytes loads without an error, hence the hashes.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.errors import LimoError
from tasks.core.files import full_disk, read_json, write_json
from tasks.training.log import StepLog

if TYPE_CHECKING:
    from accelerate import Accelerator

HASHES = "hashes.json"
PREFIX = "step-"
FULL_BELOW = 2**20
"""Free bytes below which a disk counts as full."""


def save(accelerator: "Accelerator", log: StepLog, work: Path, step: int, keep: int) -> None:
    """Save model, optimizer and log after `step` steps, then remove all but the newest `keep` up to this one.

    Raises:
        LimoError: the disk is full.
    """
    log.gather()
    scratch = work / f".{PREFIX}{step:08d}"
    with full_disk(work), _remove_on_failure(scratch):
        if accelerator.is_main_process:
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            log.save(scratch)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(scratch))
        accelerator.wait_for_everyone()
        hashes = _hash_files(accelerator, scratch)
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
def _remove_on_failure(scratch: Path) -> Iterator[None]:
    """Remove a checkpoint that failed: on a full disk its ranks then have space to write why they end."""
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        yield
    # The second is a BaseException only, and holds those of the ranks.
    except (Exception, CheckpointException) as error:
        full = shutil.disk_usage(scratch.parent).free < FULL_BELOW
        shutil.rmtree(scratch, ignore_errors=True)
        if full:
            # What torch writes on a full disk is cut short, which it reports as "unexpected pos".
            raise OSError(errno.ENOSPC, "No space left on device") from error
        if isinstance(error, CheckpointException):
            raise next(iter(error.failures.values()))[0] from error
        raise


def resume(accelerator: "Accelerator", log: StepLog, work: Path, last: int) -> int:
    """Load the newest undamaged checkpoint of at most `last` steps; its number of steps, 0 when there is none."""
    for folder in checkpoints(work):
        if step_of(folder) > last:
            continue
        if _is_intact(accelerator, folder):
            _load(accelerator, folder)
            log.load(folder)
            if (ranks := _saved_by(folder)) != accelerator.num_processes:
                _report(accelerator, f"{folder} was saved by {ranks} ranks, {accelerator.num_processes} resume from it")
            return step_of(folder)
        _report(accelerator, f"{folder}: damaged checkpoint, skipped")
    if checkpoints(work):
        _report(accelerator, f"{work}: no checkpoint of step {last} or before is left; starting from step 0")
    return 0


def remove_partial(work: Path) -> None:
    """Remove the incomplete checkpoint of a run that was killed while it saved; only the holder of the lock may."""
    for partial in work.glob(f".{PREFIX}*"):
        shutil.rmtree(partial)


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


def _saved_by(folder: Path) -> int:
    """How many ranks saved a checkpoint. It is resharded for any number, and no step draws random numbers."""
    from accelerate.utils.constants import RNG_STATE_NAME

    return len(list(folder.glob(f"{RNG_STATE_NAME}_*.pkl")))


def _report(accelerator: "Accelerator", line: str) -> None:
    if accelerator.is_main_process:
        # Not to stderr, which goes to the ranks' log.
        print(f"train: {line}", flush=True)


def _is_intact(accelerator: "Accelerator", folder: Path) -> bool:
    if not (folder / HASHES).exists():
        return False
    found = _hash_files(accelerator, folder)
    try:
        written: dict[str, str] = read_json(folder / HASHES)
    except (LimoError, UnicodeDecodeError):
        # A power cut can leave it empty; an older checkpoint may be whole.
        return False
    return found == written


def _hash_files(accelerator: "Accelerator", folder: Path) -> dict[str, str]:
    """The hash of every file of a checkpoint, by its path; of n ranks each hashes every n-th file."""
    import torch.distributed as dist

    from tasks.records.model import digest_file

    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != HASHES)
    shard = files[accelerator.process_index :: accelerator.num_processes]
    shards: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(shards, {str(path.relative_to(folder)): digest_file(path) for path in shard})
    return {name: digest for hashes in shards for name, digest in hashes.items()}
