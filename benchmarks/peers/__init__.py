"""The queues that are measured, one module for each project."""

from __future__ import annotations

from benchmarks.peers import (
    arq,
    bare_lmdb,
    celery,
    diskcache,
    dramatiq,
    huey,
    jobq,
    litequeue,
    lmdb_queue,
    persist_queue,
    queuelib,
    rq,
    saq,
    standard,
)
from benchmarks.peers.peer import Peer

_EMBEDDED = (jobq, standard, huey, persist_queue, litequeue, lmdb_queue, queuelib, diskcache, bare_lmdb)
_WITH_SERVER = (rq, saq, arq, dramatiq, celery)

PEERS: dict[str, Peer] = {peer.name: peer for module in (*_EMBEDDED, *_WITH_SERVER) for peer in module.PEERS}
"""By name, in the order of the tables."""
