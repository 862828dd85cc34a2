"""Jobs and topics in an LMDB directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Generic, TypeVar

import lmdb

from jobq.clock import SystemClock
from jobq.errors import ServiceClosed, StorageNotFound
from jobq.model.records import Now, Record
from jobq.model.requests import Request
from jobq.model.views import Compaction, StorageInfo
from jobq.paths import absolute_path
from jobq.ports import Clock, Express, Taken, UnitOfWork, Watch
from jobq.repos.lmdb.environment import Environment
from jobq.repos.lmdb.express import Adding, OneChange, Reserving, Settling
from jobq.repos.lmdb.grouping import Seat
from jobq.repos.lmdb.jobs import LmdbJobs
from jobq.repos.lmdb.known import Known
from jobq.repos.lmdb.places import LmdbPlaces
from jobq.repos.lmdb.properties import Settings, check_settings, is_directory_of_a_queue
from jobq.repos.lmdb.registry import REGISTRY
from jobq.repos.lmdb.room import Room
from jobq.repos.lmdb.topics import LmdbTopics
from jobq.repos.waking import Waiter, channels_of, unanswered

T = TypeVar("T")


class LmdbUnit:
    """The unit of work of one transaction."""

    __slots__ = ("jobs", "now", "topics")

    def __init__(self, environment: Environment, txn: lmdb.Transaction[bytes], known: Known | None = None) -> None:
        clock, dbs = environment.clock, environment.dbs
        self.now = Now(clock.wall(), clock.steady(), environment.properties.generation)
        self.jobs = LmdbJobs(txn, dbs, environment.policies, known)
        places = LmdbPlaces(txn, dbs, known) if environment.places is None else environment.places
        self.topics = LmdbTopics(txn, dbs, environment.states, places, known)


class BodyWork(Generic[T]):
    """A body to be run in a write transaction, with others perhaps. See grouping.Work."""

    __slots__ = ("_body", "_environment", "_is_lean", "_room", "_unit", "result")

    def __init__(self, environment: Environment, room: Room, body: Callable[[UnitOfWork], T]) -> None:
        self._environment = environment
        self._room = room
        self._body = body

    def prepare(self, txn: lmdb.Transaction[bytes], ahead: int) -> int:
        """Run the body, and see that there is room for what it adds."""
        unit = self._unit = LmdbUnit(self._environment, txn, self._environment.known)
        self.result = self._body(unit)
        new_bytes, text_bytes = unit.jobs.new_bytes(), unit.jobs.text_bytes()
        if new_bytes:
            self._room.check(txn, ahead + new_bytes)
        adds = ahead + new_bytes + text_bytes
        self._is_lean = bool(text_bytes) and self._room.shortage(txn, adds) is not None
        return new_bytes if self._is_lean else new_bytes + text_bytes

    def apply(self) -> int:
        """Write what the body decided."""
        self._unit.jobs.apply(lean=self._is_lean)
        self._unit.topics.apply()
        return len(self._unit.topics.moves)

    def announce(self) -> None:
        """Wake who waits for what was written."""
        topics = self._unit.topics
        self._environment.wakes.announce(topics.moves, topics.states, self._unit.now)


class LmdbStorage:
    """Jobs and topics in a directory: durable, and shared by all processes of this host that open it.

    path: the directory, made if there is none; a leading `~` is the home. sync: what a crash may lose. "full": nothing
    acknowledged. "normal": the last commit, on power loss. "off": the last commits, on power loss, which may also leave
    the directory unreadable where the filesystem reorders writes. kill -9 alone loses nothing with any of them.
    max_size: bytes (1 MiB to 64 TiB) after which new jobs are refused. Both belong to the directory: None takes what it
    has, or "full" and 64 GiB for a new one. topics: where jobs wait. "lmdb", the default, or "memory": faster, but for
    one process alone, which builds the places from the jobs as it opens. create: make the directory if there is none.
    clock: the system's by default.
    Raises ConfigError, StorageNotFound, StorageError, StorageVersion, StorageCorrupt; TypeError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        sync: str | None = None,
        max_size: int | None = None,
        topics: str | None = None,
        create: bool = True,
        clock: Clock | None = None,
    ) -> None:
        self._settings = Settings(sync, max_size, topics)
        check_settings(self._settings)
        self._path = absolute_path(path)
        if not create and not is_directory_of_a_queue(self._path):
            raise StorageNotFound(f"there is no queue at {self._path}: check the path, or enqueue a job to make one")
        self._clock = clock or SystemClock()
        self._closed = False
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

    @property
    def clock(self) -> Clock:
        """See Storage."""
        return self._environment.clock

    def transact(self, body: Callable[[UnitOfWork], T], *, when_committed: Callable[[T], object] | None = None) -> T:
        """See Storage. Raises StorageFull, StorageError; ServiceClosed once closed."""
        work = BodyWork(self._open_here(), self._room, body)
        seat = Seat(work)
        try:
            self._run(seat)
        finally:
            if when_committed is not None and seat.is_done():
                when_committed(work.result)
        return work.result

    @property
    def express(self) -> Express:
        """See Express: this storage itself."""
        return self

    def add(self, request: Request) -> int:
        """See Express."""
        environment = self._open_here()
        adding = Adding(self._room, request)
        self._run(Seat(OneChange(environment, adding)))
        return adding.result

    def take(
        self, topics: Sequence[str], lease: int | None, most: int, when_committed: Callable[[Taken], object]
    ) -> None:
        """See Express."""
        reserving = Reserving(topics, lease, most)
        seat = Seat(OneChange(self._open_here(), reserving))
        try:
            self._run(seat)
        finally:
            if seat.is_done():
                when_committed(reserving.result)

    def settle(self, record: Record, change: Callable[[Record, Now], Record], is_retry: bool, most: int) -> None:
        """See Express."""
        environment = self._open_here()  # first, as a forked child gets another one, with a room of its own
        self._run(Seat(OneChange(environment, Settling(self._room, record, change, is_retry, most))))

    def _run(self, seat: Seat) -> None:
        environment = self._environment
        environment.entrance.check_reentry()
        try:
            environment.group.run(seat)
        finally:
            if self._closed:
                self._leave()

    def view(self, body: Callable[[UnitOfWork], T]) -> T:
        """See Storage."""
        environment = self._open_here()
        try:
            return environment.read(lambda txn: body(LmdbUnit(environment, txn)))
        finally:
            if self._closed:
                self._leave()

    def watch(self, topics: Sequence[str], *, finished: bool = False) -> AbstractContextManager[Watch]:
        """See Storage."""
        wakes = self._open_here().wakes

        def pass_on(waiter: Waiter) -> None:
            for call in unanswered(waiter, self, wakes.is_awaited):
                wakes.call(call)

        return wakes.watch(channels_of(topics, finished=finished), pass_on)

    def info(self) -> StorageInfo:
        """See Storage. The details are, with all sizes in bytes:

        path, sync, max_size, topics: see the class. format: of what is stored. generation: how many boots have had the
        directory open. lmdb_version. file_size: what the file takes. used_size: what is in use of that; `compact` gives
        the rest back. room: what new jobs may take, as far as max_size and the disk go. processes: ids of those that
        have the directory open, where the system tells (Linux), else this one. is_backed_up: whether a backup runs.
        """
        try:
            from jobq.repos.lmdb.describing import describe  # here, as few processes ask

            return describe(self._open_here(), self._room, self.url)
        finally:
            if self._closed:
                self._leave()

    def backup(self, path: Path) -> None:
        """See Storage: the copy is a directory like this one. It waits for no writer, and holds none up for long.

        Raises ConfigError if something is at the path already; StorageError if another backup of this directory runs.
        """
        try:
            from jobq.repos.lmdb.backup import Backup  # here, as few processes make one

            Backup(self._open_here(), path).run()
        finally:
            if self._closed:
                self._leave()

    def compact(self) -> Compaction:
        """See Storage. Threads of this process wait meanwhile, and processes that open the directory.

        Raises StorageError if another process has the directory open; StorageFull, ConfigError; ServiceClosed.
        """
        try:
            from jobq.repos.lmdb.compacting import compact  # here, as few processes do it

            return compact(self._open_here())
        finally:
            if self._closed:
                self._leave()

    def close(self) -> None:
        """See Storage. In the middle of a transaction of the same thread it takes effect at the end of that."""
        self._closed = True
        if self._environment.pid == os.getpid():
            self._environment.wakes.ring_all()
            self._leave()

    def _open_here(self) -> Environment:
        if self._closed:
            raise ServiceClosed("this storage was closed: open it again")
        if self._environment.pid != os.getpid():
            self._rejoin()
        return self._environment

    def _acquire(self) -> Environment:
        return REGISTRY.acquire(self, self._path, self._settings, self._clock)

    def _rejoin(self) -> None:
        with REGISTRY.lock:
            if self._environment.pid != os.getpid():  # no other thread of this child was first
                self._environment = self._acquire()
                self._room = Room(self._environment)

    def _leave(self) -> None:
        # Without the registry's lock as long as this thread is in a transaction, for which who has the lock may wait.
        if self._environment.pid == os.getpid() and not self._environment.entrance.holds_this_thread():
            REGISTRY.release(self, self._environment)
