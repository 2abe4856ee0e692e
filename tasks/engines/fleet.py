"""vLLM on this machine: replicas of one model in child processes, so that this process never loads vLLM or torch.

Requests are distributed over the replicas, and a replica that crashes is restarted. What it had not finished is sent to
its successor, so that each request is answered exactly once. `Fleet` also drives replicas elsewhere, see ray.py.
"""

import atexit
import ctypes
import multiprocessing
import os
import platform
import queue
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tasks.core.errors import LimoError
from tasks.core.files import write_json
from tasks.engines import vllm_worker
from tasks.engines.machine import available_bytes, core_shares, cpu_cache_bytes, gpus, require_gpus, set_environment
from tasks.engines.params import EngineParams
from tasks.engines.protocol import (
    Cancel,
    Close,
    Failed,
    Finished,
    Generate,
    Order,
    PrefixAffinity,
    Report,
    Request,
    Results,
    Setup,
    Started,
)
from tasks.records.response import Response

GRACE_SECONDS = 1.5
PR_SET_PDEATHSIG = 1
ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA = 158, 0x1023, 18


def run(connection: Connection, setup: Setup) -> None:
    """The main function of a replica's child process, which ends with the stage.

    A thread reads what the stage sends, and where that ends, this process ends with all that it has started, even in
    the middle of a long step.
    """
    _belong_to_parent()
    output_into(setup.log)
    _claim_share(setup)
    inbox: queue.SimpleQueue[Order] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, inbox, setup), daemon=True).start()
    vllm_worker.serve(inbox, connection.send, setup)
    connection.close()
    # Libraries' exit handlers may wait for threads that never end.
    os._exit(0)


def _listen(connection: Connection, inbox: "queue.SimpleQueue[Order]", setup: Setup) -> None:
    """Receive what the stage sends, and end when that ends."""
    order: Order = Close()
    while True:
        try:
            order = connection.recv()
        except (EOFError, OSError):
            order = Close()
        inbox.put(order)
        if isinstance(order, Close):
            break
    if setup.params.tensor_parallel > 1:
        # vLLM's own workers free shared memory when they are asked to end.
        time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


def _belong_to_parent() -> None:
    """Lead a process group, so that Ctrl-C is the stage's alone and no grandchild is left; end with the stage."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if platform.system() == "Linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def output_into(log: Path) -> None:
    """Send all that this process prints to the file `log`."""
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(target, number)


def _claim_share(setup: Setup) -> None:
    """This replica's cores and devices, and permission to use the matrix unit, which a fork does not inherit."""
    os.environ.update(dict(setup.environment))
    if setup.cores:
        import torch

        os.sched_setaffinity(0, setup.cores)
        torch.set_num_threads(len(setup.cores))
    if platform.system() == "Linux" and platform.machine() == "x86_64":
        # torch asked once, when the process we were forked from loaded it; without, AMX is an illegal instruction.
        ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)


CLOSE_SECONDS = 1.7
LEAN = ("tasks.core.startup", "tasks.engines.fleet")
VLLM = ("vllm", "vllm.entrypoints.llm", "vllm.v1.engine.llm_engine")
VLLM_CPU = ("vllm.v1.worker.cpu_worker", "vllm.model_executor.models.qwen2")
"""What an engine on the CPU needs beyond: 3 s less for each start."""

STARVED = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)
"""How the kernel ends a process where memory is short, and how native code ends that was refused any."""


class ReplicaExitError(Exception):
    """A replica has exited; the text says how."""

    def __init__(self, how: str, *, starved: bool = False) -> None:
        """Args: how it exited, and whether as processes do where memory is short, see STARVED."""
        super().__init__(how)
        self.starved = starved


class Replica(Protocol):
    """One replica of the model as its parent sees it, wherever it runs."""

    def send(self, order: Order) -> None:
        """Send an order; one to a replica that has exited is lost."""

    def receive(self) -> list[Report]:
        """New reports; does not wait. Raises ReplicaExitError once it has exited and all reports are read."""

    def end(self) -> None:
        """Ask it to end; returns at once."""

    def kill(self) -> None:
        """Make sure that it has ended, and all that it has started; gives it a moment."""


class Launcher(Protocol):
    """Starts replicas of one kind."""

    def start(self, setup: Setup) -> Replica:
        """A replica, which begins to load the model."""

    def wait(self, replicas: Sequence[Replica], seconds: float) -> None:
        """Wait until one of them has a report, at most so long."""


