"""When to look at a queue, and what may come in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from jobq.errors import JobqError

PROBLEMS = (JobqError, OSError)
"""What a look may fail of: it is said, and tried again."""


@dataclass(slots=True)
class Pace:
    """When to look next: every `interval` seconds, but never more than half of the time."""

    interval: float
    clock: Callable[[], float] = time.monotonic
    began: float = 0.0
    due: float = 0.0

    def begin(self) -> None:
        """A look begins."""
        self.began = self.clock()

    def end(self) -> None:
        """It has ended."""
        now = self.clock()
        self.due = max(self.began + self.interval, now + (now - self.began))

    @property
    def left(self) -> float:
        """Seconds until the next look."""
        return max(0.0, self.due - self.clock())
