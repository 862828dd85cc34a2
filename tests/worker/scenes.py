"""What tests of the worker watch it with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from jobq import CancelReason, Compaction, Job, Observer, StorageError, StorageInfo, Worker
from jobq.ports import Storage, UnitOfWork, Watch
from jobq.worker.observer import Failure
from tests.clocks import PATIENCE, ManualClock

T = TypeVar("T")


class Recorder(Observer):
    """Notes every moment with its arguments, a job by its name; another thread can wait for one."""

    def __init__(self) -> None:
        self.moments: list[tuple[Any, ...]] = []
        self._news = threading.Condition()

    def note(self, *moment: Any) -> None:
        with self._news:
            self.moments.append(moment)
            self._news.notify_all()

    def wait_for(self, *moment: Any, times: int = 1) -> None:
        """Return once a moment that begins so was noted so often."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.all(*moment)) >= times, PATIENCE), self.moments

    def all(self, *moment: Any) -> list[tuple[Any, ...]]:
        """The moments that begin so."""
        return [one for one in self.moments if one[: len(moment)] == moment]

    def of_jobs(self) -> list[tuple[Any, ...]]:
        """What was told of jobs."""
        return [one for one in self.moments if not one[0].startswith(("worker", "topic"))]

    def worker_started(self, worker: Worker) -> None:
        self.note("worker_started", worker)

    def worker_stopped(self, worker: Worker) -> None:
        self.note("worker_stopped", worker)

    def worker_error(self, error: BaseException) -> None:
        self.note("worker_error", type(error), str(error))

    def topic_empty(self, topic: str) -> None:
        self.note("topic_empty", topic)

    def started(self, job: Job) -> None:
        self.note("started", job.name)

    def completed(self, job: Job, result: Any) -> None:
        self.note("completed", job.name, result)

    def enqueued(self, job: Job, ids: list[int]) -> None:
        self.note("enqueued", job.name, ids)

    def released(self, job: Job, delay: float) -> None:
        self.note("released", job.name, delay)

    def retried(self, job: Job, error: Failure, delay: float) -> None:
        self.note("retried", job.name, error)

    def dead(self, job: Job, error: Failure, reason: CancelReason) -> None:
        self.note("dead", job.name, error, reason)

    def canceled(self, job: Job, note: str | None) -> None:
        self.note("canceled", job.name, note)

    def lease_lost(self, job: Job) -> None:
        self.note("lease_lost", job.name)


class Watched:
    """A storage that counts its commits, lets tests wait for them, and fails when told so.

    before: called with the number of the transaction (from 1) before it begins. fail: the same before it is committed;
    it may raise. after: the same once it is.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.url = storage.url
        self.identity = storage.identity
        self.clock = storage.clock
        self.commits = 0
        self.before: Callable[[int], None] | None = None
        self.fail: Callable[[int], None] | None = None
        self.after: Callable[[int], None] | None = None
        self._begun = 0
        self._news = threading.Condition()

    def transact(self, body: Callable[[UnitOfWork], T], **how: Any) -> T:
        with self._news:
            self._begun += 1
            number = self._begun
        if self.before is not None:
            self.before(number)

        def breakable(uow: UnitOfWork) -> T:
            result = body(uow)
            if self.fail is not None:
                self.fail(number)
            return result

        result: T = self._storage.transact(breakable, **how)
        with self._news:
            self.commits += 1
            self._news.notify_all()
        if self.after is not None:
            self.after(number)
        return result

    def wait_for_commits(self, n: int) -> None:
        """Return once there were so many."""
        with self._news:
            assert self._news.wait_for(lambda: self.commits >= n, PATIENCE), self.commits

    def view(self, body: Callable[[UnitOfWork], T]) -> T:
        return self._storage.view(body)

    def watch(self, topics: Sequence[str], **how: Any) -> AbstractContextManager[Watch]:
        return self._storage.watch(topics, **how)

    def info(self) -> StorageInfo:
        return self._storage.info()

    def backup(self, path: Path) -> None:
        self._storage.backup(path)

    def compact(self) -> Compaction:
        return self._storage.compact()

    def close(self) -> None:
        self._storage.close()


def failing(*numbers: int) -> Callable[[int], None]:
    """Fail these transactions."""

    def fail(number: int) -> None:
        if number in numbers:
            raise StorageError(f"the plug was pulled in transaction {number}")

    return fail


@contextmanager
def running(worker: Worker) -> Iterator[Worker]:
    """Run it in the background; at the end give back what still runs."""
    worker.start()
    try:
        yield worker
    finally:
        worker.stop(force=True)


def wait(event: threading.Event) -> None:
    """Wait for an event that has to come."""
    assert event.wait(PATIENCE)


def wait_for_sleep(clock: ManualClock) -> None:
    """Return once the worker sleeps."""
    while not any(not event.is_set() for _, event in list(clock._sleepers)):  # type: ignore[attr-defined]
        assert clock.sleeping.acquire(timeout=PATIENCE)


def pass_time(clock: ManualClock, seconds: float) -> None:
    """Let time pass once the worker sleeps: what it has computed before that from the time would be wrong."""
    wait_for_sleep(clock)
    clock.advance(seconds)