class ProcessReplica:
    """A replica in a child process."""

    def __init__(self, setup: Setup, target: Callable[..., None], context: multiprocessing.context.BaseContext) -> None:
        """Start the process; `target` is its main function."""
        self.pipe, theirs = context.Pipe()
        with theirs, _bare_main():
            self.process = context.Process(target=target, args=(theirs, setup))  # type: ignore[attr-defined]
            self.process.start()

    def send(self, order: Order) -> None:
        """Send an order."""
        with suppress(OSError):
            self.pipe.send(order)

    def receive(self) -> list[Report]:
        """New reports."""
        reports: list[Report] = []
        try:
            while self.pipe.poll():
                reports.append(self.pipe.recv())
        except (EOFError, OSError):
            if not reports:
                raise self._exit() from None
        return reports

    def _exit(self) -> ReplicaExitError:
        self.process.join(CLOSE_SECONDS)
        code = self.process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return ReplicaExitError(f"was killed by {name}", starved=-code in STARVED)
        return ReplicaExitError(f"exited with {code}")

    def end(self) -> None:
        """Ask it to end."""
        self.send(Close())
        self.pipe.close()

    def kill(self) -> None:
        """Make sure that its process group has ended."""
        self.pipe.close()
        self.process.join(CLOSE_SECONDS)
        # Its group is its own from its first line on; before that there is only itself.
        for end in (os.killpg, os.kill):
            with suppress(ProcessLookupError, PermissionError):
                end(self.process.pid, signal.SIGKILL)
        self.process.join(CLOSE_SECONDS)


class Processes:
    """Starts child processes, by way of one that has loaded vLLM once for all (`load_vllm`)."""

    def __init__(self, target: Callable[..., None] = run, method: str = "forkserver") -> None:
        """Children whose main function is `target`, started by this method of multiprocessing."""
        self._target = target
        self._context = multiprocessing.get_context(method)

    def start(self, setup: Setup) -> ProcessReplica:
        """A replica in a child process."""
        return ProcessReplica(setup, self._target, self._context)

    def wait(self, replicas: Sequence[Replica], seconds: float) -> None:
        """Wait for a report, or for the end of a process, which closes its pipe."""
        connection.wait([one.pipe for one in replicas if isinstance(one, ProcessReplica)], seconds)


def load_vllm(log: Path, *, on_gpu: bool) -> None:
    """Begin to load vLLM in the process that children are forked from; returns at once. A second call does nothing.

    Importing vLLM does not touch CUDA, so that its children may; vLLM forks its own workers in the same way.
    """
    first = ("tasks.engines.orphan",) if threading.current_thread() is threading.main_thread() else ()
    rest = () if on_gpu else VLLM_CPU
    multiprocessing.get_context("forkserver").set_forkserver_preload([*first, *LEAN, *VLLM, *rest])
    with _output_into(log):
        forkserver.ensure_running()


