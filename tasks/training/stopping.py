"""Asked to end, a run finishes its step, saves, and leaves; and no second run of the same job writes meanwhile."""

import fcntl
import signal
from pathlib import Path
from typing import IO, Any

LOCK = "lock"
_asked = False


def listen() -> None:
    """From now on a SIGTERM to this rank is remembered, not obeyed at once."""
    signal.signal(signal.SIGTERM, _remember)


def asked() -> bool:
    """Whether this rank was told to end."""
    return _asked


def hold(work: Path) -> IO[str]:
    """Wait until no other run writes to `work`; the job is ours as long as what this returns is open."""
    lock = (work / LOCK).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"train: an earlier run is still saving to {work}; waiting for it", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _remember(*_: Any) -> None:
    global _asked  # noqa: PLW0603
    _asked = True
