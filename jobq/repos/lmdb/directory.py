"""The directory of a queue: made, with its files, and who has it open.

Every process holds a shared lock (flock) on `jobq.lock` while it has the environment open, which tells whether one is
alone. Openers go one at a time through `jobq.gate`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jobq.errors import ConfigError, StorageError
from jobq.repos.lmdb.failures import system_error
from jobq.repos.lmdb.filesystems import check_local
from jobq.repos.lmdb.guarding import check_file, check_folder, make_folder, open_private
from jobq.repos.lmdb.holders import holders_of
from jobq.repos.lmdb.properties import fsync_folder, is_for_one_process

try:
    import fcntl
except ImportError as missing:  # pragma: no cover  # Windows
    raise ConfigError("the lmdb storage needs flock, which this system has not: use memory://") from missing

READERS = 1024
LOCK_BYTES = 4096 + READERS * 64
"""Of lock.mdb: a cache line for each reader, and a page for the rest."""
NEW_DATA = "data.mdb.new"
"""The file that compacting puts in place of data.mdb when it is complete; left behind if it is killed before."""


class Presence:
    """The mark of this process on a directory that it has open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pid = os.getpid()
        self._fd = -1
        self._is_exclusive = False

    @contextmanager
    def entering(self, *, exclusive: bool = False) -> Iterator[bool]:
        """Take the mark; within, no other process opens the directory. Gives whether no other has it open.

        exclusive: let no other open it later either. Raises ConfigError where another process has it so.
        """
        gate = _lock_file(self._path / "jobq.gate")
        try:
            self._lock(gate, fcntl.LOCK_EX)
            self._fd = _lock_file(self._path / "jobq.lock")
            try:
                alone = self._mark()
                yield alone
            except BaseException:
                self.leave()
                raise
            self._is_exclusive = exclusive
            if not exclusive:
                self._lock(self._fd, fcntl.LOCK_SH)
        finally:
            os.close(gate)

    def _mark(self) -> bool:
        """Within the gate: take the mark; says whether no other process has it."""
        while True:
            if self._lock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB):
                return True
            if self._lock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB):
                return False
            if is_for_one_process(self._path):
                raise ConfigError(
                    f"{self._path} is open in another process with topics=memory, which shares it with none: "
                    "close it there first"
                )
            # Whoever was killed as he opened or compacted the directory: his locks go one by one, the gate before this.
            self._lock(self._fd, fcntl.LOCK_SH)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no other process has the directory open, for one that has; within, none opens it: they wait."""
        gate = _lock_file(self._path / "jobq.gate")
        try:
            self._lock(gate, fcntl.LOCK_EX)
            is_alone = self._lock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not is_alone:
                self._lock(self._fd, fcntl.LOCK_SH)  # which may be lost by an attempt to have more
            yield is_alone
        finally:
            if not self._is_exclusive:
                self._lock(self._fd, fcntl.LOCK_SH)
            self._lock(gate, fcntl.LOCK_UN)  # a child that was forked meanwhile would keep it
            os.close(gate)

    def holders(self) -> set[int]:
        """The ids of the processes that have the directory open, this one included; none where the system is silent."""
        return holders_of(self._fd)

    def _lock(self, fd: int, operation: int) -> bool:
        try:
            fcntl.flock(fd, operation)
        except OSError as problem:
            if problem.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise StorageError(f"{self._path} cannot be locked: {problem.strerror}") from problem
        return True

    def leave(self) -> None:
        """Give the mark up, also where a child has inherited it; in a forked child only what it inherited."""
        if self._fd >= 0:
            if self._pid == os.getpid():
                self._lock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = -1


def prepare(path: Path) -> os.stat_result:
    """Make the directory if there is none, and return its stat.

    Raises ConfigError for a network filesystem, and if what is at the path is no directory, a link to one, or another
    user's, or can be written by others; StorageError if it cannot be made or written.
    """
    try:
        check_local(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        make_folder(path)
        found = path.lstat()
    except OSError as problem:
        raise system_error(
            problem, f"{path} cannot be a queue's directory", advice="give a path where this user may make one"
        ) from problem
    check_folder(path, found)
    if not os.access(path, os.W_OK | os.X_OK):
        raise StorageError(f"{path} is not writable, which a queue needs even to read: change its owner or mode")
    return found


@contextmanager
def files_of(path: Path, *, alone: bool, is_durable: bool) -> Iterator[None]:
    """See that LMDB's files are there and this user's own, for a block that opens them; to be used while entering.

    Those that were made are removed if the block raises, so that opening may be tried again. is_durable: whether they
    must survive a power loss. Raises ConfigError for files of another user and links; StorageError, StorageFull.
    """
    made: list[Path] = []
    try:
        try:
            for name, size in (("data.mdb", 0), ("lock.mdb", LOCK_BYTES)):
                found = check_file(path / name)
                if found is None or not found.st_size:  # empty if a process was killed while it made the directory
                    _check_unmissed(path / name, alone=alone)
                    made.append(path / name)
                    _make_file(path / name, size)
            with suppress(OSError):
                (path / NEW_DATA).unlink()  # a killed compaction's: who opens has the gate, so none runs
            if made and is_durable:
                keep_names(path)
        except OSError as problem:
            raise system_error(problem, f"the files of {path} cannot be made") from problem
        yield
    except BaseException:
        for file in made:
            file.unlink(missing_ok=True)
        raise


def _check_unmissed(file: Path, *, alone: bool) -> None:
    # A new file would not be the one that others have open and locked.
    if not alone:
        raise StorageError(f"{file} was removed while another process has it open: close it there first")


def _make_file(file: Path, size: int) -> None:
    # Nobody has it open, so closing it takes no lock from this process, as closing LMDB's files else does.
    with open(open_private(file, os.O_WRONLY), "wb") as new:
        # LMDB maps lock.mdb for writing: were its pages not there, a disk without room would mean SIGBUS.
        new.write(bytes(size))


def keep_names(path: Path) -> None:
    """See that the directory and the names in it survive a power loss. Raises OSError."""
    fsync_folder(path)
    with suppress(PermissionError):
        fsync_folder(path.parent)


def _lock_file(path: Path) -> int:
    try:
        return open_private(path, os.O_RDWR)
    except OSError as problem:
        raise system_error(problem, f"{path} cannot be opened") from problem
