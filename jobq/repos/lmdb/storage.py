"""Jobs and topics in an LMDB directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import lmdb

from jobq.clock import SystemClock
from jobq.errors import ServiceClosed
from jobq.model.records import Now
from jobq.model.times import SECOND
from jobq.ports import Clock, UnitOfWork, Watch
from jobq.repos.lmdb import directory
from jobq.repos.lmdb.environment import REGISTRY, Environment
from jobq.repos.lmdb.failures import translated
from jobq.repos.lmdb.jobs import LmdbJobs
from jobq.repos.lmdb.room import Room
from jobq.repos.lmdb.topics import LmdbTopics
from jobq.repos.waking import Waiter

T = TypeVar("T")

POLL = 0.02
"""Seconds between two looks at what other processes committed, while waiting."""


class LmdbUnit:
    """The unit of work of one transaction."""

    __slots__ = ("jobs", "now", "topics")

    def __init__(self, environment: Environment, txn: lmdb.Transaction[bytes]) -> None:
        clock = environment.clock
        self.now = Now(clock.wall(), clock.steady(), environment.properties.generation)
        self.jobs = LmdbJobs(txn, environment.dbs, environment.policies)
        self.topics = LmdbTopics(txn, environment.dbs, environment.states)


class LmdbStorage:
    """Jobs and topics in a directory: durable, and shared by all processes of this host that open it.

    path: the directory, made if there is none. sync: what a crash may lose. "full": nothing acknowledged. "normal":
    the last commit, on power loss. "off": the last commits, on power loss, which may also leave the directory
    unreadable where the filesystem reorders writes. kill -9 alone loses nothing with any of them. max_size: bytes
    (1 MiB to 64 TiB) after which new jobs are refused. Both belong to the directory: None takes what it has, or "full"
    and 64 GiB for a new one. clock: the system's by default.
    Raises ConfigError, StorageError, StorageVersion, StorageCorrupt.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        sync: str | None = None,
        max_size: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        directory.check_settings(sync, max_size)
        self._path = Path(path).absolute()
        self._settings = (sync, max_size)
        self._clock = clock or SystemClock()
        self._closed = False
        self._join()

    def __repr__(self) -> str:
        return f"LmdbStorage({str(self._path)!r})"

    @property
    def url(self) -> str:
        """`lmdb://` and the absolute path."""
        return f"lmdb://{self._path}"

    def transact(self, body: Callable[[UnitOfWork], T]) -> T:
        """See Storage. Raises StorageFull, StorageError; ServiceClosed once closed."""
        environment = self._open_here()
        with environment.writing:
            environment.mend()
            unit, result = self._run(environment, body)
        environment.bell.ring_for(unit.topics.moves, unit.topics.resumed, unit.now)
        return result

    def view(self, body: Callable[[UnitOfWork], T]) -> T:
        """See Storage."""
        environment = self._open_here()
        with environment.reading() as txn:
            return body(LmdbUnit(environment, txn))

    @contextmanager
    def watch(self, topics: Sequence[str]) -> Iterator[Watch]:
        """See Storage."""
        environment = self._open_here()
        with environment.bell.watch(topics) as waiter:
            yield LmdbWatch(environment, waiter)

    def close(self) -> None:
        """See Storage."""
        if self._closed:
            return
        self._closed = True
        self._environment.bell.ring_all()
        REGISTRY.release(self._environment)

    def _run(self, environment: Environment, body: Callable[[UnitOfWork], T]) -> tuple[LmdbUnit, T]:
        try:
            txn = environment.env.begin(write=True)
        except lmdb.Error as problem:
            environment.note_failure()
            raise translated(problem, str(self._path)) from problem
        committed = False
        try:
            unit = LmdbUnit(environment, txn)
            result = body(unit)
            self._apply(unit, txn)
            self._commit(environment, txn)
            committed = True
            return unit, result
        except lmdb.Error as problem:
            raise translated(problem, str(self._path)) from problem
        finally:
            environment.policies.settle(committed=committed)
            if not committed:
                txn.abort()

    def _apply(self, unit: LmdbUnit, txn: lmdb.Transaction[bytes]) -> None:
        if unit.jobs.grows():
            self._room.check(txn)
        unit.jobs.apply(lean=unit.jobs.has_texts() and self._room.is_over(txn))
        unit.topics.apply()

    def _commit(self, environment: Environment, txn: lmdb.Transaction[bytes]) -> None:
        try:
            txn.commit()
        except BaseException:
            # Whether it took effect is unknown now: nothing of this environment is trusted any more.
            environment.note_failure()
            raise

    def _open_here(self) -> Environment:
        if self._closed:
            raise ServiceClosed("this storage was closed: open it again")
        if self._environment.pid != os.getpid():
            self._join()
        return self._environment

    def _join(self) -> None:
        self._environment = REGISTRY.acquire(self._path, *self._settings, self._clock)
        self._room = Room(self._environment)


class LmdbWatch:
    """Wakes for this process's commits at once, and for another's within POLL seconds."""

    def __init__(self, environment: Environment, waiter: Waiter) -> None:
        self._environment = environment
        self._waiter = waiter
        self._seen = environment.last_change()

    def wait(self, timeout: float) -> None:
        """See Watch."""
        clock = self._environment.clock
        end = self._waiter.until = clock.steady() + int(timeout * SECOND)
        while (left := end - clock.steady()) > 0:
            if self._waiter.nap(min(left / SECOND, POLL)):
                break
            if self._environment.last_change() != self._seen:
                break
        self._waiter.until = 0
        self._seen = self._environment.last_change()
