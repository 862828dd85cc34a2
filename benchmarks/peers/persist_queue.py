"""persist-queue: SQLiteAckQueue, whose every call is a transaction with fsync."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Peer, Survives, Verbs, library


def open_one(folder: Path) -> Verbs:
    """One job a call."""
    queue: Any = library("persistqueue").SQLiteAckQueue(str(folder / "queue"))

    def acknowledge(job: dict[str, Any]) -> None:
        queue.ack(id=job["pqid"])

    return Verbs(queue.put, partial(queue.get, block=False, raw=True), acknowledge, queue.close)


PEERS = [
    Peer(
        "persist-queue", "persist-queue", Survives.POWER_LOSS, acknowledges=True, open=open_one,
        note="for one process: another that opens it takes its jobs as well",
    )
]  # fmt: skip
