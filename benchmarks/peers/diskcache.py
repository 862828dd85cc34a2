"""diskcache: Deque, in SQLite. Nothing is acknowledged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.peers.peer import BATCH, Peer, Survives, Verbs, library


def open_one(folder: Path) -> Verbs:
    """One job a call."""
    deque: Any = library("diskcache").Deque(directory=str(folder))
    return Verbs(deque.append, deque.popleft, None, deque.cache.close)


def open_batches(folder: Path) -> Verbs:
    """A hundred in one transaction."""
    deque: Any = library("diskcache").Deque(directory=str(folder))

    def append(payloads: list[bytes]) -> None:
        with deque.transact():
            deque.extend(payloads)

    def pop() -> list[bytes]:
        with deque.transact():
            return [deque.popleft() for _ in range(min(BATCH, len(deque)))]

    return Verbs(append, pop, None, deque.cache.close)


PEERS = [Peer("diskcache.Deque", "diskcache", Survives.KILL, processes=True, open=open_one, open_batches=open_batches)]
