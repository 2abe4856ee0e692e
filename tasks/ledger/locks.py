"""Locks on files of the ledger: whoever holds one lives, and a file without one was left by a process that died."""

import errno
import fcntl
import time

TAKEN = (errno.EWOULDBLOCK, errno.EACCES)
"""What the system answers when another holds the lock; anything else: this file system has no locks."""
WAIT_SECONDS = 10
"""How long a file's maker waits for others, who hold its lock only to see whether it was abandoned."""
POLL_SECONDS = 0.01


def lock(file: int) -> bool:
    """Whether the lock could be had: not where another has it, nor on a file system without locks.

    There every writer counts as living.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def lock_own(file: int) -> None:
    """Lock a file that this process has just made; goes on without on a file system that has no locks.

    Raises:
        OSError: another process has kept the lock for WAIT_SECONDS.
    """
    end = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in TAKEN:
                return
            if time.monotonic() > end:
                raise
            time.sleep(POLL_SECONDS)
        else:
            return
