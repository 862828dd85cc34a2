"""Reservations whose holder is gone before it could settle them: a loop that was left, a call that was interrupted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from jobq import lifecycle
from jobq.draft import commit
from jobq.errors import JobqError
from jobq.model.options import Limits
from jobq.ports import Storage
from jobq.verbs import settling
from jobq.verbs.settling import Settlement

Reservation = tuple[int, int]
"""A job's id, and the attempt that reserved it."""


class Abandoned:
    """What is to be given back: at once where that can be done, else by the next verb, which is `waiting` for that."""

    def __init__(self, storage: Storage, limits: Limits) -> None:
        self._storage = storage
        self._limits = limits
        self.waiting: deque[Reservation] = deque()

    def give_back(self, reservations: Iterable[Reservation]) -> None:
        """Release jobs. This never fails, as it comes on top of something else, perhaps in the middle of a verb."""
        self.waiting.extend(reservations)
        with suppress(JobqError):
            self.release()

    def release(self) -> None:
        """Release what is left of them, if there is any."""
        if not self.waiting:
            return
        taken: list[Reservation] = []
        try:
            with suppress(IndexError):
                while True:
                    taken.append(self.waiting.popleft())  # one by one, as another thread may do the same
            settlements = [Settlement(job_id, attempt, lifecycle.release) for job_id, attempt in taken]
            commit(self._storage, lambda draft: settling.settle(draft, settlements, self._limits))
        except BaseException:
            self.waiting.extend(taken)
            raise
