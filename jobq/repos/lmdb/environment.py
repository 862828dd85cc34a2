"""The one LMDB environment that a process has of a directory, shared by all who open it there.

Opening a directory twice in a process would share and drop LMDB's file locks, so `registry` counts environments. A
forked child must not use the one it inherits: it lets go of it at once, and opens the directory when it first uses it.

A signal handler or a finalizer may call a verb, or close, in the middle of a transaction of its own thread. Locks are
therefore reentrant, a transaction within one is refused, and closing waits until the thread's transaction has ended.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import lmdb

from jobq.errors import ConfigError, ReentrantCall, ServiceClosed
from jobq.model.records import TopicState
from jobq.ports import Clock
from jobq.repos.lmdb import directory, dirty
from jobq.repos.lmdb.databases import NAMES, open_databases
from jobq.repos.lmdb.failures import translated, translating
from jobq.repos.lmdb.fate import Fate
from jobq.repos.lmdb.grouping import Group
from jobq.repos.lmdb.policies import Policies
from jobq.repos.lmdb.properties import SMALLEST, Settings, settle_properties, write_properties
from jobq.repos.lmdb.rebuilding import places_in_lmdb, places_in_memory
from jobq.repos.lmdb.wakes import Wakes
from jobq.repos.places import PlaceIndex

T = TypeVar("T")

HEADROOM = 64 * 2**20
"""Bytes of the map beyond max_size at the least, so that jobs can be settled when it is reached."""
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
        self.places: PlaceIndex | None = None
        self._writing = threading.RLock()
        self._inside: set[tuple[int, object]] = set()
        self._holders: set[int] = set()
        self._is_writing = False
        self._is_quiet = False
        self._is_broken = False
        self._is_closed = False
        self._commits = 0
        self._presence = directory.Presence(path)
        with self._presence.entering(exclusive=settings.topics == "memory") as alone:
            self.properties = settle_properties(path, settings, alone=alone)
            with directory.files_of(path, alone=alone, is_durable=self.properties.is_durable):
                self._open()
            try:
                with translating(path):
                    dirty.clear_after_killed(path, self.env, self.dbs)
                    self._settle_places(settings)
                self.wakes = Wakes(path, clock, self.last_change, alone=alone)
            except BaseException:
                self.env.close()
                raise
        self.group = Group(self.write, 0.0 if self.properties.sync == "off" else GATHERING)

    def check_agreement(self, settings: Settings) -> None:
        """Refuse another user of this process who asks for other settings than those in force."""
        for name, value in settings._asdict().items():
            in_force = getattr(self.properties, name)
            if value is not None and value != in_force:
                raise ConfigError(
                    f"{self.path} is open in this process with {name}={in_force}, and cannot have {name}={value} "
                    f"as well: leave {name} out, or close it first"
                )

    def write(self, work: Callable[[lmdb.Transaction[bytes]], object], fate: Fate) -> None:
        """Run `work` in a write transaction and commit it, which `fate` then says; one thread at a time.

        Raises ReentrantCall within a transaction of the same thread, ServiceClosed once closed, and what LMDB says
        translated.
        """
        with self._writing:
            self._check_reentry()
            mark = (threading.get_ident(), object())
            try:
                self._is_writing = True
                self._inside.add(mark)
                self._check_open()
                self._mend()
                self._commit(work, fate)
            except lmdb.Error as problem:
                raise translated(problem, str(self.path)) from problem
            finally:
                # In this order, as Ctrl-C can break in after a call, but not after an assignment.
                self._is_writing = False
                self._inside.discard(mark)

    def read(self, work: Callable[[lmdb.Transaction[bytes]], T]) -> T:
        """Run `work` in a read transaction, a consistent snapshot; raises as `write` does.

        With places in memory it has to keep writers out, and raises ReentrantCall as they do; else never.
        """
        if self.places is None:
            return self._read(work)
        with self._holding(), translating(self.path):
            self._check_reentry()
            try:
                self._is_writing = True
                self._mend()
                return self._read(work)
            finally:
                self._is_writing = False

    def _read(self, work: Callable[[lmdb.Transaction[bytes]], T]) -> T:
        mark = (threading.get_ident(), object())
        try:
            self._enter(mark)
            with self.env.begin() as txn:
                return work(txn)
        except lmdb.Error as problem:
            raise translated(problem, str(self.path)) from problem
        finally:
            self._inside.discard(mark)

    def check_reentry(self) -> None:
        """Raise ReentrantCall if this thread is in a transaction, for which the writers of other threads may wait."""
        if threading.get_ident() in self._holders or (self._inside and self.is_inside()):
            raise ReentrantCall("a verb was called within another one of the same thread: call it later")

    def is_inside(self) -> bool:
        """Whether this thread is in a transaction."""
        me = threading.get_ident()
        return any(thread == me for thread, _ in self._inside.copy())

    @contextmanager
    def _holding(self) -> Iterator[None]:
        """Hold the writers' lock, known as a thread that does or is about to."""
        me = threading.get_ident()
        was_holding = me in self._holders
        try:
            self._holders.add(me)
            with self._writing:
                yield
        finally:
            if not was_holding:
                self._holders.discard(me)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Wait until no other thread of this process is in a transaction, and let none begin."""
        with self._holding():
            self._is_quiet = True
            try:
                me = threading.get_ident()
                while any(thread != me for thread, _ in self._inside.copy()):
                    time.sleep(0.0005)  # views are short
                yield
            finally:
                self._is_quiet = False

    def last_change(self) -> int:
        """The number of the last committed transaction of any process; -1 while it is not to be known."""
        try:
            return self.env.info()["last_txnid"]
        except lmdb.Error:
            return -1

    def map_size(self) -> int:
        """The bytes that the map can hold."""
        return self.env.info()["map_size"]

    def note_failure(self) -> None:
        """Note that a commit failed: its outcome is unknown, and the environment is opened anew before the next."""
        self._is_broken = True

    def disown(self) -> None:
        """Let go, in a forked child, of what it inherited; of LMDB's map not in the middle of its own transaction."""
        self._is_closed = True
        self.wakes.disown()
        self._presence.leave()
        if not self.is_inside():
            with suppress(lmdb.Error):
                self.env.close()

    def close(self) -> None:
        """Close the environment; a second time makes sure."""
        self._is_closed = True
        try:
            self.wakes.close()
        finally:
            try:
                with suppress(lmdb.Error):
                    self.env.close()
            finally:
                self._presence.leave()

    def _enter(self, mark: tuple[int, object]) -> None:
        self._inside.add(mark)
        if self._is_quiet or self._is_broken:
            self._inside.discard(mark)
            with self._writing:  # which whoever wants quiet holds
                if not self._is_writing:
                    self._mend()
                self._inside.add(mark)
        self._check_open()

    def _check_reentry(self) -> None:
        if self._is_writing:
            raise ReentrantCall("a verb was called within another one of the same thread: call it later")

    def _check_open(self) -> None:
        if self._is_closed:
            raise ServiceClosed("this storage was closed: open it again")

    def _commit(self, work: Callable[[lmdb.Transaction[bytes]], object], fate: Fate) -> None:
        self.policies.begin()
        txn = self._begin()
        is_ending = has_failed = False
        try:
            work(txn)
            is_ending = True
            txn.commit()
            fate.is_committed = True
        except lmdb.Error as problem:
            has_failed = True
            # If the commit failed, its outcome is unknown: nothing of this environment is trusted any more.
            fate.is_unknown = is_ending and not isinstance(problem, lmdb.MapFullError)
            self._is_broken = self._is_broken or is_ending
            raise
        finally:
            # Ctrl-C may have broken in right after the commit.
            fate.is_committed = fate.is_committed or (is_ending and not has_failed and _is_over(txn))
            if not fate.is_committed:
                txn.abort()
            elif self.places is not None:
                self.places.is_moved = False
            self.policies.settle(committed=fate.is_committed)

    def _begin(self) -> lmdb.Transaction[bytes]:
        self._commits += 1
        if self._commits % CHECK_READERS == 0:
            self.env.reader_check()
        try:
            return self.env.begin(write=True)
        except lmdb.Error:
            self.note_failure()
            raise

    def _mend(self) -> None:
        are_places_torn = self.places is not None and self.places.is_moved
        if self._is_closed or not (self._is_broken or are_places_torn):
            return
        with self.quiet():
            if self._is_broken:
                with suppress(lmdb.Error):
                    self.env.close()
                self._open()
            if self.places is not None:
                self.places = places_in_memory(self.env, self.dbs, self.policies)
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

    def _open(self) -> None:
        size = self.properties.max_size + max(self.properties.max_size // 4, HEADROOM)
        try:
            self.env = self._open_map(size)
            try:
                self.env.reader_check()
                self.dbs = open_databases(self.env)
            except BaseException:
                self.env.close()
                raise
        except (lmdb.Error, OSError) as problem:
            raise translated(problem, str(self.path)) from problem
        self.policies = Policies(self.dbs.policies)

    def _open_map(self, size: int) -> lmdb.Environment:
        while True:
            try:
                return lmdb.open(
                    str(self.path),
                    map_size=size,
                    mode=0o700,
                    max_dbs=len(NAMES),
                    max_readers=directory.READERS,
                    sync=self.properties.sync != "off",
                    metasync=self.properties.sync == "full",
                    lib_version=0,
                )
            except lmdb.MemoryError:
                # The address space is bounded: take what there is, as long as the map holds what the file does.
                size //= 2
                if size < max(2 * SMALLEST, self.file_size()):
                    raise

    def file_size(self) -> int:
        """The bytes of the file, which never shrinks."""
        with suppress(OSError):
            return (self.path / "data.mdb").stat().st_size
        return 0


def _is_over(txn: lmdb.Transaction[bytes]) -> bool:
    try:
        txn.id()
    except lmdb.Error:
        return True
    return False
