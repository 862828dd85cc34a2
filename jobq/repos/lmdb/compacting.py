"""Giving the room of deleted jobs back to the disk.

LMDB uses the pages of deleted jobs again, but its file never shrinks. So it is copied to a file beside it without what
is free, and that is put in its place once it is safe on the disk: whoever is killed at any moment, or loses power,
leaves one of the two, complete. As the numbers of transactions begin anew in the copy, nobody else may have LMDB open,
whose lock.mdb keeps the last one.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jobq.errors import StorageError, StorageFull
from jobq.model.views import Compaction
from jobq.repos.lmdb.directory import NEW_DATA
from jobq.repos.lmdb.environment import Environment
from jobq.repos.lmdb.failures import system_error, translating
from jobq.repos.lmdb.guarding import check_file, check_folder, open_private
from jobq.repos.lmdb.opening import file_size
from jobq.repos.lmdb.properties import fsync_folder
from jobq.repos.lmdb.room import SMALLEST_RESERVE, used_pages


def compact(environment: Environment) -> Compaction:
    """Put a file that holds nothing free in place of the one of a directory.

    Raises StorageError if another process has it open; StorageFull, ConfigError, ReentrantCall, ServiceClosed. The
    queue is as it was then.
    """
    path = environment.path
    try:
        _check_files(environment)
        with translating(path), environment.alone() as is_alone:
            if not is_alone:
                raise StorageError(_who_else(environment))
            _check_disk(environment)
            before = file_size(path)
            with _copied(environment) as new, environment.reopening():
                _check_lmdb(path)
                os.replace(new, path / "data.mdb")
                fsync_folder(path)
            return Compaction(before, file_size(path))
    except OSError as problem:
        raise system_error(problem, f"{path} cannot be compacted") from problem


def _who_else(environment: Environment) -> str:
    others = environment.presence.holders() - {os.getpid()}
    named = f" ({', '.join(map(str, sorted(others)))})" if others else ""
    return (
        f"{environment.path} is open in another process{named}, and compacting needs it alone: stop the workers and "
        "whoever else has it open first; or let them run, and have a small copy made by backup"
    )


def _check_files(environment: Environment) -> None:
    """Refuse to go on by a path where another directory is by now, or by files that are not this user's own."""
    path = environment.path
    found = path.lstat()
    check_folder(path, found)
    if (found.st_dev, found.st_ino) != environment.key:
        raise StorageError(f"{path} was moved, and another directory is there: close it, and open it where it is now")
    for name in ("data.mdb", "lock.mdb"):
        if check_file(path / name) is None:
            raise StorageError(
                f"{path / name} was removed while it is open: put it back, or close it and restore a backup"
            )


def _check_disk(environment: Environment) -> None:
    with environment.env.begin() as txn:
        needed = used_pages(txn, environment.dbs) * environment.page_size + SMALLEST_RESERVE
    disk = os.statvfs(environment.path)
    left = disk.f_bavail * disk.f_frsize
    if disk.f_blocks and left < needed:
        raise StorageFull(
            f"the disk of {environment.path} has {left} bytes left, and compacting needs {needed} beside the old file: "
            "make room on it, or have a small copy made on another one by backup"
        )


@contextmanager
def _copied(environment: Environment) -> Iterator[Path]:
    """A file beside the old one with all that is in use, safe on the disk; it is removed if the block raises."""
    new = environment.path / NEW_DATA
    fd = open_private(new, os.O_WRONLY | os.O_TRUNC)
    try:
        try:
            environment.env.copyfd(fd, compact=True)
            os.fsync(fd)
        finally:
            os.close(fd)
        yield new
    except BaseException:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise


def _check_lmdb(path: Path) -> None:
    """Refuse if a program that is not jobq has LMDB open, as its own tools; for who has closed it himself."""
    fd = os.open(path / "lock.mdb", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
    except OSError as problem:
        if problem.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        raise StorageError(
            f"{path} is open in a program that uses LMDB itself, as its tools do: close it there, and compact again"
        ) from problem
    finally:
        os.close(fd)
