"""The clock of this machine."""

from __future__ import annotations

import time

from jobq.ports import Signal


class SystemClock:
    """The system's wall clock, and its monotonic clock (CLOCK_MONOTONIC where there is one) as the steady one."""

    def wall(self) -> int:
        """Nanoseconds since 1970."""
        return time.time_ns()

    def steady(self) -> int:
        """Nanoseconds of the monotonic clock."""
        return time.monotonic_ns()

    def wait(self, event: Signal, timeout: float) -> bool:
        """Wait until the event is set or `timeout` seconds have passed."""
        return event.wait(timeout)
