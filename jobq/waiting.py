"""Waiting until something can be reserved."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jobq.model.records import Now
from jobq.model.times import SECOND
from jobq.model.views import JobInfo
from jobq.ports import Storage, Watch
from jobq.taking import Taking
from jobq.verbs import consuming, looking
from jobq.verbs.consuming import Haul

LONGEST_NAP = 60.0
"""Seconds after which a waiter sees to what nobody else does: see `sweeping`."""


def wait_for_haul(
    storage: Storage, taking: Taking, first: Haul, timeout: int | None, when_idle: Callable[[Now], None]
) -> None:
    """Try to take until something is taken or `timeout` nanoseconds are over (None: for ever).

    first: what the first attempt gave. Each other attempt is made under a watch that was begun before it, so that no
    job slips in between. when_idle: called before each nap; what it commits may end the nap at once.
    """
    haul = _unless_again(first, taking)
    if haul.taken or timeout == 0:
        return
    end = None if timeout is None else haul.now.steady + timeout
    with storage.watch(taking.topics) as watch:
        while True:
            haul = _unless_again(taking.attempt(), taking)
            left = None if end is None else (end - haul.now.steady) / SECOND
            if haul.taken or (left is not None and left <= 0):
                return
            when_idle(haul.now)
            due_in = None if haul.due_in is None else haul.due_in / SECOND
            watch.wait(min(nap for nap in (left, due_in, LONGEST_NAP) if nap is not None))


def fill_up(storage: Storage, taking: Taking, longest: int) -> None:
    """Go on taking until no job is missing, or `longest` nanoseconds are over since there was a first one.

    It ends when half of a lease is over, too, so that no job waits for others until its reservation is lost.
    """
    if not longest or not taking.hauls or not taking.missing():
        return
    first = taking.hauls[0]
    end = first.now.steady + min(longest, *_half_leases(first))
    with storage.watch(taking.topics) as watch:
        while taking.missing():
            haul = taking.attempt()
            end = min([end, *(haul.now.steady + half for half in _half_leases(haul))])
            left = (end - haul.now.steady) / SECOND
            if left <= 0:
                return
            if not haul.taken and not haul.again:  # only then is it known when the next job is due
                watch.wait(min(left, LONGEST_NAP if haul.due_in is None else haul.due_in / SECOND))


def wait_until_finished(
    storage: Storage, job_id: int, timeout: int | None, when_idle: Callable[[Now], None]
) -> JobInfo:
    """The job once it is finished; TimeoutError after `timeout` nanoseconds, JobNotFound if it goes meanwhile.

    when_idle: called before each nap.
    """
    info, now = storage.view(lambda uow: (looking.info(uow, job_id), uow.now))
    end = None if timeout is None else now.steady + timeout
    with storage.watch([info.topic], finished=True) as watch:
        while True:
            info, now = storage.view(lambda uow: (looking.info(uow, job_id), uow.now))
            if info.finished_at is not None:
                return info
            left = LONGEST_NAP if end is None else (end - now.steady) / SECOND
            if left <= 0:
                raise TimeoutError(f"job {job_id} of topic {info.topic!r} is not finished, but {info.status.value}")
            when_idle(now)
            watch.wait(min(left, LONGEST_NAP))


class Listener:
    """Waits for jobs to reserve without reserving any, for a client that has other things to wait for, too.

    watch: one of these topics, begun before. when_idle: called before each nap.
    """

    def __init__(self, storage: Storage, topics: Sequence[str], watch: Watch, when_idle: Callable[[Now], None]) -> None:
        self._storage = storage
        self._topics = topics
        self._watch = watch
        self._when_idle = when_idle

    def wait(self, timeout: float) -> None:
        """Return once there may be a job to reserve, `wake` was called, or `timeout` seconds are over.

        Raises StorageError and its kin.
        """
        due_in, now = self._storage.view(lambda uow: (consuming.due_in(uow, self._topics), uow.now))
        if due_in != 0:
            self._when_idle(now)
            self._watch.wait(min(timeout, LONGEST_NAP, LONGEST_NAP if due_in is None else due_in / SECOND))

    def ready_topics(self) -> list[str]:
        """Those of the topics that have a job to reserve now. Raises StorageError and its kin."""
        return self._storage.view(lambda uow: [one for one in self._topics if consuming.due_in(uow, [one]) == 0])

    def wake(self) -> None:
        """End the wait that runs, or else the next one; any thread may call this, and a signal handler."""
        self._watch.wake()


class EndListener:
    """Waits for jobs to finish, for a client that waits for many of them.

    watch: for what finishes in their topics, begun before. when_idle: called before each nap.
    """

    def __init__(self, storage: Storage, watch: Watch, when_idle: Callable[[Now], None]) -> None:
        self._storage = storage
        self._watch = watch
        self._when_idle = when_idle

    def ended(self, ids: Sequence[int]) -> set[int]:
        """Those of the jobs that are finished, or gone. Raises StorageError and its kin."""
        return self._storage.view(lambda uow: looking.ended(uow, ids))

    def wait(self, timeout: float) -> None:
        """Return once a job has finished, `wake` was called, or `timeout` seconds are over."""
        self._when_idle(self._storage.view(lambda uow: uow.now))
        self._watch.wait(min(timeout, LONGEST_NAP))

    def wake(self) -> None:
        """End the wait that runs, or else the next one, from any thread."""
        self._watch.wake()


def _half_leases(haul: Haul) -> list[int]:
    """Half of what is left of the lease of each job, in nanoseconds."""
    return [(job.deadline - haul.now.steady) // 2 for job, _ in haul.taken]


def _unless_again(haul: Haul, taking: Taking) -> Haul:
    while haul.again:
        haul = taking.attempt()
    return haul
