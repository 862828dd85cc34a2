"""A clock that tests set."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from jobq.model.times import SECOND, Seconds, duration, instant, moment, nanoseconds
from jobq.ports import Signal

_START = datetime(2026, 1, 1, tzinfo=UTC)


class ManualClock:
    """Stands still until it is advanced; a thread that waits is woken by `advance` alone. Threads may share it.

    start: what the wall clock shows at first, an aware datetime. patience: seconds of the real time after which a wait
    that nothing ended raises AssertionError, so that a test which forgot to advance the clock fails and does not hang.
    """

    def __init__(self, start: datetime = _START, *, patience: float = 30) -> None:
        self._lock = threading.RLock()
        self._wall = instant(start, "start")
        self._steady = 1_000 * SECOND
        self._patience = patience
        self._sleepers: list[tuple[int, Signal]] = []
        self.sleeping = threading.Semaphore(0)
        """Released once for each wait that begins, so that a test can know that a thread waits."""

    def __repr__(self) -> str:
        return f"<ManualClock at {self.now().isoformat()}>"

    def wall(self) -> int:
        """Nanoseconds since 1970."""
        return self._wall

    def steady(self) -> int:
        """Nanoseconds of time passed, from an arbitrary beginning; no step of the wall clock changes them."""
        return self._steady

    def now(self) -> datetime:
        """The wall clock as an aware datetime (UTC)."""
        return moment(self._wall)

    def after(self, seconds: float) -> datetime:
        """What the wall clock will show some seconds from now."""
        return self.now() + timedelta(seconds=seconds)

    def advance(self, time: Seconds) -> None:
        """Let time pass on both clocks, and wake the threads whose waits are over by then.

        time: seconds (0 or more) or a timedelta.
        """
        passed = duration(time, "time")
        with self._lock:
            self._wall += passed
            self._steady += passed
            for until, event in self._sleepers:
                if until <= self._steady:
                    event.set()

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward, or back by a negative number, as an operator does; no time passes."""
        with self._lock:
            self._wall += nanoseconds(seconds)

    def reboot(self) -> None:
        """Let the steady clock begin anew, as a boot of the machine does; the wall clock stays."""
        with self._lock:
            self._steady = SECOND

    def wait(self, event: Signal, timeout: float) -> bool:
        """Wait until the event is set, which `advance` also does once `timeout` seconds have passed."""
        with self._lock:
            sleeper = (self._steady + nanoseconds(timeout), event)
            self._sleepers.append(sleeper)
            if timeout <= 0:
                event.set()
        self.sleeping.release()
        try:
            if not event.wait(self._patience):
                raise AssertionError(
                    f"a thread waits on a ManualClock, which nobody advanced for "
                    f"{self._patience:g} real seconds: advance it from another thread, or give this call timeout=0"
                )
        finally:
            with self._lock:
                self._sleepers.remove(sleeper)
        return True