@contextmanager
def _bare_main() -> Iterator[None]:
    """Hide the main module while a process starts: the child would import it again, with all that it imports."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _output_into(log: Path) -> Iterator[None]:
    """Give a process that starts inside the block the log file as its output."""
    kept = [os.dup(number) for number in (1, 2)]
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for number in (1, 2):
            os.dup2(target, number)
        yield
    finally:
        for number, saved in zip((1, 2), kept, strict=True):
            os.dup2(saved, number)
            os.close(saved)
        os.close(target)


RESTARTS = 3
"""Restarts allowed for a replica that has produced no response since the last one."""
CRASHES = 20
"""A request in flight at this many replica crashes is treated as their cause, even where others finish in between."""
REMEMBERED_PROMPTS = 20_000
"""Prompts whose replica (prefix-cache affinity) is remembered."""


class Flight(NamedTuple):
    """A request in flight."""

    request: Request
    submitted: float
    crashes: int = 0
    """How often its replica has crashed meanwhile."""


class Slot:
    """One replica, and those that replace it after a crash."""

    def __init__(self, setup: Setup, replica: Replica) -> None:
        """A replica that has just begun to start."""
        self.setup = setup
        self.replica = replica
        self.started: Started | None = None
        self.fruitless_restarts = 0
        """Restarts since its last response."""
        self.in_flight: dict[str, Flight] = {}


class Fleet:
    """The engine over replicas that `launcher` starts, one for each setup."""

    def __init__(self, launcher: Launcher, setups: Sequence[Setup]) -> None:
        """Start the replicas, and wait until they are ready.

        Raises:
            LimoError: one does not start, in vLLM's own words.
        """
        self._launcher = launcher
        self._began = time.monotonic()
        self._slots: list[Slot] = []
        self._affinity: PrefixAffinity[int] = PrefixAffinity(REMEMBERED_PROMPTS)
        self._restarts = 0
        self._failure: Exception | None = None
        # Before multiprocessing's own handler, which waits for processes that nobody has ended.
        atexit.register(self.close)
        try:
            for setup in setups:
                self._slots.append(Slot(setup, launcher.start(setup)))
            while any(slot.started is None for slot in self._slots):
                self._poll(1.0)
        except BaseException:
            self.close()
            raise
        self._seconds = round(time.monotonic() - self._began, 1)

    @property
    def facts(self) -> dict[str, Any]:
        """What it runs with, and what happened to it."""
        ready = [slot.started for slot in self._slots if slot.started]
        least = min(ready, key=lambda one: one.max_num_seqs)
        return {
            "engine": least.engine,
            "replicas": len(self._slots),
            "context": min(one.context for one in ready),
            "kv_cache_tokens": least.kv_cache_tokens,
            "kv_cache_gib": round(least.kv_cache_bytes / 2**30, 3),
            "max_num_seqs": min(slot.setup.params.max_num_seqs for slot in self._slots),
            "start_seconds": self._seconds,
            "model_start_seconds": max(one.seconds for one in ready),
            "restarts": self._restarts,
            "log": os.path.relpath(self._slots[0].setup.log),
        }

    def submit(self, requests: Sequence[Request]) -> None:
        """Distribute requests; the samples of one prompt go to the same replica."""
        batches: dict[int, list[Request]] = {}
        now = time.monotonic()
        for request in requests:
            number = self._choose(request.prompt)
            self._slots[number].in_flight[request.response_id] = Flight(request, now)
            batches.setdefault(number, []).append(request)
        for number, batch in batches.items():
            self._slots[number].replica.send(Generate(batch))

    def _choose(self, prompt: str) -> int:
        if len(self._slots) == 1:
            return 0
        loads = {number: len(slot.in_flight) for number, slot in enumerate(self._slots)}
        least = min(loads, key=lambda number: loads[number])
        return self._affinity.choose(prompt, loads, self._slots[least].setup.params.max_num_seqs // 4)

    def finished(self, seconds: float) -> list[Response]:
        """What has finished; waits at most about `seconds` for the first.

        Raises:
            LimoError: a replica crashes again and again. What has finished by then is returned first.
        """
        until = time.monotonic() + seconds
        while any(slot.in_flight for slot in self._slots):
            left = until - time.monotonic()
            found = self._poll(max(left, 0.0))
            if found or left <= 0:
                return found
        return []

    def cancel(self, response_ids: Collection[str]) -> None:
        """Stop generating these."""
        for slot in self._slots:
            mine = [key for key in response_ids if slot.in_flight.pop(key, None)]
            if mine:
                slot.replica.send(Cancel(mine))

    def close(self) -> None:
        """End all replicas, and what they have started."""
        atexit.unregister(self.close)
        for slot in self._slots:
            slot.replica.end()
        for slot in self._slots:
            slot.replica.kill()

    def _poll(self, seconds: float) -> list[Response]:
        if self._failure:
            raise self._failure
        self._launcher.wait([slot.replica for slot in self._slots], seconds)
        found: list[Response] = []
        for slot in self._slots:
            try:
                self._receive(slot, found)
            except Exception as error:
                # What this replica and the others have finished is not to be lost with it.
                self._failure = self._failure or error
        if self._failure and not found:
            raise self._failure
        return found

    def _receive(self, slot: Slot, found: list[Response]) -> None:
        try:
            for report in slot.replica.receive():
                found += self._handle(slot, report)
        except ReplicaExitError as error:
            self._restart(slot, str(error), short_of_memory=error.starved)

    def _handle(self, slot: Slot, report: Report) -> list[Response]:
        if isinstance(report, Results):
            slot.fruitless_restarts = 0
            return [one for one in (_response(slot, result) for result in report.finished) if one]
        if isinstance(report, Started):
            slot.started = report
        elif isinstance(report, Failed):
            if slot.started is None and not report.out_of_memory:
                raise LimoError(f"{slot.setup.folder}: vLLM does not start: {report.reason}; more in {slot.setup.log}")
            self._restart(slot, report.reason, short_of_memory=report.out_of_memory)
        return []

    def _restart(self, slot: Slot, reason: str, *, short_of_memory: bool) -> None:
        log = slot.setup.log
        if slot.fruitless_restarts >= RESTARTS:
            raise LimoError(
                f"{slot.setup.folder}: vLLM crashed {RESTARTS + 1} times without a response in between, last: "
                f"{reason}; more in {log}"
            )
        _count_crashes(slot, reason)
        slot.fruitless_restarts += 1
        self._restarts += 1
        slot.replica.kill()
        if short_of_memory:
            slot.setup = _smaller(slot)
        count = slot.setup.params.max_num_seqs
        what = "ran out of memory" if short_of_memory else "crashed"
        print(
            f"limo: engine: a replica {what} ({reason}); restarted with up to {count} responses at once; log {log}",
            file=sys.stderr,
            flush=True,
        )
        slot.replica = self._launcher.start(slot.setup)
        if slot.in_flight:
            slot.replica.send(Generate([flight.request for flight in slot.in_flight.values()]))


def _count_crashes(slot: Slot, reason: str) -> None:
    """Raise a LimoError where one request has been in flight at too many crashes."""
    slot.in_flight = {key: flight._replace(crashes=flight.crashes + 1) for key, flight in slot.in_flight.items()}
    worst = max(slot.in_flight.values(), key=lambda flight: flight.crashes, default=None)
    if worst and worst.crashes >= CRASHES:
        raise LimoError(
            f"{slot.setup.folder}: vLLM crashed {CRASHES} times while it worked on the prompt "
            f"{worst.request.prompt[:60]!r}, last: {reason}; "
            f"lower max_tokens, or leave this question out; more in {slot.setup.log}"
        )


def _smaller(slot: Slot) -> Setup:
    """Half the responses at once; where it never started, half of a KV cache that we have chosen too."""
    setup = slot.setup.halved
    if slot.started is None and setup.params.kv_cache_gib is None and setup.kv_cache_bytes is not None:
        return setup._replace(kv_cache_bytes=setup.kv_cache_bytes // 2)
    return setup


def _response(slot: Slot, result: Finished) -> Response | None:
    with suppress(KeyError):
        request, submitted, _ = slot.in_flight.pop(result.response_id)
        seconds = round(time.monotonic() - submitted, 3)
        _, text, reason, n_prompt, n_tokens, logprob = result
        engine = slot.started.engine if slot.started else ""
        return request.finish(text, reason, n_prompt, n_tokens, seconds, logprob, engine)
    return None


def print_start(facts: dict[str, Any]) -> None:
    """Print one line about the engine that has started."""
    replicas = f"{facts['replicas']} x " if facts["replicas"] > 1 else ""
    size = f"{facts['kv_cache_gib']:.2g} GiB = " if facts["kv_cache_gib"] else ""
    print(
        f"limo: engine: {replicas}{facts['engine']}, context {facts['context']:,} tokens, KV cache {size}"
        f"{facts['kv_cache_tokens']:,} tokens, up to {facts['max_num_seqs']} responses at once, started in "
        f"{facts['start_seconds']:.1f} s; log {facts['log']}",
        file=sys.stderr,
        flush=True,
    )


class VllmEngine(Fleet):
    """One model on this machine's GPUs, or on its CPU."""

    def __init__(self, folder: Path, params: EngineParams, log: Path) -> None:
        """Load the model in `folder`, and report what it runs with; vLLM's own log goes to the file `log`.

        Raises:
            LimoError: the replicas do not fit the GPUs, or vLLM cannot run this model here, in its own words.
        """
        cards = gpus()
        require_gpus(params, cards)
        prepare(log)
        super().__init__(Processes(), local_setups(folder, params, log, cards))
        print_start(self.facts)


