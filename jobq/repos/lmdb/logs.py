"""The logs of jobs, on LMDB.

The key of a line is the id of its job and its number, so that the lines of a job stand together, the oldest first.
Numbers begin at 0 and leave none out: that of the oldest line kept is how many were dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

import lmdb

from jobq import codec
from jobq.model.records import LOG_LINES, Entry, Log


def read(txn: lmdb.Transaction[bytes], db: lmdb._Database, job_id: int) -> Log:
    """The log of a job."""
    lines = rows(txn, db, job_id)
    if not lines:
        return Log()
    return Log(codec.line_number(lines[0][0]), tuple([codec.decode_line(job_id, data) for _, data in lines]))


def rows(txn: lmdb.Transaction[bytes], db: lmdb._Database, job_id: int) -> list[tuple[bytes, bytes]]:
    """The lines of a job as they are stored, with their keys."""
    prefix = codec.id_key(job_id)
    with txn.cursor(db) as cursor:
        if not cursor.set_range(prefix):
            return []
        return list(takewhile(lambda row: row[0].startswith(prefix), cursor.iternext()))


def append(txn: lmdb.Transaction[bytes], db: lmdb._Database, entries: Iterable[Entry]) -> None:
    """Add lines to the logs of jobs, each in place of the job's oldest one if that has as many as are kept."""
    with txn.cursor(db) as cursor:
        for entry in entries:
            number = _next_number(cursor, entry.job_id)
            cursor.put(codec.line_key(entry.job_id, number), codec.encode_line(entry))
            if number >= LOG_LINES:
                txn.delete(codec.line_key(entry.job_id, number - LOG_LINES), db=db)


def replace(txn: lmdb.Transaction[bytes], db: lmdb._Database, job_id: int, log: Log) -> None:
    """Give a job this log in place of the one it has."""
    forget(txn, db, [job_id])
    for number, entry in enumerate(log.entries, log.dropped):
        txn.put(codec.line_key(job_id, number), codec.encode_line(entry), db=db)


def forget(txn: lmdb.Transaction[bytes], db: lmdb._Database, ids: Sequence[int]) -> None:
    """Delete the logs of jobs; costs next to nothing where no job has one."""
    if not ids or not txn.stat(db)["entries"]:
        return
    with txn.cursor(db) as cursor:
        for prefix in map(codec.id_key, ids):
            cursor.set_range(prefix)
            while cursor.key().startswith(prefix):
                cursor.delete()  # and on to the next


def _next_number(cursor: lmdb.Cursor[bytes], job_id: int) -> int:
    if cursor.set_range(codec.id_key(job_id + 1)):
        cursor.prev()
    else:
        cursor.last()
    key = cursor.key()
    return codec.line_number(key) + 1 if key.startswith(codec.id_key(job_id)) else 0
