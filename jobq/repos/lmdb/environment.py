"""The one LMDB environment that a process has of a directory, shared by all who open it there.

Opening a directory twice in a process would share and drop LMDB's file locks, so environments are counted, by device
and inode. A forked child must not use the one it inherits: it is closed there and opened anew when it is first used.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import lmdb

from jobq.errors import ConfigError, ServiceClosed
from jobq.model.records import TopicState
from jobq.model.status import Ordering
from jobq.ports import Clock
from jobq.repos.lmdb import directory
from jobq.repos.lmdb.failures import translated
from jobq.repos.lmdb.policies import Policies
from jobq.repos.waking import Bell

READERS = 1024
HEADROOM = 64 * 2**20
"""Bytes of the map beyond max_size at the least, so that jobs can be settled when it is reached."""


class Databases(NamedTuple):
    """The named databases of an environment; `orderings` by Ordering."""

    meta: lmdb._Database
    jobs: lmdb._Database
    payloads: lmdb._Database
    keys: lmdb._Database
    topics: lmdb._Database
    policies: lmdb._Database
    orderings: tuple[lmdb._Database, ...]


class Environment:
    """An open LMDB environment, with what its users in this process share."""

    def __init__(self, path: Path, sync: str | None, max_size: int | None, clock: Clock) -> None:
        self.path = path
        self.pid = os.getpid()
        self.users = 1
        self.clock = clock
        self.bell = Bell(clock)
        self.states: dict[str, tuple[bytes, TopicState]] = {}
        self.writing = threading.Lock()
        self._readers = threading.Condition(threading.Lock())
        self._reading = 0
        self._broken = False
        self._closed = False
        self._presence = directory.Presence(path)
        with self._presence.entering() as alone:
            self.properties = directory.settle_properties(path, sync, max_size, alone=alone)
            self.env = self._open()
        self.dbs = self._databases()
        self.policies = Policies(self.dbs.policies)

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

    @contextmanager
    def reading(self) -> Iterator[lmdb.Transaction[bytes]]:
        """Give a read transaction."""
        with self._readers:
            self._check_open()
            self._reading += 1
        try:
            with self.env.begin() as txn:
                yield txn
        except lmdb.Error as problem:
            raise translated(problem, str(self.path)) from problem
        finally:
            with self._readers:
                self._reading -= 1
                self._readers.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no thread of this process is in a transaction, and let none begin."""
        with self.writing, self._readers:
            while self._reading:
                self._readers.wait()
            yield

    def last_change(self) -> int:
        """The number of the last committed transaction of any process; -1 once closed."""
        with self._readers:
            return -1 if self._closed else self.env.info()["last_txnid"]

    def note_failure(self) -> None:
        """Note that a commit failed: its outcome is unknown, and the environment is opened anew before the next."""
        self._broken = True

    def mend(self) -> None:
        """Open the environment anew if a commit failed; the caller holds `writing`. ServiceClosed once closed."""
        self._check_open()
        if not self._broken:
            return
        with self._readers:
            while self._reading:
                self._readers.wait()
            self.env.close()
            self.env = self._open()
            self.dbs = self._databases()
            self.policies = Policies(self.dbs.policies)
            self._broken = False

    def close(self) -> None:
        """Close the environment; in a forked child, only what it inherited."""
        self._closed = True
        with suppress(lmdb.Error):
            self.env.close()
        self._presence.leave()

    def _check_open(self) -> None:
        if self._closed:
            raise ServiceClosed("this storage was closed: open it again")

    def _open(self) -> lmdb.Environment:
        size = self.properties.max_size + max(self.properties.max_size // 4, HEADROOM)
        while True:
            try:
                env = lmdb.open(
                    str(self.path),
                    map_size=size,
                    mode=0o700,
                    max_dbs=len(Databases._fields) + len(Ordering),
                    max_readers=READERS,
                    sync=self.properties.sync != "off",
                    metasync=self.properties.sync == "full",
                    lib_version=0,
                )
                env.reader_check()
                return env
            except lmdb.MemoryError as problem:
                # The address space is bounded: take what there is, as long as the map holds what the file does.
                size //= 2
                if size < max(2 * directory.SMALLEST, self._file_size()):
                    raise translated(problem, str(self.path)) from problem
            except (lmdb.Error, OSError) as problem:
                raise translated(problem, str(self.path)) from problem

    def _file_size(self) -> int:
        with suppress(OSError):
            return (self.path / "data.mdb").stat().st_size
        return 0

    def _databases(self) -> Databases:
        try:
            with self.env.begin(write=True) as txn:
                names = [*Databases._fields[:-1], *(ordering.name.lower() for ordering in Ordering)]
                opened = [self.env.open_db(name.encode(), txn=txn) for name in names]
        except lmdb.Error as problem:
            self.close()
            raise translated(problem, str(self.path)) from problem
        meta, jobs, payloads, keys, topics, policies, *orderings = opened
        return Databases(meta, jobs, payloads, keys, topics, policies, tuple(orderings))


class Registry:
    """The environments that this process has open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._environments: dict[tuple[int, int], Environment] = {}

    def acquire(self, path: Path, sync: str | None, max_size: int | None, clock: Clock) -> Environment:
        """The environment of a directory, opened by its first user with the clock of that one."""
        with self._lock:
            found = directory.prepare(path)
            key = (found.st_dev, found.st_ino)
            environment = self._environments.get(key)
            if environment is not None and environment.pid != os.getpid():
                environment.close()
                del self._environments[key]
                environment = None
            if environment is None:
                environment = self._environments[key] = Environment(path, sync, max_size, clock)
            else:
                environment.check_agreement(sync, max_size)
                environment.users += 1
            return environment

    def release(self, environment: Environment) -> None:
        """Give an environment back; the last to do so closes it."""
        with self._lock:
            environment.users -= 1
            if environment.users or environment.pid != os.getpid():
                return
            with environment.alone():
                environment.close()
            self._environments = {k: e for k, e in self._environments.items() if e is not environment}

    def before_fork(self) -> None:
        """Let no thread be in a transaction or in here while the process forks: a child could not end it."""
        self._lock.acquire()
        self._forking = [environment.alone() for environment in self._environments.values()]
        for quiet in self._forking:
            quiet.__enter__()

    def after_fork(self) -> None:
        """Go on, in the parent and in the child."""
        for quiet in self._forking:
            quiet.__exit__(None, None, None)
        self._forking = []
        self._lock.release()


REGISTRY = Registry()
os.register_at_fork(
    before=REGISTRY.before_fork, after_in_parent=REGISTRY.after_fork, after_in_child=REGISTRY.after_fork
)
