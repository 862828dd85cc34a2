"""A queue for the tests of programs that use one."""

from __future__ import annotations

from collections.abc import Mapping

from jobq.model.options import JobOptions, Limits
from jobq.model.requests import MoreHeaders
from jobq.repos.memory import MemoryStorage
from jobq.service import JobService
from jobq.testing.clock import ManualClock


class QueueForTests(JobService):
    """A JobService over memory that nobody else shares, whose time is `clock` and passes when a test says so.

    defaults, topic_defaults, limits, headers: as in JobService. clock: a new ManualClock unless given, which has
    patience for 5 seconds.
    """

    def __init__(
        self,
        *,
        defaults: JobOptions | None = None,
        topic_defaults: Mapping[str, JobOptions] | None = None,
        limits: Limits | None = None,
        headers: MoreHeaders | None = None,
        clock: ManualClock | None = None,
    ) -> None:
        self._manual = clock or ManualClock(patience=5)
        storage = MemoryStorage(clock=self._manual)
        super().__init__(storage, defaults=defaults, topic_defaults=topic_defaults, limits=limits, headers=headers)

    @property
    def clock(self) -> ManualClock:
        """Moves the time of this queue: `queue.clock.advance(60)`."""
        return self._manual
