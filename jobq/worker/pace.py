"""How many jobs to reserve beyond those that can run at once.

A job of some microseconds costs less than the commit that settles it, so jobs that short are taken by the dozen, and
one commit settles them all. A job of more than some milliseconds is never taken before there is a slot for it: another
worker could have run it meanwhile.
"""

from __future__ import annotations

from collections import deque

from jobq.model.times import SECOND

HORIZON = SECOND // 100
"""Nanoseconds for which the slots may be supplied ahead."""
STALE = 5 * HORIZON
"""Nanoseconds after which a job that still waits for a slot is given back."""
MOST = 200
"""Jobs that are reserved ahead at the most."""
MEMORY = 20
"""Jobs by whose times it is judged."""
OUTLIERS = 2
"""Of these, as many as may be slow: the system keeps one or the other waiting."""


class Pace:
    """Judges by almost the slowest of the last jobs, so that a mixture is treated as slow.

    slots: how many run at once; 0 to have nothing reserved ahead.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._last: deque[int] = deque(maxlen=MEMORY)

    def note(self, nanos: int) -> None:
        """A job took so long."""
        self._last.append(nanos)

    def ahead(self, oldest: int) -> int:
        """How many jobs to have waiting. oldest: for how many nanoseconds the oldest running job has run."""
        known = sorted(self._last)
        slowest = max(known[-1 - OUTLIERS] if len(known) > OUTLIERS else 0, oldest)
        if slowest <= 0:
            return 0
        return min(MOST, HORIZON // slowest * self._slots)
