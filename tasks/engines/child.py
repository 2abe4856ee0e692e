"""The child process around a copy of the model: its output, its share of the machine, and its end.

It ends with the stage: a thread reads what the stage sends, and the end of that is the end of this process and of all
that it has started, even in the middle of a long step.
"""

import ctypes
import os
import platform
import queue
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

from tasks.engines import worker
from tasks.engines.messages import Close, Order, Setup

GRACE_SECONDS = 1.5
PR_SET_PDEATHSIG = 1
ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA = 158, 0x1023, 18


def run(connection: Connection, setup: Setup) -> None:
    """The whole life of the process."""
    _belong_to_parent()
    output_into(setup.log)
    _take_share(setup)
    inbox: queue.SimpleQueue[Order] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, inbox, setup), daemon=True).start()
    worker.serve(inbox, connection.send, setup)
    connection.close()
    # Libraries' exit handlers may wait for threads that never end.
    os._exit(0)


def _listen(connection: Connection, inbox: "queue.SimpleQueue[Order]", setup: Setup) -> None:
    """Take what the stage sends; its end is ours."""
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
        # Workers of vLLM's own give back shared memory when they are asked to end.
        time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


def _belong_to_parent() -> None:
    """A process group of our own, so that Ctrl-C is the stage's alone and no grandchild is left; an end with it."""
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


def _take_share(setup: Setup) -> None:
    """This copy's cores and devices, and leave to use the matrix unit, which a fork does not inherit."""
    os.environ.update(dict(setup.environment))
    if setup.cores:
        import torch

        os.sched_setaffinity(0, setup.cores)
        torch.set_num_threads(len(setup.cores))
    if platform.system() == "Linux" and platform.machine() == "x86_64":
        # torch asks once, when the process we were forked from loaded it; without, AMX is an illegal instruction.
        ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)
