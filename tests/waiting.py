"""Waiting for what must come: a busy machine takes its time, so the limit only ends what hangs."""

import time

LIMIT_SECONDS = 600


def wait_until(condition):
    """What `condition()` gives, as soon as that is true."""
    end = time.monotonic() + LIMIT_SECONDS
    while not (found := condition()):
        assert time.monotonic() < end, f"not true after {LIMIT_SECONDS} s"
        time.sleep(0.02)
    return found
