"""The storages, and the protocols that a storage of your own has to follow.

MemoryStorage is here at once. LmdbStorage is imported when it is first asked for, as it needs the package lmdb, and so
is open_storage, which takes time to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobq.ports import Clock, JobRepository, Storage, TopicRepository, UnitOfWork, Watch
from jobq.repos.memory import MemoryStorage

if TYPE_CHECKING:
    from jobq.repos.lmdb import LmdbStorage
    from jobq.repos.urls import open_storage

__all__ = [
    "Clock",
    "JobRepository",
    "LmdbStorage",
    "MemoryStorage",
    "Storage",
    "TopicRepository",
    "UnitOfWork",
    "Watch",
    "open_storage",
]


def __getattr__(name: str) -> Any:
    if name == "open_storage":
        from jobq.repos.urls import open_storage

        return open_storage
    if name == "LmdbStorage":
        try:
            from jobq.repos.lmdb import LmdbStorage
        except ImportError as missing:
            if missing.name != "lmdb":
                raise
            raise ImportError("LmdbStorage needs the package lmdb: pip install 'jobq[lmdb]'", name="lmdb") from missing
        return LmdbStorage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
