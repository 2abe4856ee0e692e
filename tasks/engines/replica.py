"""A copy of the model as its parent sees it, and the copies that are processes of this machine."""

import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Protocol

from tasks.engines import child
from tasks.engines.messages import Close, Order, Report, Setup

CLOSE_SECONDS = 1.7
LEAN = ("tasks.lean", "tasks.engines.child")
VLLM = ("vllm", "vllm.entrypoints.llm", "vllm.v1.engine.llm_engine")
VLLM_CPU = ("vllm.v1.worker.cpu_worker", "vllm.model_executor.models.qwen2")
"""What an engine on the CPU needs beyond: 3 s less for each start."""


STARVED = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)
"""The kernel's own way where memory is short, and what native code ends with that did not get any."""


class GoneError(Exception):
    """A copy is no more; the text says how it ended."""

    def __init__(self, how: str, *, killed: bool = False) -> None:
        """How it ended, and whether as processes end where memory is short, see STARVED."""
        super().__init__(how)
        self.killed = killed


class Replica(Protocol):
    """A copy of the model, wherever it runs."""

    def send(self, order: Order) -> None:
        """Hand over an order; what a copy that is no more is told is lost."""

    def receive(self) -> list[Report]:
        """What it has said since; does not wait. Raises GoneError once it has ended and said all."""

    def end(self) -> None:
        """Ask it to end; returns at once."""

    def kill(self) -> None:
        """Make sure that it has ended, and all that it has started; gives it a moment."""


class Launcher(Protocol):
    """Starts copies of one kind."""

    def start(self, setup: Setup) -> Replica:
        """A copy, which begins to load the model."""

    def wait(self, replicas: Sequence[Replica], seconds: float) -> None:
        """Wait until one of them has something to say, at most so long."""


class ProcessReplica:
    """A copy in a child process."""

    def __init__(self, setup: Setup, target: Callable[..., None], context: multiprocessing.context.BaseContext) -> None:
        """Start the process; `target` is its main function."""
        self.pipe, theirs = context.Pipe()
        with theirs, _bare_main():
            self.process = context.Process(target=target, args=(theirs, setup))  # type: ignore[attr-defined]
            self.process.start()

    def send(self, order: Order) -> None:
        """Hand over an order."""
        with suppress(OSError):
            self.pipe.send(order)

    def receive(self) -> list[Report]:
        """What it has said since."""
        reports: list[Report] = []
        try:
            while self.pipe.poll():
                reports.append(self.pipe.recv())
        except (EOFError, OSError):
            if not reports:
                raise self._gone() from None
        return reports

    def _gone(self) -> GoneError:
        self.process.join(CLOSE_SECONDS)
        code = self.process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return GoneError(f"was killed by {name}", killed=-code in STARVED)
        return GoneError(f"ended with {code}")

    def end(self) -> None:
        """Ask it to end."""
        self.send(Close())
        self.pipe.close()

    def kill(self) -> None:
        """Make sure that its process group is no more."""
        self.pipe.close()
        self.process.join(CLOSE_SECONDS)
        # Its group is its own from its first line on; before that there is only itself.
        for end in (os.killpg, os.kill):
            with suppress(ProcessLookupError, PermissionError):
                end(self.process.pid, signal.SIGKILL)
        self.process.join(CLOSE_SECONDS)


class Processes:
    """Starts child processes, by way of one that has loaded vLLM once for all (`load_vllm`)."""

    def __init__(self, target: Callable[..., None] = child.run, method: str = "forkserver") -> None:
        """Children whose main function is `target`, started by this method of multiprocessing."""
        self._target = target
        self._context = multiprocessing.get_context(method)

    def start(self, setup: Setup) -> ProcessReplica:
        """A copy in a child process."""
        return ProcessReplica(setup, self._target, self._context)

    def wait(self, replicas: Sequence[Replica], seconds: float) -> None:
        """Wait for a message, or for the end of a process, which closes its pipe."""
        connection.wait([one.pipe for one in replicas if isinstance(one, ProcessReplica)], seconds)


def load_vllm(log: Path, *, on_gpu: bool) -> None:
    """Begin to load vLLM in the process that children are forked from; returns at once, and does nothing again.

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
    """Give a process that starts inside the log file as its output."""
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
