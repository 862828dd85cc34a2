"""Which jobs were touched since a backup began: its mark, the notes that writers make while it stands, and its lock.

The mark is an entry in `meta`, the notes are ids in `dirty`. Both are of the same transactions as what they are about,
so whoever reads them knows of every change that was committed before.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import lmdb

from jobq import codec
from jobq.repos.lmdb.databases import Databases
from jobq.repos.lmdb.failures import system_error
from jobq.repos.lmdb.guarding import open_private

MARK = b"backup"


def is_marked(txn: lmdb.Transaction[bytes], dbs: Databases) -> bool:
    """Whether a backup runs, or was killed and not cleared away."""
    return txn.get(MARK, None, dbs.meta) is not None


def is_running(txn: lmdb.Transaction[bytes], dbs: Databases, path: Path) -> bool:
    """Whether a backup of the directory runs, in any process. Raises StorageError if that cannot be told."""
    if not is_marked(txn, dbs):
        return False
    with only_backup(path) as is_only:
        return not is_only


def note(txn: lmdb.Transaction[bytes], dbs: Databases, ids: Iterable[int]) -> None:
    """Note that these jobs are touched."""
    for job_id in ids:
        txn.put(codec.id_key(job_id), b"", db=dbs.dirty)


def begin(txn: lmdb.Transaction[bytes], dbs: Databases) -> None:
    """Set the mark, and forget what an earlier backup that was killed has left."""
    txn.drop(dbs.dirty, delete=False)
    txn.put(MARK, b"\1", db=dbs.meta)


def end(txn: lmdb.Transaction[bytes], dbs: Databases) -> None:
    """Take the mark and all notes away."""
    txn.delete(MARK, db=dbs.meta)
    txn.drop(dbs.dirty, delete=False)


def noted(txn: lmdb.Transaction[bytes], dbs: Databases, after: int, n: int) -> list[int]:
    """The n lowest ids above `after` that are noted."""
    with txn.cursor(dbs.dirty) as cursor:
        if not cursor.set_range(codec.id_key(after + 1)):
            return []
        return [codec.id_of(key) for key in islice(cursor.iternext(values=False), n)]


def last_noted(txn: lmdb.Transaction[bytes], dbs: Databases) -> int:
    """The highest id that is noted; 0 if none is."""
    with txn.cursor(dbs.dirty) as cursor:
        return codec.id_of(cursor.key()) if cursor.last() else 0


def take(txn: lmdb.Transaction[bytes], dbs: Databases, after: int, until: int, n: int) -> list[int]:
    """The n lowest ids above `after` and up to `until` that are noted, which they then are no longer."""
    ids = [job_id for job_id in noted(txn, dbs, after, n) if job_id <= until]
    forget(txn, dbs, ids)
    return ids


def forget(txn: lmdb.Transaction[bytes], dbs: Databases, ids: Iterable[int]) -> None:
    """Take the notes of these jobs away."""
    for job_id in ids:
        txn.delete(codec.id_key(job_id), db=dbs.dirty)


@contextmanager
def only_backup(path: Path) -> Iterator[bool]:
    """Whether no other backup of the directory runs, in any process; if so, none begins within.

    Raises StorageError if that cannot be told.
    """
    try:
        lock = open_private(path / "jobq.backup", os.O_RDWR)
    except OSError as problem:
        raise system_error(problem, f"{path / 'jobq.backup'} cannot be opened") from problem
    try:
        yield _is_free(lock, path)
    finally:
        # A forked child has the same open file, and would keep the lock if that were only closed here.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)


def _is_free(lock: int, path: Path) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        if problem.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise system_error(problem, f"{path} cannot be locked") from problem
    return True


def clear_after_killed(path: Path, env: lmdb.Environment, dbs: Databases) -> None:
    """Take away what a backup has left that was killed, so that writers make no more notes."""
    with env.begin() as txn:
        if not is_marked(txn, dbs):
            return
    with only_backup(path) as is_only:
        if is_only:
            with env.begin(write=True) as txn:
                end(txn, dbs)
