"""Whether there is room for new jobs: pages in use against max_size, and what the disk has left."""

from __future__ import annotations

import os

import lmdb

from jobq.errors import StorageFull
from jobq.repos.lmdb.environment import Databases, Environment

SMALLEST_RESERVE = 2**20
"""Bytes of the disk that are kept for settling jobs at the least; more for a large file."""


class Room:
    """The room of an environment, looked at within its write transactions."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._page_size = environment.env.stat()["psize"]
        self._most_pages = environment.properties.max_size // self._page_size
        self._pages_with_disk = 0

    def check(self, txn: lmdb.Transaction[bytes]) -> None:
        """Raise StorageFull if max_size is reached, or the disk has less left than settling jobs may need."""
        pages = self._high_water()
        if pages >= self._most_pages and used_pages(txn, self._environment.dbs) >= self._most_pages:
            size = self._environment.properties.max_size
            raise StorageFull(
                f"{self._environment.path} has reached its max_size of {size} bytes: finish or delete jobs, "
                "or close it everywhere and open it with a larger max_size"
            )
        # Only a file that grows takes from the disk, so a disk that was found roomy is looked at again only then.
        if pages > self._pages_with_disk:
            self._check_disk(pages)

    def is_over(self, txn: lmdb.Transaction[bytes]) -> bool:
        """Whether the pages in use come to max_size."""
        return self._high_water() >= self._most_pages and used_pages(txn, self._environment.dbs) >= self._most_pages

    def _high_water(self) -> int:
        # Costs little to read, and is never below the pages in use: most files stay below their limit with it.
        return self._environment.env.info()["last_pgno"] + 1

    def _check_disk(self, pages: int) -> None:
        disk = os.statvfs(self._environment.path)
        left, reserve = disk.f_bavail * disk.f_frsize, max(SMALLEST_RESERVE, pages * self._page_size // 4)
        if left < reserve:
            raise StorageFull(
                f"the disk of {self._environment.path} has {left} bytes left, and {reserve} are kept for settling "
                "jobs: make room on it"
            )
        self._pages_with_disk = pages


def used_pages(txn: lmdb.Transaction[bytes], dbs: Databases) -> int:
    """The pages that the databases hold, those of free lists and the root aside."""
    stats = [txn.stat(db) for db in (*dbs[:-1], *dbs.orderings)]
    return sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
