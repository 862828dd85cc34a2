"""The one LMDB environment that a process has of a directory, shared by all who open it there.

Opening a directory twice in a process would share and drop LMDB's file locks, so `registry` counts environments. A
forked child must not use the one it inherits: it lets go of it at once, and opens the directory when it first uses it.

A signal handler or a finalizer may call a verb, or close, in the middle of a transaction of its own thread. A
transaction within one is therefore refused, and closing waits until the thread's transaction has ended.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import lmdb

from jobq.errors import ReentrantCall, ServiceClosed, StorageError
from jobq.model.records import TopicState
from jobq.ports import Clock
from jobq.repos.lmdb import directory, dirty
from jobq.repos.lmdb.databases import open_databases
from jobq.repos.lmdb.entrance import Entrance
from jobq.repos.lmdb.failures import translated, translating
from jobq.repos.lmdb.fate import Fate, is_over
from jobq.repos.lmdb.grouping import Group
from jobq.repos.lmdb.known import Known
from jobq.repos.lmdb.mapping import Mapping, MapTooSmall, can_allocate
from jobq.repos.lmdb.opening import open_readable, open_writable
from jobq.repos.lmdb.policies import Policies
from jobq.repos.lmdb.properties import Settings, settle_properties, write_properties
from jobq.repos.lmdb.rebuilding import places_in_lmdb, places_in_memory
from jobq.repos.lmdb.tearing import mend_torn
from jobq.repos.lmdb.wakes import Wakes
from jobq.repos.places import PlaceIndex

T = TypeVar("T")

GATHERING = 0.0001
"""Seconds that a commit waits for threads that shared the one before, where it costs an fsync."""
CHECK_READERS = 256
"""Commits after which the slots of killed readers are freed: each keeps old pages from being used again."""


class Environment:
    """An open LMDB environment, with what its users in this process share."""

    def __init__(self, path: Path, key: tuple[int, int], settings: Settings, clock: Clock) -> None:
        self.path = path
        self.key = key
        self.pid = os.getpid()
        self.users: set[object] = set()
        self.clock = clock
        self.states: dict[str, tuple[bytes, TopicState]] = {}
        self.known = Known()
        self.places: PlaceIndex | None = None
        self.entrance = Entrance()
        self._is_broken = False
        self._is_closed = False
        self._commits = 0
        self.presence = directory.Presence(path)
        with self.presence.entering(exclusive=settings.topics == "memory") as alone:
            self.properties = settle_properties(path, settings, alone=alone)
            self._mapping = Mapping(path) if self.properties.sync == "off" and can_allocate(path) else None
            with directory.files_of(path, alone=alone, is_durable=self.properties.is_durable):
                self._open(alone=alone)
            try:
                with translating(path):
                    self._with_room(lambda: dirty.clear_after_killed(path, self.env, self.dbs))
                    self._with_room(lambda: self._settle_places(settings))
                self.wakes = Wakes(path, clock, self.last_change, alone=alone)
            except BaseException:
                self._close_map()
                raise
        self.group = Group(self.write, 0.0 if self.properties.sync == "off" else GATHERING)

    def write(self, work: Callable[[lmdb.Transaction[bytes]], object], fate: Fate) -> None:
        """Run `work` in a write transaction and commit it, which `fate` then says; one thread at a time.

        If the fate then says nothing, not even a problem, the map had to grow first: call it again.
        Raises ReentrantCall within a transaction of the same thread, ServiceClosed once closed, and what LMDB says
        translated.
        """
        entrance = self.entrance
        with entrance.writing:
            if entrance.is_writing:
                entrance.check_writing()
            mark = (threading.get_ident(), object())
            try:
                entrance.is_writing = True
                entrance.inside.add(mark)
                if self._is_closed or self._is_broken or self.places is not None:
                    self._check_open()
                    self._mend()
                if self._mapping is not None and self._mapping.is_short:
                    self._make_room(MapTooSmall(str(self.path)))
                self._commit(work, fate)
            except lmdb.Error as problem:
                if not self._make_room(problem):
                    raise translated(problem, str(self.path)) from problem
            finally:
                # In this order, as Ctrl-C can break in after a call, but not after an assignment.
                entrance.is_writing = False
                entrance.inside.discard(mark)

    def read(self, work: Callable[[lmdb.Transaction[bytes]], T]) -> T:
        """Run `work` in a read transaction, a consistent snapshot; raises as `write` does.

        With places in memory it has to keep writers out, and raises ReentrantCall as they do; else only where a handler
        breaks in after a commit that failed, or while the file is replaced.
        """
        if self.places is None:
            return self._read(work)
        with self.entrance.holding(), translating(self.path):
            self.entrance.check_writing()
            try:
                self.entrance.is_writing = True
                self._mend()
                return self._read(work)
            finally:
                self.entrance.is_writing = False

    def _read(self, work: Callable[[lmdb.Transaction[bytes]], T]) -> T:
        while True:
            mark = (threading.get_ident(), object())
            try:
                self._enter(mark)
                with self.env.begin() as txn:
                    return work(txn)
            except lmdb.MapResizedError as problem:
                self.entrance.inside.discard(mark)
                if self.entrance.holds_this_thread():
                    raise ReentrantCall("a verb was called within another one that reads an earlier state") from problem
                if not self._make_room(problem):
                    raise translated(problem, str(self.path)) from problem
            except lmdb.Error as problem:
                raise translated(problem, str(self.path)) from problem
            finally:
                self.entrance.inside.discard(mark)

    def expect(self, size: int) -> None:
        """Within a write transaction: see that the map holds so many bytes, or have it grow and the work done again."""
        if self._mapping is not None:
            self._mapping.expect(size)

    def allocated(self) -> int:
        """The bytes that the disk has given to the file, used or not; 0 where it gives them as they are written."""
        return 0 if self._mapping is None else self._mapping.size

    def _make_room(self, problem: lmdb.Error) -> bool:
        """Whether a transaction failed only since the map was too small, and may be begun again.

        Raises StorageFull if the disk has no room; ReentrantCall, StorageError.
        """
        mapping = self._mapping
        if mapping is None or not isinstance(problem, (lmdb.MapFullError, lmdb.MapResizedError)):
            return False
        try:
            with self.entrance.quiet():
                if isinstance(problem, lmdb.MapResizedError):
                    return mapping.follow(self.env)
                return mapping.grow(self.env) or isinstance(problem, MapTooSmall)
        except StorageError:
            if isinstance(problem, MapTooSmall):
                return True  # what LMDB has free in the map may do
            raise
        except (lmdb.Error, OSError) as failure:
            self.note_failure()
            raise translated(failure, str(self.path)) from failure

    def _with_room(self, work: Callable[[], T]) -> T:
        """Do what has transactions of its own, from the start each time that the map had to grow."""
        while True:
            try:
                return work()
            except lmdb.Error as problem:
                if not self._make_room(problem):
                    raise

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Keep all other threads from the directory, and other processes from opening it; gives whether none has.

        Raises ReentrantCall within a transaction of the same thread, ServiceClosed, StorageError.
        """
        self.entrance.check_reentry()
        with self.entrance.quiet():
            self._check_open()
            self._mend()
            with self.entrance.alone(), self.presence.alone() as is_alone:
                if is_alone:
                    # As a writer begins: by mapping what others have added, and undoing what was killed in a commit.
                    self._with_room(lambda: self._begin().abort())
                yield is_alone

    @contextmanager
    def reopening(self) -> Iterator[None]:
        """Have LMDB closed, and opened anew at the end, for who is alone and puts another file in its place."""
        self._check_open()  # in a child that a signal handler forked meanwhile it is not
        self._is_broken = True  # whatever breaks in, the next transaction opens it
        self.known.forget()  # as the numbers of transactions may begin anew
        self._close_map()
        try:
            yield
        finally:
            self._open(alone=True)
            self._is_broken = False

    def last_change(self) -> int:
        """The number of the last committed transaction of any process; -1 while it is not to be known."""
        try:
            return self.env.info()["last_txnid"]
        except lmdb.Error:
            return -1

    def map_size(self) -> int:
        """The bytes that the map can hold, or come to hold."""
        return self.env.info()["map_size"] if self._mapping is None else self._mapping.limit

    def note_failure(self) -> None:
        """Note that a commit failed: its outcome is unknown, and the environment is opened anew before the next."""
        self._is_broken = True

    def disown(self) -> None:
        """Let go, in a forked child, of what it inherited; of LMDB's map not in the middle of its own transaction."""
        self._is_closed = True
        self.wakes.disown()
        self.presence.leave()
        if not self.entrance.holds_this_thread():
            with suppress(lmdb.Error):
                self.env.close()
        if self._mapping is not None:
            self._mapping.close()

    def close(self) -> None:
        """Close the environment; a second time makes sure."""
        self._is_closed = True
        try:
            self.wakes.close()
        finally:
            try:
                self._close_map()
            finally:
                self.presence.leave()

    def _close_map(self) -> None:
        with suppress(lmdb.Error):
            self.env.close()
        if self._mapping is not None:
            self._mapping.close()

    def _enter(self, mark: tuple[int, object]) -> None:
        self.entrance.inside.add(mark)
        if self.entrance.is_quiet or self._is_broken:
            self.entrance.inside.discard(mark)
            with self.entrance.holding():  # as whoever wants quiet does
                if self._is_broken:
                    self.entrance.check_writing()
                if not self.entrance.is_writing:
                    self._mend()
                self.entrance.inside.add(mark)
        self._check_open()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ServiceClosed("this storage was closed: open it again")

    def _commit(self, work: Callable[[lmdb.Transaction[bytes]], object], fate: Fate) -> None:
        """Run `work` in a transaction of its own, and say in `fate` what became of that.

        In one piece, as each verb comes through here: with a function for each concern it took 5 µs more.
        """
        policies, known, mapping = self.policies, self.known, self._mapping
        if policies.has_new:
            policies.settle(committed=False)  # left by a transaction of which two interrupts broke the end, too
        txn = self._begin()
        is_ending = has_failed = False
        try:
            number = txn.id()
            if number != known.holds_in:
                known.forget()
            known.holds_in, known.has_written = -1, False
            work(txn)
            if mapping is not None:
                mapping.pages.note(number)
            is_ending = True
            txn.commit()
            fate.is_committed = True
            known.holds_in = number + 1 if known.has_written else number
        except lmdb.Error as problem:
            has_failed = True
            # If the commit failed, its outcome is unknown: nothing of this environment is trusted any more.
            fate.is_unknown = is_ending and not isinstance(problem, lmdb.MapFullError)
            self._is_broken = self._is_broken or fate.is_unknown
            raise
        finally:
            if not fate.is_committed:
                # Ctrl-C may have broken in right after the commit.
                fate.is_committed = is_ending and not has_failed and is_over(txn)
            if not fate.is_committed:
                txn.abort()
                policies.settle(committed=False)
            elif policies.has_new:
                policies.settle(committed=True)
            if fate.is_committed and self.places is not None:
                self.places.is_moved = False

    def _begin(self) -> lmdb.Transaction[bytes]:
        self._commits += 1
        if not self._commits % CHECK_READERS:
            self.env.reader_check()
        txn: lmdb.Transaction[bytes] | None = None
        try:
            txn = self.env.begin(write=True)
            if self._mapping is not None:
                number = txn.id()
                # What this process itself committed last is whole.
                if number != self.known.holds_in and self._mapping.pages.mend(number - 1):
                    txn.abort()
                    txn = self.env.begin(write=True)
            return txn
        except BaseException as problem:
            if txn is not None:
                txn.abort()  # else it would last as long as a traceback of Ctrl-C is kept
            if isinstance(problem, lmdb.Error) and not isinstance(problem, lmdb.MapResizedError):
                self.note_failure()
            raise

    def _mend(self) -> None:
        are_places_torn = self.places is not None and self.places.is_moved
        if self._is_closed or not (self._is_broken or are_places_torn):
            return
        with self.entrance.quiet():
            if self._is_broken:
                with suppress(lmdb.Error):
                    self.env.close()
                self._open()
            if self.places is not None:
                self.places = self._with_room(lambda: places_in_memory(self.env, self.dbs, self.policies))
            self._is_broken = False

    def _settle_places(self, settings: Settings) -> None:
        """Build the places from the jobs, if they are or have been in memory."""
        if settings.topics == "memory":
            self.places = places_in_memory(self.env, self.dbs, self.policies)
        elif self.properties.topics == "memory":
            places_in_lmdb(self.env, self.dbs, self.policies)
            self.env.sync(True)  # or a power loss might take them, and leave the word that they are there
            self.properties = replace(self.properties, topics="lmdb")
            write_properties(self.path, self.properties, is_durable=True)

    def _open(self, *, alone: bool = False) -> None:
        try:
            self.env = open_readable(self.path, self.properties)
            try:
                if not mend_torn(str(self.path), self.env):
                    self._mapping = None
                if self._mapping is not None:
                    env = open_writable(self.path, self.properties, self.env, self._mapping, alone=alone)
                    if env is None:
                        self._mapping = None
                    else:
                        self.env = env
                self.env.reader_check()
                self.page_size = self.env.stat()["psize"]
                self.dbs = self._with_room(lambda: open_databases(self.env))
            except BaseException:
                self._close_map()
                raise
        except (lmdb.Error, OSError) as problem:
            raise translated(problem, str(self.path)) from problem
        self.policies = Policies(self.dbs.policies)
