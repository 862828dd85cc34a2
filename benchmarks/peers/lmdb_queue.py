"""lmdb-queue, which is imported as equeue: first in, first out, on LMDB with a writable map.

Its `sync=True` asks for a flush and does not wait for it (`map_async`), so that it outlives no power loss either.
"""

from __future__ import annotations

from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Peer, Survives, Verbs, library


def open_one(folder: Path) -> Verbs:
    """One job a call."""
    queue: Any = library("equeue").Queue(folder / "queue")
    return Verbs(queue.put, partial(queue.get, 1.0), methodcaller("ack"), queue.close)


PEERS = [
    Peer(
        "lmdb-queue", "lmdb-queue", Survives.KILL, acknowledges=True, lease=True, processes=True, open=open_one,
        note="first in, first out only; a full disk ends the process (SIGBUS)",
    )
]  # fmt: skip
