"""The storages, and the protocols that a storage of your own has to follow.

Storages are imported when they are first asked for, as is open_storage: a program needs one of them, each takes time to
import, and LmdbStorage needs the package lmdb.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobq.ports import Clock, JobRepository, Storage, TopicRepository, UnitOfWork, Watch

if TYPE_CHECKING:
    from jobq.repos.lmdb import LmdbStorage
    from jobq.repos.memory import MemoryStorage
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
    if name == "MemoryStorage":
        from jobq.repos.memory import MemoryStorage

        return MemoryStorage
    if name == "LmdbStorage":
        try:
            from jobq.repos.lmdb import LmdbStorage
        except ImportError as missing:
            if missing.name != "lmdb":
                raise
            raise ImportError("LmdbStorage needs the package lmdb: pip install 'jobq[lmdb]'", name="lmdb") from missing
        return LmdbStorage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
