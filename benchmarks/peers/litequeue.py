"""litequeue: a table in SQLite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Peer, Survives, Verbs, library


def open_one(folder: Path) -> Verbs:
    """One job a call; payloads are text."""
    queue: Any = library("litequeue").LiteQueue(folder / "queue.db")

    def put(payload: bytes) -> None:
        queue.put(payload.decode())

    def done(message: Any) -> None:
        queue.done(message.message_id)

    return Verbs(put, queue.pop, done, queue.close)


PEERS = [
    Peer(
        "litequeue", "litequeue", Survives.KILL, acknowledges=True, processes=True, open=open_one,
        note="jobs of a killed consumer stay locked until the program looks for them",
    )
]  # fmt: skip
