"""Jobs and topics in the memory of this process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NoReturn, TypeVar

from jobq.clock import SystemClock
from jobq.errors import ConfigError, ReentrantCall, ServiceClosed, StorageError
from jobq.model.records import Now, Record, TopicState
from jobq.model.requests import Request
from jobq.model.views import StorageInfo
from jobq.ports import Clock, Express, Move, Taken, UnitOfWork, Watch
from jobq.repos.memory.express import OneChange
from jobq.repos.memory.jobs import JobTable, MemoryJobs
from jobq.repos.memory.topics import MemoryTopics, TopicTable
from jobq.repos.waking import Bell, Waiter, calls_after, channels_of, unanswered

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
_NEW = tuple.__new__


class MemoryUnit:
    """The unit of work of one transaction."""

    __slots__ = ("jobs", "now", "topics")

    def __init__(self, now: Now, jobs: MemoryJobs, topics: MemoryTopics) -> None:
        self.now = now
        self.jobs = jobs
        self.topics = topics

    def apply(self) -> None:
        """Write what was decided; to do so again changes nothing."""
        self.jobs.apply()
        self.topics.apply()

    def redo(self) -> None:
        """Write what was decided, of which any part may have been written."""
        self.jobs.apply()
        self.topics.redo()


class Store:
    """What storages of one name share: the tables, their lock, and who waits."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._lock = threading.RLock()
        self._is_busy = False
        self.table = JobTable()
        self.topics = TopicTable()
        self.bell = Bell(clock)
        self.users = 0
        self._torn: MemoryUnit | OneChange | None = None

    def view(self, body: Callable[[UnitOfWork], T]) -> T:
        """Run a body that only reads; one thread at a time."""
        with self._lock:
            self._check_reentry()
            self._is_busy = True
            try:
                return body(self._fresh())
            finally:
                self._is_busy = False

    def transact(self, body: Callable[[UnitOfWork], T], applied: list[T]) -> None:
        """Run a body and write what it left; its result is in `applied` once that is certain to be written."""
        with self._lock:
            self._check_reentry()
            self._is_busy = True
            try:
                unit = self._fresh()
                self.apply(unit, body(unit), applied)
            finally:
                self._is_busy = False
        if not self.bell.is_quiet():
            self._announce(unit.topics.moves, unit.topics.states, unit.now)

    def change(self, work: Callable[[OneChange], T], applied: list[T]) -> T:
        """The same for the change of one job."""
        with self._lock:
            self._check_reentry()
            self._is_busy = True
            try:
                change = OneChange(self.table, self.topics, self._now())
                self.apply(change, work(change), applied)
            finally:
                self._is_busy = False
        if not self.bell.is_quiet():
            self._announce(change.moves, change.states, change.now)
        return applied[0]

    def _check_reentry(self) -> None:
        if self._is_busy:
            raise ReentrantCall("a verb was called within another one of the same thread: call it later")

    def _fresh(self) -> MemoryUnit:
        return MemoryUnit(self._now(), MemoryJobs(self.table), MemoryTopics(self.topics))

    def _now(self) -> Now:
        if self._torn is not None:
            self._torn.redo()
            self._torn = None
            self.bell.ring_all()
        return _NEW(Now, (self.clock.wall(), self.clock.steady(), 0))

    def _announce(self, moves: Sequence[Move], states: Mapping[str, TopicState], now: Now) -> None:
        for call in calls_after(moves, states, now, self.bell.is_awaited):
            self.bell.ring(call)

    def apply(self, unit: MemoryUnit | OneChange, result: T, applied: list[T]) -> None:
        """Write what a body left, and note its result. If Ctrl-C breaks in, the next unit of work finishes it first."""
        self._torn, applied[:] = unit, [result]  # no call, which Ctrl-C could follow: both or neither
        unit.apply()
        self._torn = None


