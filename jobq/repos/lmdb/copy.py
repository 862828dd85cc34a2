"""The copy that a backup makes: an LMDB environment that becomes a queue's directory when all is in it.

What is keyed by jobs' ids is copied as it is. Places and unique keys are not: they follow from the jobs, and are built
anew from them in the end. What makes the directory one that can be opened, `jobq.json`, is written last.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import lmdb

from jobq import codec, lifecycle
from jobq.errors import ConfigError, StorageFull
from jobq.model.records import Record
from jobq.repos.lmdb import directory, logs
from jobq.repos.lmdb.databases import NAMES, Databases, open_databases
from jobq.repos.lmdb.failures import system_error, translating
from jobq.repos.lmdb.guarding import open_private
from jobq.repos.lmdb.policies import Policies
from jobq.repos.lmdb.properties import SMALLEST, Properties, write_properties
from jobq.repos.lmdb.rebuilding import places_in_lmdb
from jobq.repos.lmdb.room import SMALLEST_RESERVE

Row = tuple[bytes, bytes]


class Contents(NamedTuple):
    """All that a directory holds of one job, as bytes; None where there is nothing."""

    key: bytes
    record: bytes | None
    payload: bytes | None
    aside: bytes | None
    log: Sequence[Row]

    def size(self) -> int:
        """How many bytes these are."""
        parts = (self.record, self.payload, self.aside, *(value for _, value in self.log))
        return sum(len(part) for part in parts if part is not None)

    def weight(self) -> int:
        """One, and more for each 4 KiB."""
        return 1 + self.size() // 4096


def contents_of(txn: lmdb.Transaction[bytes], dbs: Databases, job_id: int) -> Contents:
    """What there is of a job."""
    get, key = txn.get, codec.id_key(job_id)
    return Contents(
        key, get(key, None, dbs.jobs), get(key, None, dbs.payloads), get(key, None, dbs.quarantine),
        logs.rows(txn, dbs.logs, job_id),
    )  # fmt: skip


@contextmanager
def target(path: Path) -> Iterator[None]:
    """The directory that is to be made, empty, while it is filled; if that fails, nothing of it is left.

    Raises ConfigError if something is there, or if a queue may not be there; StorageError, StorageFull.
    """
    for above in path.parents:
        if above.exists() and not above.is_dir():
            raise ConfigError(f"{above} is a file, and {path} would be in it: back up to a folder")
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    with suppress(FileNotFoundError, NotADirectoryError):
        if found := sorted(os.listdir(path)):
            raise ConfigError(
                f"{path} is not empty ({', '.join(found[:3])}{', …' if len(found) > 3 else ''}): "
                "a backup needs a directory of its own, which it makes, or an empty one"
            )
    files: Sequence[str] = ()
    try:
        directory.prepare(path)
        files = ("jobq.json", "jobq.json.new", "data.mdb")
        yield
    except BaseException:
        for name in files:
            (path / name).unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise


class Copy:
    """The environment of a copy, within its `target`.

    map_size: bytes that it may come to; where the address space is bounded, less will do. kept: bytes of the disk that
    it leaves to others.
    """

    def __init__(self, path: Path, map_size: int, kept: int) -> None:
        self._path = path
        self._kept = max(SMALLEST_RESERVE, kept)
        try:
            # Made with its mode before LMDB opens it, which nobody else does: it is no queue without jobq.json.
            os.close(open_private(path / "data.mdb", os.O_WRONLY))
        except OSError as problem:
            raise system_error(problem, f"{path / 'data.mdb'} cannot be made") from problem
        with translating(path):
            self._env = self._open(map_size)
            self._dbs = open_databases(self._env)

    def _open(self, size: int) -> lmdb.Environment:
        while True:
            try:
                return lmdb.open(
                    str(self._path), map_size=size, mode=0o600, max_dbs=len(NAMES), lock=False, sync=False,
                    lib_version=0,
                )  # fmt: skip
            except lmdb.MemoryError:
                size //= 2
                if size < 2 * SMALLEST:
                    raise

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def append(self, name: str, rows: Sequence[Row]) -> None:
        """Add rows behind those that a database has."""
        self._check_disk(sum(len(value) for _, value in rows))
        with (
            translating(self._path),
            self._env.begin(write=True) as txn,
            txn.cursor(getattr(self._dbs, name)) as cursor,
        ):
            cursor.putmulti(rows, append=True)

    def replace(self, jobs: Sequence[Contents]) -> None:
        """Put what there now is of these jobs in place of what was."""
        self._check_disk(sum(job.size() for job in jobs))
        with translating(self._path), self._env.begin(write=True) as txn:
            for job in jobs:
                logs.forget(txn, self._dbs.logs, [codec.id_of(job.key)])
                for key, line in job.log:
                    txn.put(key, line, db=self._dbs.logs)
                singles = zip((self._dbs.jobs, self._dbs.payloads, self._dbs.quarantine), job[1:4], strict=True)
                for db, value in singles:
                    if value is None:
                        txn.delete(job.key, db=db)
                    else:
                        txn.put(job.key, value, db=db)

    def complete(self, properties: Properties) -> None:
        """Build what follows from the jobs, and make a queue's directory of it, safe from a power loss."""
        with translating(self._path):
            places_in_lmdb(self._env, self._dbs, Policies(self._dbs.policies), self._take_keys)
            self._env.sync(True)
            self._env.close()
        try:
            directory.keep_names(self._path)
        except OSError as problem:
            raise system_error(problem, f"{self._path} cannot be written") from problem
        write_properties(self._path, properties, is_durable=True)

    def _take_keys(self, txn: lmdb.Transaction[bytes], records: Sequence[Record]) -> None:
        self._check_disk(0)
        for job in records:
            if key := lifecycle.held_key(job):
                txn.put(codec.unique_index_key(*key), codec.id_key(job.id), db=self._dbs.keys, overwrite=False)

    def _check_disk(self, size: int) -> None:
        disk = os.statvfs(self._path)
        left = disk.f_bavail * disk.f_frsize
        if disk.f_blocks and left - size < self._kept:
            raise StorageFull(
                f"the disk of {self._path} has {left} bytes left, of which {self._kept} are kept: "
                "make room on it, or back up to another one"
            )
