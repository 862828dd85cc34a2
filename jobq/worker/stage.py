"""One run of a worker, as other threads see it."""

from __future__ import annotations

import os
import threading

from jobq.ports import Clock
from jobq.ring import Ring
from jobq.worker.hand import Hand
from jobq.worker.handlers import Handlers
from jobq.worker.inbox import Inbox
from jobq.worker.moments import Moments
from jobq.worker.sources import Clerk, NoClerk

LOOK = 0.1
"""Seconds between two looks at whether it has ended, in case a signal handler waits within a wait."""


class Stage:
    """From `Worker.run` to its return. thread: which thread coordinates. hand: what it has in hand.

    handlers: those that it runs, as they were registered when it began. clerk: who sees to its schedules.
    """

    def __init__(self, clock: Clock, moments: Moments) -> None:
        self.inbox = Inbox(clock, moments)
        self.hand: Hand | None = None
        self.handlers = Handlers()
        self.clerk: Clerk = NoClerk()
        self.pid = os.getpid()
        self.thread: int | None = None
        self._has_ended = False
        self._ring = Ring()

    def is_inside(self) -> bool:
        """Whether the calling thread is one of the worker's own."""
        me = threading.get_ident()
        return me == self.thread or (self.hand is not None and self.hand.has_thread(me))

    def end(self) -> None:
        """It has ended."""
        self._has_ended = True
        self._ring.set()

    def wait(self) -> None:
        """Wait until it has ended; a signal handler may call this, too."""
        while not self._has_ended:
            self._ring.wait(LOOK)
