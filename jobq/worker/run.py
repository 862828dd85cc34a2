"""One job in the hands of a worker."""

from __future__ import annotations

import threading
from typing import NamedTuple

from jobq.job import Job
from jobq.outcomes import Outcome, Release
from jobq.worker.handlers import Handler


class Run:
    """A job from its reservation to the end of its handler.

    begun: when the handler was called, in nanoseconds of the steady clock; None while it waits for a slot.
    ended: when it had ended; None until then.
    thread: which thread runs the handler. is_held: whether the reservation is ours to renew and to settle.
    is_told: whether its beginning was told, so that its end is to be told, too.
    stopped_at: when its handler was told to stop, else 0. verdict: what becomes of the job if the handler does.
    """

    __slots__ = (
        "_claim",
        "begun",
        "ended",
        "handler",
        "is_held",
        "is_told",
        "job",
        "reserved",
        "stopped_at",
        "thread",
        "verdict",
    )

    def __init__(self, job: Job, handler: Handler, reserved: int) -> None:
        self.job = job
        self.handler = handler
        self.reserved = reserved
        self.stopped_at = 0
        self.begun: int | None = None
        self.ended: int | None = None
        self.thread: int | None = None
        self.is_held = True
        self.is_told = False
        self.verdict: Outcome | None = None
        self._claim = threading.Lock()
        job._settling = set()

    def claim(self) -> bool:
        """Be the one who says how it ended: True for the first who asks."""
        return self._claim.acquire(blocking=False)

    def over_at(self) -> int | None:
        """When its time limit is over; None if there is none, or it has not begun."""
        limit = self.handler.time_limit
        return None if limit is None or self.begun is None else self.begun + limit


class Ending(NamedTuple):
    """How a run ended.

    outcome: what the handler wants; None if it was stopped from outside. is_late: whether the run was given up before.
    was_returned: whether `outcome` is Done with what the handler returned. dropped: why that could not be kept, or "".
    """

    run: Run
    outcome: Outcome | None
    is_late: bool = False
    was_returned: bool = False
    dropped: str = ""

    def outcome_now(self) -> Outcome:
        """What becomes of the job: what its handler wants, or what was decided over its head."""
        return self.outcome or self.run.verdict or Release()
