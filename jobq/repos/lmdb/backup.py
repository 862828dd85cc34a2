"""Backing up a directory while the queue runs: an exact copy of one moment, with short transactions alone.

A mark tells all writers to note which jobs they touch (see `dirty`). Then all jobs are copied page by page, each in a
view of its own, and those that were touched meanwhile again, in rounds, until few are left. These last ones are read in
one write transaction, together with what is small and belongs to all: that is the moment of the copy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import lmdb

from jobq import codec
from jobq.errors import JobqError, StorageError
from jobq.repos.lmdb import dirty
from jobq.repos.lmdb.copy import Contents, Copy, Row, contents_of, target
from jobq.repos.lmdb.environment import Environment
from jobq.repos.lmdb.jobs import next_id

T = TypeVar("T")

PAGE = 1_000
"""Rows or jobs that one view reads at the most."""
PAGE_BYTES = 4 * 2**20
"""Bytes after which a view ends, if its rows are large."""
TAKEN = 10_000
"""Notes that one write transaction takes."""
FEW = 1_000
"""Jobs, or as many times 4 KiB, that the last write transaction may read."""
ROUNDS = 8
"""Rounds after which twice as many are few, each time, so that there is a last one however busy the writers are."""
BY_ID = ("jobs", "payloads", "quarantine", "logs")
"""The databases whose keys begin with the id of a job."""
SHARED = ("topics", "policies", "meta")
"""Those of which the moment of the copy decides, with few and small rows."""


class Last(NamedTuple):
    """What the last transaction reads: jobs that were touched until then, and the rows that belong to all jobs."""

    jobs: Sequence[Contents]
    shared: dict[str, list[Row]]


class Step(Generic[T]):
    """Something that the backup does in a write transaction, with others' work perhaps. See grouping.Work."""

    result: T

    def __init__(self, work: Callable[[lmdb.Transaction[bytes]], T]) -> None:
        self._work = work

    def prepare(self, txn: lmdb.Transaction[bytes], ahead: int) -> int:
        """Nothing: what is written has to follow what is read at once."""
        self._txn = txn
        return 0

    def apply(self) -> int:
        """Do the work."""
        self.result = self._work(self._txn)
        return PAGE

    def announce(self) -> None:
        """Nobody waits for this."""


class Backup:
    """One backup of an environment to a path."""

    def __init__(self, environment: Environment, path: Path) -> None:
        self._environment = environment
        self._path = path

    def run(self) -> None:
        """Make the copy. If that fails, nothing of it is left, and the source is as it was.

        Raises StorageError if another backup of the directory runs; ConfigError, StorageError, StorageFull.
        """
        environment = self._environment
        with dirty.only_backup(environment.path) as is_only:
            if not is_only:
                raise StorageError(f"{environment.path} is being backed up already: try again when that is done")
            with target(self._path):
                copy = Copy(self._path, environment.map_size(), self._kept())
                try:
                    last = self._copy_all(copy)
                    copy.replace(last.jobs)
                    for name, rows in last.shared.items():
                        copy.append(name, rows)
                    copy.complete(environment.properties)
                finally:
                    copy.close()

    def _kept(self) -> int:
        """What the queue itself needs of the disk, if the copy is on the same one; see room."""
        is_same = os.stat(self._path).st_dev == os.stat(self._environment.path).st_dev
        return self._environment.file_size() // 4 if is_same else 0

    def _copy_all(self, copy: Copy) -> Last:
        is_marked = True
        try:
            first_new = self._write(self._begin)
            for name in BY_ID:
                self._copy_pages(copy, name, codec.id_key(first_new))
            self._catch_up(copy)
            last = self._write(self._end)
            is_marked = False
            return last
        finally:
            if is_marked:
                with suppress(JobqError):
                    self._write(lambda txn: dirty.end(txn, self._environment.dbs))

    def _begin(self, txn: lmdb.Transaction[bytes]) -> int:
        """Set the mark; returns the first id that is not given yet, from which on all jobs are noted."""
        dirty.begin(txn, self._environment.dbs)
        return next_id(txn, self._environment.dbs)

    def _copy_pages(self, copy: Copy, name: str, end: bytes) -> None:
        after = b""
        while rows := self._environment.read(partial(self._page, name=name, after=after, end=end)):
            copy.append(name, rows)
            after = rows[-1][0]

    def _page(self, txn: lmdb.Transaction[bytes], name: str, after: bytes, end: bytes) -> list[Row]:
        """The next rows behind a key, those of ids from `end` on left out."""
        rows: list[Row] = []
        size = 0
        with txn.cursor(getattr(self._environment.dbs, name)) as cursor:
            found = cursor.set_range(after) if after else cursor.first()
            if found and cursor.key() == after:
                found = cursor.next()
            while found and len(rows) < PAGE and size < PAGE_BYTES and cursor.key() < end:
                rows.append(cursor.item())
                size += len(rows[-1][1])
                found = cursor.next()
        return rows

    def _catch_up(self, copy: Copy) -> None:
        """Copy what was touched again and again, until a round had few to copy."""
        few = FEW
        for number in count(1):
            if self._round(copy) <= few:
                return
            if number >= ROUNDS:
                few *= 2

    def _round(self, copy: Copy) -> int:
        """Copy what was touched until now; returns how much that was, in jobs or times 4 KiB."""
        weight = after = 0
        until = self._environment.read(lambda txn: dirty.last_noted(txn, self._environment.dbs))
        while ids := self._write(partial(self._take, after=after, until=until)):
            after = ids[-1]
            while ids:
                jobs = self._environment.read(partial(self._contents, ids=ids))
                copy.replace(jobs)
                weight += len(jobs) + sum(job.size() for job in jobs) // 4096
                ids = ids[len(jobs) :]
        return weight

    def _take(self, txn: lmdb.Transaction[bytes], after: int, until: int) -> list[int]:
        return dirty.take(txn, self._environment.dbs, after, until, TAKEN)

    def _contents(self, txn: lmdb.Transaction[bytes], ids: Sequence[int]) -> list[Contents]:
        """What there is of the first of these jobs, as many as one view may read."""
        jobs: list[Contents] = []
        size = 0
        for job_id in ids[:PAGE]:
            jobs.append(contents_of(txn, self._environment.dbs, job_id))
            size += jobs[-1].size()
            if size >= PAGE_BYTES:
                break
        return jobs

    def _end(self, txn: lmdb.Transaction[bytes]) -> Last:
        """Read what is left, and take the mark away."""
        dbs = self._environment.dbs
        jobs = [contents_of(txn, dbs, job_id) for job_id in dirty.noted(txn, dbs)]
        dirty.end(txn, dbs)
        shared = {}
        for name in SHARED:
            with txn.cursor(getattr(dbs, name)) as cursor:
                shared[name] = list(cursor)
        return Last(jobs, shared)

    def _write(self, work: Callable[[lmdb.Transaction[bytes]], T]) -> T:
        step = Step(work)
        self._environment.group.run(step, lambda: None)
        return step.result
