"""Waiting for what will be true. Tests share their machine: everything may take long, and right after a kill, a pause or a
restart the product may honestly say "not now". So a test asks again until it hears what must become true, and the times
here only say when to give up."""

import subprocess
import time

LONG = 120  # seconds; more than anything takes on a machine that is very busy
NOT_YET = (RuntimeError, OSError, subprocess.TimeoutExpired, StopIteration, LookupError)


def until(seconds, condition, pause=0.2):
    """How long it took until the condition was true; None: it was not. An error of the condition is one of the test."""
    began = time.monotonic()
    while True:
        if condition():
            return time.monotonic() - began
        if time.monotonic() - began > seconds:
            return None
        time.sleep(pause)


def wait_for(what, condition, seconds=LONG, pause=0.2):
    """Until the condition is true; what cannot be asked now is asked again. Raises RuntimeError."""
    last = None

    def holds():
        nonlocal last
        try:
            last = None
            return condition()
        except NOT_YET as e:
            last = e
            return False

    if until(seconds, holds, pause) is None:
        raise RuntimeError(f"not in {seconds} s: {what}" + (f" ({last!r})" if last else ""))


def eventually(read, is_right, seconds=LONG):
    """What read() gives, as soon as that is right; else what it gave last."""
    seen = []

    def looks_right():
        seen[:] = [read()]
        return is_right(seen[0])

    try:
        wait_for("", looks_right, seconds)
    except RuntimeError:
        if not seen:
            raise
    return seen[0]
