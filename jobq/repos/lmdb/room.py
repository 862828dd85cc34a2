"""Whether there is room for more: pages in use against max_size, and what the disk has left."""

from __future__ import annotations

import os

import lmdb

from jobq.errors import StorageError, StorageFull
from jobq.repos.lmdb.databases import Databases
from jobq.repos.lmdb.environment import Environment

SMALLEST_RESERVE = 2**20
"""Bytes of the disk that are kept for settling jobs at the least; more for a large file."""
CREDIT = 2**16
"""Bytes for which room is looked for at once, so that small jobs need not each have a look at it: 5 of 45 µs."""


class Room:
    """The room of an environment, looked at within its transactions."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._measured: lmdb.Environment | None = None
        self._page_size = 1
        self._most_pages = 0
        self._pages_with_disk = 0
        self._credit = 0

    def check(self, txn: lmdb.Transaction[bytes], new_bytes: int) -> None:
        """Raise StorageFull if so many bytes more do not fit."""
        self._credit -= new_bytes
        if self._credit >= 0:
            return
        if self.shortage(txn, new_bytes + CREDIT) is None:
            self._credit = CREDIT
        elif shortage := self.shortage(txn, new_bytes):
            raise StorageFull(shortage)

    def shortage(self, txn: lmdb.Transaction[bytes], new_bytes: int) -> str | None:
        """Say why so many bytes more do not fit, in max_size or on the disk; None if they do."""
        if self._measured is not self._environment.env:
            self._measure()
        new_pages = new_bytes // self._page_size
        # The file's high-water mark, which costs little to read, is never below the pages in use.
        pages = self._environment.env.info()["last_pgno"] + 1
        if pages + new_pages >= self._most_pages:
            used = used_pages(txn, self._environment.dbs)
            if used + new_pages >= self._most_pages:
                return (
                    f"{self._environment.path} has reached its max_size of {self._most_pages * self._page_size} bytes: "
                    "finish or delete jobs, or close it everywhere and open it with a larger max_size"
                )
            new_pages = max(0, used + new_pages - pages)
        # Only a file that grows takes from the disk, so a disk that was found roomy is looked at again only then.
        if pages + new_pages > self._pages_with_disk and (shortage := self._disk_shortage(txn, pages, new_pages)):
            return shortage
        self._environment.expect((pages + new_pages) * self._page_size)
        return None

    def left(self, txn: lmdb.Transaction[bytes]) -> int:
        """The bytes that new jobs may take, about, as far as max_size and the disk go; in any transaction."""
        if self._measured is not self._environment.env:
            self._measure()
        pages = self._environment.env.info()["last_pgno"] + 1
        left = (self._most_pages - used_pages(txn, self._environment.dbs)) * self._page_size
        disk = self._disk()
        if disk.f_blocks:
            free = self._ahead(pages) + self._free(txn, pages)
            left = min(left, disk.f_bavail * disk.f_frsize - self._reserve(pages) + free)
        return max(0, left)

    def _measure(self) -> None:
        """Look at what was opened, the first time or anew: the file may be another one, and smaller."""
        environment, env = self._environment, self._environment.env
        self._page_size = environment.page_size
        # A bounded address space may have left a smaller map, of which a fifth is kept for settling jobs, too.
        most = min(environment.properties.max_size, environment.map_size() * 4 // 5)
        self._most_pages = most // self._page_size
        self._pages_with_disk = 0
        self._measured = env  # last: another thread, which reads, may be about it as well

    def _disk_shortage(self, txn: lmdb.Transaction[bytes], pages: int, new_pages: int) -> str | None:
        disk = self._disk()
        left, reserve = disk.f_bavail * disk.f_frsize, self._reserve(pages)
        needed = reserve + new_pages * self._page_size - self._ahead(pages)
        if disk.f_blocks and left < needed and left < needed - self._free(txn, pages):  # 0: it has no size, as a ramfs
            return (
                f"the disk of {self._environment.path} has {left} bytes left, and {reserve} are kept for settling "
                "jobs: make room on it"
            )
        self._pages_with_disk = pages + new_pages
        return None

    def _disk(self) -> os.statvfs_result:
        try:
            return os.statvfs(self._environment.path)
        except OSError as problem:
            raise StorageError(f"{self._environment.path} is not there any more: {problem.strerror}") from problem

    def _reserve(self, pages: int) -> int:
        """The bytes of the disk that are kept for settling jobs."""
        return max(SMALLEST_RESERVE, pages * self._page_size // 4)

    def _ahead(self, pages: int) -> int:
        """The bytes that the disk has given to the file already, for pages to come."""
        return max(0, self._environment.allocated() - pages * self._page_size)

    def _free(self, txn: lmdb.Transaction[bytes], pages: int) -> int:
        """The bytes that the file has free, as those of deleted jobs."""
        return (pages - used_pages(txn, self._environment.dbs)) * self._page_size


def used_pages(txn: lmdb.Transaction[bytes], dbs: Databases) -> int:
    """The pages that the databases hold, those of free lists and the root aside."""
    stats = [txn.stat(db) for db in (*dbs[:-1], *dbs.orderings)]
    return sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
