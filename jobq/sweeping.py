"""Topics that nobody reserves from: idle waiters see to their leases and retention now and then."""

from __future__ import annotations

from contextlib import suppress

from jobq.draft import commit
from jobq.errors import StorageCorrupt
from jobq.model.options import Limits
from jobq.model.records import Now
from jobq.model.times import SECOND
from jobq.ports import Storage
from jobq.verbs import consuming

EVERY = 60 * SECOND
TOPICS = 100
"""Topics looked at before a nap, at the most; so that what comes meanwhile need not wait."""


class Sweeper:
    """Goes round all topics of a storage, a few before each nap, and at most once in EVERY nanoseconds."""

    def __init__(self, storage: Storage, limits: Limits) -> None:
        self._storage = storage
        self._limits = limits
        self._next: int | None = None
        self._ahead: list[str] = []

    def sweep(self, now: Now) -> None:
        """Go on with the round if it is time for one: sweep the next topic that needs it, if there is one."""
        if not self._ahead and not self._is_time(now):
            return
        looked_at, self._ahead = self._ahead[:TOPICS], self._ahead[TOPICS:]
        overdue = self._storage.view(lambda uow: consuming.first_overdue(uow, looked_at))
        if overdue is not None:
            self._ahead = looked_at[looked_at.index(overdue) + 1 :] + self._ahead
            with suppress(StorageCorrupt):  # it is not the waiter's topic, and who uses that one is told
                commit(self._storage, lambda draft: consuming.sweep(draft, overdue, self._limits))

    def _is_time(self, now: Now) -> bool:
        if self._next is None:
            self._next = now.steady + EVERY
        if now.steady < self._next:
            return False
        self._next = now.steady + EVERY
        self._ahead = self._storage.view(lambda uow: uow.topics.names())
        return True
