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
from jobq.repos.lmdb.environment import Environment
from jobq.repos.lmdb.jobs import LmdbJobs
from jobq.repos.lmdb.registry import REGISTRY
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
        self._is_leaving = False
        self._environment = self._acquire()
        self._room = Room(self._environment)

    def __repr__(self) -> str:
        return f"LmdbStorage({str(self._path)!r})"

    @property
    def url(self) -> str:
        """`lmdb://` and the absolute path."""
        return f"lmdb://{self._path}"

    @property
    def identity(self) -> object:
        """See Storage."""
        return self._environment.key

    def transact(self, body: Callable[[UnitOfWork], T]) -> T:
        """See Storage. Raises StorageFull, StorageError; ServiceClosed once closed."""
        environment = self._open_here()

        def work(txn: lmdb.Transaction[bytes]) -> tuple[LmdbUnit, T]:
            unit = LmdbUnit(environment, txn)
            result = body(unit)
            self._apply(unit, txn)
            return unit, result

        try:
            unit, result = environment.write(work)
        finally:
            if self._is_leaving:
                self._leave()
        environment.bell.ring_for(unit.topics.moves, unit.topics.resumed, unit.now)
        return result

    def view(self, body: Callable[[UnitOfWork], T]) -> T:
        """See Storage."""
        environment = self._open_here()
        try:
            return environment.read(lambda txn: body(LmdbUnit(environment, txn)))
        finally:
            if self._is_leaving:
                self._leave()

    @contextmanager
    def watch(self, topics: Sequence[str]) -> Iterator[Watch]:
        """See Storage."""
        environment = self._open_here()
        with environment.bell.watch(topics) as waiter:
            yield LmdbWatch(environment, waiter)

    def close(self) -> None:
        """See Storage. In the middle of a transaction of the same thread it takes effect at the end of that."""
        with REGISTRY.lock:
            if self._closed:
                return
            self._closed = True
        if self._environment.pid == os.getpid():
            self._environment.bell.ring_all()
            self._is_leaving = True
            self._leave()

    def _apply(self, unit: LmdbUnit, txn: lmdb.Transaction[bytes]) -> None:
        new_bytes, text_bytes = unit.jobs.new_bytes(), unit.jobs.text_bytes()
        if new_bytes:
            self._room.check(txn, new_bytes)
        unit.jobs.apply(lean=bool(text_bytes) and self._room.shortage(txn, new_bytes + text_bytes) is not None)
        unit.topics.apply()

    def _open_here(self) -> Environment:
        if self._closed:
            raise ServiceClosed("this storage was closed: open it again")
        if self._environment.pid != os.getpid():
            self._rejoin()
        return self._environment

    def _acquire(self) -> Environment:
        return REGISTRY.acquire(self._path, *self._settings, self._clock)

    def _rejoin(self) -> None:
        with REGISTRY.lock:
            if self._environment.pid != os.getpid():  # no other thread of this child was first
                self._environment = self._acquire()
                self._room = Room(self._environment)

    def _leave(self) -> None:
        if not self._environment.is_inside():
            with REGISTRY.lock:
                is_leaving, self._is_leaving = self._is_leaving, False
            if is_leaving:
                REGISTRY.release(self._environment)


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
