"""Topics that nobody reserves from: idle waiters see to their leases and retention now and then."""

from __future__ import annotations

from functools import partial

from jobq.draft import commit
from jobq.model.options import Limits
from jobq.model.records import Now
from jobq.model.times import SECOND
from jobq.ports import Storage
from jobq.verbs import consuming

EVERY = 60 * SECOND
TOPICS = 200
"""Topics looked at in one view, so that it stays short."""


class Sweeper:
    """Sweeps all topics of a storage, at most once in EVERY nanoseconds."""

    def __init__(self, storage: Storage, limits: Limits) -> None:
        self._storage = storage
        self._limits = limits
        self._next = 0

    def sweep_if_due(self, now: Now) -> None:
        """Sweep if the last time is long ago, one short transaction for each topic that needs it."""
        if now.steady < self._next:
            return
        self._next = now.steady + EVERY
        names = self._storage.view(lambda uow: uow.topics.names())
        for start in range(0, len(names), TOPICS):
            overdue = partial(consuming.overdue, topics=names[start : start + TOPICS])
            for topic in self._storage.view(overdue):
                commit(self._storage, partial(consuming.sweep, topic=topic, limits=self._limits))
