"""A clock that tests set."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from jobq.model.times import SECOND, instant, moment
from jobq.ports import Signal

PATIENCE = 30
"""Real seconds after which a test that waits for another thread or process has failed."""


class ManualClock:
    """Stands still until it is advanced. Waiting threads are woken by `advance`, never by real time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wall = instant(datetime(2026, 1, 1, tzinfo=UTC), "start")
        self._steady = 1_000 * SECOND
        self._sleepers: list[tuple[int, Signal]] = []
        self.sleeping = threading.Semaphore(0)
        """Released once for each wait that begins, so that a test can know that a thread waits."""

    def wall(self) -> int:
        return self._wall

    def steady(self) -> int:
        return self._steady

    def now(self) -> datetime:
        """The wall clock as a datetime."""
        return moment(self._wall)

    def after(self, seconds: float) -> datetime:
        """The wall clock some seconds from now."""
        return self.now() + timedelta(seconds=seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        with self._lock:
            self._wall += int(seconds * SECOND)
            self._steady += int(seconds * SECOND)
            for until, event in self._sleepers:
                if until <= self._steady:
                    event.set()

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back; no time passes."""
        self._wall += int(seconds * SECOND)

    def wait(self, event: Signal, timeout: float) -> bool:
        until = self._steady + int(timeout * SECOND)
        sleeper = (until, event)
        with self._lock:
            self._sleepers.append(sleeper)
            if until <= self._steady:
                event.set()
        self.sleeping.release()
        try:
            if not event.wait(PATIENCE):
                raise AssertionError("nothing woke this thread")
        finally:
            with self._lock:
                self._sleepers.remove(sleeper)
        return True
