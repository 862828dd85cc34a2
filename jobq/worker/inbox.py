"""What other threads tell the coordinator, and how it waits for that."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from jobq.ports import Clock
from jobq.ring import Ring
from jobq.waiting import Listener
from jobq.worker.moments import Moments
from jobq.worker.run import Ending, Run


class Inbox:
    """Takes what executors report (it is their Post) and the wish to stop, from any thread, or from a signal handler.

    stops: 1 if the worker is to stop, 2 if it is to do so at once.
    problem: what makes it impossible to go on.
    """

    def __init__(self, clock: Clock, moments: Moments) -> None:
        self._clock = clock
        self._moments = moments
        self._endings: deque[Ending] = deque()
        self._ring = Ring()
        self._listener: Listener | None = None
        self._wake_at = 1
        self.stops = 0
        self.problem: Exception | None = None

    # -- for others

    def begins(self, run: Run) -> bool:
        """See Post."""
        run.begun = self._clock.steady()  # first, so that who takes the job away from now on has the handler stopped
        if not run.is_held or run.job._is_revoked or run.stopped_at:
            run.begun = None
            return False
        if not run.is_told:  # it begins anew if its child process died before it began the handler
            run.is_told = True
            self._moments.started(run.job)
        return True

    def ended(self, ending: Ending) -> None:
        """See Post."""
        ending.run.ended = self._clock.steady()
        if ending.run.is_told:
            self._moments.ended(ending.run.job)  # before the coordinator hears of it, and tells what becomes of the job
        self._endings.append(ending)
        if len(self._endings) >= self._wake_at:
            self.wake()

    def troubled(self, problem: Exception) -> None:
        """See Post."""
        self._moments.worker_error(problem, "it is tried again after some seconds")

    def failed(self, problem: Exception) -> None:
        """See Post."""
        self.problem = problem
        self.wake()

    def stop(self, urgency: int) -> None:
        """Stop: 1 once what runs has ended, 2 at once."""
        self.stops = max(self.stops, urgency)
        self.wake()

    def press(self) -> None:
        """Stop; and if it stops already, at once."""
        self.stop(self.stops + 1)

    def wake(self) -> None:
        """End the coordinator's wait, or else its next one."""
        self._ring.set()
        if (listener := self._listener) is not None:
            listener.wake()

    # -- for the coordinator

    def wake_at(self, n: int) -> None:
        """Be woken when n runs have ended."""
        self._wake_at = n
        if len(self._endings) >= n:  # they may have ended while they were not yet worth it
            self._ring.set()

    def take(self) -> list[Ending]:
        """What ended since the last time."""
        return [self._endings.popleft() for _ in range(len(self._endings))]

    def is_empty(self) -> bool:
        """Whether nothing ended since."""
        return not self._endings

    def wait(self, timeout: float) -> None:
        """Wait until woken, or for some seconds."""
        if timeout > 0:
            self._clock.wait(self._ring, timeout)
        self._ring.clear()

    def wait_for_jobs(self, listener: Listener, timeout: float) -> None:
        """Wait until woken, or until there may be a job to reserve, or for some seconds."""
        with self._heard_by(listener):
            if not self._ring.is_set():
                listener.wait(timeout)
        self._ring.clear()

    @contextmanager
    def _heard_by(self, listener: Listener) -> Iterator[None]:
        self._listener = listener
        try:
            yield
        finally:
            self._listener = None
