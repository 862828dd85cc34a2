"""The named databases of an LMDB environment."""

from __future__ import annotations

from typing import NamedTuple

import lmdb

from jobq.model.status import Ordering


class Databases(NamedTuple):
    """The databases, each of this name; `orderings` by Ordering, each of the name of that."""

    meta: lmdb._Database
    jobs: lmdb._Database
    payloads: lmdb._Database
    keys: lmdb._Database
    topics: lmdb._Database
    policies: lmdb._Database
    quarantine: lmdb._Database
    logs: lmdb._Database
    dirty: lmdb._Database
    orderings: tuple[lmdb._Database, ...]


NAMES = Databases._fields[:-1] + tuple(ordering.name.lower() for ordering in Ordering)


def open_databases(env: lmdb.Environment) -> Databases:
    """Open them all, and make those that are not there."""
    with env.begin(write=True) as txn:
        opened = [env.open_db(name.encode(), txn=txn) for name in NAMES]
    meta, jobs, payloads, keys, topics, policies, quarantine, logs, dirty, *orderings = opened
    return Databases(meta, jobs, payloads, keys, topics, policies, quarantine, logs, dirty, tuple(orderings))
