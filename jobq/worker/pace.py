"""How many jobs to reserve beyond those that can run at once.

A job of some microseconds costs less than the commit that settles it, so jobs that short are taken by the dozen, and
one commit settles them all. Where jobs take more than some milliseconds, none is taken before there is a slot for it:
another worker could run it meanwhile. Where commits are slow, the slots are supplied for as long as two of them take.
"""

from __future__ import annotations

from collections import deque

from jobq.model.times import SECOND

HORIZON = SECOND // 100
LONGEST_HORIZON = SECOND // 10
"""Nanoseconds for which the slots are supplied ahead, at least and at most."""
PATIENCE = 5
"""Horizons after which a job that still waits for a slot is given back."""
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
        self._horizon = HORIZON
        self._last: deque[int] = deque(maxlen=MEMORY)

    def note_run(self, nanos: int) -> None:
        """A job took so long."""
        self._last.append(nanos)

    def note_commit(self, nanos: int) -> None:
        """A commit took so long."""
        self._horizon = min(max(HORIZON, 2 * nanos), LONGEST_HORIZON)

    @property
    def patience(self) -> int:
        """Nanoseconds after which a job that still waits for a slot is to be given back."""
        return PATIENCE * self._horizon

    def forget(self) -> None:
        """It was misjudged: judge by the jobs to come."""
        self._last.clear()

    def ahead(self, oldest: int) -> int:
        """How many jobs to have waiting. oldest: for how many nanoseconds the oldest running job has run."""
        if len(self._last) <= OUTLIERS:
            return 0
        slowest = max(sorted(self._last)[-1 - OUTLIERS], oldest)
        if slowest <= 0:
            return 0
        return min(MOST, self._horizon // slowest * self._slots)