def prepare(log: Path) -> None:
    """Begin to load vLLM, which takes seconds, as soon as it is known that it will be needed; returns at once."""
    set_environment()
    log.parent.mkdir(parents=True, exist_ok=True)
    _log_into(log)
    load_vllm(log, on_gpu=bool(gpus()))


def local_setups(folder: Path, params: EngineParams, log: Path, cards: list[str]) -> list[Setup]:
    """What each replica on this machine runs with: its own GPUs, or its own share of the cores."""
    each, replicas = params.tensor_parallel, params.data_parallel
    setup = Setup(folder, params, log.absolute())
    if cards:
        slices = [",".join(cards[each * i : each * (i + 1)]) for i in range(replicas)]
        bytes_ = int(params.kv_cache_gib * 2**30) if params.kv_cache_gib else None
        setup = setup._replace(kv_cache_bytes=bytes_)
        return [setup._replace(environment=(("CUDA_VISIBLE_DEVICES", names),)) for names in slices]
    setup = setup._replace(kv_cache_bytes=cpu_cache_bytes(folder, params, available_bytes()))
    return [setup._replace(cores=share) for share in core_shares(replicas)]


def _log_into(log: Path) -> None:
    """Have vLLM log into its process's output, by way of the environment, which its worker processes inherit."""
    settings = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "loggers": {"vllm": {"handlers": ["out"], "level": "INFO", "propagate": False}},
    }
    config = log.with_suffix(".logging.json")
    write_json(config, settings)
    os.environ["VLLM_LOGGING_CONFIG_PATH"] = str(config.absolute())
