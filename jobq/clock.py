"""The clock of this machine."""

from __future__ import annotations

import time

from jobq.ports import Signal


class SystemClock:
    """The system's wall clock, and its monotonic clock (CLOCK_MONOTONIC where there is one) as the steady one."""

    # Nanoseconds since 1970, and of the monotonic clock: read by each verb, so without a function around them.
    wall = staticmethod(time.time_ns)
    steady = staticmethod(time.monotonic_ns)

    def wait(self, event: Signal, timeout: float) -> bool:
        """Wait until the event is set or `timeout` seconds have passed."""
        return event.wait(timeout)
