"""What a directory is, for who looks after it."""

from __future__ import annotations

import os

import lmdb

from jobq.model.views import Plain, StorageInfo
from jobq.repos.lmdb import dirty
from jobq.repos.lmdb.environment import Environment
from jobq.repos.lmdb.opening import file_size
from jobq.repos.lmdb.room import Room, used_pages


def describe(environment: Environment, room: Room, url: str) -> StorageInfo:
    """What there is to say of a directory, of one moment. Raises StorageError, ServiceClosed."""

    def look(txn: lmdb.Transaction[bytes]) -> StorageInfo:
        dbs = environment.dbs
        jobs, topics = (txn.stat(db)["entries"] for db in (dbs.jobs, dbs.topics))
        return StorageInfo(url, "lmdb", jobs, topics, _details(environment, room, txn))

    return environment.read(look)


def _details(environment: Environment, room: Room, txn: lmdb.Transaction[bytes]) -> dict[str, Plain]:
    path, properties = environment.path, environment.properties
    return {
        "path": str(path),
        "sync": properties.sync,
        "max_size": properties.max_size,
        "topics": properties.topics,
        "format": properties.format,
        "generation": properties.generation,
        "lmdb_version": ".".join(map(str, lmdb.version())),
        "file_size": file_size(path),
        "used_size": used_pages(txn, environment.dbs) * environment.page_size,
        "room": room.left(txn),
        "processes": tuple(sorted(environment.presence.holders() | {os.getpid()})),
        "is_backed_up": dirty.is_running(txn, environment.dbs, path),
    }