class SharedStores:
    """The named stores of this process, each kept while a storage has it open; a forked child begins without any."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._lock = threading.RLock()
        self._stores: dict[str, Store] = {}

    def acquire(self, name: str, clock: Clock) -> Store:
        """The store of this name, made by its first user with the clock of that one."""
        with self._lock:
            store = self._stores.setdefault(name, Store(clock))
            store.users += 1
            return store

    def release(self, name: str) -> None:
        """Give a store back; the last to do so drops it."""
        with self._lock:
            store = self._stores[name]
            store.users -= 1
            if not store.users:
                del self._stores[name]


SHARED = SharedStores()
os.register_at_fork(after_in_child=SHARED.forget)


class MemoryStorage:
    """Jobs and topics in memory: gone when the process ends.

    name: storages of one name share their jobs for as long as one of them is open; "" shares with nobody.
    clock: readings of time, the system's by default.
    """

    def __init__(self, name: str = "", *, clock: Clock | None = None) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the name of a queue in memory must be a str, not {type(name).__name__}")
        self._name = name
        self._store = SHARED.acquire(name, clock or SystemClock()) if name else Store(clock or SystemClock())
        self._pid = os.getpid()
        self._closed = False

    def __repr__(self) -> str:
        return f"MemoryStorage({self._name!r})"

    @property
    def url(self) -> str:
        """`memory://NAME`."""
        return f"memory://{self._name}"

    @property
    def identity(self) -> object:
        """See Storage."""
        return self._store

    @property
    def clock(self) -> Clock:
        """See Storage."""
        return self._store.clock

    def transact(self, body: Callable[[UnitOfWork], T], *, when_committed: Callable[[T], object] | None = None) -> T:
        """See Storage. Raises StorageError in a forked child, ServiceClosed once closed."""
        self._check()
        store = self._store
        applied: list[T] = []
        try:
            store.transact(body, applied)
        finally:
            if applied and when_committed is not None:
                when_committed(applied[0])
        return applied[0]

    @property
    def express(self) -> Express:
        """See Express: this storage itself."""
        return self

    def add(self, request: Request) -> int:
        """See Express."""
        self._check()
        return self._store.change(lambda change: change.add(request), [])

    def take(
        self, topics: Sequence[str], lease: int | None, most: int, when_committed: Callable[[Taken], object]
    ) -> None:
        """See Express."""
        self._check()
        applied: list[Taken] = []
        try:
            self._store.change(lambda change: change.take(topics, lease, most), applied)
        finally:
            if applied:
                when_committed(applied[0])

    def settle(self, record: Record, change: Callable[[Record, Now], Record], is_retry: bool, most: int) -> None:
        """See Express."""
        self._check()
        self._store.change(lambda one: one.settle(record, change, is_retry, most), [])

    def view(self, body: Callable[[UnitOfWork], T]) -> T:
        """See Storage."""
        self._check()
        return self._store.view(body)

    def watch(self, topics: Sequence[str], *, finished: bool = False) -> AbstractContextManager[Watch]:
        """See Storage."""
        self._check()
        bell = self._store.bell

        def pass_on(waiter: Waiter) -> None:
            for call in unanswered(waiter, self, bell.is_awaited):
                bell.ring(call)

        return bell.watch(channels_of(topics, finished=finished), pass_on)

    def info(self) -> StorageInfo:
        """See Storage. It has no details."""
        self._check()
        jobs, topics = self._store.table.records, self._store.topics.states
        return self._store.view(lambda _: StorageInfo(self.url, "memory", len(jobs), len(topics), {}))

    def backup(self, path: Path) -> None:
        """See Storage: there is nothing here that could outlive the process."""
        raise ConfigError("a queue in memory cannot be backed up: keep the jobs in lmdb:DIRECTORY, which can")

    def compact(self) -> NoReturn:
        """See Storage: there is no file, and the memory of deleted jobs is free already."""
        raise ConfigError(
            "a queue in memory cannot be compacted, and need not be: the memory of deleted jobs is free for others"
        )

    def close(self) -> None:
        """See Storage."""
        if self._closed:
            return
        self._closed = True
        if self._pid != os.getpid():
            return
        if self._name:
            SHARED.release(self._name)
        self._store.bell.ring_all()

    def _check(self) -> None:
        if self._closed:
            raise ServiceClosed("this storage was closed: open it again")
        if self._pid != os.getpid():
            raise StorageError(
                "a queue in memory belongs to the process that opened it, and this is a forked child: "
                "open one in the child, or use lmdb:DIRECTORY to share jobs between processes"
            )
