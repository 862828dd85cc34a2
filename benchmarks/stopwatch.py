"""Timing what is called, and runs of tasks that are called elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def seconds_of(call: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


class Laps:
    """Runs from the first of so many laps to the last, so that the start of a worker does not count.

    Threads may share it. `all_done` is set with the last lap.
    """

    def __init__(self, laps: int) -> None:
        self._left = laps
        self._lock = threading.Lock()
        self._began = 0.0
        self._ended = 0.0
        self.all_done = threading.Event()

    def lap(self) -> None:
        """One more."""
        with self._lock:
            now = time.perf_counter()
            self._began = self._began or now
            self._left -= 1
            if self._left == 0:
                self._ended = now
                self.all_done.set()

    def seconds(self) -> float:
        """How long all of them took; raises RuntimeError if there were more or fewer."""
        if self._left:
            raise RuntimeError(f"{abs(self._left)} tasks too {'few' if self._left > 0 else 'many'} were run")
        return self._ended - self._began
