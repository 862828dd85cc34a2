"""The one LMDB environment that a process has of a directory, shared by all who open it there.

Opening a directory twice in a process would share and drop LMDB's file locks, so `registry` counts environments. A
forked child must not use the one it inherits: it is closed there and opened anew when it is first used.

A signal handler or a finalizer may call a verb, or close, in the middle of a transaction of its own thread. Locks are
therefore reentrant, a transaction within one is refused, and closing waits until the thread's transaction has ended.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import lmdb

from jobq.errors import ConfigError, ReentrantCall, ServiceClosed
from jobq.model.records import TopicState
from jobq.model.status import Ordering
from jobq.ports import Clock
from jobq.repos.lmdb import directory
from jobq.repos.lmdb.failures import translated
from jobq.repos.lmdb.policies import Policies
from jobq.repos.waking import Bell

T = TypeVar("T")

READERS = 1024
HEADROOM = 64 * 2**20
"""Bytes of the map beyond max_size at the least, so that jobs can be settled when it is reached."""
CHECK_READERS = 256
"""Commits after which the slots of killed readers are freed: each keeps old pages from being used again."""


class Databases(NamedTuple):
    """The named databases of an environment; `orderings` by Ordering."""

    meta: lmdb._Database
    jobs: lmdb._Database
    payloads: lmdb._Database
    keys: lmdb._Database
    topics: lmdb._Database
    policies: lmdb._Database
    quarantine: lmdb._Database
    orderings: tuple[lmdb._Database, ...]


class Environment:
    """An open LMDB environment, with what its users in this process share."""

    def __init__(self, path: Path, key: tuple[int, int], sync: str | None, max_size: int | None, clock: Clock) -> None:
        self.path = path
        self.key = key
        self.pid = os.getpid()
        self.users = 1
        self.clock = clock
        self.bell = Bell(clock)
        self.states: dict[str, tuple[bytes, TopicState]] = {}
        self._writing = threading.RLock()
        self._inside: set[tuple[int, object]] = set()
        self._is_writing = False
        self._is_quiet = False
        self._is_broken = False
        self._is_closed = False
        self._commits = 0
        self._presence = directory.Presence(path)
        with self._presence.entering() as alone:
            self.properties = directory.settle_properties(path, sync, max_size, alone=alone)
            self._open()

    def check_agreement(self, sync: str | None, max_size: int | None) -> None:
        """Refuse another user of this process who asks for other settings than those in force."""
        directory.check_settings(sync, max_size)
        for name, value in (("sync", sync), ("max_size", max_size)):
            in_force = getattr(self.properties, name)
            if value is not None and value != in_force:
                raise ConfigError(
                    f"{self.path} is open in this process with {name}={in_force}, and cannot have {name}={value} "
                    f"as well: leave {name} out, or close it first"
                )

    def write(self, work: Callable[[lmdb.Transaction[bytes]], T]) -> T:
        """Run `work` in a write transaction and commit it; one thread at a time.

        Raises ReentrantCall within a transaction of the same thread, ServiceClosed once closed, and what LMDB says
        translated.
        """
        with self._writing:
            if self._is_writing:
                raise ReentrantCall("a verb was called within another one of the same thread: call it later")
            mark = (threading.get_ident(), object())
            try:
                self._is_writing = True
                self._inside.add(mark)
                self._check_open()
                self._mend()
                return self._committed(work)
            except lmdb.Error as problem:
                raise translated(problem, str(self.path)) from problem
            finally:
                # In this order, as Ctrl-C can break in after a call, but not after an assignment.
                self._is_writing = False
                self._inside.discard(mark)

    def read(self, work: Callable[[lmdb.Transaction[bytes]], T]) -> T:
        """Run `work` in a read transaction, a consistent snapshot; raises as `write` does, but never for reentry."""
        mark = (threading.get_ident(), object())
        try:
            self._enter(mark)
            with self.env.begin() as txn:
                return work(txn)
        except lmdb.Error as problem:
            raise translated(problem, str(self.path)) from problem
        finally:
            self._inside.discard(mark)

    def is_inside(self) -> bool:
        """Whether this thread is in a transaction."""
        me = threading.get_ident()
        return any(thread == me for thread, _ in self._inside.copy())

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Wait until no other thread of this process is in a transaction, and let none begin."""
        with self._writing:
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

    def close(self) -> None:
        """Close the environment; in a forked child, only what it inherited."""
        self._is_closed = True
        with suppress(lmdb.Error):
            self.env.close()
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

    def _check_open(self) -> None:
        if self._is_closed:
            raise ServiceClosed("this storage was closed: open it again")

    def _committed(self, work: Callable[[lmdb.Transaction[bytes]], T]) -> T:
        txn = None
        is_committed = False
        try:
            txn = self._begin()
            result = work(txn)
            self._commit(txn)
            is_committed = True
            return result
        finally:
            self.policies.settle(committed=is_committed)
            if txn is not None and not is_committed:
                txn.abort()

    def _begin(self) -> lmdb.Transaction[bytes]:
        self._commits += 1
        if self._commits % CHECK_READERS == 0:
            self.env.reader_check()
        try:
            return self.env.begin(write=True)
        except lmdb.Error:
            self.note_failure()
            raise

    def _commit(self, txn: lmdb.Transaction[bytes]) -> None:
        try:
            txn.commit()
        except BaseException:
            # Whether it took effect is unknown now: nothing of this environment is trusted any more.
            self.note_failure()
            raise

    def _mend(self) -> None:
        if not self._is_broken or self._is_closed:
            return
        with self.quiet():
            with suppress(lmdb.Error):
                self.env.close()
            self._open()
            self._is_broken = False

    def _open(self) -> None:
        size = self.properties.max_size + max(self.properties.max_size // 4, HEADROOM)
        try:
            self.env = self._open_map(size)
            try:
                self.env.reader_check()
                self.dbs = self._databases()
            except BaseException:
                self.env.close()
                raise
        except (lmdb.Error, OSError) as problem:
            raise translated(problem, str(self.path)) from problem
        self.policies = Policies(self.dbs.policies)

    def _databases(self) -> Databases:
        with self.env.begin(write=True) as txn:
            names = [*Databases._fields[:-1], *(ordering.name.lower() for ordering in Ordering)]
            opened = [self.env.open_db(name.encode(), txn=txn) for name in names]
        meta, jobs, payloads, keys, topics, policies, quarantine, *orderings = opened
        return Databases(meta, jobs, payloads, keys, topics, policies, quarantine, tuple(orderings))

    def _open_map(self, size: int) -> lmdb.Environment:
        while True:
            try:
                return lmdb.open(
                    str(self.path),
                    map_size=size,
                    mode=0o700,
                    max_dbs=len(Databases._fields) + len(Ordering),
                    max_readers=READERS,
                    sync=self.properties.sync != "off",
                    metasync=self.properties.sync == "full",
                    lib_version=0,
                )
            except lmdb.MemoryError:
                # The address space is bounded: take what there is, as long as the map holds what the file does.
                size //= 2
                if size < max(2 * directory.SMALLEST, self._file_size()):
                    raise

    def _file_size(self) -> int:
        with suppress(OSError):
            return (self.path / "data.mdb").stat().st_size
        return 0
