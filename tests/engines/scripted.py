"""A child process that plays a replica: what it does is in files in the folder of the model."""

import os
import signal
from types import SimpleNamespace

from tasks.engines.protocol import Cancel, Close, Failed, Finished, Results, Started


def once(path):
    """Whether the file is there; only once."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def run(pipe, setup):
    folder = setup.folder
    if once(folder / "refuse_start"):
        pipe.send(Failed("OSError: no config.json", out_of_memory=False))
        return
    if once(folder / "start_out_of_memory"):
        pipe.send(Failed("OutOfMemoryError: 8 GiB", out_of_memory=True))
        return
    pipe.send(Started("scripted 1", 128, setup.kv_cache_bytes, setup.kv_cache_bytes, setup.params.max_num_seqs, 0.1))
    doomed = False
    while not isinstance(order := pipe.recv(), Close):
        if isinstance(order, Cancel):
            continue
        for request in order.requests:
            if request.prompt == "never":
                continue
            if request.prompt == "answers and fails":
                pipe.send(Results([Finished(request.response_id, "", "stop", 1, 2, -0.5)]))
                pipe.send(Failed("RuntimeError: no more", out_of_memory=False))
                return
            if request.prompt == "crash in the end":
                doomed = True
                continue
            if request.prompt == "crash" or once(folder / request.prompt / "crash"):
                os._exit(3)
            if once(folder / request.prompt / "kill"):
                os.kill(os.getpid(), signal.SIGKILL)
            if once(folder / request.prompt / "out_of_memory"):
                pipe.send(Failed("OutOfMemoryError: 1 GiB", out_of_memory=True))
                return
            pipe.send(Results([Finished(request.response_id, str(os.getpid()), "stop", 1, 2, -0.5)]))
            if doomed:
                os._exit(3)


def serve(inbox, send, setup):
    """The same between two queues."""
    run(SimpleNamespace(recv=inbox.get, send=send), setup)
