"""vLLM on Ray actors, on one machine or many: the same engine, each replica an actor."""

import importlib.util
import os
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.core.errors import LimoError
from tasks.core.shards import answers_at
from tasks.engines import fleet, vllm_worker
from tasks.engines.fleet import Fleet, Replica, ReplicaExitError, print_start
from tasks.engines.machine import VARIABLES, available_bytes, cpu_cache_bytes
from tasks.engines.params import EngineParams
from tasks.engines.protocol import Order, Report, Setup

GET_SECONDS = 10.0


class RayEngine(Fleet):
    """One model on a Ray cluster; its folder must be at the same path on every node."""

    def __init__(self, folder: Path, params: EngineParams, log: Path) -> None:
        """Start the actors, and report what they run with; vLLM's log goes to the file `log` on the actor's node.

        Raises:
            LimoError: Ray is not installed or not reached, its nodes have too few GPUs, or vLLM does not start.
        """
        self._connected = _connect(params.ray_address)
        try:
            setup = Setup(folder.absolute(), params, log.absolute())
            if not _gpus():
                setup = setup._replace(kv_cache_bytes=cpu_cache_bytes(folder, params, available_bytes()))
            elif params.kv_cache_gib:
                setup = setup._replace(kv_cache_bytes=int(params.kv_cache_gib * 2**30))
            log.parent.mkdir(parents=True, exist_ok=True)
            super().__init__(Actors(_resources(params)), [setup] * params.data_parallel)
        except BaseException:
            self._disconnect()
            raise
        print_start(self.facts)

    def close(self) -> None:
        """End the actors, and Ray where we have started it."""
        super().close()
        self._disconnect()

    def _disconnect(self) -> None:
        import ray

        if self._connected:
            self._connected = False
            ray.shutdown()


def _connect(address: str | None) -> bool:
    """Connect to the cluster, or start Ray here; False where this process is already connected."""
    if importlib.util.find_spec("ray") is None:
        raise LimoError("engine.kind: ray: the package ray is not installed; `pip install 'limo[ray]'`")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        return False
    if address is not None and not answers_at(address):
        # Ray itself would wait for minutes.
        raise LimoError(f"engine.ray_address: no Ray cluster at {address}; start one with `ray start --head`")
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())[:200]
        raise LimoError(f"engine.ray_address: no Ray cluster at {address or 'this machine'} ({text})") from None
    return True


def _gpus() -> int:
    import ray

    return int(ray.cluster_resources().get("GPU", 0))


def _resources(params: EngineParams) -> dict[str, float]:
    """The resources of a node that each actor takes."""
    import ray

    needed, found = params.tensor_parallel * params.data_parallel, _gpus()
    if not found:
        cores = int(ray.cluster_resources().get("CPU", 1))
        largest = max(int(node["Resources"].get("CPU", 1)) for node in ray.nodes() if node["Alive"])
        return {"num_cpus": max(min(cores // params.data_parallel, largest), 1)}
    if needed > found:
        raise LimoError(
            f"engine: tensor_parallel {params.tensor_parallel} x data_parallel {params.data_parallel} takes {needed} "
            f"GPUs, the Ray cluster has {found}; lower one of them"
        )
    return {"num_gpus": params.tensor_parallel}


class Actor:
    """A replica in a Ray actor: the loop of `vllm_worker.serve` in a thread, between two queues."""

    def __init__(self, setup: Setup, serve: Callable[..., None]) -> None:
        """Begin to load the model."""
        self._inbox: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self._early: dict[int, Order] = {}
        self._next = 0
        self._lock = threading.Lock()
        with suppress(OSError):
            fleet.output_into(setup.log)
        threading.Thread(target=serve, args=(self._inbox, self._outbox.put, setup), daemon=True).start()

    def put(self, number: int, order: Order) -> None:
        """Take the order of this number, from 0: Ray may deliver a Cancel before its Generate."""
        with self._lock:
            self._early[number] = order
            while self._next in self._early:
                self._inbox.put(self._early.pop(self._next))
                self._next += 1

    def get(self, seconds: float) -> list[Report]:
        """New reports; waits for the first, at most so long."""
        reports: list[Report] = []
        with suppress(queue.Empty):
            reports.append(self._outbox.get(timeout=seconds))
            while True:
                reports.append(self._outbox.get_nowait())
        return reports


class RayReplica:
    """A replica in an actor."""

    def __init__(self, setup: Setup, resources: dict[str, float], serve: Callable[..., None]) -> None:
        """Start the actor."""
        import ray

        paths = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {"env_vars": {**VARIABLES, "PYTHONPATH": paths}}
        options = {"max_concurrency": 4, "max_restarts": 0, "runtime_env": environment, **resources}
        self.actor: Any = ray.remote(Actor).options(**options).remote(setup, serve)
        self.reply: Any = self.actor.get.remote(GET_SECONDS)
        self._sent = 0

    def send(self, order: Order) -> None:
        """Send an order."""
        self.actor.put.remote(self._sent, order)
        self._sent += 1

    def receive(self) -> list[Report]:
        """New reports."""
        import ray

        ready, _ = ray.wait([self.reply], timeout=0)
        if not ready:
            return []
        try:
            reports: list[Report] = ray.get(self.reply)
        except ray.exceptions.OutOfMemoryError as error:
            raise ReplicaExitError(_first_line(error), starved=True) from None
        except ray.exceptions.RayError as error:
            raise ReplicaExitError(_first_line(error)) from None
        self.reply = self.actor.get.remote(GET_SECONDS)
        return reports

    def end(self) -> None:
        """End the actor; Ray ends its process and what that has started."""
        import ray

        with suppress(ray.exceptions.RayError, ValueError):
            ray.kill(self.actor)

    def kill(self) -> None:
        """The same: Ray makes sure that it ends."""
        self.end()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


class Actors:
    """Starts actors."""

    def __init__(self, resources: dict[str, float], serve: Callable[..., None] = vllm_worker.serve) -> None:
        """Each takes these resources, and runs `serve` in a thread."""
        self._resources, self._serve = resources, serve

    def start(self, setup: Setup) -> RayReplica:
        """A replica in an actor."""
        return RayReplica(setup, self._resources, self._serve)

    def wait(self, replicas: Sequence[Replica], seconds: float) -> None:
        """Wait for a reply, or for the end of an actor, which Ray reports as one."""
        import ray

        ray.wait([one.reply for one in replicas if isinstance(one, RayReplica)], timeout=seconds)
