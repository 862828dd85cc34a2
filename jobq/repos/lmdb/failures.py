"""The one seam where LMDB's errors, and the system's, become jobq's."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import lmdb

from jobq.errors import StorageCorrupt, StorageError, StorageFull

_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.BadChecksumError,
)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_FEW = 2**20
"""Bytes left on a disk at which a write that failed has failed for want of room: LMDB writes 256 KiB at a time."""


def translated(error: lmdb.Error | OSError, path: str) -> StorageError:
    """The jobq error for what LMDB or the system said of a directory; to be raised from it."""
    code = getattr(error, "code", None) or getattr(error, "errno", None)
    if isinstance(error, lmdb.MapFullError):
        return StorageFull(f"{path} has reached its max_size: finish or delete jobs, or open it with a larger max_size")
    if code in _NO_ROOM or isinstance(error, lmdb.DiskError) or (code == errno.EIO and _is_full(path)):
        return StorageFull(f"the disk of {path} is full: make room on it")
    if isinstance(error, _DAMAGE):
        return StorageCorrupt(f"{path} cannot be read as an LMDB environment: {error}")
    return StorageError(f"{path}: {error}")


@contextmanager
def translating(path: Path) -> Iterator[None]:
    """Raise what LMDB says of a directory as the jobq error for it."""
    try:
        yield
    except lmdb.Error as problem:
        raise translated(problem, str(path)) from problem


def _is_full(path: str) -> bool:
    # LMDB calls it EIO if the system wrote less than it was given, as it does for the last room on a disk.
    with suppress(OSError):
        disk = os.statvfs(path)
        return disk.f_blocks > 0 and disk.f_bavail * disk.f_frsize < _FEW
    return False


def system_error(error: OSError, what: str, *, advice: str = "") -> StorageError:
    """The jobq error for what the system said; to be raised from it. what: such as "PATH cannot be written"."""
    if error.errno in _NO_ROOM:
        return StorageFull(f"{what}, as the disk is full: make room on it")
    return StorageError(f"{what} ({error.strerror})" + (f": {advice}" if advice else ""))
