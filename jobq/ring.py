"""A flag between threads that a signal handler may set."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

LOOK = 1.0
"""Seconds after which a wait pauses for the handlers of signals: one that came as it was about to begin, or to another
thread, does not interrupt it."""


class Ring:
    """A flag that one thread waits for, as threading.Event is, but safe to set where a signal handler interrupts.

    A plain lock, released while the flag is set. (An Event has a lock that a handler could find held by its own
    thread; a SimpleQueue's timed `get`, in CPython 3.11, waits for ever if a signal arrives as its time is up.)
    """

    def __init__(self) -> None:
        self._unset = threading.Lock()
        self._unset.acquire()

    def set(self) -> None:
        """Set the flag, and wake who waits for it."""
        with suppress(RuntimeError):  # it is set already
            self._unset.release()

    def is_set(self) -> bool:
        """Whether it is set."""
        return not self._unset.locked()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set (True) or `timeout` seconds have passed (False); it stays set."""
        end = None if timeout is None else time.monotonic() + timeout
        left = LOOK if timeout is None else timeout
        while not self._unset.acquire(timeout=min(max(0, left), LOOK)):
            if end is not None and (left := end - time.monotonic()) <= 0:
                return False
        self.set()
        return True

    def clear(self) -> None:
        """Take the flag back."""
        self._unset.acquire(blocking=False)
