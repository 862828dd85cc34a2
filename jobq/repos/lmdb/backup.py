"""Backing up a directory while the queue runs: an exact copy of one moment, with short transactions alone.

A mark tells all writers to note which jobs they touch (see `dirty`). Then all jobs are copied page by page, each in a
view of its own, and those that were touched meanwhile again, in rounds, as long as each has less to do than the one
before. What is left then is copied in a write transaction, with what is small and belongs to all jobs: that is the
moment of the copy. Should much be left, as the writers are faster than the copying, more than one such transaction
holds them up, each for no longer than about as much as they write takes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import lmdb

from jobq import codec
from jobq.errors import JobqError, StorageError
from jobq.repos.lmdb import dirty
from jobq.repos.lmdb.copy import Contents, Copy, Row, contents_of, target
from jobq.repos.lmdb.environment import Environment
from jobq.repos.lmdb.grouping import Seat
from jobq.repos.lmdb.jobs import next_id
from jobq.repos.lmdb.known import Known
from jobq.repos.lmdb.opening import file_size

T = TypeVar("T")

PAGE = 1_000
"""What one view reads at the most: jobs, or times 4 KiB where they are large."""
TAKEN = 10_000
"""Notes that one write transaction takes."""
FEW = 1_000
"""What the last write transaction may copy, in jobs or times 4 KiB; if that is not all, the next one twice as much."""
BY_ID = ("jobs", "payloads", "quarantine", "logs")
"""The databases whose keys begin with the id of a job."""
SHARED = ("topics", "policies", "meta")
"""Those of which the moment of the copy decides, with few and small rows."""


class Step(Generic[T]):
    """Something that the backup does in a write transaction, with others' work perhaps. See grouping.Work."""

    result: T

    def __init__(self, known: Known, work: Callable[[lmdb.Transaction[bytes]], T]) -> None:
        self._known = known
        self._work = work

    def prepare(self, txn: lmdb.Transaction[bytes], ahead: int) -> int:
        """Nothing: what is written has to follow what is read at once."""
        self._txn = txn
        return 0

    def apply(self) -> int:
        """Do the work."""
        self.result = self._work(self._txn)
        self._known.forget()  # the work that follows in the same transaction is to see the mark
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
                map_size = environment.read(lambda _: environment.map_size())
                copy = Copy(self._path, map_size, self._kept())
                try:
                    for name, rows in self._copy_jobs(copy).items():
                        copy.append(name, rows)
                    copy.complete(replace(environment.properties, topics="lmdb"))
                finally:
                    copy.close()

    def _kept(self) -> int:
        """What the queue itself needs of the disk, if the copy is on the same one; see room."""
        is_same = os.stat(self._path).st_dev == os.stat(self._environment.path).st_dev
        return file_size(self._environment.path) // 4 if is_same else 0

    def _copy_jobs(self, copy: Copy) -> dict[str, list[Row]]:
        """Copy the jobs as they are at one moment, and return what else there was then, by database."""
        is_marked = True
        try:
            first_new = self._write(self._begin)
            for name in BY_ID:
                self._copy_pages(copy, name, codec.id_key(first_new))
            self._catch_up(copy)
            few = FEW
            while (shared := self._write(partial(self._finish, copy=copy, few=few))) is None:
                few *= 2
            is_marked = False
            return shared
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
        weight = 0
        with txn.cursor(getattr(self._environment.dbs, name)) as cursor:
            found = cursor.set_range(after) if after else cursor.first()
            if found and cursor.key() == after:
                found = cursor.next()
            while found and weight < PAGE and cursor.key() < end:
                rows.append(cursor.item())
                weight += 1 + len(rows[-1][1]) // 4096
                found = cursor.next()
        return rows

    def _catch_up(self, copy: Copy) -> None:
        """Copy what was touched meanwhile, again and again, while that is more than a few and becomes less."""
        before = weight = self._round(copy)
        while weight > FEW and weight <= before:
            before = weight // 2
            weight = self._round(copy)

    def _round(self, copy: Copy) -> int:
        """Copy what is noted now, once; returns how much that was, in jobs or times 4 KiB."""
        weight = after = 0
        until = self._environment.read(lambda txn: dirty.last_noted(txn, self._environment.dbs))
        while ids := self._write(partial(self._take, after=after, until=until)):
            after = ids[-1]
            while ids:
                jobs = self._environment.read(partial(self._contents, ids=ids, most=PAGE))
                copy.replace(jobs)
                weight += sum(job.weight() for job in jobs)
                ids = ids[len(jobs) :]
        return weight

    def _take(self, txn: lmdb.Transaction[bytes], after: int, until: int) -> list[int]:
        return dirty.take(txn, self._environment.dbs, after, until, TAKEN)

    def _contents(self, txn: lmdb.Transaction[bytes], ids: Sequence[int], most: int) -> list[Contents]:
        """What there is of the first of these jobs, until that is enough."""
        jobs: list[Contents] = []
        weight = 0
        for job_id in ids:
            if weight >= most:
                break
            jobs.append(contents_of(txn, self._environment.dbs, job_id))
            weight += jobs[-1].weight()
        return jobs

    def _finish(self, txn: lmdb.Transaction[bytes], copy: Copy, few: int) -> dict[str, list[Row]] | None:
        """Copy what is noted, but no more than a few; if that is all, take the mark away and read the rest."""
        dbs = self._environment.dbs
        ids = dirty.noted(txn, dbs, 0, few + 1)
        jobs = self._contents(txn, ids, most=few)
        copy.replace(jobs)
        if len(jobs) < len(ids):
            dirty.forget(txn, dbs, ids[: len(jobs)])
            return None
        dirty.end(txn, dbs)
        shared = {}
        for name in SHARED:
            with txn.cursor(getattr(dbs, name)) as cursor:
                shared[name] = list(cursor)
        return shared

    def _write(self, work: Callable[[lmdb.Transaction[bytes]], T]) -> T:
        step = Step(self._environment.known, work)
        self._environment.group.run(Seat(step))
        return step.result
