"""Shards on Ray Data, for pools past one machine: the same function writes the same tables."""

import importlib.util
import os
import pickle
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.errors import LimoError
from tasks.pool.shards import Shard, Work, do_shard


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
