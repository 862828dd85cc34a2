"""The writable map of a directory with sync=off: what is written to it is in the file, without a system call.

A store into a page that the file has not on the disk takes one from there, and kills the process (SIGBUS) if there is
none. LMDB stores only below the size of its map. So the file is allocated first, and the map is as large as the file,
never larger: there is no such page, whatever else fills the disk.

As LMDB maps the file, it sets the file's size to that of the map, and would cut it if another process had made it
larger meanwhile. Therefore the file is looked at, made larger and mapped under a lock between processes (flock on it).
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import lmdb

from jobq.errors import ReentrantCall
from jobq.repos.lmdb.failures import translated
from jobq.repos.lmdb.filesystems import filesystem_of
from jobq.repos.lmdb.guarding import check_file
from jobq.repos.lmdb.tearing import MetaPages

T = TypeVar("T")

ALLOCATING = frozenset({"ext2", "ext3", "ext4", "tmpfs"})
"""Types of filesystems where what is allocated stays so; others may write to another place, or share blocks."""
LEAST_STEP = 2**16
"""Bytes that the file grows by at the least, or the disk counts as full."""
FIRST_STEP = 2**18
"""Bytes that a small file grows by."""
LARGEST_STEP = 2**26
"""Bytes that a large file grows by, unless more is needed at once; in between it is a quarter of the file."""
_NOT_SUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV)


class MapTooSmall(lmdb.MapFullError):
    """The map has no room for what is about to be written, of which nothing is yet."""


def can_allocate(path: Path) -> bool:
    """Whether a file in this directory can be given its pages on the disk for good."""
    return hasattr(os, "posix_fallocate") and filesystem_of(path) in ALLOCATING


class Mapping:
    """The file of a directory, and how much of it this process has mapped; for a thread that keeps all others out.

    size: bytes of the map. limit: bytes that it never grows beyond. is_short: whether it is time to grow, before the
    next transaction needs it. pages: the two meta pages, see tearing.
    """

    pages: MetaPages

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._is_locked = False
        self._expected = 0
        self._is_tight = False
        self.is_short = False
        self.size = 0
        self.limit = 0

    def open(
        self, opened: Callable[[int], lmdb.Environment], least: int, limit: int, *, alone: bool
    ) -> lmdb.Environment | None:
        """The environment that `opened` opens with a map as large as the file; None where that cannot be allocated.

        least: bytes that LMDB may use already. limit: see the class. alone: whether no other process has the directory
        open. If so, the file may have been used without this, with holes, and is allocated as a whole.
        Raises OSError, lmdb.Error, ConfigError.
        """
        if self._fd < 0:
            check_file(self._path / "data.mdb")
            self._fd = os.open(self._path / "data.mdb", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        self.limit = limit

        def open_within() -> lmdb.Environment | None:
            if not self._is_given(least, alone=alone):
                return None
            env = opened(self._file_size())
            self.pages = MetaPages(self._fd, env)
            self._is_now(env.info()["map_size"])
            return env

        env = self._locked(open_within)
        if env is None:
            self.close()
        return env

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self.size:
            self.pages.close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _is_given(self, least: int, *, alone: bool) -> bool:
        """Allocate the file, and say whether that can be done here. Raises OSError."""
        size = self._file_size()
        # What others have mapped is left alone: some filesystems take back more than was new if it fails.
        start, end = 0 if alone else size, max(size, least)
        try:
            if end > start:
                os.posix_fallocate(self._fd, start, end - start)
        except OSError as problem:
            if alone and problem.errno in _NOT_SUPPORTED:
                return False
            raise
        return True

    def expect(self, size: int) -> None:
        """Raise MapTooSmall if the map has not so many bytes and may grow; if it has few more, have it grow soon."""
        self._expected = max(self._expected, size + _step(size) // 2)
        self.is_short = self._expected > self.size and not self._is_tight
        if size > self.size and not self._is_tight:
            raise MapTooSmall(str(self._path))

    def follow(self, env: lmdb.Environment) -> bool:
        """Map what another process has added to the file, and say whether that is all which LMDB uses.

        No transaction of this process may be open. Raises StorageError, lmdb.Error.
        """

        def follow_within() -> bool:
            self._map(env, self._file_size())
            return (env.info()["last_pgno"] + 1) * env.stat()["psize"] <= self.size

        return self._locked(follow_within)

    def grow(self, env: lmdb.Environment) -> bool:
        """Have the map grow, and say whether it did, as it does up to the limit.

        No transaction of this process may be open. Raises StorageFull if the disk has no room; StorageError.
        """
        self._is_tight = True
        self.is_short = False
        return self._locked(lambda: self._grow(env))

    def _grow(self, env: lmdb.Environment) -> bool:
        size = self._file_size()
        if size <= self.size or size < min(self._expected, self.limit):  # else another process has made it larger
            try:
                size = self._allocate(size)
            except OSError as problem:
                size = self._file_size()  # some filesystems keep what they had given
                if size <= self.size:
                    raise translated(problem, str(self._path)) from problem
        return self._map(env, size)

    def _allocate(self, size: int) -> int:
        """Give the file more pages, and return its size then. Raises OSError."""
        left = self._left()
        step = min(_step(size), left // 4)
        step = min(max(step, self._expected - size, LEAST_STEP), left, self.limit - size)
        while True:
            step -= (size + step) % mmap.PAGESIZE
            if step <= 0 or not _has_address_space(size + step - self.size):
                return size
            try:
                os.posix_fallocate(self._fd, size, step)
            except OSError as problem:
                step //= 2
                if problem.errno not in (errno.ENOSPC, errno.EDQUOT) or step < LEAST_STEP:
                    raise
            else:
                return size + step

    def _left(self) -> int:
        """The bytes that the disk has left, of those that it gives to anyone. Raises OSError if these are too few."""
        disk = os.statvfs(self._path)
        if not disk.f_blocks:  # it has no size
            return self.limit
        left = disk.f_bavail * disk.f_frsize // LEAST_STEP * LEAST_STEP
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return left

    def _map(self, env: lmdb.Environment, size: int) -> bool:
        if size <= self.size:
            return False
        env.set_mapsize(size)
        self._is_now(size)
        return True

    def _is_now(self, size: int) -> None:
        self.size = size
        self._expected = 0
        self.is_short = self._is_tight = False

    def _file_size(self) -> int:
        return os.fstat(self._fd).st_size

    def _locked(self, work: Callable[[], T]) -> T:
        """Do work, and keep other processes from growing and mapping the file meanwhile."""
        if self._is_locked:  # a signal handler's: the sizes that the thread goes on with would be old ones
            raise ReentrantCall("a verb was called as the map of the same thread grew: call it later")
        try:
            self._is_locked = True
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            return work()
        finally:
            # In this order, as Ctrl-C can break in after a call, but not after an assignment; and in this function, as
            # it can break in before the first line of another. The lock is undone and not only closed, as a forked
            # child has the same open file, and would keep it.
            self._is_locked = False
            fcntl.flock(self._fd, fcntl.LOCK_UN)


def _step(size: int) -> int:
    return min(max(size // 4, FIRST_STEP), LARGEST_STEP)


def _has_address_space(more: int) -> bool:
    """Whether the process may map so much more: LMDB gives its map up before it makes a larger one."""
    try:
        mmap.mmap(-1, more, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ).close()
    except (OSError, OverflowError):
        return False
    return True
