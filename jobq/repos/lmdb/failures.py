"""The one seam where LMDB's errors become jobq's."""

from __future__ import annotations

import errno

import lmdb

from jobq.errors import StorageCorrupt, StorageError, StorageFull

_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.BadChecksumError,
)


def translated(error: lmdb.Error | OSError, path: str) -> StorageError:
    """The jobq error for what LMDB or the system said of a directory; to be raised from it."""
    code = getattr(error, "code", None) or getattr(error, "errno", None)
    if isinstance(error, lmdb.MapFullError):
        return StorageFull(f"{path} has reached its max_size: finish or delete jobs, or open it with a larger max_size")
    if code == errno.ENOSPC or isinstance(error, lmdb.DiskError):
        return StorageFull(f"the disk of {path} is full: make room on it")
    if isinstance(error, _DAMAGE):
        return StorageCorrupt(f"{path} cannot be read as an LMDB environment: {error}")
    return StorageError(f"{path}: {error}")
