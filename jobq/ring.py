"""A flag between threads that a signal handler may set."""

from __future__ import annotations

import threading
from contextlib import suppress


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
        if not self._unset.acquire(timeout=-1 if timeout is None else max(0, timeout)):
            return False
        self.set()
        return True

    def clear(self) -> None:
        """Take the flag back."""
        self._unset.acquire(blocking=False)
